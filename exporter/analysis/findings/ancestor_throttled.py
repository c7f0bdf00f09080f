"""The findings about quotas that the container's own ``cpu.stat`` does not show: above it, and inside it."""

from __future__ import annotations

from exporter.analysis import thresholds
from exporter.analysis.advice import set_pod_limit
from exporter.analysis.findings.container import ContainerView, throttling
from exporter.analysis.findings.finding import Evidence, Finding, finding
from exporter.analysis.nodeview import rate, use
from exporter.analysis.recommend import rounded_up
from exporter.model import CgroupRow


def ancestor_throttled(view: ContainerView) -> Finding | None:
    """The pod's quota, or one above it, is used up."""
    ledger, pod = view.ledger, view.pod
    lost, source, path = ledger.quota_above, ledger.above_source, ledger.above_path
    if lost is None or lost < thresholds.ANCESTOR_LOST:
        return None
    of_pod = None if pod is None or pod.deltas is None else rate(pod.deltas.throttled_seconds, pod.deltas)
    found = None if pod is None else throttling(pod.window, pod.limits, of_pod)
    if not ledger.quota_above_is_exact and not _is_stopped(view, pod if found is not None else None):
        return None
    limit = None if pod is None or pod.limits is None else pod.limits.limit_cores
    wanted = min(2 * limit, float(len(view.node.online_cpus or ())) or 2 * limit) if limit else None
    window = None if pod is None else pod.window
    at_most = "" if ledger.quota_above_is_exact else "_at_most"
    evidence: Evidence = {
        f"ancestor_lost{at_most}_seconds_per_second": lost,
        "ancestor": path if path and source == "above_pod" else None,
        "pod_limit_cores": limit,
        "pod_periods": None if window is None else window.periods,
        "pod_throttled_periods": None if window is None else window.throttled_periods,
        "pod_throttled_ratio": None if window is None else window.ratio,
        "pod_usage_cores": None if pod is None else use(pod.deltas),
        **view.evidence("effective_limit_cores", "limit_cores", "throttled_ratio", "usage_cores"),
    }
    return finding(
        "ancestor_throttled",
        view.row,
        evidence,
        reason=source,
        severity=found.severity if found is not None and source == "pod" else "warning",
        impact=min(1.0, lost),
        commands=set_pod_limit(view.row, wanted) if wanted and source == "pod" else (),
        lost=lost,
        up_to="up to " if at_most else None,
        cgroup=f"the cgroup {path}" if path else "a cgroup above it",
        slice=path.rpartition("/")[2] if path.endswith(".slice") else None,
        others=view.of_node.containers_of_pod[view.row.ref.pod_path] - 1 or None,
        wanted=wanted and rounded_up(wanted),
    )


def _is_stopped(view: ContainerView, throttled_pod: CgroupRow | None) -> bool:
    """Whether a cgroup above that is out of quota stopped this container: its own file does not say which."""
    used, own, pod = view.ledger.used, view.row.window, throttled_pod
    if used is None or used < thresholds.MIN_USE:
        return False
    if view.ledger.above_source != "pod":
        return True
    of_pod = None if pod is None else use(pod.deltas)
    if pod is None or of_pod is None or used < thresholds.ANCESTOR_USE * of_pod:
        return False
    # The kubelet gives a pod the sum of its containers' limits: alone in it, both run out in the same periods.
    limit, above = view.limits.limit_cores, None if pod.limits is None else pod.limits.limit_cores
    if limit is None or above is None or own is None or pod.window is None:
        return True
    return limit > above * (1 + thresholds.DRIFT_RATIO) or own.ratio < pod.window.ratio


def nested_throttled(view: ContainerView) -> Finding | None:
    """A quota inside the container is used up."""
    lost = view.ledger.quota_inside
    if lost is None or lost < thresholds.ANCESTOR_LOST:
        return None
    numbers = view.evidence("usage_cores", "limit_cores", "throttled_time_share")
    evidence = {"nested_lost_seconds_per_second": lost, **numbers}
    return finding("nested_throttled", view.row, evidence, impact=min(1.0, lost), path=view.row.ref.path)
