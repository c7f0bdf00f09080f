"""The node's own facts, and what follows from limits, cpusets and names: effective limits, isolation, drift."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from math import inf
from typing import TypeVar

from exporter.analysis.drift import limit_drift
from exporter.analysis.isolation import CpusetUser, Isolation, Pair, claim_is_known, isolate, whole_cpus
from exporter.cgroupfs.discover import ReaderFactory
from exporter.cgroupfs.files import OnError
from exporter.errors import ExporterError, ReadError, VanishedError
from exporter.model import (
    CgroupName,
    CpuLimits,
    CpuManagerState,
    CpuTimes,
    Driver,
    HierarchyVersion,
    KubeletConfig,
    NodeRow,
)
from exporter.node.cpu_time import Jiffies, cpu_times, read_proc_stat
from exporter.node.cpumanager import read_cpu_manager_state
from exporter.node.kernel import cfs_quota_bug, read_release
from exporter.node.topology import Topology, read_topology
from exporter.sampler.tracked import Derived, Name, TrackedCgroup, newest_by_name
from exporter.threads import TimedCall

T = TypeVar("T")

READ_TIMEOUT_SECONDS = 1.0
"""How long a read may take. lxcfs (FUSE) may be behind procfs and sysfs, any disk behind the checkpoint."""
RECONCILE_SECONDS = 10.0
"""The kubelet's default ``cpuManagerReconcilePeriod``: for so long cpusets may overlap while pods come and go."""
PARTITIONS = frozenset({"root", "isolated"})


class NodeFacts:
    """Kernel, topology, CPU times and the CPU manager's checkpoint; a failed or timed-out read gives ``None``."""

    def __init__(self, *, proc: str, sys: str, checkpoint_path: str, on_error: OnError) -> None:
        self._on_error = on_error
        self._read_topology = TimedCall(partial(read_topology, sys), READ_TIMEOUT_SECONDS)
        self._read_release = TimedCall(partial(read_release, proc), READ_TIMEOUT_SECONDS)
        self._read_checkpoint = TimedCall(partial(read_cpu_manager_state, checkpoint_path), READ_TIMEOUT_SECONDS)
        self._read_ticks = TimedCall(partial(read_proc_stat, proc), READ_TIMEOUT_SECONDS)
        self._ticks: deque[tuple[float, Mapping[int, Jiffies]]] = deque()
        self.topology = Topology()
        self.checkpoint: CpuManagerState | None = None
        self.kubelet: KubeletConfig | None = None
        self._release: str | None = None

    def read(self, now: float, began: float) -> None:
        """Read all of it at monotonic ``now``; CPU times are kept from ``began`` on."""
        self.topology = self._try(self._read_topology, "CPU topology") or Topology()
        for problem in self.topology.problems:
            self._on_error(problem)
        if self._release is None:  # no kernel changes under a process
            self._release = self._try(self._read_release, "kernel release")
        self.checkpoint = self._try(self._read_checkpoint, "CPU manager's checkpoint")
        ticks = self._try(self._read_ticks, "CPU times")
        if ticks is None:
            self._ticks.clear()
            return
        self._ticks.append((now, ticks))
        while self._ticks and self._ticks[0][0] < began:
            self._ticks.popleft()

    def _try(self, read: TimedCall[T], what: str) -> T | None:
        try:
            return read()
        except TimeoutError:
            self._on_error(ReadError(what, f"not read within {read.seconds:g} s", reason="timeout"))
        except ExporterError as error:
            self._on_error(error)
        return None

    @property
    def has_cpu_times(self) -> bool:
        """Whether the last read of ``/proc/stat`` succeeded."""
        return bool(self._ticks)

    def cpu_times(self) -> Mapping[int, CpuTimes]:
        """Return each online CPU's times over the last window; empty before there are two readings."""
        if len(self._ticks) < 2:
            return {}
        (first_at, first), (last_at, last) = self._ticks[0], self._ticks[-1]
        return cpu_times(first, last, last_at - first_at)

    def row(self, hierarchy: HierarchyVersion, driver: Driver | None, isolation: Isolation | None) -> NodeRow:
        """Return the row that is published."""
        row = NodeRow(
            hierarchy=hierarchy,
            driver=driver,
            kernel_release=self._release,
            cfs_quota_bug=cfs_quota_bug(self._release),
            online_cpus=self.topology.online,
            kubelet=self.kubelet,
            numa_node=self.topology.numa_node,
            checkpoint=self.checkpoint,
            cpu_times=self.cpu_times(),
        )
        if isolation is None:
            return row
        return replace(row, shared_cpus=isolation.shared, owners=isolation.owners, overlaps=isolation.overlaps)


