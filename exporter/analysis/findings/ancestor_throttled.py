"""The findings about quotas that the container's own ``cpu.stat`` does not show: above it, and inside it."""

from __future__ import annotations

from exporter.analysis import text, thresholds
from exporter.analysis.advice import Advice, set_pod_limit
from exporter.analysis.findings.finding import Evidence, Finding, finding
from exporter.analysis.findings.throttled import Throttling, throttling
from exporter.analysis.ledger import Ledger, known
from exporter.analysis.nodeview import NodeView, rate, use
from exporter.analysis.recommend import rounded_up
from exporter.model import CgroupRow


def ancestor_throttled(view: NodeView, row: CgroupRow, ledger: Ledger | None) -> Finding | None:
    """The pod's quota, or one above it, is used up."""
    if ledger is None:
        return None
    lost, above = known(ledger.above.lost), ledger.above
    if lost is None or lost < thresholds.ANCESTOR_LOST:
        return None
    pod = view.pod_of(row)
    found = None if pod is None else throttling(pod.window, pod.limits, _lost(pod))
    if not above.exact and not _is_stopped(row, pod, ledger, found):
        return None
    upto, where = "" if above.exact else "up to ", _where(ledger)
    shared = ""
    if above.source == "pod" and (others := view.containers_of_pod.get(row.ref.pod_path, 1) - 1) > 0:
        shared = f", which it shares with {text.count(others, 'container')},"
    numbers = _numbers(pod) if above.source == "pod" else ""
    return finding(
        "ancestor_throttled",
        row,
        summary=f"The quota of {where}{numbers}{shared} stopped it for {upto}{text.amount(lost)} s per second, summed "
        f"over CPUs{_own(row)}.",
        advice=_advice(view, row, pod, ledger),
        reason=above.source,
        evidence=_evidence(row, pod, ledger),
        severity="warning" if found is None or above.source != "pod" else found.severity,
        impact=min(1.0, lost),
    )


def _lost(pod: CgroupRow) -> float | None:
    return None if pod.deltas is None else rate(pod.deltas.throttled_seconds, pod.deltas)


def _where(ledger: Ledger) -> str:
    if ledger.above.source == "pod":
        return "its pod"
    return f"the cgroup {ledger.above.path}" if ledger.above.path else "a cgroup above it"


def _is_stopped(row: CgroupRow, pod: CgroupRow | None, ledger: Ledger, found: Throttling | None) -> bool:
    """Whether a cgroup above that is out of quota stopped this container: its own file does not say which."""
    used = known(ledger.used)
    if used is None or used < thresholds.MIN_USE:
        return False
    if ledger.above.source != "pod" or pod is None:
        return True
    of_pod = use(pod)
    if found is None or of_pod is None or used < thresholds.ANCESTOR_USE * of_pod:
        return False
    # The kubelet gives a pod the sum of its containers' limits: alone in it, both run out in the same periods.
    own, above = row.limits, pod.limits
    if own is None or own.limit_cores is None or above is None or above.limit_cores is None:
        return True
    if row.window is None or pod.window is None:
        return True
    tighter = own.limit_cores <= above.limit_cores * (1 + thresholds.DRIFT_RATIO)
    return not (tighter and row.window.ratio >= pod.window.ratio)


def _advice(view: NodeView, row: CgroupRow, pod: CgroupRow | None, ledger: Ledger) -> Advice:
    path = ledger.above.path
    if ledger.above.source == "pod" and pod is not None and pod.limits is not None and pod.limits.limit_cores:
        wanted = min(2 * pod.limits.limit_cores, float(len(view.node.online_cpus or ())) or 2 * pod.limits.limit_cores)
        return Advice(
            f"Raise the pod's own limit to {text.limit(rounded_up(wanted))}, or the limits of its containers "
            "whose sum it is, and look again after a minute; watch which container of the pod uses most.",
            set_pod_limit(row, wanted),
        )
    of = f" on {path}" if path else ""
    return Advice(
        f"Find who set the quota{of}: Kubernetes sets none above its pods. Compare cpu.max (v1: cpu.cfs_quota_us) of "
        "each directory from the pod up to the root.",
        [f"systemctl set-property --runtime {path.rpartition('/')[2]} CPUQuota="] if path.endswith(".slice") else [],
    )


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


def _evidence(row: CgroupRow, pod: CgroupRow | None, ledger: Ledger) -> Evidence:
    window = None if pod is None else pod.window
    return {
        f"ancestor_lost{'' if ledger.above.exact else '_at_most'}_seconds_per_second": known(ledger.above.lost),
        "ancestor": ledger.above.path if ledger.above.source == "above_pod" and ledger.above.path else None,
        "pod_limit_cores": None if pod is None or pod.limits is None else pod.limits.limit_cores,
        "pod_periods": None if window is None else window.periods,
        "pod_throttled_periods": None if window is None else window.throttled_periods,
        "pod_throttled_ratio": None if window is None else window.ratio,
        "pod_usage_cores": None if pod is None else use(pod),
        "effective_limit_cores": row.effective_limit_cores,
        "limit_cores": None if row.limits is None else row.limits.limit_cores,
        "throttled_ratio": None if row.window is None else row.window.ratio,
        "usage_cores": known(ledger.used),
    }


def nested_throttled(_view: NodeView, row: CgroupRow, ledger: Ledger | None) -> Finding | None:
    """A quota inside the container is used up."""
    lost = None if ledger is None else known(ledger.inside)
    if ledger is None or lost is None or lost < thresholds.ANCESTOR_LOST:
        return None
    return finding(
        "nested_throttled",
        row,
        summary=f"A quota inside the container, of a cgroup below its own, stopped its tasks for {text.amount(lost)} s "
        "per second, summed over CPUs; neither its own limit nor its neighbours did.",
        advice=Advice(
            "Raise or remove the limit where it is set: docker or podman (--cpus), systemd (CPUQuota=) or a nested "
            "Kubernetes in the container. The command, on the node, lists the throttled cgroups.",
            [f"find /sys/fs/cgroup/{{,cpu/}}{row.ref.path}/ -mindepth 2 -name cpu.stat -exec grep -H throttled {{}} +"],
        ),
        evidence={
            "nested_lost_seconds_per_second": lost,
            "usage_cores": known(ledger.used),
            "limit_cores": None if row.limits is None else row.limits.limit_cores,
            "throttled_time_share": known(ledger.throttled_time_share),
        },
        impact=min(1.0, lost),
    )
