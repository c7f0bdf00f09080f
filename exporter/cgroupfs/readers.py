"""Reads one cgroup, of either version, and finds it in the trees of the other controllers.

Kernel ``Documentation/admin-guide/cgroup-v2.rst``, ``Documentation/scheduler/sched-bwc.rst``,
``Documentation/admin-guide/cgroup-v1/{cpuacct,cpusets}.rst``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import ClassVar, TypeVar

from exporter.cgroupfs import parse
from exporter.cgroupfs.discover import NO_REF, Found, Hierarchy, detect, walk
from exporter.cgroupfs.files import (
    CachedFile,
    Descriptors,
    OnError,
    count_lines,
    raise_unless_absent,
    read_once,
    read_value,
    reraise,
)
from exporter.cgroupfs.names import SUBGROUP
from exporter.cpulist import cpu_list
from exporter.errors import ExporterError, ReadError, VanishedError
from exporter.model import CgroupRef, CpuLimits, Cpuset, CpuStat, Pressure

T = TypeVar("T")
ChangeProbe = tuple[bytes | None, bytes | None]
Activity = CpuStat | float

MAX_NESTED = 1000  # cgroups below one container that are looked at
_QUOTA = {True: "cpu.max", False: "cpu.cfs_quota_us"}
_CPUS = {True: "cpuset.cpus.effective", False: "cpuset.effective_cpus"}
_MEMS = {True: "cpuset.mems.effective", False: "cpuset.effective_mems"}  # each by "is v2"
_NO_STAT = CpuStat()


def read_limits(directory: str, *, is_v2: bool) -> CpuLimits:
    """Read the limits of a directory in the cpu tree, a container's or one above the pods."""
    if is_v2:
        quota, period = read_value(directory, "cpu.max", parse.cpu_max) or (None, None)
        burst = read_value(directory, "cpu.max.burst", parse.microseconds)
        return parse.limits(quota, period, burst, weight=read_value(directory, "cpu.weight", parse.number))
    return parse.limits(
        read_value(directory, "cpu.cfs_quota_us", parse.cfs_quota),
        read_value(directory, "cpu.cfs_period_us", parse.cfs_period),
        read_value(directory, "cpu.cfs_burst_us", parse.microseconds),
        shares=read_value(directory, "cpu.shares", parse.number),
    )


def read_cpuset(directory: str, *, is_v2: bool) -> Cpuset | None:
    """Read effective CPUs and memory nodes of a directory in the cpuset tree; ``None`` without the controller."""
    cpus, mems = (read_value(directory, names[is_v2], cpu_list) for names in (_CPUS, _MEMS))
    if cpus is None and not is_v2:  # before kernel 3.17
        cpus, mems = (read_value(directory, name, cpu_list) for name in ("cpuset.cpus", "cpuset.mems"))
    if cpus is None:
        return None
    partition = read_once(f"{directory}/cpuset.cpus.partition") if is_v2 else None
    # Without the reason in "root invalid (Parent is not a partition root)".
    state = " ".join((partition or b"").decode("ascii", "replace").partition("(")[0].split())
    return Cpuset(cpus, mems or frozenset(), state)


