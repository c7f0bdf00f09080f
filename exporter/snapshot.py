"""What the sampler publishes: one immutable picture of the node, from which everything users see is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from exporter.readings import (
    CfsQuotaBug,
    CgroupRef,
    ContainerIdentity,
    CpuLimits,
    Cpuset,
    CpuStat,
    Driver,
    HierarchyVersion,
    KubeletConfig,
    PodIdentity,
    Pressure,
    Window,
)

IsolationState = Literal["exclusive", "shared", "eligible"]


class Deltas(NamedTuple):
    """What grew over the last window, at the grain of a scan; ``None`` where the kernel has no such counter."""

    seconds: float
    """Time between the two readings."""
    usage_seconds: float | None = None
    throttled_seconds: float | None = None
    local_throttled_seconds: float | None = None
    waiting_seconds: float | None = None
    """PSI ``some``: throttled tasks wait too."""
    stalled_seconds: float | None = None
    runqueue_wait_seconds: float | None = None
    """v1 with schedstats."""


class Interval(NamedTuple):
    """What happened between two neighbouring samples of a cgroup under a quota."""

    seconds: float
    periods: int
    throttled_periods: int
    usage_seconds: float
    """``nan`` where the usage is not known."""

    @property
    def ratio(self) -> float:
        """Throttled share of the active periods; 0.0 when there were none."""
        # The kernel adds to the two counters without a lock against readers, so one may be ahead of the other.
        return min(1.0, self.throttled_periods / self.periods) if self.periods > 0 else 0.0


class Distribution(NamedTuple):
    """How often the throttled ratio of a sample interval with active periods was how high, since the first sample."""

    counts: tuple[int, ...]
    """Cumulative, one for each of :data:`RATIO_BUCKETS`."""
    sum: float


RATIO_BUCKETS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


class CgroupRow(NamedTuple):
    """One container or one pod on the page. For a pod ``container`` and ``identity`` are ``None``."""

    namespace: str
    pod: str
    container: str | None
    live: bool
    """False while only the last counters of a removed cgroup linger."""
    ref: CgroupRef
    stat: CpuStat
    local_throttled_seconds: float | None
    pressure: Pressure | None
    window: Window | None
    limits: CpuLimits | None
    effective_limit_cores: float | None
    """The smallest limit on the way to the root, and the number of CPUs in the cpuset."""
    cpuset: Cpuset | None
    numa_nodes: int | None
    identity: ContainerIdentity | None
    pod_identity: PodIdentity | None
    isolation: IsolationState | None = None
    """Containers with a cpuset only."""
    exclusive: bool | None = None
    """Whether no other container may run on any of its CPUs."""
    limit_drift: bool | None = None
    """Whether the cgroup's limit is not what the spec asks for; ``None`` when either is not known."""
    threads: int | None = None
    """Threads in the cgroup at the last scan; only read where it was throttled."""
    deltas: Deltas | None = None
    distribution: Distribution | None = None
    """Only with the collector ``distribution``."""
    intervals: tuple[Interval, ...] = ()
    """The window's sample intervals, oldest first; only in a detailed snapshot."""

    @property
    def counts_periods(self) -> bool:
        """Whether the period counters say anything: without a quota the kernel leaves them at 0 for ever."""
        return bool(self.stat.periods) or (self.limits is not None and self.limits.quota_state == "set")


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
    """How long it has lasted."""


class CpuTimes(NamedTuple):
    """Seconds one CPU spent over the last window (``/proc/stat``); their sum is close to ``seconds``."""

    seconds: float
    busy_seconds: float
    """All but idle, iowait and steal."""
    steal_seconds: float
    irq_seconds: float
    """Hard and soft interrupts, part of busy."""


@dataclass(frozen=True, slots=True)
class CpuManagerState:
    """The CPU manager's checkpoint (``/var/lib/kubelet/cpu_manager_state``, versions 1 to 4)."""

    policy: str
    default_cpus: frozenset[int]
    entries: Mapping[tuple[str, str], frozenset[int]]
    """(pod uid, container name) -> CPUs; version 1: ("", container id)."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """The node itself."""

    hierarchy: HierarchyVersion
    driver: Driver | None
    kernel_release: str | None
    cfs_quota_bug: CfsQuotaBug
    online_cpus: frozenset[int] | None
    kubelet: KubeletConfig | None
    numa_node: Mapping[int, int] = field(default_factory=dict)
    """CPU -> NUMA node."""
    shared_cpus: frozenset[int] | None = None
    """Online CPUs that no container owns."""
    owners: Mapping[int, CgroupName] = field(default_factory=dict)
    """CPU -> the container it belongs to alone."""
    overlaps: tuple[Overlap, ...] = ()
    checkpoint: CpuManagerState | None = None
    cpu_times: Mapping[int, CpuTimes] = field(default_factory=dict)
    """CPU -> what it did over the last window."""


class CpuRow(NamedTuple):
    """One online CPU and the container it belongs to alone; names are empty in the shared pool."""

    cpu: int
    numa_node: int | None
    owner: CgroupName | None


class PoolRow(NamedTuple):
    """A set of the node's CPUs: ``online``, ``exclusive``, ``shared`` or ``reserved``."""

    state: str
    cpus: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The node at one moment."""

    taken_at: float
    """Wall clock, seconds since the epoch."""
    tick: int
    """Grows with every sample; pages of the same tick are the same."""
    settings_version: int
    """Grows when anything but a counter or a window changed: rows, names, limits, cpusets, verdicts."""
    containers: tuple[CgroupRow, ...]
    pods: tuple[CgroupRow, ...]
    node: NodeRow
    cgroups: Mapping[str, int] = field(default_factory=dict)
    """Number of cgroups by state: ``mapped``, ``unmapped``, ``pending``, ``sandbox``, ``lingering``."""
    inputs: Mapping[str, bool] = field(default_factory=dict)
    """Whether each thing that the values are made of is there; without those that nobody asked for."""
