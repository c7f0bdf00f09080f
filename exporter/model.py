"""Immutable values shared by every layer: readings, windows, rows, and the snapshot that holds them.

Behind the readers all time is in seconds and all CPU in cores (1.0 = one CPU). ``None`` means absent: the kernel, the
kubelet or the pod's spec does not say. It is never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from exporter.identities import ContainerIdentity, ContainerSpec, KubeletConfig, PodIdentity, PodSpec, QosClass

QuotaState = Literal["set", "none", "unsupported"]
Driver = Literal["cgroupfs", "systemd"]
HierarchyVersion = Literal["v1", "v2", "hybrid"]
CfsQuotaBug = Literal["affected", "fixed", "unknown"]
IsolationState = Literal["exclusive", "shared", "eligible"]
RATIO_BUCKETS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


class CgroupRef(NamedTuple):
    """One pod's or container's cgroup, as its path alone tells."""

    path: str  # relative to the hierarchy's root; a container's may be that of its pod (SLICE:cri-containerd:ID)
    pod_path: str
    pod_uid: str  # as Kubernetes spells it: with dashes, or 32 hex digits for a static pod
    container_id: str | None  # the runtime's full id; None for the pod's own cgroup
    qos_class: QosClass
    runtime: str  # containerd, cri-o, docker, kata, or empty where the path does not say
    driver: Driver


class CpuStat(NamedTuple):
    """Counters since the cgroup was made: ``cpu.stat``, and on v1 ``cpuacct.usage`` and ``cpuacct.stat``.

    Periods are those in which the group was active; throttled time is summed over CPUs, and may outgrow wall time.
    """

    periods: int | None = None
    throttled_periods: int | None = None
    throttled_seconds: float | None = None
    burst_periods: int | None = None
    burst_seconds: float | None = None
    runqueue_wait_seconds: float | None = None  # wait_sum: v1, and only with schedstats on
    usage_seconds: float | None = None
    user_seconds: float | None = None
    system_seconds: float | None = None


class Pressure(NamedTuple):
    """``cpu.pressure`` totals (v2, PSI): ``some``, in which throttled tasks wait too; ``full`` (kernel 5.13+)."""

    waiting_seconds: float | None
    stalled_seconds: float | None


@dataclass(frozen=True, slots=True)
class CpuLimits:
    """What the cgroup may use; changes rarely (a resize, the CPU manager, systemd)."""

    quota_state: QuotaState
    limit_cores: float | None = None  # quota divided by period; None without a quota
    period_seconds: float | None = None
    burst_seconds: float | None = None
    weight: int | None = None  # v2 cpu.weight, raw; 0 is what kernels before 6.12 show for an idle-class group
    shares: int | None = None  # v1 cpu.shares, raw


@dataclass(frozen=True, slots=True)
class Cpuset:
    """Where the cgroup's tasks may run: effective CPUs and memory nodes."""

    cpus: frozenset[int]
    mems: frozenset[int]
    partition: str  # v2 cpuset.cpus.partition: member, root, isolated, or one of them with invalid; empty on v1


class Window(NamedTuple):
    """What one cgroup under a quota did in the last window; peak: the highest ratio between neighbouring readings."""

    seconds: float  # shorter than configured while the container is young; exact in a detailed snapshot only
    periods: int
    throttled_periods: int
    ratio: float
    peak: float


def throttled_ratio(throttled: int, periods: int) -> float:
    """Return the throttled share of the active periods; 0.0 when there were none."""
    # The kernel adds to the two counters without a lock against readers, so one may be ahead of the other.
    return min(1.0, throttled / periods) if periods > 0 else 0.0


class Interval(NamedTuple):
    """What happened between two neighbouring samples of a cgroup under a quota."""

    seconds: float
    periods: int
    throttled_periods: int
    usage_seconds: float  # nan where the usage is not known

    @property
    def ratio(self) -> float:
        """See :func:`throttled_ratio`."""
        return throttled_ratio(self.throttled_periods, self.periods)


