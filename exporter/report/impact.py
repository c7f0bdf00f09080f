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

    A critical finding; time lost per second to quotas; throttled ratio, the larger of its own and its pod's; waiting
    for a CPU; any other finding; a live container before one that is gone; then by name, so that the order is total.
    """
    ledger = container["ledger"]
    ratio, _ = throttled_ratio(container)
    waiting = None if ledger is None else ledger["waited"]
    return (
        container["severity"] != "critical",
        -(lost_seconds_per_second(container) or 0.0),
        -(ratio or 0.0),
        -(waiting or 0.0),
        rank(container["severity"] or ""),
        not container["live"],
        container["namespace"],
        container["pod"],
        container["container"],
    )


def throttled_ratio(container: Container) -> tuple[float | None, bool]:
    """Return the throttled ratio, the larger of its own and its pod's, and whether it is its pod's.

    The kernel counts a throttled period at the group whose quota ran out, so the container's own ratio is 0 or absent
    while its pod's quota stops it.
    """
    own, pod = container["throttling"]["ratio"], container["pod_cgroup"] and container["pod_cgroup"]["ratio"]
    return (pod, True) if pod is not None and pod > (own or 0.0) else (own, False)


def lost_seconds_per_second(container: Container) -> float | None:
    """Return CPU seconds per second lost to any quota, its own, above or inside; ``None`` where it is unknown.

    Where only the cgroup above tells of its quota, that is what all its containers lost together.
    """
    ledger = container["ledger"]
    if ledger is None:
        throttling = container["throttling"]
        counters = throttling["lost_seconds_per_second"], throttling["local_lost_seconds_per_second"]
        return max((lost for lost in counters if lost is not None), default=None)
    own, above, inside = ledger["own_quota"], ledger["quota_above"], ledger["quota_inside"]
    if own is None and above is None:
        return None
    exact = ledger["quota_above_is_exact"]
    return (inside or 0.0) + ((own or 0.0) + (above or 0.0) if exact else max(own or 0.0, above or 0.0))


def rank(severity: str) -> int:
    """Return 0 for the worst severity."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def worst(findings: list[Finding]) -> Severity | None:
    """Return the worst severity among ``findings``, or None without any."""
    return min((finding["severity"] for finding in findings), key=rank, default=None)
