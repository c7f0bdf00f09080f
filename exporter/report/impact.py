"""The order in which containers are shown everywhere: worst first."""

from __future__ import annotations

from typing import Final

from exporter.analysis.findings import Finding, Severity
from exporter.report.schema import Container

SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "warning", "info")
"""Worst first."""

Impact = tuple[bool, float, float, float, int, bool, str, str, str]


def impact(container: Container) -> Impact:
    """Return the sort key that puts the worst container first.

    A critical finding; time lost per second to quotas, its own or those above; throttled ratio; share of time spent
    waiting for a CPU; any other finding; a live container before one that is gone; then by name, so that the order is
    total.
    """
    throttling, pressure, pod = container["throttling"], container["pressure"], container["pod_cgroup"]
    ratio = throttling["ratio"] or 0.0
    if pod is not None and throttling["local_lost_seconds_per_second"] is None:
        ratio = max(ratio, pod["ratio"] or 0.0)
    waiting = pressure["waiting_share"]
    if waiting is None:
        waiting = pressure["runqueue_seconds_per_second"]
    return (
        container["severity"] != "critical",
        -(lost_seconds_per_second(container) or 0.0),
        -ratio,
        -(waiting or 0.0),
        rank(container["severity"] or ""),
        not container["live"],
        container["namespace"],
        container["pod"],
        container["container"],
    )


def lost_seconds_per_second(container: Container) -> float | None:
    """Return CPU seconds per second lost to any quota, its own or an ancestor's; ``None`` where it is unknown.

    ``cpu.stat.local`` counts both. Without it (before kernel 6.6) the pod's own cgroup is the only witness of the
    ancestor's part: its figure is for all its containers together.
    """
    throttling, pod = container["throttling"], container["pod_cgroup"]
    own, local = throttling["lost_seconds_per_second"], throttling["local_lost_seconds_per_second"]
    above = pod["lost_seconds_per_second"] if pod is not None and local is None else None
    return max((lost for lost in (own, local, above) if lost is not None), default=None)


def rank(severity: str) -> int:
    """Return 0 for the worst severity."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def worst(findings: list[Finding]) -> Severity | None:
    """Return the worst severity among ``findings``, or None without any."""
    return min((finding["severity"] for finding in findings), key=rank, default=None)
