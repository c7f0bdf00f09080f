"""The findings about limits that are not what the pod's spec asks for: changed, not enforced, or absent."""

from __future__ import annotations

from exporter.analysis import text, thresholds
from exporter.analysis.advice import Advice, set_limit, set_request
from exporter.analysis.findings.finding import Finding, finding
from exporter.analysis.ledger import Ledger, known
from exporter.analysis.nodeview import NodeView
from exporter.model import CgroupRow

_AGENTS = (
    "Look first at the configuration of koordlet (CPUBurst, CPU normalization) and crane, which rewrite quotas on "
    "purpose. Else find what rewrote it (systemctl daemon-reload, a resize that failed, an edit by hand)"
)


def limit_drift(_view: NodeView, row: CgroupRow, _ledger: Ledger | None) -> Finding | None:
    """The cgroup's limit is not what the pod's spec asks for."""
    limits, spec = row.limits, row.container_spec
    if row.limit_drift is not True or limits is None or spec is None:
        return None
    actual, wanted = limits.limit_cores, spec.limit_cores
    inherited = None if row.pod_spec is None else row.pod_spec.limit_cores
    has = "its cgroup has none" if actual is None else f"its cgroup has {text.limit(actual)}"
    reason = "missing" if actual is None else "different" if wanted or inherited else "unexpected"
    asks = "no limit" if not wanted else f"a limit of {text.limit(wanted)}"
    if not wanted and inherited:
        asks = f"no limit of its own under its pod's {text.limit(inherited)}"
    if reason == "unexpected":
        sentence = (
            "Find who set it: koordinator's Batch pods ask for CPU as kubernetes.io/batch-cpu and other resource names "
            "instead of cpu; their agent (koordlet) writes the quota, and so does crane."
        )
        commands: list[str] = []
    else:
        sentence = f"{_AGENTS}, and set the limit again."
        commands = set_limit(row, wanted)[-1:] if wanted else []
    return finding(
        "limit_drift",
        row,
        summary=f"Its spec asks for {asks}, and {has}.",
        advice=Advice(sentence, commands),
        reason=reason,
        evidence={
            "limit_cores": actual,
            "spec_limit_cores": wanted,
            "allocated_limit_cores": spec.allocated_limit_cores,
            "pod_spec_limit_cores": inherited,
            "period_seconds": limits.period_seconds,
        },
    )


def limit_not_enforced(view: NodeView, row: CgroupRow, ledger: Ledger | None) -> Finding | None:
    """The spec sets a limit, and nothing enforces it."""
    limits, spec = row.limits, row.container_spec
    wanted = None if spec is None else spec.limit_cores
    used = None if ledger is None else known(ledger.used)
    if limits is None:
        return None
    if limits.limit_cores is not None:
        return _real_time(row, limits.limit_cores, used, ledger)
    if not wanted or row.isolation == "exclusive":
        return None
    effective = row.effective_limit_cores
    kubelet = view.node.kubelet
    if limits.quota_state == "unsupported":
        has_controller = limits.weight is not None or limits.shares is not None
        reason = "no_cfs_bandwidth" if has_controller else "no_cpu_controller"
    elif kubelet is not None and kubelet.cpu_cfs_quota is False:
        reason = "kubelet"
    else:
        return None
    if effective is not None and effective <= wanted * (1 + thresholds.DRIFT_RATIO):
        return None  # a quota above it, or the number of its CPUs, enforces it all the same
    cause, sentence = _NOT_ENFORCED[reason]
    cpus = None if row.cpuset is None else len(row.cpuset.cpus)
    bound = (
        ""
        if effective is None or effective == cpus
        else f"; a quota above it still holds it to {text.limit(effective)}"
    )
    return finding(
        "limit_not_enforced",
        row,
        summary=f"Its limit of {text.limit(wanted)} is not enforced: {cause}{bound}.",
        advice=sentence,
        reason=reason,
        evidence={"spec_limit_cores": wanted, "effective_limit_cores": effective, "usage_cores": used},
        severity="info" if reason == "kubelet" else "warning",
        impact=max(0.0, (used or 0.0) - wanted),
    )


_NOT_ENFORCED = {
    "kubelet": (
        "this node's kubelet runs with cpuCFSQuota false",
        "Nothing to do if that is on purpose; containers here are held back by their requests alone.",
    ),
    "no_cfs_bandwidth": (
        "this kernel has no CFS bandwidth control (CONFIG_CFS_BANDWIDTH)",
        "Run the node on a kernel with CONFIG_CFS_BANDWIDTH, or live with requests alone.",
    ),
    "no_cpu_controller": (
        "its cgroup has no cpu controller",
        "Enable the controller for the cgroups above it (cgroup.subtree_control; the kubelet does when it starts).",
    ),
}


def _real_time(row: CgroupRow, limit: float, used: float | None, ledger: Ledger | None) -> Finding | None:
    """Real-time threads are not bound by the quota (``sched_rt_runtime_us`` alone bounds them)."""
    burst = 0.0 if row.limits is None or ledger is None else (row.limits.burst_seconds or 0.0) / ledger.seconds
    if used is None or ledger is None or ledger.seconds < thresholds.MIN_OVER_LIMIT_SECONDS:
        return None
    if used < thresholds.OVER_LIMIT * (limit + burst) + thresholds.MIN_USE:
        return None
    return finding(
        "limit_not_enforced",
        row,
        summary=f"It used {text.cpus(used)} under a limit of {text.limit(limit)}: the limit does not bind real-time "
        "threads (SCHED_FIFO, SCHED_RR).",
        advice=Advice(
            "Give its real-time threads a normal policy, or pin it (Guaranteed, whole CPUs, static CPU manager). The "
            "command, on the node, lists real-time threads.",
            ["ps -eLo pid,tid,cls,rtprio,comm | grep -E ' (FF|RR) '"],
        ),
        reason="real_time",
        evidence={"limit_cores": limit, "usage_cores": used, "window_seconds": ledger.seconds},
        impact=used - limit,
    )


def no_quota(view: NodeView, row: CgroupRow, ledger: Ledger | None) -> Finding | None:
    """It has no limit, and fills CPUs that others share."""
    limits, spec = row.limits, row.container_spec
    if limits is None or limits.quota_state != "none" or row.isolation == "exclusive" or spec is None or ledger is None:
        return None
    used, cpus = known(ledger.used), 0 if row.cpuset is None else len(row.cpuset.cpus)
    if used is None or not cpus or row.effective_limit_cores != float(cpus):
        return None
    request = spec.request_cores or 0.0
    if used < thresholds.UNBOUNDED_SHARE * cpus or used <= request or len(view.neighbours(row) or ()) < 2:
        return None
    asked = f"a request of {text.limit(request)}" if request else "no request"
    return finding(
        "no_quota",
        row,
        summary=f"It uses {text.cpus(used)} of the {cpus} it shares with others, without a limit and with {asked}.",
        advice=Advice(
            "Give it a request that fits its use, so that the scheduler leaves room for it, or a limit.",
            set_request(row, used),
        ),
        reason="unbounded",
        evidence={"usage_cores": used, "cpuset_cpus": cpus, "spec_request_cores": spec.request_cores},
        severity="info",
        impact=used - request,
    )
