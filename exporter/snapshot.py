"""What the sampler publishes: one immutable picture of the node, from which everything users see is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

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

    @property
    def counts_periods(self) -> bool:
        """Whether the period counters say anything: without a quota the kernel leaves them at 0 for ever."""
        return bool(self.stat.periods) or (self.limits is not None and self.limits.quota_state == "set")


@dataclass(frozen=True, slots=True)
class NodeRow:
    """The node itself."""

    hierarchy: HierarchyVersion
    driver: Driver | None
    kernel_release: str | None
    cfs_quota_bug: CfsQuotaBug
    online_cpus: frozenset[int] | None
    kubelet: KubeletConfig | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The node at one moment."""

    taken_at: float
    """Wall clock, seconds since the epoch."""
    tick: int
    """Grows with every sample; pages of the same tick are the same."""
    containers: tuple[CgroupRow, ...]
    pods: tuple[CgroupRow, ...]
    node: NodeRow
    cgroups: Mapping[str, int] = field(default_factory=dict)
    """Number of cgroups by state: ``mapped``, ``unmapped``, ``pending``, ``sandbox``, ``lingering``."""
