"""Catalogue of all metrics of containers, pods and the node. To add a metric, add a row.

A row is: name, row types, collector, source; HELP; the sample's value. The renderer, ``docs/metrics.md``, the golden
pages and the checks of dashboards and alerts read it; metric names are spelled nowhere else in Python. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from exporter.cpulist import format_cpu_list
from exporter.identities import KubeletConfig
from exporter.metrics.metric import BOTH, CONTAINER, NODE, POD, CgroupMetric, Family, Metric, RowType
from exporter.model import CgroupRow, NodeRow

_CFS_QUOTA = {True: "true", False: "false", None: ""}


def _kubelet_label(label: Callable[[KubeletConfig], str | None]) -> Callable[[NodeRow], str | None]:
    return lambda node: None if node.kubelet is None else label(node.kubelet) or ""


def _policy_options(kubelet: KubeletConfig) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((kubelet.cpu_manager_policy_options or {}).items()))


# A table: the formatter would give each cell a line.
# fmt: off
COUNTER_METRICS: tuple[CgroupMetric, ...] = (
    Metric("cpu_periods_total", BOTH, "throttle", "cpu.stat nr_periods",
        "CFS enforcement periods in which the cgroup was active; idle periods are not counted.",
        lambda row: row.stat.periods if row.counts_periods else None),
    Metric("cpu_throttled_periods_total", BOTH, "throttle", "cpu.stat nr_throttled",
        "CFS enforcement periods in which the quota throttled the cgroup on at least one CPU.",
        lambda row: row.stat.throttled_periods if row.counts_periods else None),
    Metric("cpu_throttled_seconds_total", BOTH, "throttle", "cpu.stat throttled_usec (v2), throttled_time (v1)",
        "CPU time lost to the cgroup's own quota, summed over CPUs: it can grow faster than wall time.",
        lambda row: row.stat.throttled_seconds if row.counts_periods else None),
    Metric("cpu_throttled_ratio", BOTH, "throttle", "cpu.stat nr_throttled / nr_periods",
        "Throttled periods divided by active CFS periods over the last window (0 to 1; 0 when idle).",
        lambda row: row.window.ratio if row.window else None,
        rationale="Its window can be shorter than two scrapes, and it is 0 for an idle quota and absent without one."),
    Metric("cpu_throttled_ratio_peak", BOTH, "throttle", "cpu.stat nr_throttled / nr_periods",
        "Highest throttled ratio of any single sample interval in the last window (0 to 1).",
        lambda row: row.window.peak if row.window else None,
        rationale="Bursts between two scrapes are averaged away in the counters."),
    Metric("cpu_throttled_ratio_distribution", CONTAINER, "distribution", "cpu.stat nr_throttled / nr_periods",
        "Throttled ratio of each sample interval that had active CFS periods.",
        lambda row: row.distribution.counts[-1] if row.distribution else None, is_histogram=True,
        rationale="Bursts between two scrapes are averaged away in the counters."),
    Metric("cpu_throttled_local_seconds_total", CONTAINER, "throttle",
        "cpu.stat.local throttled_usec (v2), throttled_time (v1), kernel 6.6+",
        "CPU time lost to the cgroup's own quota or an ancestor's, summed over CPUs.",
        lambda row: row.local_throttled_seconds),
    Metric("cpu_burst_periods_total", CONTAINER, "burst", "cpu.stat nr_bursts, kernel 5.16+",
        "CFS periods in which the container exceeded its quota by using its burst allowance.",
        lambda row: row.stat.burst_periods if row.counts_periods else None),
    Metric("cpu_burst_seconds_total", CONTAINER, "burst", "cpu.stat burst_usec (v2), burst_time (v1), kernel 5.16+",
        "CPU time used above the quota from the burst allowance.",
        lambda row: row.stat.burst_seconds if row.counts_periods else None),
    Metric("cpu_burst_limit_seconds", CONTAINER, "burst", "cpu.max.burst (v2), cpu.cfs_burst_us (v1)",
        "CPU time that the container can accumulate and use above its quota.",
        lambda row: row.limits.burst_seconds if row.limits and row.counts_periods else None),
    Metric("cpu_usage_seconds_total", BOTH, "usage", "cpu.stat usage_usec (v2), cpuacct.usage (v1)",
        "CPU time used, summed over CPUs.",
        lambda row: row.stat.usage_seconds),
    Metric("cpu_user_seconds_total", CONTAINER, "usage_modes", "cpu.stat user_usec (v2), cpuacct.stat user (v1)",
        "CPU time used in user mode.",
        lambda row: row.stat.user_seconds),
    Metric("cpu_system_seconds_total", CONTAINER, "usage_modes", "cpu.stat system_usec (v2), cpuacct.stat system (v1)",
        "CPU time used in the kernel.",
        lambda row: row.stat.system_seconds),
    Metric("cpu_pressure_waiting_seconds_total", BOTH, "pressure", "cpu.pressure some total (v2)",
        "Time in which at least one task waited for a CPU, because of a quota or of other tasks.",
        lambda row: row.pressure.waiting_seconds if row.pressure else None),
    Metric("cpu_pressure_stalled_seconds_total", BOTH, "pressure", "cpu.pressure full total (v2), kernel 5.13+",
        "Time in which all runnable tasks waited for a CPU and none ran.",
        lambda row: row.pressure.stalled_seconds if row.pressure else None),
    Metric("cpu_runqueue_wait_seconds_total", CONTAINER, "pressure", "cpu.stat wait_sum (v1)",
        "Time that runnable tasks waited on a run queue, summed over tasks (needs schedstats).",
        lambda row: row.stat.runqueue_wait_seconds),
)
"""Throttling, bursts, usage, pressure."""

CONFIG_METRICS: tuple[CgroupMetric, ...] = (
    Metric("cpu_limit_cores", BOTH, "limits", "cpu.max (v2), cpu.cfs_quota_us / cpu.cfs_period_us (v1)",
        "CPU limit of the cgroup itself, quota divided by period; no sample without a quota.",
        lambda row: row.limits.limit_cores if row.limits else None),
    Metric("cpu_effective_limit_cores", CONTAINER, "limits",
        "cpu.max (v2) or cpu.cfs_quota_us (v1) on the way to the root, cpuset.cpus.effective",
        "Smallest of the limits of the cgroup and its ancestors and the number of CPUs in its cpuset.",
        lambda row: row.effective_limit_cores, rationale="The limits of the cgroups above the pod are not exported."),
    Metric("cpu_quota_state", BOTH, "limits", "cpu.max (v2), cpu.cfs_quota_us (v1)",
        "State of the CFS quota: set, none, or unsupported by the kernel; 1 for the current state.",
        labels={"state": lambda row: row.limits.quota_state if row.limits else None}),
    Metric("cpu_period_seconds", CONTAINER, "limits", "cpu.max (v2), cpu.cfs_period_us (v1)",
        "Length of the CFS enforcement period.",
        lambda row: row.limits.period_seconds if row.limits else None),
    Metric("cpu_weight", CONTAINER, "limits", "cpu.weight (v2)",
        "Raw cgroup v2 CPU weight (1 to 10000; 0 for an idle-class cgroup on older kernels).",
        lambda row: row.limits.weight if row.limits else None),
    Metric("cpu_shares", CONTAINER, "limits", "cpu.shares (v1)",
        "Raw cgroup v1 CPU shares (2 to 262144).",
        lambda row: row.limits.shares if row.limits else None),
    Metric("cpuset_cpus", CONTAINER, "cpuset", "cpuset.cpus.effective (v2), cpuset.effective_cpus (v1)",
        "Number of CPUs that the container may run on.",
        lambda row: len(row.cpuset.cpus) if row.cpuset else None),
    Metric("cpuset_numa_nodes", CONTAINER, "cpuset",
        "cpuset.cpus.effective (v2), cpuset.effective_cpus (v1), sysfs node*/cpulist",
        "Number of NUMA nodes of the CPUs that the container may run on.",
        lambda row: row.numa_nodes, rationale="PromQL cannot expand a CPU list."),
    Metric("cpuset_info", CONTAINER, "cpuset",
        "cpuset.{cpus,mems}.effective, cpuset.cpus.partition (v2), cpuset.effective_{cpus,mems} (v1)",
        "Effective CPUs and memory nodes as the kernel lists them, and the cpuset partition type (v2).",
        labels={
            "cpus": lambda row: format_cpu_list(row.cpuset.cpus) if row.cpuset else None,
            "mems": lambda row: format_cpu_list(row.cpuset.mems) if row.cpuset else None,
            "partition": lambda row: row.cpuset.partition if row.cpuset else None,
        }),
    Metric("cpuset_exclusive", CONTAINER, "cpuset",
        "cpuset.cpus.effective (v2), cpuset.effective_cpus (v1) of all containers",
        "1 if the container has CPUs of its own that no other container may run on, else 0.",
        lambda row: row.exclusive, rationale="PromQL cannot intersect CPU lists."),
    Metric("cpu_isolation", CONTAINER, "cpuset",
        "cpuset.cpus.effective (v2), cpuset.effective_cpus (v1), QoS class, PodList requests.cpu",
        "CPU isolation state: exclusive, shared, or eligible for exclusive CPUs.",
        labels={"state": lambda row: row.isolation}, rationale="PromQL cannot intersect CPU lists."),
    Metric("spec_cpu_request_cores", CONTAINER, "spec", "PodList containers[].resources.requests.cpu",
        "CPU request in the pod spec.",
        lambda row: row.container_spec.request_cores if row.container_spec else None),
    Metric("spec_cpu_limit_cores", CONTAINER, "spec", "PodList containers[].resources.limits.cpu",
        "CPU limit in the pod spec.",
        lambda row: row.container_spec.limit_cores if row.container_spec else None),
    Metric("cpu_recommended_limit_cores", CONTAINER, "recommend",
        "cpu.stat: nr_periods, nr_throttled, throttled time; CPU usage",
        "Estimated smallest CPU limit that would not have throttled 99 % of the last day's bursts, if known.",
        lambda row: row.recommendation.limit_cores if row.recommendation else None,
        rationale="The size of a burst shows in the samples of one second; no scrape interval keeps them apart."),
    Metric("cpu_limit_drift", CONTAINER, "spec", "cpu.max (v2), cpu.cfs_quota_us (v1), PodList limits.cpu",
        "1 if the cgroup's limit differs from the one in the pod spec, else 0.",
        lambda row: row.limit_drift,
        rationale="The kubelet derives a limit from its cgroup driver, its configuration and pod-level limits."),
    Metric("alert_threshold_ratio", POD, "spec",
        "annotations kube-throttle-exporter/alert-threshold, kube-throttle-exporter/alert",
        "Throttled ratio above which to alert, from the pod's annotation; +Inf for never.",
        lambda row: row.pod_identity.alert_threshold_ratio if row.pod_identity else None, is_identity=True),
    Metric("restarts_total", CONTAINER, "info", "PodList containerStatuses[].restartCount",
        "Number of restarts of the container by the kubelet.",
        lambda row: row.identity.restart_count if row.identity else None),
    Metric("info", CONTAINER, "info", "cgroup path, PodList",
        "Id, type and runtime of the container.",
        is_identity=True, labels={
            "container_id": lambda row: row.ref.container_id or "",
            "container_type": lambda row: row.identity.container_type if row.identity else "",
            "runtime": lambda row: (row.identity.runtime if row.identity else "") or row.ref.runtime,
        }),
    Metric("info", POD, "info", "cgroup path, PodList",
        "Uid, QoS class and owning workload of the pod.",
        is_identity=True, labels={
            "pod_uid": lambda row: row.ref.pod_uid,
            "qos_class": lambda row: row.qos_class,
            "workload_kind": lambda row: row.pod_identity.workload_kind if row.pod_identity else "",
            "workload": lambda row: row.pod_identity.workload if row.pod_identity else "",
        }),
)
"""Limits, cpusets, pod specs, names."""

NODE_METRICS: tuple[Metric[NodeRow], ...] = (
    Metric("info", NODE, None, "the tree under --path.cgroup",
        "Cgroup version of the node, and the kubelet's cgroup driver as cgroup paths show it.",
        labels={"version": lambda node: node.hierarchy, "driver": lambda node: node.driver or ""}),
    Metric("kernel_info", NODE, None, "/proc/sys/kernel/osrelease",
        "Kernel release, and whether it throttles below the limit (512ac999d275 without de53fd7aedb1).",
        labels={"release": lambda node: node.kernel_release or None, "cfs_quota_bug": lambda node: node.cfs_quota_bug}),
    Metric("cpu_manager_info", NODE, None, "kubelet /configz",
        "CPU manager, topology manager and CFS quota settings of the kubelet.",
        labels={
            "policy": _kubelet_label(lambda kubelet: kubelet.cpu_manager_policy),
            "policy_options": _kubelet_label(_policy_options),
            "topology_policy": _kubelet_label(lambda kubelet: kubelet.topology_manager_policy),
            "topology_scope": _kubelet_label(lambda kubelet: kubelet.topology_manager_scope),
            "cfs_quota": _kubelet_label(lambda kubelet: _CFS_QUOTA[kubelet.cpu_cfs_quota]),
        }),
    Metric("cpu_cfs_period_seconds", NODE, None, "kubelet /configz",
        "CFS period that the kubelet sets for limits (cpuCFSQuotaPeriod).",
        lambda node: node.kubelet.cpu_cfs_quota_period_seconds if node.kubelet else None),
)
CPU_METRICS: tuple[Metric[Any], ...] = (
    Metric("cpus", ("pool",), None,
        "/sys/devices/system/cpu/online, cpuset.cpus.effective, kubelet /configz reservedSystemCPUs",
        "Number of CPUs by state: online, exclusive to a container, shared, or reserved by the kubelet.",
        lambda pool: pool[1], rationale="PromQL cannot expand CPU lists."),
    Metric("cpu_assignment", ("cpu",), "cpuset",
        "cpuset.cpus.effective (v2), cpuset.effective_cpus (v1), sysfs node*/cpulist",
        "1 for each online CPU, labelled with its exclusive container; empty labels for a shared CPU.",
        rationale="PromQL cannot expand CPU lists."),
)
# fmt: on
CATALOG: tuple[Metric[Any], ...] = (*COUNTER_METRICS, *CONFIG_METRICS, *NODE_METRICS, *CPU_METRICS)
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


FAMILIES: tuple[Family, ...] = _families(CATALOG, PREFIXES)  # all families of the page, in page order


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


def _cadvisor(name: str, text: str, ours: str, **changes: Any) -> CgroupMetric:
    """Return our metric ``ours`` under cAdvisor's name and HELP text."""
    [metric] = [one for one in (*COUNTER_METRICS, *CONFIG_METRICS) if one.name == ours]
    return replace(metric, name=name, help=text, row_types=("cadvisor",), collector=None, **changes)


# Kubelets may leave these out (KEP-2371 lists them as optional) and charts drop them. cAdvisor serves no CFS series
# without a quota, and neither do these.
# fmt: off
CADVISOR_FAMILIES: tuple[Family, ...] = _families((
    _cadvisor("cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.", "cpu_periods_total"),
    _cadvisor("cpu_cfs_throttled_periods_total", "Number of throttled period intervals.",
        "cpu_throttled_periods_total"),
    _cadvisor("cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.",
        "cpu_throttled_seconds_total"),
    _cadvisor("cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", "cpu_usage_seconds_total",
        labels={"cpu": lambda _row: "total"}),
    _cadvisor("spec_cpu_quota", "CPU quota of the container.", "cpu_limit_cores", value=_quota_us),
    _cadvisor("spec_cpu_period", "CPU period of the container.", "cpu_period_seconds", value=_period_us),
    _cadvisor("spec_cpu_shares", "CPU share of the container.", "cpu_shares", value=_shares),
), {"cadvisor": "container_"})
# fmt: on
"""Families that ``--web.cadvisor-names`` adds, for dashboards and alerts that exist already."""
