"""The node's own facts, and what follows from them for each cgroup: effective limit, isolation, drift."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import TypeVar

from exporter.analysis.drift import limit_drift
from exporter.analysis.isolation import CpusetUser, Isolation, claim_of, isolate
from exporter.cgroupfs.files import OnError
from exporter.cgroupfs.readers import ReaderFactory
from exporter.errors import ExporterError, ReadError
from exporter.identities import KubeletConfig
from exporter.model import Ancestor, CgroupName, CpuManagerState, CpuTimes, Driver, NodeRow
from exporter.node.cpu_time import CpuReadings, cpu_times, read_cpu_readings
from exporter.node.cpumanager import read_cpu_manager_state
from exporter.node.machine import Topology, cfs_quota_bug, read_release, read_topology
from exporter.sampler.inventory import CgroupInventory, parents
from exporter.sampler.mapping import newest_by_name
from exporter.sampler.tracked import UNDERIVED, Derived, ShownName, TrackedCgroup
from exporter.threads import TimedCall

T = TypeVar("T")

READ_TIMEOUT_SECONDS = 1.0
"""How long a read may take. lxcfs (FUSE) may be behind procfs and sysfs, any disk behind the checkpoint."""
RECONCILE_SECONDS = 10.0
"""The kubelet's default ``cpuManagerReconcilePeriod``: for so long cpusets may overlap while pods come and go."""
PARTITIONS = frozenset({"root", "isolated"})


