"""Findings about CPUs of one's own: not given, given with a quota, far apart."""

from __future__ import annotations

from collections import Counter

from exporter.analysis import text, thresholds
from exporter.analysis.findings.container import ContainerView
from exporter.analysis.findings.finding import Evidence, Finding, finding
from exporter.analysis.nodeview import grouped
from exporter.cpulist import format_cpu_list

_RECONCILE_SECONDS = 10.0
"""The kubelet's default ``cpuManagerReconcilePeriod``: so late it may set a cpuset."""


def eligible_not_pinned(view: ContainerView) -> Finding | None:
    """Guaranteed, and its owner may believe that it has cores of its own."""
    if view.row.ref.qos_class != "Guaranteed" or not view.cpus or view.spec is None:
        return None
    request = view.spec.limit_cores if view.spec.request_cores is None else view.spec.request_cores
    if request is None or (reason := _why_not_pinned(view, request)) is None:
        return None
    evidence: Evidence = {
        "request_cores": request,
        **view.evidence("cpuset_cpus", "cpus"),
        "cpu_manager_policy": view.of_node.cpu_manager_policy,
    }
    read, unread = (None, "") if view.node.checkpoint is None else ("", None)
    return finding(
        "eligible_not_pinned", view.row, evidence, reason=reason, impact=request, if_read=read, if_unread=unread
    )


def _why_not_pinned(view: ContainerView, request: float) -> str | None:
    row, kubelet, policy = view.row, view.node.kubelet, view.of_node.cpu_manager_policy
    has_pod_limit = row.pod_spec is not None and row.pod_spec.limit_cores is not None
    if row.isolation == "eligible":
        if policy == "none":
            return "policy_none"
        if has_pod_limit:
            return "pod_level"
        # The kubelet narrows the cpuset just after the start, or when it next reconciles.
        reconcile = (kubelet and kubelet.cpu_manager_reconcile_seconds) or _RECONCILE_SECONDS
        if row.deltas is None or not row.deltas.seconds >= reconcile:
            return None
        if view.checkpointed is not None:
            return "cpuset_changed"
        if policy is None:
            return ""
        return "lost" if row.identity is not None and row.identity.restart_count else "before_policy"
    if row.isolation != "shared" or policy != "static" or row.qos_class != "Guaranteed":
        return None
    is_fraction = request >= thresholds.OVER_ASKED and request != int(request)
    return "request_not_whole" if is_fraction and row.pod_spec is not None and not has_pod_limit else None


def pinned_but_limited(view: ContainerView) -> Finding | None:
    """CPUs of its own, and still a quota on them."""
    window = view.row.window
    if view.row.isolation != "exclusive" or not view.cpus or view.limits.limit_cores is None:
        return None
    is_throttled = window is not None and window.throttled_periods >= thresholds.MIN_THROTTLED_PERIODS
    return finding(
        "pinned_but_limited",
        view.row,
        {
            **view.evidence("limit_cores", "cpuset_cpus", "periods", "throttled_periods", "throttled_ratio"),
            **view.evidence("throttled_seconds_per_second"),
        },
        reason="throttled" if is_throttled else "not_throttled",
        impact=0.0 if window is None else window.ratio,
        own=format_cpu_list(view.cpus),
    )


def numa_spread(view: ContainerView) -> Finding | None:
    """Its CPUs lie on several NUMA nodes."""
    nodes, kubelet, cpus = view.row.numa_nodes, view.node.kubelet, view.cpus
    options = (kubelet and kubelet.cpu_manager_policy_options) or {}
    if view.row.isolation != "exclusive" or not cpus or nodes is None or nodes < 2:
        return None
    if options.get("distribute-cpus-across-numa") == "true":
        return None
    parts = grouped((node, cpu) for cpu, node in view.node.numa_node.items() if cpu in cpus)
    lists = {node: format_cpu_list(own) for node, own in sorted(parts.items())}
    largest = max(Counter(view.node.numa_node.values()).values(), default=None)
    return finding(
        "numa_spread",
        view.row,
        {
            "numa_nodes": nodes,
            **view.evidence("cpuset_cpus", "cpus"),
            "largest_numa_node_cpus": largest,
            "topology_manager_policy": None if kubelet is None else kubelet.topology_manager_policy,
        },
        reason="fits_one_node" if len(cpus) <= (largest or 0) else "larger_than_a_node",
        impact=float(nodes),
        where=text.listing(f"{text.numbered(own)} on node {node}" for node, own in lists.items()),
    )
