"""Queries about the containers that the variables choose."""

from __future__ import annotations

from dashboards.frame import selector

CONTAINERS = selector("cluster", "namespace", "pod", "container")
PODS = selector("cluster", "namespace", "pod")
BY_CONTAINER = "max by (cluster, namespace, pod, container)"
ONE = "{{pod}} {{container}}"


def rate(metric: str, by: str = BY_CONTAINER, where: str = CONTAINERS) -> str:
    """Of a raw counter, at the resolution of the graph; two scrapes of one container are one line."""
    return f"{by} (rate({metric}{where}[$__rate_interval]))"


def now(metric: str, by: str = BY_CONTAINER, where: str = CONTAINERS) -> str:
    """Of a gauge; two scrapes of one container are one line."""
    return f"{by} ({metric}{where})"
