"""The documents of ``/api/v1``: their fields, and what each means. ``docs/api.md`` is written from here.

Time is in seconds, CPU in cores, a share or ratio is of 1. ``None`` (JSON ``null``) means that the kernel, the kubelet
or the pod's spec did not say; it is never zero. Within a version fields are added, never removed or given another
meaning, so a reader must ignore those it does not know.
"""

from __future__ import annotations

from typing import Annotated, Literal

from typing_extensions import TypedDict

from exporter.analysis.findings import Finding, Name, Severity
from exporter.report import SCHEMA


class Throttling(TypedDict):
    """How its own quota throttled it."""

    window_seconds: Annotated[float | None, "time of the next four; `null` without a quota and in its first seconds"]
    periods: Annotated[int | None, "enforcement periods in which it was active"]
    throttled_periods: Annotated[int | None, "those in which it ran out of quota"]
    ratio: Annotated[float | None, "throttled_periods / periods; 0 when it was idle"]
    peak: Annotated[float | None, "highest ratio of any single sample interval"]
    lost_seconds_per_second: Annotated[float | None, "time lost to its own quota, summed over CPUs"]
    local_lost_seconds_per_second: Annotated[float | None, "lost to its own and any ancestor's quota (kernel 6.6+)"]


class Pod(TypedDict):
    """The cgroup of the container's pod, whose quota holds for all its containers together."""

    limit_cores: Annotated[float | None, "its own quota / period"]
    usage_cores: Annotated[float | None, "CPU used, average over the window"]
    ratio: Annotated[float | None, "as in throttling, of the pod's cgroup"]
    peak: Annotated[float | None, "as in throttling, of the pod's cgroup"]
    lost_seconds_per_second: Annotated[float | None, "as in throttling, of the pod's cgroup"]


class Pressure(TypedDict):
    """How long it waited for a CPU, for want of quota or of CPUs."""

    waiting_share: Annotated[float | None, "share of time in which at least one task waited (PSI some, v2)"]
    stalled_share: Annotated[float | None, "share of time in which all its runnable tasks waited (PSI full, v2)"]
    runqueue_seconds_per_second: Annotated[float | None, "time on run queues, summed over tasks (v1 with schedstats)"]


class Ledger(TypedDict):
    """Where its CPU time went, per second; losses to quotas are summed over CPUs. `null` is unknown."""

    seconds: Annotated[float, "length of the account: of this epoch, at most the window"]
    used: Annotated[float | None, "CPU time used"]
    own_quota: Annotated[float | None, "lost to its own quota"]
    quota_above: Annotated[float | None, "lost to quotas above it"]
    quota_above_is_exact: Annotated[bool, "`false` where it is what the whole cgroup above lost: at most that much"]
    quota_inside: Annotated[float | None, "lost to quotas of cgroups below it"]
    waited: Annotated[float | None, "waited for a CPU, beyond what quotas explain, at least"]
    throttled_time_share: Annotated[float | None, "lost to quotas / (used + lost to quotas)"]
    unknown: Annotated[dict[str, str], "entry and why it is unknown"]


class RecommendedLimit(TypedDict):
    """What the counters of its quota tell of the limit it needs, in cores."""

    limit_cores: Annotated[float | None, "smallest limit that serves 99 % of its bursts; `null` while unknown"]
    next_cores: Annotated[float, "what to set now: the same, or where it is unknown twice the present limit"]
    low_cores: Annotated[float, "it needs at least this"]
    high_cores: Annotated[float | None, "at most this: its threads, the CPUs it may run on"]


class Cpuset(TypedDict):
    """Where it may run."""

    cpus: Annotated[str, "the kernel's list format, such as `0-3,8`"]
    count: Annotated[int, "number of CPUs"]
    mems: Annotated[str, "memory nodes, in the same format"]
    numa_nodes: Annotated[int | None, "NUMA nodes those CPUs touch"]
    partition: Annotated[str, "cpuset partition (v2), else empty"]