class _Files:
    """Reads one cgroup: what :class:`V1Files` and :class:`V2Files` have in common.

    Each method raises ``VanishedError`` when the cgroup is gone, ``ReadError`` or ``ParseError`` for bad files, and
    returns ``None`` for what this kernel, mount or controller does not have.
    """

    __slots__ = ("_cpuset", "_directory", "_leaf", "_local", "_readers", "_ref", "_stat")
    is_v2: ClassVar[bool]

    def __init__(self, directory: str, leaf: str, ref: CgroupRef, readers: ReaderFactory) -> None:
        """``leaf`` is where its processes are: ``directory``, or the subgroup that crun makes below it."""
        self._directory, self._leaf, self._ref, self._readers = directory, leaf, ref, readers
        parse_stat = parse.cpu_stat_v2 if self.is_v2 else parse.cpu_stat_v1
        self._stat = CachedFile(directory, "cpu.stat", parse_stat, readers.budget, required=True)
        self._local = CachedFile(leaf, "cpu.stat.local", parse.cpu_stat_local, readers.budget)
        self._cpuset: str | None = None

    def local_throttled_seconds(self) -> float | None:
        """Read the seconds lost to its own and its ancestors' quotas: ``cpu.stat.local``, kernel 6.6+."""
        return self._local.value()

    def change_probe(self) -> ChangeProbe:
        """Read the text of the files in which most changes of settings show: quota, and effective CPUs."""
        quota = read_once(f"{self._directory}/{_QUOTA[self.is_v2]}")
        if self._leaf != self._directory:
            quota = (quota or b"") + (read_once(f"{self._leaf}/{_QUOTA[self.is_v2]}") or b"")
        name = _CPUS[self._readers.hierarchy.cpuset_is_v2]
        return quota, self._read_in_cpuset(lambda directory: read_once(f"{directory}/{name}"))

    def limits(self) -> CpuLimits:
        """Read quota, period, burst, weight or shares; of crun's subgroup where its quota is the tighter one.

        The kernel counts periods where the quota is, so :meth:`stat` reads there too from now on.
        """
        limits, where = read_limits(self._directory, is_v2=self.is_v2), self._directory
        if self._leaf != self._directory:
            inner = read_limits(self._leaf, is_v2=self.is_v2)
            if inner.limit_cores is not None and (limits.limit_cores or float("inf")) > inner.limit_cores:
                # The subgroup's weight competes with no sibling; the scope's does.
                limits, where = replace(inner, weight=limits.weight), self._leaf
        if where != self._stat.directory:
            self._stat.close()
            self._stat.directory = where
        return limits

    def cpuset(self) -> Cpuset | None:
        """Read the effective CPUs and memory nodes."""
        is_v2 = self._readers.hierarchy.cpuset_is_v2
        return self._read_in_cpuset(lambda directory: read_cpuset(directory, is_v2=is_v2))

    def _read_in_cpuset(self, read: Callable[[str], T]) -> T | None:
        if self._cpuset is None:
            self._cpuset = self._readers.locate(self._readers.hierarchy.cpuset, self._ref, self._leaf)
        return self._read_beside(self._cpuset, read)

    def _read_beside(self, directory: str | None, read: Callable[[str], T]) -> T | None:
        """Read in another controller's tree; ``None`` while the cgroup is not there or that tree is not mounted."""
        if directory is None:
            return None
        try:
            return read(directory)
        except VanishedError:
            if self._is_removed(directory):
                raise
            return None

    def _is_removed(self, directory: str) -> bool:
        """Whether a directory that is gone was removed, and not unmounted with its controller's tree."""
        return os.path.isdir(os.path.dirname(directory)) or not os.path.isdir(self._directory)

    def pids(self) -> int | None:
        """Read the number of threads in it and all cgroups below; ``None`` without the controller: ``pids.current``."""
        directory = self._readers.locate(self._readers.hierarchy.pids, self._ref, self._directory)
        return None if directory is None else read_value(directory, "pids.current", parse.number)

    def threads(self) -> int | None:
        """Read :meth:`pids`, else count the lists of tasks; ``None`` where neither tells.

        An empty list says nothing: v1 lists no tasks of another PID namespace (v2 has a line ``0`` for each).
        """
        pids = self.pids()
        if pids is not None:
            return pids
        directories = (self._directory, *self._directories_below())
        lists = (f"{directory}/{name}" for directory in directories for name in ("cgroup.threads", "tasks"))
        return sum(count_lines(path) or 0 for path in lists) or None

    def nested_throttled(self) -> dict[str, float]:
        """Read the throttled seconds of the cgroups below, by directory; 0.0 of the one that :meth:`stat` reads."""
        found = {}
        for directory in self._directories_below():
            with suppress(VanishedError):
                is_own = directory == self._stat.directory
                stat = None if is_own else read_value(directory, "cpu.stat", self._stat.parse)
                found[directory] = 0.0 if stat is None else stat.throttled_seconds or 0.0
        return found

    def _directories_below(self) -> list[str]:
        """Return at most :data:`MAX_NESTED` directories; kernfs keeps a leaf's link count at 2."""
        try:
            if os.stat(self._directory).st_nlink == 2:
                return []
        except OSError as error:
            raise_unless_absent(f"{self._directory}/", error)
        below = (f"{parent}/{name}" for parent, children, _ in os.walk(self._directory) for name in children)
        return list(islice(below, MAX_NESTED))


