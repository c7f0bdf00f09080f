"""The snapshot's node as a document: its CPUs, who owns them, and how they are managed."""

from __future__ import annotations

from exporter.cpulist import cpu_list, format_cpu_list
from exporter.errors import ParseError
from exporter.model import CgroupName, CpuManagerState, NodeRow
from exporter.report import schema
from exporter.report.numbers import per_second, rounded


def node_document(row: NodeRow, name: str, findings: list[schema.Finding]) -> schema.Node:
    """``row`` of a detailed snapshot under the node's name."""
    return schema.Node(
        name=name,
        hierarchy=row.hierarchy,
        driver=row.driver,
        kernel_release=row.kernel_release,
        cfs_quota_bug=row.cfs_quota_bug,
        cpu_manager=_cpu_manager(row),
        checkpoint=None if row.checkpoint is None else _checkpoint(row.checkpoint),
        cpus=_cpus(row),
        overlaps=[
            schema.Overlap(
                owner=name_document(overlap.owner),
                other=name_document(overlap.other),
                cpus=format_cpu_list(overlap.cpus),
                seconds=rounded(overlap.seconds),
            )
            for overlap in row.overlaps
        ],
        findings=findings,
    )


def name_document(name: CgroupName) -> schema.Name:
    """A container's name."""
    return schema.Name(namespace=name.namespace, pod=name.pod, container=name.container)


def _cpus(row: NodeRow) -> list[schema.Cpu]:
    reserved = _reserved(row)
    return [_cpu(row, cpu, reserved) for cpu in sorted(row.online_cpus or ())]


def _cpu(row: NodeRow, cpu: int, reserved: frozenset[int] | None) -> schema.Cpu:
    owner, times = row.owners.get(cpu), row.cpu_times.get(cpu)
    return schema.Cpu(
        cpu=cpu,
        numa_node=row.numa_node.get(cpu),
        state=None if row.shared_cpus is None else "shared" if owner is None else "exclusive",
        reserved=None if reserved is None else cpu in reserved,
        owner=None if owner is None else name_document(owner),
        busy_share=None if times is None else per_second(times.busy_seconds, times.seconds),
        steal_share=None if times is None else per_second(times.steal_seconds, times.seconds),
        irq_share=None if times is None else per_second(times.irq_seconds, times.seconds),
    )


def _reserved(row: NodeRow) -> frozenset[int] | None:
    if row.kubelet is None or row.kubelet.reserved_system_cpus is None:
        return None
    try:
        return cpu_list(row.kubelet.reserved_system_cpus, "reservedSystemCPUs")
    except ParseError:  # the kubelet would not have started with it
        return None


def _cpu_manager(row: NodeRow) -> schema.CpuManager | None:
    kubelet = row.kubelet
    if kubelet is None:
        return None
    options = kubelet.cpu_manager_policy_options
    return schema.CpuManager(
        policy=kubelet.cpu_manager_policy,
        policy_options=None if options is None else dict(options),
        topology_policy=kubelet.topology_manager_policy,
        topology_scope=kubelet.topology_manager_scope,
        cfs_quota=kubelet.cpu_cfs_quota,
        cfs_period_seconds=kubelet.cpu_cfs_quota_period_seconds,
        reserved_cpus=kubelet.reserved_system_cpus,
    )


def _checkpoint(state: CpuManagerState) -> schema.Checkpoint:
    return schema.Checkpoint(
        policy=state.policy, default_cpus=format_cpu_list(state.default_cpus), containers=len(state.entries)
    )