class Deltas(NamedTuple):
    """Growth of counters within one epoch, over the last window at most; ``None`` where the kernel has no counter."""

    seconds: float
    usage_seconds: float | None = None
    throttled_seconds: float | None = None
    local_throttled_seconds: float | None = None
    waiting_seconds: float | None = None
    stalled_seconds: float | None = None
    runqueue_wait_seconds: float | None = None  # v1 with schedstats
    nested_throttled_seconds: float | None = None  # of all cgroups below, by quotas set inside; 0.0 without any


class Distribution(NamedTuple):
    """How often the throttled ratio of a sample interval with active periods was how high, since the first sample."""

    counts: tuple[int, ...] = (0,) * len(RATIO_BUCKETS)  # cumulative, one for each of RATIO_BUCKETS
    sum: float = 0.0

    def with_interval(self, interval: Interval) -> Distribution:
        """Count ``interval``, if it had active periods."""
        if interval.periods <= 0:
            return self
        counts = (count + (interval.ratio <= bound) for count, bound in zip(self.counts, RATIO_BUCKETS, strict=True))
        return Distribution(tuple(counts), self.sum + interval.ratio)


class Recommendation(NamedTuple):
    """What the counters tell of the limit a container needs; its demand is between low and high."""

    limit_cores: float | None  # the smallest that serves 99 % of its bursts, if known
    next_cores: float  # what to set now: that limit, or twice the present one to look again
    low_cores: float
    high_cores: float | None  # its threads and the CPUs it may run on, if known


class CgroupRow(NamedTuple):
    """One container or one pod on the page. For a pod ``container`` and ``identity`` are ``None``.

    Up to ``limit_drift`` it is the same in all snapshots of one ``settings_version``; defaults need a detailed one.
    """

    namespace: str
    pod: str
    container: str | None
    live: bool  # False while only the last counters of a removed cgroup linger
    ref: CgroupRef
    limits: CpuLimits | None
    cpuset: Cpuset | None
    identity: ContainerIdentity | None
    pod_identity: PodIdentity | None
    effective_limit_cores: float | None  # smallest on the way to the root, number of CPUs in the cpuset included
    numa_nodes: int | None
    isolation: IsolationState | None
    exclusive: bool | None  # whether no other container may run on any of its CPUs
    limit_drift: bool | None  # whether the cgroup's limit is not what the spec asks for; None when either is not known
    stat: CpuStat
    local_throttled_seconds: float | None
    pressure: Pressure | None
    window: Window | None
    recommendation: Recommendation | None  # None without a quota of its own, and while its window is too young
    distribution: Distribution | None  # only with the collector distribution
    threads: int | None = None  # at the last scan; only read where it was throttled
    deltas: Deltas | None = None  # since a limit, period or burst changed, its own or one above it; None too soon after
    placement_deltas: Deltas | None = None  # since cpuset, isolation, online CPUs or kubelet settings changed
    intervals: tuple[Interval, ...] = ()  # the window's sample intervals, oldest first

    @property
    def container_spec(self) -> ContainerSpec | None:
        """The container's spec, where known."""
        return None if self.identity is None else self.identity.spec

    @property
    def resizable(self) -> bool:
        """Whether its kubelet says that it can change limits in place; the API server refuses that for static pods."""
        spec, pod = self.container_spec, self.pod_identity
        is_static = pod is not None and pod.workload_kind == "StaticPod"
        return spec is not None and spec.allocated_limit_cores is not None and not is_static

    @property
    def pod_spec(self) -> PodSpec | None:
        """The pod's spec, where known."""
        return None if self.pod_identity is None else self.pod_identity.spec

    @property
    def qos_class(self) -> QosClass:
        """See :func:`qos_class_of`."""
        return qos_class_of(self.ref, self.pod_identity)

    @property
    def counts_periods(self) -> bool:
        """Whether the period counters say anything: without a quota the kernel leaves them at 0 for ever."""
        return bool(self.stat.periods) or (self.limits is not None and self.limits.quota_state == "set")


