"""Findings about exclusive CPUs: not given, under a quota, far apart, used by others, or not in the checkpoint."""

from __future__ import annotations

from collections import Counter

from exporter.analysis import text, thresholds
from exporter.analysis.findings.finding import ContainerView, Finding
from exporter.analysis.nodeview import grouped
from exporter.cpulist import format_cpu_list

_RECONCILE_SECONDS = 10.0  # the kubelet's default ``cpuManagerReconcilePeriod``: so late it may set a cpuset
_THROTTLED = ("throttled_periods", "throttled_ratio", "throttled_seconds_per_second")


def eligible_not_pinned(view: ContainerView) -> Finding | None:
    """Guaranteed, but it runs in the shared pool, also where its request is no whole number of CPUs."""
    if view.row.ref.qos_class != "Guaranteed" or not view.cpus or view.spec is None:
        return None
    request = view.spec.limit_cores if view.spec.request_cores is None else view.spec.request_cores
    if request is None or (reason := _why_not_pinned(view, request)) is None:
        return None
    evidence = {"request_cores": request, **view.evidence("cpuset_cpus", "cpus", "cpu_manager_policy")}
    read, unread = (None, "") if view.node.checkpoint is None else ("", None)
    return view.finding("eligible_not_pinned", evidence, reason=reason, impact=request, if_read=read, if_unread=unread)


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
    """Exclusive CPUs under a quota."""
    window = view.row.window
    if view.row.isolation != "exclusive" or not view.cpus or view.limits.limit_cores is None:
        return None
    is_throttled = window is not None and window.throttled_periods >= thresholds.MIN_THROTTLED_PERIODS
    return view.finding(
        "pinned_but_limited",
        view.evidence("limit_cores", "cpuset_cpus", "periods", *_THROTTLED),
        reason="throttled" if is_throttled else "not_throttled",
        impact=0.0 if window is None else window.ratio,
        own=format_cpu_list(view.cpus),
    )


def numa_spread(view: ContainerView) -> Finding | None:
    """Exclusive CPUs on several NUMA nodes."""
    nodes, kubelet, cpus = view.row.numa_nodes, view.node.kubelet, view.cpus
    options = (kubelet and kubelet.cpu_manager_policy_options) or {}
    if view.row.isolation != "exclusive" or not cpus or nodes is None or nodes < 2:
        return None
    if options.get("distribute-cpus-across-numa") == "true":
        return None
    parts = grouped((node, cpu) for cpu, node in view.node.numa_node.items() if cpu in cpus)
    lists = {node: format_cpu_list(own) for node, own in sorted(parts.items())}
    largest = max(Counter(view.node.numa_node.values()).values(), default=None)
    return view.finding(
        "numa_spread",
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


def exclusive_cpu_shared(view: ContainerView) -> Finding | None:
    """Exclusive CPUs that are in the cpusets of other containers as well."""
    found = view.of_node.overlaps.get(view.name)
    if not found:
        return None
    names = [text.full_name(one.other) for one in found[: thresholds.MAX_NEIGHBOURS]]
    more = [f"{len(found) - len(names)} more"] if len(found) > len(names) else []
    return view.finding(
        "exclusive_cpu_shared",
        {
            "overlapping_containers": len(found),
            "overlap_seconds": max(one.seconds for one in found),
            "cpus": format_cpu_list(frozenset[int]().union(*(one.cpus for one in found))),
            **{f"other_{number}": name for number, name in enumerate(names, 1)},
        },
        impact=float(len(found)),
        others=text.listing(names + more),
    )


def exclusive_cpu_disturbed(view: ContainerView) -> Finding | None:
    """Exclusive CPUs that are busy with something else than their owner: interrupts, or processes of the host."""
    cpus = view.cpus
    if not view.row.exclusive or not cpus or cpus != set(view.of_node.owned.get(view.name, ())):
        return None
    busy = view.of_node.busy(cpus)
    own = None if busy is None else busy.at_most(view.row)
    if busy is None or own is None or (others := busy.busy - own) < thresholds.DISTURBED * len(cpus):
        return None
    return view.finding(
        "exclusive_cpu_disturbed",
        {
            **view.evidence("cpus"),
            "cpus_busy_cores": busy.busy,
            "usage_cores": own,
            "disturbance_cores": others,
            "interrupts_cores": busy.interrupts,
        },
        reason="interrupts" if busy.interrupts >= thresholds.INTERRUPT_SHARE * others else "outside",
        impact=others,
    )


def cpuset_disagrees(view: ContainerView) -> Finding | None:
    """A container's cpuset is not the one in the CPU manager's checkpoint (``cpu_manager_disagrees``).

    A container without a window is too young: the kubelet narrows its cpuset just after the start.
    """
    checkpoint, cpus, entry = view.node.checkpoint, view.cpus, view.checkpointed
    if checkpoint is None or not cpus or view.row.deltas is None or entry == cpus:
        return None
    # CRI-O's mixed CPUs: shared ones are added to its own.
    is_exclusive = view.row.isolation == "exclusive"
    if (entry is None and not is_exclusive) or (entry is not None and entry < cpus and is_exclusive):
        return None
    return view.finding(
        "cpu_manager_disagrees",
        {
            "checkpoint_cpus": None if entry is None else format_cpu_list(entry),
            **view.evidence("cpus"),
            "checkpoint_policy": checkpoint.policy if entry is None else None,
        },
        reason="not_in_checkpoint" if entry is None else "cpuset",
        impact=float(len(cpus if entry is None else entry ^ cpus)),
    )
