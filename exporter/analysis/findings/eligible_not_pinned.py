"""Findings about CPUs of one's own: not given, given with a quota, far apart."""

from __future__ import annotations

from exporter.analysis import text, thresholds
from exporter.analysis.findings.cpu_manager_disagrees import checkpointed, policy_of
from exporter.analysis.findings.finding import Finding, finding
from exporter.analysis.ledger import Ledger, known
from exporter.analysis.nodeview import NodeView
from exporter.cpulist import format_cpu_list
from exporter.model import CgroupRow


def eligible_not_pinned(view: NodeView, row: CgroupRow, _ledger: Ledger | None) -> Finding | None:
    """Guaranteed, and its owner may believe that it has cores of its own."""
    if row.ref.qos_class != "Guaranteed" or row.cpuset is None or row.container_spec is None:
        return None
    request = row.container_spec.request_cores
    request = row.container_spec.limit_cores if request is None else request
    reason = _why_not_pinned(view, row, request)
    if reason is None or request is None:
        return None
    cause, advice = _NOT_PINNED[reason]
    if reason == "before_policy" and view.node.checkpoint is None:
        cause = (
            "the policy is static, so it likely started before the policy did (the checkpoint, which would tell, "
            "could not be read)"
        )
    return finding(
        "eligible_not_pinned",
        row,
        summary=f"Guaranteed with {text.limit(request)}, yet it shares {text.numbered(row.cpuset.cpus)}: {cause}.",
        advice=advice,
        reason=reason,
        evidence={
            "request_cores": request,
            "cpuset_cpus": len(row.cpuset.cpus),
            "cpus": format_cpu_list(row.cpuset.cpus),
            "cpu_manager_policy": policy_of(view),
        },
        severity="info" if reason in {"policy_none", "request_not_whole", "pod_level"} else "warning",
        impact=request,
    )


_RECONCILE_SECONDS = 10.0
"""The kubelet's default ``cpuManagerReconcilePeriod``: so late it may set a cpuset."""
_NOT_PINNED = {
    "policy_none": (
        "the kubelet's CPU manager policy is none, which pins nobody",
        "If it needs cores of its own, run it on nodes whose kubelet has cpuManagerPolicy static; else do nothing.",
    ),
    "request_not_whole": (
        "the static CPU manager gives CPUs only for whole numbers",
        "Request and limit a whole number of CPUs if it needs cores of its own; else do nothing.",
    ),
    "pod_level": (
        "its pod sets resources for the pod as a whole, for which the static CPU manager gives no CPUs",
        "Set requests and limits of the container itself if it needs cores of its own; else do nothing.",
    ),
    "cpuset_changed": (
        "the CPU manager gave it CPUs, and its cgroup no longer says so",
        "Find out what rewrote its cpuset (systemctl daemon-reload is known for it), and restart the pod.",
    ),
    "before_policy": (
        "the policy is static, and the CPU manager has no CPUs for it: it started before the policy did",
        "Restart the pod.",
    ),
    "lost": (
        "the policy is static, and the CPU manager has no CPUs for it: it lost them at a restart or is older",
        "Restart the pod: a new one is given CPUs while enough are free.",
    ),
    "": (
        "which CPU manager policy the kubelet runs is not known",
        "Look at cpuManagerPolicy in the kubelet's configuration; with static, restart the pod.",
    ),
}


def _why_not_pinned(view: NodeView, row: CgroupRow, request: float | None) -> str | None:
    policy = policy_of(view)
    if row.isolation == "eligible":
        if policy == "none":
            return "policy_none"
        if row.pod_spec is not None and row.pod_spec.limit_cores is not None:
            return "pod_level"
        if _may_be_pinned_yet(view, row):
            return None
        if checkpointed(view, row) is not None:
            return "cpuset_changed"
        if policy is not None and row.identity is not None and row.identity.restart_count:
            return "lost"
        return "before_policy" if policy is not None else ""
    wanted_more = (
        row.isolation == "shared"
        and policy == "static"
        and request is not None
        and request >= thresholds.OVER_ASKED
        and request != int(request)
        and row.pod_spec is not None
        and row.qos_class == "Guaranteed"
        and row.pod_spec.limit_cores is None
    )
    return "request_not_whole" if wanted_more else None


