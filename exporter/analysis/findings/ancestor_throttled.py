"""The finding about quotas above the container, of which its own ``cpu.stat`` says nothing."""

from __future__ import annotations

from exporter.analysis import text, thresholds
from exporter.analysis.findings.finding import Evidence, Finding, Severity, finding
from exporter.analysis.findings.nodeview import NodeView, use
from exporter.analysis.findings.throttled import lost_to_ancestor, throttling
from exporter.model import CgroupRow

_ADVICE = {
    "pod": "Raise the pod's own limit, or the limits of its containers whose sum it is; watch which container of the "
    "pod uses most.",
    "above_pod": "Look for a quota on the QoS slice or above it (cpu.max of each directory up to the root): Kubernetes "
    "sets none there.",
    "": "Compare cpu.max of each directory from the pod up to the root with what the containers below use.",
}


def ancestor_throttled(view: NodeView, row: CgroupRow) -> Finding | None:
    """The pod's quota, or one above it, is used up."""
    seconds = lost_to_ancestor(row)
    if seconds is not None and seconds < thresholds.ANCESTOR_LOST:
        return None
    pod = view.pod_of(row)
    if seconds is None and pod is not None and view.repeats_quota(row, pod):
        return None
    if seconds is not None:
        return _from_local(row, pod, seconds)
    return None if pod is None else _from_pod(view, row, pod)


def _from_local(row: CgroupRow, pod: CgroupRow | None, seconds: float) -> Finding:
    """Kernel 6.6 and later count it at the container (``cpu.stat.local``)."""
    reason = _which(pod)
    where = {"pod": "its pod", "above_pod": "a cgroup above its pod", "": "a cgroup above it"}[reason]
    return finding(
        "ancestor_throttled",
        row,
        summary=f"The quota of {where}{_numbers(pod) if reason == 'pod' else ''} stopped it for "
        f"{text.amount(seconds)} s per second, summed over CPUs{_own(row)}.",
        advice=_ADVICE[reason],
        reason=reason,
        evidence=_evidence(row, pod, seconds),
        severity=_severity(pod),
        impact=min(1.0, seconds),
    )


def _which(pod: CgroupRow | None) -> str:
    if pod is None or pod.limits is None:
        return ""
    if pod.limits.quota_state == "none":
        return "above_pod"
    if pod.window is None:
        return ""
    return "pod" if pod.window.throttled_periods else "above_pod"


def _from_pod(view: NodeView, row: CgroupRow, pod: CgroupRow) -> Finding | None:
    """Elsewhere the pod's own file is the only witness, and it does not say which of its containers it stopped."""
    found, own, all_of_it = throttling(pod), use(row), use(pod)
    if found is None or own is None or all_of_it is None:
        return None
    if own < thresholds.MIN_USE or own < thresholds.ANCESTOR_USE * all_of_it or _own_quota_explains(row, pod):
        return None
    others = view.containers_of_pod.get(row.ref.pod_path, 1) - 1
    shared = f", which it shares with {text.count(others, 'container')}" if others else ""
    return finding(
        "ancestor_throttled",
        row,
        summary=f"The quota of its pod{_numbers(pod)} is used up{shared}: the pod stood still for up to "
        f"{text.percent(found.stopped)} of the time{_own(row)}.",
        advice=_ADVICE["pod"],
        reason="pod",
        evidence=_evidence(row, pod, None),
        severity=found.severity,
        impact=found.stopped,
    )


def _own_quota_explains(row: CgroupRow, pod: CgroupRow) -> bool:
    """The kubelet gives a pod the sum of its containers' limits: alone in it, both run out in the same periods."""
    own, above = row.limits, pod.limits
    if own is None or own.limit_cores is None or above is None or above.limit_cores is None:
        return False
    if row.window is None or pod.window is None:
        return False
    tighter = own.limit_cores <= above.limit_cores * (1 + thresholds.DRIFT_RATIO)
    return tighter and row.window.ratio >= pod.window.ratio


def _severity(pod: CgroupRow | None) -> Severity:
    found = None if pod is None else throttling(pod)
    return "warning" if found is None else found.severity


def _numbers(pod: CgroupRow | None) -> str:
    """``(1.5 CPUs; throttled in 91 % of 540 periods)``."""
    if pod is None or pod.limits is None or pod.limits.limit_cores is None or pod.window is None:
        return ""
    ratio, periods = text.percent(pod.window.ratio), pod.window.periods
    return f" ({text.limit(pod.limits.limit_cores)}; throttled in {ratio} of {periods} active periods)"


def _own(row: CgroupRow) -> str:
    if row.limits is None or row.limits.limit_cores is None or row.window is None:
        return ""
    ratio = text.percent(row.window.ratio)
    return f"; its own limit of {text.limit(row.limits.limit_cores)} throttled it in {ratio} of its periods"


def _evidence(row: CgroupRow, pod: CgroupRow | None, seconds: float | None) -> Evidence:
    window = None if pod is None else pod.window
    return {
        "ancestor_lost_seconds_per_second": seconds,
        "pod_limit_cores": None if pod is None or pod.limits is None else pod.limits.limit_cores,
        "pod_periods": None if window is None else window.periods,
        "pod_throttled_periods": None if window is None else window.throttled_periods,
        "pod_throttled_ratio": None if window is None else window.ratio,
        "pod_usage_cores": None if pod is None else use(pod),
        "effective_limit_cores": row.effective_limit_cores,
        "limit_cores": None if row.limits is None else row.limits.limit_cores,
        "throttled_ratio": None if row.window is None else row.window.ratio,
        "usage_cores": use(row),
    }