class Series(TypedDict):
    """The window's sample intervals, oldest first; empty for a container without a quota."""

    interval_seconds: Annotated[float | None, "length of an interval, on average"]
    ratio: Annotated[list[float], "throttled share of each interval's periods"]
    usage_share: Annotated[list[float | None], "CPU used in each interval, as a share of the limit"]


class Container(TypedDict):
    """One container."""

    namespace: Annotated[str, "empty while the pod's name is not known"]
    pod: Annotated[str, "its uid while its name is not known"]
    container: Annotated[str, "the first 12 digits of its id while its name is not known"]
    mapped: Annotated[bool, "whether pod and container are known by name"]
    live: Annotated[bool, "`false` while only the last counters of a removed container linger"]
    pod_uid: Annotated[str, "as Kubernetes spells it"]
    container_id: Annotated[str, "the runtime's full id"]
    cgroup: Annotated[str, "path below the root of the hierarchy"]
    qos_class: Annotated[str, "`Guaranteed`, `Burstable` or `BestEffort`"]
    container_type: Annotated[str | None, "`container`, `init`, `sidecar` or `ephemeral`"]
    runtime: Annotated[str, "`containerd`, `cri-o`, `docker`, or empty"]
    workload_kind: Annotated[str | None, "kind of what owns the pod, such as `Deployment`"]
    workload: Annotated[str | None, "name of what owns the pod"]
    request_cores: Annotated[float | None, "CPU request of the spec"]
    spec_limit_cores: Annotated[float | None, "CPU limit of the spec"]
    resizable: Annotated[bool, "whether its status shows that its limit can be changed in place; never a static pod's"]
    limit_cores: Annotated[float | None, "the cgroup's own quota / period"]
    quota_state: Annotated[str | None, "`set`, `none` or `unsupported`"]
    period_seconds: Annotated[float | None, "length of an enforcement period"]
    burst_seconds: Annotated[float | None, "what it may save up and use above its quota (CFS burst)"]
    effective_limit_cores: Annotated[float | None, "smallest limit of it and its ancestors, and its CPUs"]
    limit_drift: Annotated[bool | None, "whether the cgroup's limit is not what the spec asks for"]
    usage_cores: Annotated[float | None, "CPU used, average over the window"]
    throttling: Throttling
    ledger: Annotated[Ledger | None, "`null` in its first seconds, and in those after a change of its limit"]
    recommended: Annotated[RecommendedLimit | None, "`null` without a quota, and in its first seconds"]
    pod_cgroup: Pod | None
    pressure: Pressure
    cpuset: Cpuset | None
    isolation: Annotated[str | None, "`exclusive`, `shared`, or `eligible` (Guaranteed, whole CPUs, but shared ones)"]
    exclusive: Annotated[bool | None, "whether no other container may run on any of its CPUs"]
    threads: Annotated[int | None, "at the last scan; only where it was throttled"]
    severity: Annotated[Severity | None, "the worst of its findings; `null` without any"]
    findings: Annotated[list[Finding], "worst first"]
    series: Series


class Cpu(TypedDict):
    """One online CPU, over the last window."""

    cpu: Annotated[int, "its number"]
    numa_node: Annotated[int | None, "its NUMA node"]
    state: Annotated[Literal["exclusive", "shared"] | None, "`null` while nothing is known of cpusets"]
    reserved: Annotated[bool | None, "whether the kubelet reserves it for the system (reservedSystemCPUs)"]
    owner: Annotated[Name | None, "the container it belongs to alone"]
    busy_share: Annotated[float | None, "share of time not idle"]
    steal_share: Annotated[float | None, "share of time the hypervisor took"]
    irq_share: Annotated[float | None, "share of time in interrupts, part of busy"]