def _may_be_pinned_yet(view: NodeView, row: CgroupRow) -> bool:
    """The kubelet narrows the cpuset just after the start, or when it next reconciles."""
    kubelet = view.node.kubelet
    reconcile = (kubelet and kubelet.cpu_manager_reconcile_seconds) or _RECONCILE_SECONDS
    return row.deltas is None or not row.deltas.seconds >= reconcile


def pinned_but_limited(_view: NodeView, row: CgroupRow, ledger: Ledger | None) -> Finding | None:
    """CPUs of its own, and still a quota on them."""
    limits, cpuset = row.limits, row.cpuset
    if row.isolation != "exclusive" or cpuset is None or limits is None or limits.limit_cores is None:
        return None
    window = row.window
    stopped = window is not None and window.throttled_periods >= thresholds.MIN_THROTTLED_PERIODS
    told = ""
    if window is not None and stopped:
        told = f", and was throttled in {text.percent(window.ratio)} of {window.periods} periods"
    return finding(
        "pinned_but_limited",
        row,
        summary=f"It owns {text.numbered(cpuset.cpus)} and is still under a quota of "
        f"{text.limit(limits.limit_cores)}{told}.",
        advice="Kubernetes 1.33 sets no quota where CPUs are exclusive; before it, run these nodes with cpuCFSQuota "
        "false, or live with it while nothing is throttled.",
        reason="throttled" if stopped else "not_throttled",
        evidence={
            "limit_cores": limits.limit_cores,
            "cpuset_cpus": len(cpuset.cpus),
            "periods": None if window is None else window.periods,
            "throttled_periods": None if window is None else window.throttled_periods,
            "throttled_ratio": None if window is None else window.ratio,
            "throttled_seconds_per_second": None if ledger is None else known(ledger.own_quota),
        },
        severity="warning" if stopped else "info",
        impact=0.0 if window is None else window.ratio,
    )


def numa_spread(view: NodeView, row: CgroupRow, _ledger: Ledger | None) -> Finding | None:
    """Its CPUs lie on several NUMA nodes."""
    if row.isolation != "exclusive" or row.cpuset is None or row.numa_nodes is None or row.numa_nodes < 2:
        return None
    kubelet = view.node.kubelet
    options = {} if kubelet is None else kubelet.cpu_manager_policy_options or {}
    if options.get("distribute-cpus-across-numa") == "true":
        return None
    parts: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for cpu, node in view.node.numa_node.items():
        sizes[node] = sizes.get(node, 0) + 1
        if cpu in row.cpuset.cpus:
            parts.setdefault(node, []).append(cpu)
    fits = len(row.cpuset.cpus) <= max(sizes.values(), default=0)
    where = text.listing(f"{text.numbered(frozenset(cpus))} on node {node}" for node, cpus in sorted(parts.items()))
    policy = None if kubelet is None else kubelet.topology_manager_policy
    return finding(
        "numa_spread",
        row,
        summary=f"Its {len(row.cpuset.cpus)} CPUs lie on {row.numa_nodes} NUMA nodes ({where}): part of its memory is "
        "far from part of its CPUs.",
        advice="Run these nodes with topologyManagerPolicy single-numa-node or restricted, and restart the pod."
        if fits
        else "Ask for no more CPUs than one NUMA node has, or make the program aware of the nodes.",
        reason="fits_one_node" if fits else "larger_than_a_node",
        evidence={
            "numa_nodes": row.numa_nodes,
            "cpuset_cpus": len(row.cpuset.cpus),
            "cpus": format_cpu_list(row.cpuset.cpus),
            "largest_numa_node_cpus": max(sizes.values(), default=None),
            "topology_manager_policy": policy,
        },
        severity="warning" if fits else "info",
        impact=float(row.numa_nodes),
    )
