"""The rows of the node's CPUs, from what isolation found."""

from __future__ import annotations

from exporter.cpulist import cpu_list
from exporter.errors import ParseError
from exporter.metrics.metric import Labels
from exporter.model import CpuRow, NodeRow, PoolRow


def pool_rows(node: NodeRow) -> list[PoolRow]:
    """The sizes of the node's pools, as far as they are known."""
    rows = []
    if node.online_cpus is not None:
        rows.append(PoolRow("online", len(node.online_cpus)))
    if node.shared_cpus is not None:
        rows += [PoolRow("exclusive", len(node.owners)), PoolRow("shared", len(node.shared_cpus))]
    reserved = _reserved(node)
    if reserved is not None:
        rows.append(PoolRow("reserved", reserved))
    return rows


def _reserved(node: NodeRow) -> int | None:
    spelled = node.kubelet.reserved_system_cpus if node.kubelet else None
    if not spelled:
        return None
    try:
        return len(cpu_list(spelled, "reservedSystemCPUs"))
    except ParseError:  # the kubelet would not have started with it
        return None


def cpu_rows(node: NodeRow) -> list[CpuRow]:
    """One row for each online CPU; none while nothing is known of cpusets."""
    if node.shared_cpus is None or node.online_cpus is None:
        return []
    return [CpuRow(cpu, node.numa_node.get(cpu), node.owners.get(cpu)) for cpu in sorted(node.online_cpus)]


def cpu_labels(row: CpuRow) -> Labels:
    """The label values of one CPU."""
    numa_node = "" if row.numa_node is None else str(row.numa_node)
    return (str(row.cpu), numa_node, *(row.owner or ("", "", "")))