class CpuManager(TypedDict):
    """The kubelet's CPU management, as `/configz` tells it."""

    policy: Annotated[str | None, "cpuManagerPolicy"]
    policy_options: Annotated[dict[str, str] | None, "cpuManagerPolicyOptions"]
    topology_policy: Annotated[str | None, "topologyManagerPolicy"]
    topology_scope: Annotated[str | None, "topologyManagerScope"]
    cfs_quota: Annotated[bool | None, "cpuCFSQuota: whether limits are enforced"]
    cfs_period_seconds: Annotated[float | None, "cpuCFSQuotaPeriod"]
    reserved_cpus: Annotated[str | None, "reservedSystemCPUs"]


class Checkpoint(TypedDict):
    """The CPU manager's own record (`cpu_manager_state`)."""

    policy: Annotated[str, "policy it was written under"]
    default_cpus: Annotated[str, "the shared pool"]
    containers: Annotated[int, "containers with CPUs in it"]


class Overlap(TypedDict):
    """A container may run on CPUs that another should own."""

    owner: Name
    other: Name
    cpus: Annotated[str, "the CPUs in question"]
    seconds: Annotated[float, "how long it has lasted"]


class Node(TypedDict):
    """The node itself."""

    name: Annotated[str, "`--node.name`; empty where it is not set"]
    hierarchy: Annotated[str, "`v1`, `v2` or `hybrid`"]
    driver: Annotated[str | None, "`cgroupfs` or `systemd`"]
    kernel_release: Annotated[str | None, "as `uname -r`"]
    cfs_quota_bug: Annotated[str, "`affected`, `fixed` or `unknown`"]
    cpu_manager: CpuManager | None
    checkpoint: Checkpoint | None
    cpus: Annotated[list[Cpu], "every online CPU, by number"]
    overlaps: list[Overlap]
    findings: Annotated[list[Finding], "of the node itself, worst first"]


class Source(TypedDict):
    """One source of the pods' names."""

    name: Annotated[str, "as in `--pods.sources`"]
    up: Annotated[bool | None, "how its last attempt ended; `null` before the first"]
    active: Annotated[bool, "whether the names in use came from it"]
    last_success: Annotated[float | None, "seconds since the epoch"]
    last_error: Annotated[str, "one line; empty once it works again"]


class Error(TypedDict):
    """Errors since the start."""

    stage: Annotated[str, "what was being done"]
    reason: Annotated[str, "what went wrong"]
    count: Annotated[int, "how often it occurred"]


class Exporter(TypedDict):
    """The exporter's own health."""

    version: Annotated[str, "of the exporter"]
    node: Annotated[str, "`--node.name`; empty where it is not set"]
    healthy: Annotated[bool, "whether samples are in time"]
    age_seconds: Annotated[float | None, "since the last sample, when this was made; `null` before the first"]
    samples: Annotated[int, "taken since the start"]
    interval_seconds: Annotated[float, "`--sample.interval`"]
    window_seconds: Annotated[float, "`--sample.window`"]
    cgroups: Annotated[dict[str, int], "containers by what is known of them"]
    sources: Annotated[list[Source], "in the order in which they are tried"]
    errors: Annotated[list[Error], "by stage and reason"]


class ContainersDocument(TypedDict):
    """`/api/v1/containers`."""

    schema: Annotated[str, f"`{SCHEMA}`"]
    taken_at: Annotated[float, "when the values were read, seconds since the epoch"]
    containers: Annotated[list[Container], "worst first"]
    node_findings: Annotated[list[Finding], "of the node itself, worst first"]
    exporter: Exporter


class ContainerDocument(TypedDict):
    """`/api/v1/containers/{namespace}/{pod}/{container}`."""

    schema: Annotated[str, f"`{SCHEMA}`"]
    taken_at: Annotated[float, "when the values were read, seconds since the epoch"]
    container: Container
    node_findings: Annotated[list[Finding], "of the node itself, worst first"]
    exporter: Exporter


class NodeDocument(TypedDict):
    """`/api/v1/node`."""

    schema: Annotated[str, f"`{SCHEMA}`"]
    taken_at: Annotated[float, "when the values were read, seconds since the epoch"]
    node: Node
    exporter: Exporter
