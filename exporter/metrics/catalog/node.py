"""Rows of the node itself."""

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
        kind="info",
        of=("node",),
        collector=None,
        help="The node's cgroup version and the kubelet's cgroup driver as the paths show it.",
        source="the tree under --path.cgroup",
        label_names=("version", "driver"),
        label_values=lambda node: (node.hierarchy, node.driver or ""),
        value=always,
    ),
    Metric(
        name="kernel_info",
        kind="info",
        of=("node",),
        collector=None,
        help="Kernel release, and whether it throttles far below the limit (512ac999d275 without de53fd7aedb1).",
        source="/proc/sys/kernel/osrelease",
        label_names=("release", "cfs_quota_bug"),
        label_values=lambda node: (node.kernel_release or "", node.cfs_quota_bug),
        value=lambda node: 1.0 if node.kernel_release else None,
    ),
    Metric(
        name="cpu_manager_info",
        kind="info",
        of=("node",),
        collector=None,
        help="The kubelet's CPU manager, topology manager and CFS quota settings.",
        source="kubelet /configz",
        label_names=("policy", "policy_options", "topology_policy", "topology_scope", "cfs_quota"),
        label_values=_cpu_manager_labels,
        value=lambda node: 1.0 if node.kubelet else None,
    ),
    Metric(
        name="cpu_cfs_period_seconds",
        kind="gauge",
        of=("node",),
        collector=None,
        help="CFS period the kubelet sets for limits (cpuCFSQuotaPeriod).",
        source="kubelet /configz",
        value=lambda node: node.kubelet.cpu_cfs_quota_period_seconds if node.kubelet else None,
    ),
)

POOL_METRICS: tuple[PoolMetric, ...] = (
    Metric(
        name="cpus",
        kind="gauge",
        of=("pool",),
        collector=None,
        help="Number of CPUs: online, owned by one container alone, shared by all others, reserved by the kubelet.",
        source="/sys/devices/system/cpu/online, cpuset.cpus.effective, kubelet /configz reservedSystemCPUs",
        value=lambda pool: pool.cpus,
        why_here="PromQL cannot expand CPU lists.",
    ),
)

CPU_METRICS: tuple[CpuMetric, ...] = (
    Metric(
        name="cpu_assignment",
        kind="gauge",
        of=("cpu",),
        collector="cpuset",
        help="1 for each online CPU, with the container it belongs to alone; without names in the shared pool.",
        source="cpuset.cpus.effective (v2), cpuset.effective_cpus (v1), sysfs node*/cpulist",
        value=always,
        why_here="PromQL cannot expand CPU lists.",
    ),
)
