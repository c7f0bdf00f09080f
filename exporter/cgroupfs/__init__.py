"""Reads the kernel's cgroup files as typed values.

Only :mod:`.readers` and the detection in :mod:`.discover` know cgroup versions. Nothing here awaits, logs, reads
settings or knows Prometheus.
"""