class NodeFacts:
    """Kernel, topology, CPU times, checkpoint, isolation; a failed or timed-out read gives ``None``."""

    def __init__(self, readers: ReaderFactory, *, proc: str, sys: str, checkpoint_path: str, on_error: OnError) -> None:
        self._on_error, self._readers = on_error, readers
        self._read_topology = TimedCall(partial(read_topology, sys), READ_TIMEOUT_SECONDS)
        self._read_release = TimedCall(partial(read_release, proc), READ_TIMEOUT_SECONDS)
        self._read_checkpoint = TimedCall(partial(read_cpu_manager_state, checkpoint_path), READ_TIMEOUT_SECONDS)
        self._read_cpu_times = TimedCall(partial(read_cpu_readings, proc), READ_TIMEOUT_SECONDS)
        self._cpu_readings: deque[tuple[float, CpuReadings]] = deque()
        self._release: str | None = None
        self._effective_cpus: frozenset[int] | None = None
        self._isolation: Isolation | None = None
        self.topology = Topology()
        self.checkpoint: CpuManagerState | None = None
        self.kubelet: KubeletConfig | None = None  # set from another thread
        self.derived_for: KubeletConfig | None = None

    def read(self, now: float, began: float) -> None:
        """Read all of it at monotonic ``now``; CPU times are kept from ``began`` on."""
        self.topology = self._try(self._read_topology, "CPU topology") or Topology()
        for problem in self.topology.problems:
            self._on_error(problem)
        self._effective_cpus = self._try(self._readers.root_cpus, "root cpuset")
        if self._release is None:  # no kernel changes under a process
            self._release = self._try(self._read_release, "kernel release")
        self.checkpoint = self._try(self._read_checkpoint, "CPU manager's checkpoint")
        readings = self._try(self._read_cpu_times, "CPU times")
        if readings is None:
            self._cpu_readings.clear()
            return
        self._cpu_readings.append((now, readings))
        while self._cpu_readings and self._cpu_readings[0][0] < began:
            self._cpu_readings.popleft()

    def _try(self, read: Callable[[], T], what: str) -> T | None:
        try:
            return read()
        except TimeoutError:
            self._on_error(ReadError(what, f"not read within {READ_TIMEOUT_SECONDS:g} s", reason="timeout"))
        except ExporterError as error:
            self._on_error(error)
        return None

    @property
    def inputs(self) -> dict[str, bool]:
        """Whether each of the files could be read."""
        return {
            "cpu_topology": self.topology.online is not None,
            "proc_stat": bool(self._cpu_readings),
            "cpu_manager_state": self.checkpoint is not None,
            "kubelet_configz": self.kubelet is not None,
        }

    def _cpu_times(self) -> Mapping[int, CpuTimes]:
        """Return each online CPU's times over the last window; empty before there are two readings."""
        if len(self._cpu_readings) < 2:
            return {}
        (first_at, first), (last_at, last) = self._cpu_readings[0], self._cpu_readings[-1]
        return cpu_times(first, last, last_at - first_at)

    def row(self, driver: Driver | None, ancestors: Mapping[str, Ancestor]) -> NodeRow:
        """Return the row that is published."""
        isolation = self._isolation
        return NodeRow(
            hierarchy=self._readers.hierarchy.version,
            driver=driver,
            kernel_release=self._release,
            cfs_quota_bug=cfs_quota_bug(self._release),
            online_cpus=self.topology.online,
            kubelet=self.kubelet,
            numa_node=self.topology.numa_node,
            shared_cpus=None if isolation is None else isolation.shared,
            owners={} if isolation is None else isolation.owners,
            overlaps=() if isolation is None else isolation.overlaps,
            checkpoint=self.checkpoint,
            cpu_times=self._cpu_times(),
            effective_cpus=self._effective_cpus,
            ancestors=ancestors,
        )

    @property
    def has_overlaps(self) -> bool:
        """Whether cpusets overlap that should not: how long they have is part of the result."""
        return self._isolation is not None and any(owner != other for owner, other in self._isolation.memory)

    def derive(self, inventory: CgroupInventory, now: float) -> tuple[bool, list[TrackedCgroup]]:
        """Set ``derived`` of every cgroup; return whether any changed, and the cgroups with changed isolation."""
        kubelet = self.kubelet  # another may be set meanwhile
        shown = newest_by_name(inventory.live.values())
        isolation = self._isolate(shown, now, kubelet)
        changed, moved = False, []
        for name, one in shown.items():
            derived = self._derived(name, one, inventory, isolation, kubelet)
            if derived != one.derived:
                before, one.derived, changed = one.derived, derived, True
                if before is not UNDERIVED and before[2:4] != derived[2:4]:
                    moved.append(one)
        if self.derived_for is not None and kubelet != self.derived_for:
            moved = list(inventory.live.values())
        self._isolation, self.derived_for = isolation, kubelet
        return changed, moved

    def _isolate(
        self, shown: Mapping[ShownName, TrackedCgroup], now: float, kubelet: KubeletConfig | None
    ) -> Isolation:
        entries = {} if self.checkpoint is None else self.checkpoint.entries
        policy = (kubelet and kubelet.cpu_manager_policy) or (self.checkpoint and self.checkpoint.policy)
        return isolate(
            [user for name, one in shown.items() if (user := _cpuset_user(name, one, entries)) is not None],
            self.topology.online,
            {} if self._isolation is None else self._isolation.memory,
            now,
            (kubelet and kubelet.cpu_manager_reconcile_seconds) or RECONCILE_SECONDS,
            pins=None if policy is None else policy != "none",
            usable=self._effective_cpus,
        )

    def _derived(
        self,
        name: ShownName,
        one: TrackedCgroup,
        inventory: CgroupInventory,
        isolation: Isolation,
        kubelet: KubeletConfig | None,
    ) -> Derived:
        cpuset, path = one.cpuset, one.ref.pod_path
        cpus = inf if cpuset is None or not cpuset.cpus else float(len(cpuset.cpus))
        above = [inventory.ancestors.get(parent) for parent in parents(path)]
        cgroups = dict.fromkeys((one, inventory.live.get(path), *above))
        limit = _smallest(cpus, *(_limit_or_inf(cgroup) for cgroup in cgroups if cgroup is not None))
        if one.ref.container_id is None:
            return Derived(limit)
        key = CgroupName(name[0], name[1], name[2] or "")
        state = isolation.states.get(key)
        return Derived(
            effective_limit_cores=limit,
            numa_nodes=None if cpuset is None else self.topology.numa_nodes_of(cpuset.cpus),
            isolation=state,
            exclusive=isolation.exclusive.get(key),
            limit_drift=limit_drift(one.limits, one.container, one.pod, isolation=state, cpus=cpus, kubelet=kubelet),
        )


def _limit_or_inf(one: TrackedCgroup) -> float | None:
    """Return the limit in cores, ``inf`` without a quota; ``None`` when it is unknown."""
    if one.limits is None:
        return None
    return inf if one.limits.limit_cores is None else one.limits.limit_cores


def _smallest(*limits: float | None) -> float | None:
    """Return the smallest limit; ``None`` without any, and when one is unknown, since that may be the smallest."""
    known = [limit for limit in limits if limit is not None]
    return min(known) if len(known) == len(limits) and min(known) < inf else None


def _cpuset_user(
    name: ShownName, one: TrackedCgroup, entries: Mapping[tuple[str, str], frozenset[int]]
) -> CpusetUser | None:
    container_id, container = one.ref.container_id, name[2]
    if container_id is None or one.cpuset is None or container is None:
        return None
    cpus, is_known = claim_of(one.ref, one.limits, one.container, one.pod)
    return CpusetUser(
        name=CgroupName(name[0], name[1], container),
        pod_path=one.ref.pod_path,
        cpus=one.cpuset.cpus,
        whole_cpus=cpus,
        container_type=None if one.container is None else one.container.container_type,
        claim_is_known=is_known,
        entry=entries.get((one.ref.pod_uid, container)) or entries.get(("", container_id)),
        is_partition=one.cpuset.partition in PARTITIONS,
    )
