"""A snapshot with the lookups that the ledger and the findings share, each made once. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from exporter.analysis import thresholds
from exporter.model import CgroupName, CgroupRow, Deltas, Snapshot

Cpus = frozenset[int]
Key = TypeVar("Key")
Value = TypeVar("Value")


def name_of(row: CgroupRow) -> CgroupName:
    """Return the container's name."""
    return CgroupName(row.namespace, row.pod, row.container or "")


def rate(grown: float | None, deltas: Deltas) -> float | None:
    """Return growth per second; ``None`` when it is unknown, never zero for an absent counter."""
    if grown is None or not deltas.seconds >= thresholds.MIN_SECONDS or not math.isfinite(grown):
        return None
    return grown / deltas.seconds


def use(deltas: Deltas | None) -> float | None:
    """Return the cores used; ``None`` when unknown."""
    return None if deltas is None else rate(deltas.usage_seconds, deltas)


@dataclass(frozen=True)
class Busy:
    """What a set of CPUs did over the window, in cores (of ``cpus``)."""

    seconds: float
    cpus: int
    busy: float
    interrupts: float
    steal: float
    error: float  # how far busy may be off: clock ticks miss what runs in phase with them

    def at_most(self, row: CgroupRow) -> float | None:
        """Return the cores that a container used in this window, at most; ``None`` where its own is too short to tell.

        A container's window begins with that of the CPUs and ends after it.
        """
        deltas = row.placement_deltas
        used = use(deltas)
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
        self.snapshot, self.node = snapshot, snapshot.node
        # The last counters of a removed container say nothing of now.
        self.live = [row for row in snapshot.subjects if row.live]
        self.rows = {name_of(row): row for row in self.live}
        self.containers_of_pod = Counter(row.ref.pod_path for row in self.live)
        self._pods = {row.ref.pod_path: row for row in snapshot.pods if row.live}
        self.owned = grouped((name, cpu) for cpu, name in self.node.owners.items())
        self.overlaps = grouped((overlap.owner, overlap) for overlap in self.node.overlaps)
        # Few sets of CPUs are shared by many containers.
        self._users: dict[Cpus, dict[CgroupName, tuple[float, float]]] = {}
        self._outside: dict[Cpus, float | None] = {}

    def pod_of(self, row: CgroupRow) -> CgroupRow | None:
        """Return the row of the pod's own cgroup; ``None`` for that itself."""
        return None if row.container is None else self._pods.get(row.ref.pod_path)

    @property
    def cpu_manager_policy(self) -> str | None:
        """The CPU manager's policy, as the kubelet says, else as its checkpoint does."""
        kubelet, checkpoint = self.node.kubelet, self.node.checkpoint
        return (kubelet and kubelet.cpu_manager_policy) or (None if checkpoint is None else checkpoint.policy)

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

    def users(self, cpus: Cpus) -> Mapping[CgroupName, tuple[float, float]]:
        """Return the CPU seconds that each container used on ``cpus``, and in how long, since it was placed there.

        A container's use on some of its CPUs is not counted anywhere; its use on all of them is shared out evenly.
        """
        if cpus not in self._users:
            self._users[cpus] = users = {}
            for row in self.live:
                placed, cores = row.placement_deltas, use(row.placement_deltas)
                if placed and cores and row.cpuset is not None and (common := len(row.cpuset.cpus & cpus)):
                    users[name_of(row)] = cores * placed.seconds * common / len(row.cpuset.cpus), placed.seconds
        return self._users[cpus]

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
        uids = {row.ref.pod_uid for row in self.snapshot.containers}
        for row in (*self.snapshot.containers, *(pod for pod in self.snapshot.pods if pod.ref.pod_uid not in uids)):
            if row.cpuset is not None and cpus.isdisjoint(row.cpuset.cpus):
                continue
            used = busy.at_most(row) if row.live and row.cpuset is not None else None
            if used is None or row.cpuset is None:
                return None
            # Where among its CPUs a container runs is not counted: its threads may all be on these.
            left -= min(used, float(len(row.cpuset.cpus & cpus)))
        return max(0.0, left)


def grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """Return the values of each key, in order."""
    groups: dict[Key, list[Value]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups
