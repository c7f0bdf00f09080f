"""A node of our own, out of real parts: cgroups in kubepods layout, processes with a purpose in them, a kubelet API.

``demo``, ``stress``, the tests and the benchmark build on it. Nothing here reads a counter: that is the exporter's
work, and what is made here is what it is measured against. Where the machine lets nobody make cgroups,
:mod:`~exporter.lab.synthetic` stands in with plain files that move.
"""
