"""Catalogue of all metrics of containers, pods and the node. To add a metric, add a row.

The renderer, ``docs/metrics.md``, the golden pages and the checks of dashboards and alerts read it; metric names are
spelled nowhere else in Python. No I/O, no clock, no prometheus_client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from exporter.identities import KubeletConfig
from exporter.metrics.catalog.cgroups import CONFIG_METRICS, COUNTER_METRICS
from exporter.metrics.metric import CgroupMetric, Family, Labels, Metric, RowType
from exporter.model import CgroupRow, NodeRow


def _kubelet_label(label: Callable[[KubeletConfig], str | None]) -> Callable[[NodeRow], str | None]:
    return lambda node: None if node.kubelet is None else label(node.kubelet) or ""


def _policy_options(kubelet: KubeletConfig) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((kubelet.cpu_manager_policy_options or {}).items()))


NODE_METRICS: tuple[Metric[NodeRow], ...] = (
    Metric(
        "info",
        "Cgroup version of the node, and the kubelet's cgroup driver as cgroup paths show it.",
        "the tree under --path.cgroup",
        labels={"version": lambda node: node.hierarchy, "driver": lambda node: node.driver or ""},
        row_types=("node",),
    ),
    Metric(
        "kernel_info",
        "Kernel release, and whether it throttles below the limit (512ac999d275 without de53fd7aedb1).",
        "/proc/sys/kernel/osrelease",
        labels={"release": lambda node: node.kernel_release or None, "cfs_quota_bug": lambda node: node.cfs_quota_bug},
        row_types=("node",),
    ),
    Metric(
        "cpu_manager_info",
        "CPU manager, topology manager and CFS quota settings of the kubelet.",
        "kubelet /configz",
        labels={
            "policy": _kubelet_label(lambda kubelet: kubelet.cpu_manager_policy),
            "policy_options": _kubelet_label(_policy_options),
            "topology_policy": _kubelet_label(lambda kubelet: kubelet.topology_manager_policy),
            "topology_scope": _kubelet_label(lambda kubelet: kubelet.topology_manager_scope),
            "cfs_quota": _kubelet_label(
                lambda kubelet: {True: "true", False: "false", None: ""}[kubelet.cpu_cfs_quota]
            ),
        },
        row_types=("node",),
    ),
    Metric(
        "cpu_cfs_period_seconds",
        "CFS period that the kubelet sets for limits (cpuCFSQuotaPeriod).",
        "kubelet /configz",
        lambda node: node.kubelet.cpu_cfs_quota_period_seconds if node.kubelet else None,
        row_types=("node",),
    ),
)
POOL_METRICS: tuple[Metric[tuple[str, int]], ...] = (
    Metric(
        "cpus",
        "Number of CPUs by state: online, exclusive to a container, shared, or reserved by the kubelet.",
        "/sys/devices/system/cpu/online, cpuset.cpus.effective, kubelet /configz reservedSystemCPUs",
        lambda pool: pool[1],
        row_types=("pool",),
        rationale="PromQL cannot expand CPU lists.",
    ),
)
CPU_METRICS: tuple[Metric[Labels], ...] = (
    Metric(
        "cpu_assignment",
        "1 for each online CPU, labelled with its exclusive container; empty labels for a shared CPU.",
        "cpuset.cpus.effective (v2), cpuset.effective_cpus (v1), sysfs node*/cpulist",
        row_types=("cpu",),
        collector="cpuset",
        rationale="PromQL cannot expand CPU lists.",
    ),
)
CATALOG: tuple[Metric[Any], ...] = (*COUNTER_METRICS, *CONFIG_METRICS, *NODE_METRICS, *POOL_METRICS, *CPU_METRICS)
PREFIXES: Mapping[RowType, str] = {
    "container": "cgroup_container_",
    "pod": "cgroup_pod_",
    "node": "cgroup_node_",
    "pool": "cgroup_node_",
    "cpu": "cgroup_node_",
}


def _families(metrics: tuple[Metric[Any], ...], prefixes: Mapping[RowType, str]) -> tuple[Family, ...]:
    return tuple(
        # A recommendation is learned from counters, and moves with them.
        Family(prefix + metric.name, row_type, metric, metric in CONFIG_METRICS and metric.collector != "recommend")
        for row_type, prefix in prefixes.items()
        for metric in metrics
        if row_type in metric.row_types
    )


FAMILIES: tuple[Family, ...] = _families(CATALOG, PREFIXES)
"""All families of the page, in page order."""


def _quota_us(row: CgroupRow) -> float | None:
    limits = row.limits
    if limits is None or limits.limit_cores is None or limits.period_seconds is None:
        return None
    return round(limits.limit_cores * limits.period_seconds * 1_000_000)


def _period_us(row: CgroupRow) -> float | None:
    return round(row.limits.period_seconds * 1_000_000) if row.limits and row.limits.period_seconds else None


def _shares(row: CgroupRow) -> float | None:
    """Return v1's shares, or v2's weight as cAdvisor converts it (``convertCPUWeightToCPULimit``): linear.

    kubelet and runtimes convert shares to weights differently, so that this need not be what the pod asked for.
    """
    if row.limits is None or not row.limits.weight:
        return row.limits.shares if row.limits else None
    return 2 + (row.limits.weight - 1) * 262_142 // 9_999


def _cadvisor(ours: str, name: str, text: str, **changes: Any) -> CgroupMetric:
    """Return our metric ``ours`` under cAdvisor's name and HELP text."""
    [metric] = [one for one in (*COUNTER_METRICS, *CONFIG_METRICS) if one.name == ours]
    return replace(metric, name=name, help=text, row_types=("cadvisor",), collector=None, **changes)


_CFS = (
    ("periods_total", "Number of elapsed enforcement period intervals."),
    ("throttled_periods_total", "Number of throttled period intervals."),
    ("throttled_seconds_total", "Total time duration the container has been throttled."),
)
_USAGE, _TOTAL = "Cumulative cpu time consumed in seconds.", {"cpu": lambda _row: "total"}
# Kubelets may leave these out (KEP-2371 lists them as optional) and charts drop them. cAdvisor serves no CFS series
# without a quota, and neither do these.
CADVISOR_FAMILIES: tuple[Family, ...] = _families(
    (
        *(_cadvisor(f"cpu_{name}", f"cpu_cfs_{name}", text) for name, text in _CFS),
        _cadvisor("cpu_usage_seconds_total", "cpu_usage_seconds_total", _USAGE, labels=_TOTAL),
        _cadvisor("cpu_limit_cores", "spec_cpu_quota", "CPU quota of the container.", value=_quota_us),
        _cadvisor("cpu_period_seconds", "spec_cpu_period", "CPU period of the container.", value=_period_us),
        _cadvisor("cpu_shares", "spec_cpu_shares", "CPU share of the container.", value=_shares),
    ),
    {"cadvisor": "container_"},
)
"""Families that ``--web.cadvisor-names`` adds, for dashboards and alerts that exist already."""
