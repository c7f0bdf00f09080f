"""The node's own facts, and what follows from limits, cpusets and names: effective limits, isolation, drift."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import inf
from typing import TypeVar

from exporter.analysis.drift import limit_drift
from exporter.analysis.isolation import CpusetUser, Isolation, Pair, claim_is_known, isolate, whole_cpus
from exporter.cgroupfs.discover import NO_REF, ReaderFactory
from exporter.cgroupfs.files import OnError
from exporter.errors import ExporterError, ReadError
from exporter.identities import KubeletConfig
from exporter.model import Ancestor, CgroupName, CpuLimits, CpuManagerState, CpuTimes, Driver, NodeRow
from exporter.node.cpu_time import CpuReadings, cpu_times, read_cpu_readings
from exporter.node.cpumanager import read_cpu_manager_state
from exporter.node.kernel import cfs_quota_bug, read_release
from exporter.node.topology import Topology, read_topology
from exporter.sampler.mapping import newest_by_name
from exporter.sampler.tracked import UNDERIVED, Derived, Name, PageNeeds, TrackedCgroup
from exporter.threads import TimedCall

T = TypeVar("T")

READ_TIMEOUT_SECONDS = 1.0
"""How long a read may take. lxcfs (FUSE) may be behind procfs and sysfs, any disk behind the checkpoint."""
RECONCILE_SECONDS = 10.0
"""The kubelet's default ``cpuManagerReconcilePeriod``: for so long cpusets may overlap while pods come and go."""
PARTITIONS = frozenset({"root", "isolated"})
COUNTERS_ONLY = PageNeeds(local=False, pressure=False, modes=False)


class NodeFacts:
    """Kernel, topology, CPU times and the CPU manager's checkpoint; a failed or timed-out read gives ``None``."""

    def __init__(self, readers: ReaderFactory, *, proc: str, sys: str, checkpoint_path: str, on_error: OnError) -> None:
        self._on_error = on_error
        self._read_topology = TimedCall(partial(read_topology, sys), READ_TIMEOUT_SECONDS)
        self._read_release = TimedCall(partial(read_release, proc), READ_TIMEOUT_SECONDS)
        self._read_checkpoint = TimedCall(partial(read_cpu_manager_state, checkpoint_path), READ_TIMEOUT_SECONDS)
        self._read_cpu_times = TimedCall(partial(read_cpu_readings, proc), READ_TIMEOUT_SECONDS)
        self._readers = readers
        self._cpu_readings: deque[tuple[float, CpuReadings]] = deque()
        self.topology = Topology()
        self.effective_cpus: frozenset[int] | None = None
        self.checkpoint: CpuManagerState | None = None
        self.kubelet: KubeletConfig | None = None
        self._release: str | None = None

    def read(self, now: float, began: float) -> None:
        """Read all of it at monotonic ``now``; CPU times are kept from ``began`` on."""
        self.topology = self._try(self._read_topology, "CPU topology") or Topology()
        for problem in self.topology.problems:
            self._on_error(problem)
        try:
            self.effective_cpus = self._readers.root_cpus()
        except ExporterError as error:
            self._on_error(error)
            self.effective_cpus = None
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
        return bool(self._cpu_readings)

    def cpu_times(self) -> Mapping[int, CpuTimes]:
        """Return each online CPU's times over the last window; empty before there are two readings."""
        if len(self._cpu_readings) < 2:
            return {}
        (first_at, first), (last_at, last) = self._cpu_readings[0], self._cpu_readings[-1]
        return cpu_times(first, last, last_at - first_at)

    def row(self, driver: Driver | None, isolation: Isolation | None, ancestors: Mapping[str, Ancestor]) -> NodeRow:
        """Return the row that is published."""
        row = NodeRow(
            hierarchy=self._readers.hierarchy.version,
            driver=driver,
            kernel_release=self._release,
            cfs_quota_bug=cfs_quota_bug(self._release),
            online_cpus=self.topology.online,
            kubelet=self.kubelet,
            numa_node=self.topology.numa_node,
            checkpoint=self.checkpoint,
            cpu_times=self.cpu_times(),
            effective_cpus=self.effective_cpus,
            ancestors=ancestors,
        )
        if isolation is None:
            return row
        return replace(row, shared_cpus=isolation.shared, owners=isolation.owners, overlaps=isolation.overlaps)


