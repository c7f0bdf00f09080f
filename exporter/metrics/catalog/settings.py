"""Rows of what holds for a container: its limits, its cpuset, its pod's spec, its names."""

from __future__ import annotations

from exporter.cpulist import format_cpu_list
from exporter.metrics.metric import BOTH, CgroupMetric, Metric, always
from exporter.model import CgroupRow


def _identity_labels(row: CgroupRow) -> tuple[str, ...]:
    container, pod = row.identity, row.pod_identity
    return (
        row.ref.pod_uid,
        row.ref.container_id or "",
        pod.qos_class if pod else row.ref.qos_class,
        container.container_type if container else "",
        (container.runtime if container else "") or row.ref.runtime,
        pod.workload_kind if pod else "",
        pod.workload if pod else "",
    )


SETTING_METRICS: tuple[CgroupMetric, ...] = (
    Metric(
        name="cpu_limit_cores",
        kind="gauge",
        of=BOTH,
        collector="limits",
        help="The cgroup's own CPU limit, quota divided by period; no sample without a quota.",
        source="cpu.max (v2), cpu.cfs_quota_us / cpu.cfs_period_us (v1)",
        value=lambda row: row.limits.limit_cores if row.limits else None,
    ),
    Metric(
        name="cpu_effective_limit_cores",
        kind="gauge",
        collector="limits",
        help="CPUs it can use at most: the smallest limit of it and its ancestors, or its cpuset if that is smaller.",
        source="cpu.max (v2) or cpu.cfs_quota_us (v1) on the way to the root, cpuset.cpus.effective",
        value=lambda row: row.effective_limit_cores,
        why_here="The limits of the cgroups above the pod are on no page.",
    ),
    Metric(
        name="cpu_quota_state",
        kind="gauge",
        of=BOTH,
        collector="limits",
        help="Whether a CFS quota is set, none, or unsupported here; 1 for the state that holds.",
        source="cpu.max (v2), cpu.cfs_quota_us (v1)",
        label_names=("state",),
        label_values=lambda row: (row.limits.quota_state if row.limits else "unsupported",),
        value=lambda row: 1.0 if row.limits else None,
    ),
    Metric(
        name="cpu_period_seconds",
        kind="gauge",
        collector="limits",
        help="Length of its CFS enforcement period.",
        source="cpu.max (v2), cpu.cfs_period_us (v1)",
        value=lambda row: row.limits.period_seconds if row.limits else None,
    ),
    Metric(
        name="cpu_weight",
        kind="gauge",
        collector="limits",
        help="Raw cgroup v2 CPU weight (1 to 10000; 0 for an idle-class cgroup on older kernels).",
        source="cpu.weight (v2)",
        value=lambda row: row.limits.weight if row.limits else None,
    ),
    Metric(
        name="cpu_shares",
        kind="gauge",
        collector="limits",
        help="Raw cgroup v1 CPU shares (2 to 262144).",
        source="cpu.shares (v1)",
        value=lambda row: row.limits.shares if row.limits else None,
    ),
    Metric(
        name="cpuset_cpus",
        kind="gauge",
        collector="cpuset",
        help="Number of CPUs it may run on.",
        source="cpuset.cpus.effective (v2), cpuset.effective_cpus (v1)",
        value=lambda row: len(row.cpuset.cpus) if row.cpuset else None,
    ),
    Metric(
        name="cpuset_numa_nodes",
        kind="gauge",
        collector="cpuset",
        help="Number of NUMA nodes the CPUs it may run on belong to.",
        source="cpuset.cpus.effective (v2), cpuset.effective_cpus (v1), sysfs node*/cpulist",
        value=lambda row: row.numa_nodes,
        why_here="PromQL cannot expand a CPU list.",
    ),
    Metric(
        name="cpuset_info",
        kind="info",
        collector="cpuset",
        help="Its effective CPUs and memory nodes as the kernel lists them, and its cpuset partition (v2).",
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
        kind="gauge",
        collector="cpuset",
        help="1 when it was given CPUs that no other container may run on, 0 when it may meet others.",
        source="cpuset.cpus.effective (v2), cpuset.effective_cpus (v1) of all containers",
        value=lambda row: row.exclusive,
        why_here="PromQL cannot intersect CPU lists.",
    ),
    Metric(
        name="cpu_isolation",
        kind="gauge",
        collector="cpuset",
        help="Whether it owns its CPUs (exclusive), shares them, or could own and does not (eligible), if known.",
        source="cpuset.cpus.effective (v2), cpuset.effective_cpus (v1), QoS class, PodList requests.cpu",
        label_names=("state",),
        label_values=lambda row: (row.isolation or "",),
        value=lambda row: 1.0 if row.isolation else None,
        why_here="PromQL cannot intersect CPU lists.",
    ),
    Metric(
        name="spec_cpu_request_cores",
        kind="gauge",
        collector="spec",
        help="CPU request in the pod's spec.",
        source="PodList containers[].resources.requests.cpu",
        value=lambda row: row.identity.request_cores if row.identity else None,
    ),
    Metric(
        name="spec_cpu_limit_cores",
        kind="gauge",
        collector="spec",
        help="CPU limit in the pod's spec.",
        source="PodList containers[].resources.limits.cpu",
        value=lambda row: row.identity.limit_cores if row.identity else None,
    ),
    Metric(
        name="cpu_limit_drift",
        kind="gauge",
        collector="spec",
        help="1 when the cgroup's limit is not what the pod's spec asks for.",
        source="cpu.max (v2), cpu.cfs_quota_us (v1), PodList limits.cpu",
        value=lambda row: row.limit_drift,
        why_here="What the kubelet makes of a limit depends on its driver, its settings and pod-level limits.",
    ),
    Metric(
        name="alert_threshold_ratio",
        kind="gauge",
        of=("pod",),
        collector="spec",
        help="Throttled ratio above which the pod's owner wants an alert; +Inf for never; no sample for the default.",
        source="annotations kube-throttle-exporter/alert-threshold, kube-throttle-exporter/alert",
        value=lambda row: row.pod_identity.alert_threshold_ratio if row.pod_identity else None,
    ),
    Metric(
        name="restarts_total",
        kind="counter",
        collector="info",
        help="Times the kubelet restarted the container.",
        source="PodList containerStatuses[].restartCount",
        value=lambda row: row.identity.restart_count if row.identity else None,
    ),
    Metric(
        name="info",
        kind="info",
        collector="info",
        help="The container's ids, QoS class, type, runtime and owning workload.",
        source="cgroup path, PodList",
        label_names=(
            "pod_uid",
            "container_id",
            "qos_class",
            "container_type",
            "runtime",
            "workload_kind",
            "workload",
        ),
        label_values=_identity_labels,
        value=always,
    ),
)
