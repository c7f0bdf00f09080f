"""The kernel's cgroup files as typed readings.

All that knows a cgroup version is in :mod:`.v1`, :mod:`.v2` and the detection in :mod:`.tree`. Nothing here awaits,
logs, reads settings or knows Prometheus.
"""
