"""A snapshot with the lookups that findings share, each made once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from exporter.analysis import thresholds
from exporter.model import CgroupName, CgroupRow, Deltas, NodeRow, Overlap, Snapshot, Window


def name_of(row: CgroupRow) -> CgroupName:
    """The container's name."""
    return CgroupName(row.namespace, row.pod, row.container or "")


def rate(grown: float | None, deltas: Deltas | None) -> float | None:
    """Growth per second; ``None`` when it is not known, never for an absent counter a zero."""
    if grown is None or deltas is None or not deltas.seconds >= thresholds.MIN_SECONDS or not math.isfinite(grown):
        return None
    return grown / deltas.seconds


def use(row: CgroupRow) -> float | None:
    """Cores used over the window; ``None`` when not known."""
    deltas = row.deltas
    return None if deltas is None else rate(deltas.usage_seconds, deltas)


def _same_quota(row: CgroupRow, pod: CgroupRow) -> bool:
    own = row.limits.limit_cores if row.limits else None
    above = pod.limits.limit_cores if pod.limits else None
    return own is not None and above is not None and abs(own - above) <= thresholds.DRIFT_RATIO * own


class UpperBoundWindow(Window):
    """A window whose throttled periods, and what follows from them, are a bound."""

    __slots__ = ()


def _with_pods_share(row: CgroupRow, pod: CgroupRow) -> CgroupRow:
    """``row`` with what its pod's quota took from it, where that is the same quota."""
    window, theirs, deltas = row.window, pod.window, row.deltas
    if window and theirs:
        window = _either(window, theirs)
    if deltas and deltas.local_throttled_seconds is not None:
        deltas = deltas._replace(throttled_seconds=deltas.local_throttled_seconds)
    return row._replace(window=window, deltas=deltas)


def _either(own: Window, theirs: Window) -> Window:
    """The periods in which one of two quotas stopped it; on several CPUs both may, in the same period."""
    throttled = min(own.periods, own.throttled_periods + theirs.throttled_periods)
    ratio = throttled / own.periods if own.periods else 0.0
    both = own._replace(throttled_periods=throttled, ratio=ratio, peak=max(own.peak, theirs.peak, ratio))
    return both if throttled <= max(own.throttled_periods, theirs.throttled_periods) else UpperBoundWindow(*both)


@dataclass(frozen=True)
class Busy:
    """What a set of CPUs did over the window, in cores (of ``cpus``)."""

    seconds: float
    cpus: int
    busy: float
    interrupts: float
    steal: float

    def at_most(self, row: CgroupRow) -> float | None:
        """Cores that a container used in this window, at most; ``None`` where its own window is too short to tell.

        A container's window begins with that of the CPUs and ends after it.
        """
        used, deltas = use(row), row.deltas
        if used is None or deltas is None or deltas.seconds < thresholds.SAME_WINDOW * self.seconds:
            return None
        return used * deltas.seconds / self.seconds

    def without(self, row: CgroupRow) -> float | None:
        """Busy cores that are not the container's, at least; ``None`` when not known."""
        own = self.at_most(row)
        return None if own is None else max(0.0, self.busy - own)


