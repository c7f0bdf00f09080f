"""A node made of real cgroups, worker processes and a kubelet API, or of files that a simulation moves.

``demo``, ``stress``, the tests and the benchmark build on it; nothing here reads the exporter's counters for it.
"""