class Ancestors:
    """The cgroups above the pods; each is read once a scan, however many pods are below it."""

    def __init__(self, readers: ReaderFactory, on_error: OnError) -> None:
        self._readers, self._on_error = readers, on_error
        self._found: dict[str, TrackedCgroup] = {}

    def refresh(self, now: float) -> tuple[bool, list[str]]:
        """Read the settings of those used so far; return whether any changed, and the paths of changed quotas."""
        has_changed, quotas = False, []
        for path, one in list(self._found.items()):
            changed = one.read_settings()
            has_changed |= changed.settings
            if changed.quota:
                one.begin_epoch(now, COUNTERS_ONLY)
                quotas.append(path)
            if one.vanished:
                self._forget(path)
        return has_changed, quotas

    def limit(self, pod_path: str) -> float | None:
        """Return the smallest limit above a pod in cores, ``inf`` without one; ``None`` when one is unknown."""
        above = [self._get(path) for path in parents(pod_path)]
        return smallest(inf, *(limit_or_inf(one.limits) for one in above if not one.vanished))

    def read_counters(self, now: float, window_began: float) -> None:
        """Read the counters of all into their windows."""
        for path, one in list(self._found.items()):
            one.read_counters(now, COUNTERS_ONLY, window_began)
            if one.vanished:
                self._forget(path)

    def rows(self, now: float) -> dict[str, Ancestor]:
        """Return limits and deltas by path, read now."""
        for one in self._found.values():
            one.read_stat()
        return {path: Ancestor(one.limits, one.window.deltas(one.counters(now))) for path, one in self._found.items()}

    def close(self) -> None:
        """Release all descriptors."""
        for path in list(self._found):
            self._forget(path)

    def _forget(self, path: str) -> None:
        self._found.pop(path).files.close()

    def _get(self, path: str) -> TrackedCgroup:
        if path not in self._found:
            ref = NO_REF._replace(path=path)
            files = self._readers.open_path(path)
            self._found[path] = one = TrackedCgroup(ref, 0, False, files, self._on_error, 0.0, 0, 0.0, 0.0)
            one.read_settings()
        return self._found[path]


def parents(path: str) -> Iterator[str]:
    """Yield the paths above ``path``, nearest first, without the root."""
    while path := path.rpartition("/")[0]:
        yield path


class Deriver:
    """Sets :class:`Derived` of every cgroup when limits, cpusets, names or the node change."""

    def __init__(self) -> None:
        self._memory: Mapping[Pair, float] = {}
        self.isolation: Isolation | None = None

    @property
    def has_overlaps(self) -> bool:
        """Whether cpusets overlap that should not: how long they have is part of the result."""
        return any(owner != other for owner, other in self._memory)

    def derive(
        self,
        live: Iterable[TrackedCgroup],
        *,
        now: float,
        topology: Topology,
        kubelet: KubeletConfig | None,
        checkpoint: CpuManagerState | None,
        effective_cpus: frozenset[int] | None,
        ancestor_limit: Callable[[str], float | None],
    ) -> tuple[bool, list[TrackedCgroup]]:
        """Derive for every cgroup; return whether any result changed, and the cgroups with changed isolation."""
        shown = newest_by_name(live)
        entries = {} if checkpoint is None else checkpoint.entries
        users = [user for name, one in shown.items() if (user := _cpuset_user(name, one, entries)) is not None]
        reconcile = (kubelet and kubelet.cpu_manager_reconcile_seconds) or RECONCILE_SECONDS
        policy = kubelet.cpu_manager_policy if kubelet is not None else None
        policy = policy or (checkpoint.policy if checkpoint is not None else None)
        isolation = isolate(
            users,
            topology.online,
            self._memory,
            now,
            reconcile,
            pins=None if policy is None else policy != "none",
            usable=effective_cpus,
        )
        self._memory, self.isolation = isolation.memory, isolation
        pod_limits = {one.ref.path: limit_or_inf(one.limits) for one in shown.values() if one.ref.container_id is None}
        changed, moved = False, []
        for name, one in shown.items():
            above = (pod_limits.get(one.ref.pod_path, inf), ancestor_limit(one.ref.pod_path))
            derived = _derived(name, one, above, isolation, topology, kubelet)
            if derived != one.derived:
                before, one.derived, changed = one.derived, derived, True
                if before is not UNDERIVED and before[2:4] != derived[2:4]:
                    moved.append(one)
        return changed, moved


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
        limit_drift=limit_drift(limits, one.container, one.pod, isolation=state, cpus=cpus, kubelet=kubelet),
    )


def _cpuset_user(
    name: Name, one: TrackedCgroup, entries: Mapping[tuple[str, str], frozenset[int]]
) -> CpusetUser | None:
    if one.ref.container_id is None or one.cpuset is None or name[2] is None:
        return None
    return CpusetUser(
        name=CgroupName(name[0], name[1], name[2]),
        pod_path=one.ref.pod_path,
        cpus=one.cpuset.cpus,
        whole_cpus=whole_cpus(one.ref, one.limits, one.container, one.pod),
        container_type=None if one.container is None else one.container.container_type,
        claim_is_known=claim_is_known(one.ref, one.limits, one.container, one.pod),
        entry=entries.get((one.ref.pod_uid, name[2])) or entries.get(("", one.ref.container_id)),
        is_partition=one.cpuset.partition in PARTITIONS,
    )