class NodeView:
    """One snapshot, looked up."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.node: NodeRow = snapshot.node
        # Few sets of CPUs are shared by many containers.
        self._users: dict[frozenset[int], list[tuple[CgroupName, float]]] = {}
        self._outside: dict[frozenset[int], float | None] = {}

    @cached_property
    def live(self) -> tuple[CgroupRow, ...]:
        """Containers that still run: the last counters of a removed one say nothing of now."""
        return tuple(map(self._with_all_it_lost, self._running))

    @cached_property
    def _running(self) -> tuple[CgroupRow, ...]:
        return tuple(row for row in self.snapshot.containers if row.live)

    def _with_all_it_lost(self, row: CgroupRow) -> CgroupRow:
        pod = self.pod_of(row)
        return _with_pods_share(row, pod) if pod is not None and self.repeats_quota(row, pod) else row

    def repeats_quota(self, row: CgroupRow, pod: CgroupRow) -> bool:
        """Whether the pod's quota is the container's own, written twice.

        The kubelet gives a pod the sum of its containers' limits. With one container, which of the two groups the
        kernel stops in a period is chance, and neither of them tells the whole. Several containers have the pod's quota
        each where only the pod has a limit (KEP-2837): there it is the pod's that they use up together.
        """
        return _same_quota(row, pod) and self.containers_of_pod[row.ref.pod_path] == 1

    def pod_of(self, row: CgroupRow) -> CgroupRow | None:
        """The row of the pod's own cgroup."""
        return self._pods.get(row.ref.pod_path)

    @cached_property
    def _pods(self) -> Mapping[str, CgroupRow]:
        return {row.ref.pod_path: row for row in self.snapshot.pods if row.live}

    @cached_property
    def containers_of_pod(self) -> Mapping[str, int]:
        """Live containers by the path of their pod."""
        counts: dict[str, int] = {}
        for row in self._running:
            counts[row.ref.pod_path] = counts.get(row.ref.pod_path, 0) + 1
        return counts

    @cached_property
    def owned(self) -> Mapping[CgroupName, frozenset[int]]:
        """The CPUs that belong to each owner alone."""
        owned: dict[CgroupName, set[int]] = {}
        for cpu, name in self.node.owners.items():
            owned.setdefault(name, set()).add(cpu)
        return {name: frozenset(cpus) for name, cpus in owned.items()}

    @cached_property
    def overlaps(self) -> Mapping[CgroupName, tuple[Overlap, ...]]:
        """By owner."""
        found: dict[CgroupName, tuple[Overlap, ...]] = {}
        for overlap in self.node.overlaps:
            found[overlap.owner] = (*found.get(overlap.owner, ()), overlap)
        return found

    def busy(self, cpus: Iterable[int]) -> Busy | None:
        """What ``cpus`` did; ``None`` unless it is known of all of them."""
        found = [self.node.cpu_times.get(cpu) for cpu in cpus]
        times = [one for one in found if one is not None and one.seconds >= thresholds.MIN_SECONDS]
        if not times or len(times) < len(found):
            return None
        busy = sum(one.busy_seconds / one.seconds for one in times)
        interrupts = sum(one.irq_seconds / one.seconds for one in times)
        steal = sum(one.steal_seconds / one.seconds for one in times)
        seconds = min(one.seconds for one in times)
        return Busy(seconds, len(times), busy, interrupts, steal) if math.isfinite(busy + interrupts + steal) else None

    def neighbours(self, row: CgroupRow) -> list[tuple[CgroupName, float]] | None:
        """Other containers on the CPUs of ``row`` and the cores they use there, busiest first.

        A container's use on some of its CPUs is not counted anywhere; its use on all of them is shared out evenly.
        ``None`` where the cpuset of ``row`` is not known, so that anybody may be a neighbour.
        """
        if row.cpuset is None or not row.cpuset.cpus:
            return None
        cpus, own = row.cpuset.cpus, name_of(row)
        if cpus not in self._users:
            self._users[cpus] = sorted(self._users_of(cpus), key=lambda one: (-one[1], one[0]))
        return [one for one in self._users[cpus] if one[0] != own]

    def _users_of(self, cpus: frozenset[int]) -> Iterator[tuple[CgroupName, float]]:
        for row in self.live:
            cores = use(row)
            if cores and row.cpuset is not None and (common := len(row.cpuset.cpus & cpus)):
                yield name_of(row), cores * common / len(row.cpuset.cpus)

    def outside(self, row: CgroupRow) -> float | None:
        """Busy cores on the CPUs of ``row`` that no container can have used; ``None`` when not known.

        Nobody outside is accused of what a container may have done. One that ended within the window has its time in
        that of the CPUs, and one that began in it shows its use over another time.
        """
        if row.cpuset is None or not row.cpuset.cpus:
            return None
        cpus = row.cpuset.cpus
        if cpus not in self._outside:
            self._outside[cpus] = self._outside_of(cpus)
        return self._outside[cpus]

    def _outside_of(self, cpus: frozenset[int]) -> float | None:
        busy = self.busy(cpus)
        if busy is None or self.snapshot.cgroups.get("pending"):
            return None
        left = busy.busy
        for row in self.snapshot.containers:
            if row.cpuset is not None and cpus.isdisjoint(row.cpuset.cpus):
                continue
            used = busy.at_most(row) if row.live and row.cpuset is not None else None
            if used is None or row.cpuset is None:
                return None
            # Where among its CPUs a container runs is not counted: its threads may all be on these.
            left -= min(used, float(len(row.cpuset.cpus & cpus)))
        return max(0.0, left)
