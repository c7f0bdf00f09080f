"""Reads the kernel's cgroup files as typed values.

Only :mod:`.discover`, :mod:`.readers` and :mod:`.parse` know cgroup versions. Nothing here awaits, logs, reads
settings or knows Prometheus.
"""
