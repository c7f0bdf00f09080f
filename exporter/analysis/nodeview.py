"""A snapshot with the lookups that the ledger and the findings share, each made once. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from exporter.analysis import thresholds
from exporter.model import CgroupName, CgroupRow, Deltas, NodeRow, Overlap, Snapshot

Cpus = frozenset[int]


def name_of(row: CgroupRow) -> CgroupName:
    """Return the container's name."""
    return CgroupName(row.namespace, row.pod, row.container or "")


def rate(grown: float | None, deltas: Deltas | None) -> float | None:
    """Return growth per second; ``None`` when it is unknown, never zero for an absent counter."""
    if grown is None or deltas is None or not deltas.seconds >= thresholds.MIN_SECONDS or not math.isfinite(grown):
        return None
    return grown / deltas.seconds


def use(row: CgroupRow, deltas: Deltas | None = None) -> float | None:
    """Return the cores used over the window of ``deltas``, by default the row's; ``None`` when unknown."""
    deltas = row.deltas if deltas is None else deltas
    return None if deltas is None else rate(deltas.usage_seconds, deltas)


@dataclass(frozen=True)
class Busy:
    """What a set of CPUs did over the window, in cores (of ``cpus``)."""

    seconds: float
    cpus: int
    busy: float
    interrupts: float
    steal: float
    error: float
    """How far busy may be off: clock ticks miss what runs in phase with them."""

    def at_most(self, row: CgroupRow) -> float | None:
        """Return the cores that a container used in this window, at most; ``None`` where its own is too short to tell.

        A container's window begins with that of the CPUs and ends after it.
        """
        deltas = row.placement_deltas
        used = None if deltas is None else use(row, deltas)
        if used is None or deltas is None or deltas.seconds < thresholds.SAME_WINDOW * self.seconds:
            return None
        return used * deltas.seconds / self.seconds

    def without(self, row: CgroupRow) -> float | None:
        """Return the busy cores that are not the container's, at least; ``None`` when unknown."""
        own = self.at_most(row)
        return None if own is None else max(0.0, self.busy - own)


class NodeView:
    """One snapshot, looked up."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.node: NodeRow = snapshot.node
        # Few sets of CPUs are shared by many containers.
        self._users: dict[Cpus, dict[CgroupName, float]] = {}
        self._outside: dict[Cpus, float | None] = {}

    @cached_property
    def live(self) -> tuple[CgroupRow, ...]:
        """Containers that still run: the last counters of a removed one say nothing of now."""
        return tuple(row for row in self.snapshot.containers if row.live)

    def pod_of(self, row: CgroupRow) -> CgroupRow | None:
        """Return the row of the pod's own cgroup."""
        return self._pods.get(row.ref.pod_path)

    @cached_property
    def _pods(self) -> Mapping[str, CgroupRow]:
        return {row.ref.pod_path: row for row in self.snapshot.pods if row.live}

    @cached_property
    def containers_of_pod(self) -> Mapping[str, int]:
        """Number of live containers by the path of their pod."""
        counts: dict[str, int] = {}
        for row in self.live:
            counts[row.ref.pod_path] = counts.get(row.ref.pod_path, 0) + 1
        return counts

    @cached_property
    def owned(self) -> Mapping[CgroupName, Cpus]:
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
        """Return what ``cpus`` did; ``None`` unless it is known of all of them."""
        found = [self.node.cpu_times.get(cpu) for cpu in cpus]
        times = [one for one in found if one is not None and one.seconds >= thresholds.MIN_SECONDS]
        if not times or len(times) < len(found):
            return None
        busy = sum(one.busy_seconds / one.seconds for one in times)
        interrupts = sum(one.irq_seconds / one.seconds for one in times)
        steal = sum(one.steal_seconds / one.seconds for one in times)
        if not math.isfinite(busy + interrupts + steal):
            return None
        error = 0.0 if all(one.exact for one in times) else thresholds.TICK_ERROR
        return Busy(min(one.seconds for one in times), len(times), busy, interrupts, steal, error)

    def neighbours(self, row: CgroupRow) -> Mapping[CgroupName, float] | None:
        """Return the cores that containers use on the CPUs of ``row``, itself included; ``None`` without a cpuset.

        A container's use on some of its CPUs is not counted anywhere; its use on all of them is shared out evenly.
        """
        if row.cpuset is None or not row.cpuset.cpus:
            return None
        cpus = row.cpuset.cpus
        if cpus not in self._users:
            self._users[cpus] = dict(self._users_of(cpus))
        return self._users[cpus]

    def _users_of(self, cpus: Cpus) -> Iterator[tuple[CgroupName, float]]:
        for row in self.live:
            cores = use(row)
            if cores and row.cpuset is not None and (common := len(row.cpuset.cpus & cpus)):
                yield name_of(row), cores * common / len(row.cpuset.cpus)

    def outside(self, cpus: Cpus) -> float | None:
        """Return the busy cores of ``cpus`` that no container can have used, at least; ``None`` when unknown.

        A container that ended within the window has its time in that of the CPUs, and one that began in it shows its
        use over another time: then it is unknown.
        """
        if cpus not in self._outside:
            self._outside[cpus] = self._outside_of(cpus)
        return self._outside[cpus]

    def _outside_of(self, cpus: Cpus) -> float | None:
        busy = self.busy(cpus)
        if busy is None or self.snapshot.cgroups.get("pending"):
            return None
        left = busy.busy - busy.error
        for row in self.snapshot.containers:
            if row.cpuset is not None and cpus.isdisjoint(row.cpuset.cpus):
                continue
            used = busy.at_most(row) if row.live and row.cpuset is not None else None
            if used is None or row.cpuset is None:
                return None
            # Where among its CPUs a container runs is not counted: its threads may all be on these.
            left -= min(used, float(len(row.cpuset.cpus & cpus)))
        return max(0.0, left)