class V2Files(_Files):
    """One directory of the unified hierarchy; in a hybrid its cpuset may be in a v1 tree."""

    __slots__ = ("_pressure",)
    is_v2 = True

    def __init__(self, directory: str, leaf: str, ref: CgroupRef, readers: ReaderFactory) -> None:
        super().__init__(directory, leaf, ref, readers)
        self._pressure = CachedFile(directory, "cpu.pressure", parse.pressure, readers.budget)

    def usage_directory(self) -> str | None:
        """Return where its usage is counted, that of the directories below included."""
        return self._directory

    def stat(self, on_error: OnError = reraise, activity: Activity | None = None) -> CpuStat | None:
        """Read ``cpu.stat``, unless it was just read for its ``activity``."""
        del on_error  # one file
        return activity if isinstance(activity, CpuStat) else self._stat.value()

    tick_stat = stat

    def activity(self) -> Activity | None:
        """Read what changes when anything in it or below runs, else the same object: ``cpu.stat``."""
        stat = self._stat.value()
        return None if stat is None or stat.usage_seconds is None else stat

    def modes(self) -> tuple[float | None, float | None]:
        """Read user and system seconds: ``cpu.stat``."""
        stat = self._stat.value()
        return (None, None) if stat is None else (stat.user_seconds, stat.system_seconds)

    def pressure(self) -> Pressure | None:
        """Read the PSI totals: ``cpu.pressure``."""
        return self._pressure.value()

    def close(self) -> None:
        """Release the kept descriptors."""
        for file in (self._stat, self._local, self._pressure):
            file.close()


class V1Files(_Files):
    """One cgroup of the cpu controller, and the same cgroup in the cpuacct tree."""

    __slots__ = ("_joined", "_usage")
    is_v2 = False

    def __init__(self, directory: str, leaf: str, ref: CgroupRef, readers: ReaderFactory) -> None:
        super().__init__(directory, leaf, ref, readers)
        self._joined: tuple[CpuStat | None, float | None, CpuStat | None] = (None, None, None)
        self._usage: CachedFile[float] | None = None

    def _find_usage(self) -> CachedFile[float] | None:
        directory = self._readers.locate(self._readers.hierarchy.cpuacct, self._ref, self._directory)
        if directory is not None:
            budget = self._readers.budget
            self._usage = CachedFile(directory, "cpuacct.usage", parse.nanoseconds, budget, required=True)
        return self._usage

    def usage_directory(self) -> str | None:
        """Return where its usage is counted, that of the directories below included."""
        file = self._usage or self._find_usage()
        return None if file is None else file.directory

    def stat(self, on_error: OnError = reraise, activity: Activity | None = None) -> CpuStat | None:
        """Read ``cpu.stat``, and ``cpuacct.usage`` unless it was just read as ``activity``.

        ``on_error`` gets failures that cost only the usage.
        """
        return self._join(self._stat.value(), on_error, activity)

    def activity(self) -> Activity | None:
        """Read what changes when anything in it or below runs, else the same object: ``cpuacct.usage``."""
        file = self._usage or self._find_usage()
        return None if file is None else file.value()

    def tick_stat(self, on_error: OnError = reraise, activity: Activity | None = None) -> CpuStat | None:
        """Read ``cpu.stat``, and ``cpuacct.usage`` only when that changed, unless it was just read as ``activity``."""
        stat = self._stat.value()
        if activity is None and stat is not None and stat is self._joined[0]:
            return self._joined[2]
        return self._join(stat, on_error, activity)

    def _join(self, stat: CpuStat | None, on_error: OnError, activity: Activity | None) -> CpuStat | None:
        file, usage = self._usage or self._find_usage(), activity if isinstance(activity, float) else None
        if file is not None and usage is None:
            try:
                usage = file.value()
            except VanishedError:
                if self._is_removed(file.directory):
                    raise
            except ExporterError as error:
                on_error(error)
        if stat is not self._joined[0] or usage is not self._joined[1]:
            joined = stat
            if usage is not None:
                joined = tuple.__new__(CpuStat, (*(stat or _NO_STAT)[:6], usage, None, None))
            self._joined = (stat, usage, joined)
        return self._joined[2]

    def modes(self) -> tuple[float | None, float | None]:
        """Read user and system seconds: ``cpuacct.stat``."""
        file = self._usage or self._find_usage()
        directory = None if file is None else file.directory
        modes = self._read_beside(directory, lambda path: read_value(path, "cpuacct.stat", parse.cpuacct_stat))
        return modes or (None, None)

    def pressure(self) -> Pressure | None:
        """Return ``None``: v1 has no PSI of a cgroup."""
        return None

    def close(self) -> None:
        """Release the kept descriptors."""
        for file in (self._stat, self._local, self._usage):
            if file is not None:
                file.close()


CgroupFiles = V1Files | V2Files


class ReaderFactory:
    """Opens readers for the cgroups of one hierarchy, and finds a cgroup in the trees of its controllers."""

    def __init__(self, hierarchy: Hierarchy, budget: Descriptors | None = None) -> None:
        self.hierarchy = hierarchy
        self.budget = budget or Descriptors()
        # By controller root: only of controllers whose paths differ from the cpu tree's.
        self._indexes: dict[str, dict[tuple[str, str | None], str]] = {}

    def open(self, found: Found) -> CgroupFiles:
        """Open the reader of one cgroup."""
        directory = f"{self.hierarchy.cpu}/{found.ref.path}"
        if not self.hierarchy.cpu_is_v2:
            return V1Files(directory, directory, found.ref, self)
        leaf = f"{directory}/{SUBGROUP}" if found.subgroup else directory
        return V2Files(directory, leaf, found.ref, self)

    def open_path(self, path: str) -> CgroupFiles:
        """Open the reader of a cgroup that is no pod's, at ``path`` below each controller's root."""
        return self.open(Found(NO_REF._replace(path=path), 0, subgroup=False))

    def root_cpus(self) -> frozenset[int] | None:
        """Read the effective CPUs of the cpuset tree's root: on an LXC node fewer than the online ones."""
        root, cpuset = self.hierarchy.cpuset, None
        with suppress(VanishedError):  # not mounted any more
            cpuset = None if root is None else read_cpuset(root, is_v2=self.hierarchy.cpuset_is_v2)
        return None if cpuset is None or not cpuset.cpus else cpuset.cpus

    def new_scan(self) -> None:
        """Forget the indexes, and detect a controller that was not mounted yet."""
        self._indexes.clear()
        known = self.hierarchy
        if known.root and (known.cpuacct is None or known.cpuset is None):
            with suppress(ReadError):
                fresh = detect(known.root)
                if fresh.cpu == known.cpu:
                    self.hierarchy = fresh

    def locate(self, root: str | None, ref: CgroupRef, directory: str) -> str | None:
        """Find a cgroup, ``directory`` in the cpu tree, below another controller's ``root``; ``None``: not there."""
        if root is None or root == self.hierarchy.cpu:
            return root and directory
        path = f"{root}/{ref.path}"
        if os.path.isdir(path):
            return path
        if root not in self._indexes:
            found = walk(root).found.values()
            self._indexes[root] = {(one.ref.pod_uid, one.ref.container_id): one.ref.path for one in found}
        other = self._indexes[root].get((ref.pod_uid, ref.container_id))
        return None if other is None else f"{root}/{other}"