class Ancestors:
    """Limits of the directories above the pods; each is read once a scan, however many pods are below it."""

    def __init__(self, readers: ReaderFactory, on_error: OnError) -> None:
        self._readers, self._on_error = readers, on_error
        self._own: dict[str, float | None] = {}

    def refresh(self) -> bool:
        """Read the directories used so far again; True when a limit changed."""
        before, self._own = self._own, {}
        for path in before:
            self._read(path)
        return self._own != before

    def limit(self, pod_path: str) -> float | None:
        """Return the smallest limit above a pod in cores, ``inf`` without one; ``None`` when one is unknown."""
        found: float | None = inf
        parent = pod_path.rpartition("/")[0]
        while parent:
            if parent not in self._own:
                self._read(parent)
            found = smallest(found, self._own.get(parent, inf))
            parent = parent.rpartition("/")[0]
        return found

    def _read(self, path: str) -> None:
        try:
            self._own[path] = limit_or_inf(self._readers.ancestor_limits(path))
        except VanishedError:
            pass  # so are all cgroups below it
        except ExporterError as error:
            self._on_error(error)
            self._own[path] = None


class Deriver:
    """Sets :class:`Derived` of every cgroup when limits, cpusets, names or the node change."""

    def __init__(self) -> None:
        self._memory: Mapping[Pair, float] = {}
        self.isolation: Isolation | None = None

    @property
    def has_overlaps(self) -> bool:
        """Whether cpusets overlap that should not: how long they have is part of the result."""
        return bool(self._memory)

    def derive(
        self,
        live: Iterable[TrackedCgroup],
        *,
        now: float,
        topology: Topology,
        kubelet: KubeletConfig | None,
        ancestor_limit: Callable[[str], float | None],
    ) -> bool:
        """Derive for every cgroup; True when any result changed."""
        shown = newest_by_name(live)
        users = [user for name, one in shown.items() if (user := _cpuset_user(name, one)) is not None]
        reconcile = (kubelet and kubelet.cpu_manager_reconcile_seconds) or RECONCILE_SECONDS
        pins = kubelet is None or kubelet.cpu_manager_policy != "none"
        isolation = isolate(users, topology.online, self._memory, now, reconcile, pins=pins)
        self._memory, self.isolation = isolation.memory, isolation
        pod_limits = {one.ref.path: limit_or_inf(one.limits) for one in shown.values() if one.ref.container_id is None}
        changed = False
        for name, one in shown.items():
            above = (pod_limits.get(one.ref.pod_path, inf), ancestor_limit(one.ref.pod_path))
            derived = _derived(name, one, above, isolation, topology, kubelet)
            if derived != one.derived:
                one.derived, changed = derived, True
        return changed


def limit_or_inf(limits: CpuLimits | None) -> float | None:
    """Return a limit in cores, ``inf`` without a quota; ``None`` when it is unknown."""
    if limits is None:
        return None
    return inf if limits.limit_cores is None else limits.limit_cores


def smallest(*limits: float | None) -> float | None:
    """Return the smallest limit; ``None`` when one is unknown, since that may be the smallest."""
    known = [limit for limit in limits if limit is not None]
    return min(known) if len(known) == len(limits) else None


def _derived(
    name: Name,
    one: TrackedCgroup,
    above: tuple[float | None, float | None],
    isolation: Isolation,
    topology: Topology,
    kubelet: KubeletConfig | None,
) -> Derived:
    cpuset, limits = one.cpuset, one.limits
    cpus = inf if cpuset is None or not cpuset.cpus else float(len(cpuset.cpus))
    limit = smallest(limit_or_inf(limits), *above, cpus)
    if limit == inf:
        limit = None
    if one.ref.container_id is None:
        return Derived(limit)
    key = CgroupName(name[0], name[1], name[2] or "")
    state = isolation.states.get(key)
    return Derived(
        effective_limit_cores=limit,
        numa_nodes=None if cpuset is None else topology.numa_nodes_of(cpuset.cpus),
        isolation=state,
        exclusive=isolation.exclusive.get(key),
        limit_drift=limit_drift(limits, one.container, one.pod, isolation=state, kubelet=kubelet),
    )


def _cpuset_user(name: Name, one: TrackedCgroup) -> CpusetUser | None:
    if one.ref.container_id is None or one.cpuset is None or name[2] is None:
        return None
    return CpusetUser(
        name=CgroupName(name[0], name[1], name[2]),
        pod_path=one.ref.pod_path,
        cpus=one.cpuset.cpus,
        whole_cpus=whole_cpus(one.ref, one.limits, one.container, one.pod),
        container_type=None if one.container is None else one.container.container_type,
        claim_is_known=claim_is_known(one.ref, one.limits, one.container, one.pod),
        is_partition=one.cpuset.partition in PARTITIONS,
    )