def qos_class_of(ref: CgroupRef, pod: PodIdentity | None) -> QosClass:
    """Return the QoS class of the pod's status where it is known, else that of the cgroup's path."""
    return (None if pod is None or pod.spec is None else pod.spec.qos_class) or ref.qos_class


class CgroupName(NamedTuple):
    """Under what a container is shown."""

    namespace: str
    pod: str
    container: str


class Overlap(NamedTuple):
    """Another container may run on CPUs that a container should own, for longer than the kubelet takes to reconcile."""

    owner: CgroupName
    other: CgroupName
    cpus: frozenset[int]
    seconds: float


class CpuTimes(NamedTuple):
    """Seconds that one CPU spent over the last window."""

    seconds: float
    busy_seconds: float  # all but idle, iowait and steal, with hard and soft irq
    steal_seconds: float
    irq_seconds: float
    exact: bool = False  # busy is measured (/proc/schedstat) and not sampled at clock ticks (/proc/stat)


@dataclass(frozen=True, slots=True)
class CpuManagerState:
    """The CPU manager's checkpoint (``/var/lib/kubelet/cpu_manager_state``, versions 1 to 4)."""

    policy: str
    default_cpus: frozenset[int]
    entries: Mapping[tuple[str, str], frozenset[int]]  # by pod uid and container name; version 1: by "" and id


class Ancestor(NamedTuple):
    """A cgroup above the pods: a QoS group, ``kubepods``, or one that holds them."""

    limits: CpuLimits | None
    deltas: Deltas | None


@dataclass(frozen=True, slots=True)
class NodeRow:
    """The node itself; CPUs by number, ancestors by path relative to the hierarchy's root."""

    hierarchy: HierarchyVersion
    driver: Driver | None
    kernel_release: str | None
    cfs_quota_bug: CfsQuotaBug
    online_cpus: frozenset[int] | None
    kubelet: KubeletConfig | None
    numa_node: Mapping[int, int] = field(default_factory=dict)
    shared_cpus: frozenset[int] | None = None  # online CPUs that no container owns
    owners: Mapping[int, CgroupName] = field(default_factory=dict)  # the container that a CPU belongs to alone
    overlaps: tuple[Overlap, ...] = ()
    checkpoint: CpuManagerState | None = None
    cpu_times: Mapping[int, CpuTimes] = field(default_factory=dict)
    effective_cpus: frozenset[int] | None = None  # of the root cgroup: no container can run elsewhere
    ancestors: Mapping[str, Ancestor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The node at one moment."""

    taken_at: float  # wall clock, seconds since the epoch
    tick: int  # grows with every sample; pages of the same tick are the same
    settings_version: int  # grows when anything but a counter or a window changed
    containers: tuple[CgroupRow, ...]
    pods: tuple[CgroupRow, ...]
    node: NodeRow
    cgroups: Mapping[str, int] = field(default_factory=dict)
    """Number of container cgroups by state: ``mapped``, ``unmapped``, ``pending``, ``sandbox``, ``empty`` (no name and
    no task), ``lingering``; and of running containers without one, ``missing``."""
    inputs: Mapping[str, bool] = field(default_factory=dict)  # whether it is there; without those nobody asked for

    @property
    def subjects(self) -> tuple[CgroupRow, ...]:
        """The containers, and each pod whose running containers have no cgroup of their own (Kata, gVisor)."""
        # Not by path: containers may be elsewhere than their pod's cgroup.
        uids = {row.ref.pod_uid for row in self.containers}
        pods = ((row, row.pod_identity) for row in self.pods if row.live and row.ref.pod_uid not in uids)
        return *self.containers, *(row for row, pod in pods if pod and any(one.running for one in pod.containers))
