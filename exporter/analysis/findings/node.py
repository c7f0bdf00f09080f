"""Findings about the node: full or stolen CPUs, a kernel with the quota bug, a checkpoint of another policy."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.analysis import thresholds
from exporter.analysis.findings.finding import ContainerView, Evidence, Finding, finding
from exporter.analysis.ledger import NO_WAITING
from exporter.analysis.nodeview import NodeView
from exporter.cpulist import format_cpu_list


def cpu_steal(view: NodeView, _containers: Sequence[ContainerView]) -> Finding | None:
    """The hypervisor gives the node's CPUs to others."""
    found = view.busy(view.node.cpu_times)
    if found is None or found.steal < thresholds.STEAL_SHARE * found.cpus:
        return None
    share = found.steal / found.cpus
    steal = {cpu: times.steal_seconds / times.seconds for cpu, times in view.node.cpu_times.items()}
    worst = max(steal, key=lambda cpu: steal[cpu])
    return finding(
        "cpu_steal",
        None,
        {
            "steal_cores": found.steal,
            "steal_share": share,
            "online_cpus": found.cpus,
            "worst_cpu": worst,
            "worst_cpu_steal_share": steal[worst],
        },
        severity="critical" if share >= thresholds.CRITICAL_STEAL_SHARE else "warning",
        impact=found.steal,
    )


def kernel_bug(view: NodeView, containers: Sequence[ContainerView]) -> Finding | None:
    """The kernel throttles below the limit."""
    release = view.node.kernel_release
    if view.node.cfs_quota_bug != "affected" or release is None:
        return None
    limited = sum(one.limits.quota_state == "set" for one in containers)
    evidence: Evidence = {"kernel_release": release, "limited_containers": limited}
    return finding("kernel_bug", None, evidence, impact=float(limited), are="is" if limited == 1 else "are")


def cpu_saturated(view: NodeView, containers: Sequence[ContainerView]) -> Finding | None:
    """CPUs are full, and containers may run nowhere else."""
    busy_of = {cpu: view.busy((cpu,)) for cpu in view.node.cpu_times}
    full = {cpu for cpu, busy in busy_of.items() if busy and busy.busy + busy.steal >= thresholds.SATURATED}
    owned = view.node.owners.keys()
    bound = [one for one in containers if one.cpus and one.cpus <= full and not one.cpus <= owned]
    # A container that fills CPUs on which nothing else runs delays nothing.
    shared = [one for one in bound if not _is_alone(one)]
    unknown = sum(one.ledger.unknown.get("waited") == NO_WAITING for one in shared)
    # The findings of those who wait say more.
    if not shared or not (unknown or full >= (view.node.online_cpus or full)):
        return None
    cpus = frozenset[int]().union(*(one.cpus for one in shared))
    busy = view.busy(cpus)
    return finding(
        "cpu_saturated",
        None,
        {
            "cpus": format_cpu_list(cpus),
            "cpus_busy_cores": None if busy is None else busy.busy,
            "containers": len(shared),
            "containers_waiting_unknown": unknown,
        },
        reason="waiting_unknown" if unknown else "",
        impact=float(len(cpus)),
        commands=["sysctl -w kernel.sched_schedstats=1"] if unknown and view.node.hierarchy == "v1" else (),
        are="is" if len(cpus) == 1 else "are",
    )


def _is_alone(container: ContainerView) -> bool:
    """Whether next to nothing but this container runs on its CPUs."""
    busy = container.of_node.busy(container.cpus)
    rest, little = None if busy is None else busy.without(container.row), thresholds.NEIGHBOUR_USE * len(container.cpus)
    return rest is not None and max(rest, sum(container.neighbours.values())) < little


def policy_disagrees(view: NodeView, _containers: Sequence[ContainerView]) -> Finding | None:
    """The kubelet runs another policy than its checkpoint was written by (``cpu_manager_disagrees``)."""
    checkpoint, policy = view.node.checkpoint, view.cpu_manager_policy
    if checkpoint is None or policy == checkpoint.policy:
        return None
    return finding(
        "cpu_manager_disagrees",
        None,
        {
            "cpu_manager_policy": policy,
            "checkpoint_policy": checkpoint.policy,
            "checkpoint_containers": len(checkpoint.entries),
        },
        reason="policy",
    )
