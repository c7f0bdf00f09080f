"""Metrics of the node: cgroup version, kernel, kubelet configuration, CPUs."""

from __future__ import annotations

from exporter.metrics.metric import CpuMetric, Metric, NodeMetric, PoolMetric, always
from exporter.model import NodeRow


def _cpu_manager_labels(node: NodeRow) -> tuple[str, ...]:
    kubelet = node.kubelet
    if kubelet is None:
        return ("", "", "", "", "")
    options = kubelet.cpu_manager_policy_options or {}
    return (
        kubelet.cpu_manager_policy or "",
        ",".join(f"{key}={value}" for key, value in sorted(options.items())),
        kubelet.topology_manager_policy or "",
        kubelet.topology_manager_scope or "",
        {True: "true", False: "false", None: ""}[kubelet.cpu_cfs_quota],
    )


NODE_METRICS: tuple[NodeMetric, ...] = (
    Metric(
        name="info",
        row_types=("node",),
        help="Cgroup version of the node, and the kubelet's cgroup driver as cgroup paths show it.",
        source="the tree under --path.cgroup",
        label_names=("version", "driver"),
        label_values=lambda node: (node.hierarchy, node.driver or ""),
        value=always,
    ),
    Metric(
        name="kernel_info",
        row_types=("node",),
        help="Kernel release, and whether it throttles below the limit (512ac999d275 without de53fd7aedb1).",
        source="/proc/sys/kernel/osrelease",
        label_names=("release", "cfs_quota_bug"),
        label_values=lambda node: (node.kernel_release or "", node.cfs_quota_bug),
        value=lambda node: 1.0 if node.kernel_release else None,
    ),
    Metric(
        name="cpu_manager_info",
        row_types=("node",),
        help="CPU manager, topology manager and CFS quota settings of the kubelet.",
        source="kubelet /configz",
        label_names=("policy", "policy_options", "topology_policy", "topology_scope", "cfs_quota"),
        label_values=_cpu_manager_labels,
        value=lambda node: 1.0 if node.kubelet else None,
    ),
    Metric(
        name="cpu_cfs_period_seconds",
        row_types=("node",),
        help="CFS period that the kubelet sets for limits (cpuCFSQuotaPeriod).",
        source="kubelet /configz",
        value=lambda node: node.kubelet.cpu_cfs_quota_period_seconds if node.kubelet else None,
    ),
)

POOL_METRICS: tuple[PoolMetric, ...] = (
    Metric(
        name="cpus",
        row_types=("pool",),
        help="Number of CPUs by state: online, exclusive to a container, shared, or reserved by the kubelet.",
        source="/sys/devices/system/cpu/online, cpuset.cpus.effective, kubelet /configz reservedSystemCPUs",
        value=lambda pool: pool.cpus,
        rationale="PromQL cannot expand CPU lists.",
    ),
)

CPU_METRICS: tuple[CpuMetric, ...] = (
    Metric(
        name="cpu_assignment",
        row_types=("cpu",),
        collector="cpuset",
        help="1 for each online CPU, labelled with its exclusive container; empty labels for a shared CPU.",
        source="cpuset.cpus.effective (v2), cpuset.effective_cpus (v1), sysfs node*/cpulist",
        value=always,
        rationale="PromQL cannot expand CPU lists.",
    ),
)
