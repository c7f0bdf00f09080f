"""Metrics of configuration: limits, cpusets, pod specs, names."""

from __future__ import annotations

from exporter.cpulist import format_cpu_list
from exporter.metrics.metric import BOTH, CgroupMetric, Metric, always
from exporter.model import CgroupRow


def _container_labels(row: CgroupRow) -> tuple[str, ...]:
    container = row.identity
    container_type, runtime = (container.container_type, container.runtime) if container else ("", "")
    return row.ref.container_id or "", container_type, runtime or row.ref.runtime


def _pod_labels(row: CgroupRow) -> tuple[str, ...]:
    pod = row.pod_identity
    workload = (pod.workload_kind, pod.workload) if pod else ("", "")
    return row.ref.pod_uid, row.qos_class, *workload


CONFIG_METRICS: tuple[CgroupMetric, ...] = (
    Metric(
        name="cpu_limit_cores",
        row_types=BOTH,
        collector="limits",
        help="CPU limit of the cgroup itself, quota divided by period; no sample without a quota.",
        source="cpu.max (v2), cpu.cfs_quota_us / cpu.cfs_period_us (v1)",
        value=lambda row: row.limits.limit_cores if row.limits else None,
    ),
    Metric(
        name="cpu_effective_limit_cores",
        collector="limits",
        help="Smallest of the limits of the cgroup and its ancestors and the number of CPUs in its cpuset.",
        source="cpu.max (v2) or cpu.cfs_quota_us (v1) on the way to the root, cpuset.cpus.effective",
        value=lambda row: row.effective_limit_cores,
        rationale="The limits of the cgroups above the pod are not exported.",
    ),
    Metric(
        name="cpu_quota_state",
        row_types=BOTH,
        collector="limits",
        help="State of the CFS quota: set, none, or unsupported by the kernel; 1 for the current state.",
        source="cpu.max (v2), cpu.cfs_quota_us (v1)",
        label_names=("state",),
        label_values=lambda row: (row.limits.quota_state if row.limits else "unsupported",),
        value=lambda row: 1.0 if row.limits else None,
    ),
    Metric(
        name="cpu_period_seconds",
        collector="limits",
        help="Length of the CFS enforcement period.",
        source="cpu.max (v2), cpu.cfs_period_us (v1)",
        value=lambda row: row.limits.period_seconds if row.limits else None,
    ),
    Metric(
        name="cpu_weight",
        collector="limits",
        help="Raw cgroup v2 CPU weight (1 to 10000; 0 for an idle-class cgroup on older kernels).",
        source="cpu.weight (v2)",
        value=lambda row: row.limits.weight if row.limits else None,
    ),
    Metric(
        name="cpu_shares",
        collector="limits",
        help="Raw cgroup v1 CPU shares (2 to 262144).",
        source="cpu.shares (v1)",
        value=lambda row: row.limits.shares if row.limits else None,
    ),
    Metric(
        name="cpuset_cpus",
        collector="cpuset",
        help="Number of CPUs that the container may run on.",
        source="cpuset.cpus.effective (v2), cpuset.effective_cpus (v1)",
        value=lambda row: len(row.cpuset.cpus) if row.cpuset else None,
    ),
    Metric(
        name="cpuset_numa_nodes",
        collector="cpuset",
        help="Number of NUMA nodes of the CPUs that the container may run on.",
        source="cpuset.cpus.effective (v2), cpuset.effective_cpus (v1), sysfs node*/cpulist",
        value=lambda row: row.numa_nodes,
        rationale="PromQL cannot expand a CPU list.",
    ),
    Metric(
        name="cpuset_info",
        collector="cpuset",
        help="Effective CPUs and memory nodes as the kernel lists them, and the cpuset partition type (v2).",
        source="cpuset.{cpus,mems}.effective, cpuset.cpus.partition (v2), cpuset.effective_{cpus,mems} (v1)",
        label_names=("cpus", "mems", "partition"),
        label_values=lambda row: (
            (format_cpu_list(row.cpuset.cpus), format_cpu_list(row.cpuset.mems), row.cpuset.partition)
            if row.cpuset
            else ("", "", "")
        ),
        value=lambda row: 1.0 if row.cpuset else None,
    ),
    Metric(
        name="cpuset_exclusive",
        collector="cpuset",
        help="1 if the container has CPUs of its own that no other container may run on, else 0.",
        source="cpuset.cpus.effective (v2), cpuset.effective_cpus (v1) of all containers",
        value=lambda row: row.exclusive,
        rationale="PromQL cannot intersect CPU lists.",
    ),
    Metric(
        name="cpu_isolation",
        collector="cpuset",
        help="CPU isolation state: exclusive, shared, or eligible for exclusive CPUs.",
        source="cpuset.cpus.effective (v2), cpuset.effective_cpus (v1), QoS class, PodList requests.cpu",
        label_names=("state",),
        label_values=lambda row: (row.isolation or "",),
        value=lambda row: 1.0 if row.isolation else None,
        rationale="PromQL cannot intersect CPU lists.",
    ),
    Metric(
        name="spec_cpu_request_cores",
        collector="spec",
        help="CPU request in the pod spec.",
        source="PodList containers[].resources.requests.cpu",
        value=lambda row: row.container_spec.request_cores if row.container_spec else None,
    ),
    Metric(
        name="spec_cpu_limit_cores",
        collector="spec",
        help="CPU limit in the pod spec.",
        source="PodList containers[].resources.limits.cpu",
        value=lambda row: row.container_spec.limit_cores if row.container_spec else None,
    ),
    Metric(
        name="cpu_recommended_limit_cores",
        collector="recommend",
        help="Estimated smallest CPU limit that would not have throttled 99 % of the last day's bursts, if known.",
        source="cpu.stat: nr_periods, nr_throttled, throttled time; CPU usage",
        value=lambda row: row.recommendation.limit_cores if row.recommendation else None,
        rationale="The size of a burst shows in the samples of one second; no scrape interval keeps them apart.",
    ),
    Metric(
        name="cpu_limit_drift",
        collector="spec",
        help="1 if the cgroup's limit differs from the one in the pod spec, else 0.",
        source="cpu.max (v2), cpu.cfs_quota_us (v1), PodList limits.cpu",
        value=lambda row: row.limit_drift,
        rationale="The kubelet derives a limit from its cgroup driver, its configuration and pod-level limits.",
    ),
    Metric(
        name="alert_threshold_ratio",
        row_types=("pod",),
        collector="spec",
        help="Throttled ratio above which to alert, from the pod's annotation; +Inf for never.",
        source="annotations kube-throttle-exporter/alert-threshold, kube-throttle-exporter/alert",
        value=lambda row: row.pod_identity.alert_threshold_ratio if row.pod_identity else None,
        is_identity=True,
    ),
    Metric(
        name="restarts_total",
        collector="info",
        help="Number of restarts of the container by the kubelet.",
        source="PodList containerStatuses[].restartCount",
        value=lambda row: row.identity.restart_count if row.identity else None,
    ),
    Metric(
        name="info",
        collector="info",
        help="Id, type and runtime of the container.",
        source="cgroup path, PodList",
        label_names=("container_id", "container_type", "runtime"),
        label_values=_container_labels,
        value=always,
        is_identity=True,
    ),
    Metric(
        name="info",
        row_types=("pod",),
        collector="info",
        help="Uid, QoS class and owning workload of the pod.",
        source="cgroup path, PodList",
        label_names=("pod_uid", "qos_class", "workload_kind", "workload"),
        label_values=_pod_labels,
        value=always,
        is_identity=True,
    ),
)
