"""The finding about a container that is throttled far below its limit, and why."""

from __future__ import annotations

from exporter.analysis import text, thresholds
from exporter.analysis.findings.finding import Finding, finding
from exporter.analysis.findings.nodeview import NodeView
from exporter.analysis.findings.throttled import (
    Throttling,
    evidence_of,
    fewer_threads,
    has_too_many_threads,
    lost,
    lost_to_ancestor,
    mostly_below_limit,
    ran_in_parallel,
    throttling,
)
from exporter.model import CgroupRow

_WIDEN = "raise the limit, allow a CPU burst, remove the limit, or pin it (Guaranteed, whole CPUs, static CPU manager)"


def throttled_below_limit(view: NodeView, row: CgroupRow) -> Finding | None:
    """It stands still although it uses far less than its limit."""
    found = throttling(row)
    seen = None if found is None else mostly_below_limit(row, found)
    if found is None or seen is None:
        return None
    reason = _reason(view, row, found)
    cause, advice = _told(view, row, found, reason)
    return finding(
        "throttled_below_limit",
        row,
        summary=f"{cause}; throttled {found.told}, though in those seconds it used {text.amount(seen.usage)} of "
        f"{text.limit(found.limit)} on average.",
        advice=advice,
        reason=reason,
        evidence={
            **evidence_of(row, found),
            "throttled_intervals": seen.intervals,
            "intervals_below_limit": seen.below,
            "usage_while_throttled_cores": seen.usage,
            "ancestor_lost_seconds_per_second": lost_to_ancestor(row),
        },
        severity=found.severity,
        impact=found.stopped,
    )


def _reason(view: NodeView, row: CgroupRow, found: Throttling) -> str:
    """What is certain comes first: a broken kernel, a quota above. Threads may all sleep, so they come late."""
    if view.node.cfs_quota_bug == "affected" and view.node.kernel_release is not None:
        return "kernel"
    above, own = lost_to_ancestor(row), lost(row)
    if above is not None and own is not None and above >= thresholds.ANCESTOR_LOST and above > own:
        return "ancestor"
    if found.period <= thresholds.SHORT_PERIOD_SECONDS:
        return "short_period"
    if found.limit < 1 and not ran_in_parallel(row, found):
        return "below_one_cpu"
    return "threads" if has_too_many_threads(row, found.limit) else "burst"


def _told(view: NodeView, row: CgroupRow, found: Throttling, reason: str) -> tuple[str, str]:
    """Cause and advice in text."""
    limit, quota, period = found.limit, found.limit * found.period, found.period
    cores, slot = text.limit(limit), f"{text.milliseconds(quota)} of CPU time in each {text.milliseconds(period)}"
    if reason == "kernel":
        return f"Kernel {view.node.kernel_release} lets unused quota expire (512ac999d275)", (
            "Upgrade the kernel to 5.4 or a patched stable release, or remove the limit until then."
        )
    if reason == "ancestor":
        above = text.amount(lost_to_ancestor(row) or 0.0)
        return f"A quota above the container stopped it for {above} s per second", (
            "Raise the limit of the pod or of what lies above it: the container's own limit is not what it waits for."
        )
    if reason == "short_period":
        return f"A limit of {cores} is {slot}, and the kernel hands quota to each CPU 5 ms at a time", (
            "Set the kubelet's cpuCFSQuotaPeriod back to 100ms, or raise or remove the limit."
        )
    if reason == "below_one_cpu":
        rest = text.milliseconds(period - quota)
        return f"A limit of {cores} is {slot}: even a single busy thread stands still for the other {rest}", (
            "Raise the limit to 1 CPU or more, allow a CPU burst, or remove the limit."
        )
    fewer = f"Run {fewer_threads(limit)}"
    if reason == "threads":
        threads = text.count(row.threads or 0, "thread")
        return f"{threads} under a limit of {cores}: when they run at once they use up {slot} and wait for the next", (
            f"{fewer}, or {_WIDEN}."
        )
    return f"For moments it wants more than {cores}: it uses up {slot} and waits for the next", (
        f"{fewer} if it has more, or {_WIDEN}."
    )
