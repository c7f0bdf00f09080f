"""The one face of a cgroup's files that both versions show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from exporter.errors import ExporterError, VanishedError
from exporter.model import CgroupRef, CpuLimits, Cpuset, CpuStat, Pressure

T = TypeVar("T")


class Trees(Protocol):
    """The trees of the other controllers, where the same cgroup is found by its ids."""

    def cpuacct_of(self, ref: CgroupRef, /) -> str | None:
        """The cgroup's directory in the cpuacct tree; ``None`` while it is not there."""

    def cpuset_of(self, ref: CgroupRef, /, *, leaf: bool) -> str | None:
        """The same in the cpuset tree; with ``leaf`` the subgroup's, where that tree has it."""

    def read_cpuset(self, path: str, /) -> Cpuset | None:
        """The cpuset of a directory in the cpuset tree; raises what reading raises."""

    def is_mounted(self, path: str, /) -> bool:
        """Whether the tree that a directory was in is still there."""


class FixedTrees:
    """For one cgroup whose directories are known, named by :data:`ANY`."""

    def __init__(self, cpuacct: str | None, cpuset: str | None, read_cpuset: Callable[[str], Cpuset | None]) -> None:
        self._cpuacct, self._cpuset, self.read_cpuset = cpuacct, cpuset, read_cpuset

    def cpuacct_of(self, _: CgroupRef) -> str | None:
        """The one there is."""
        return self._cpuacct

    def cpuset_of(self, _: CgroupRef, *, leaf: bool) -> str | None:
        """The one there is."""
        del leaf
        return self._cpuset

    def is_mounted(self, _: str) -> bool:
        """Nobody unmounts it."""
        return True


ANY = CgroupRef("", "", "", None, "Guaranteed", "", "cgroupfs")
"""A cgroup that need not be a pod's."""

Hinge = tuple[bytes | None, bytes | None]
OnError = Callable[[ExporterError], None]


def raise_it(error: ExporterError) -> None:
    """For a caller who wants all or nothing."""
    raise error


def elsewhere(read: Callable[[str], T], directory: str | None, trees: Trees) -> T | None:
    """What ``read`` finds in another controller's tree; ``None`` where that is not there, or there no longer.

    Raises ``VanishedError`` when the cgroup is gone and its tree is not: then it is on its way out everywhere.
    """
    if directory is None:
        return None
    try:
        return read(directory)
    except VanishedError:
        if trees.is_mounted(directory):
            raise
        return None


class CgroupFiles(Protocol):
    """Reads one cgroup.

    Each method raises ``VanishedError`` when the cgroup is gone, ``ReadError`` or ``ParseError`` when its files are not
    what they should be, and gives ``None`` for what this kernel, mount or controller does not have.
    """

    def stat(self, on_error: OnError = raise_it) -> CpuStat | None:
        """The counters; user and system time may be absent.

        Where they are in several files, ``on_error`` is told what is wrong with any but the first: it costs its own
        counter only.
        """

    def tick_stat(self, on_error: OnError = raise_it) -> CpuStat | None:
        """The same for a tick: the usage may be as old as the last change of the period counters."""

    def modes(self) -> tuple[float | None, float | None]:
        """User and system seconds."""

    def local_throttled_seconds(self) -> float | None:
        """Seconds lost to its own and its ancestors' quotas (kernel 6.6+)."""

    def pressure(self) -> Pressure | None:
        """PSI totals."""

    def hinge(self) -> Hinge:
        """The text of the two files that tell most changes of limits and cpuset: quota, and effective CPUs.

        Looks for directories in the other trees that were not there yet.
        """

    def limits(self) -> CpuLimits:
        """Quota, period, burst and weight."""

    def cpuset(self) -> Cpuset | None:
        """Where it may run."""

    def threads(self) -> int | None:
        """Number of threads in the cgroup."""

    def close(self) -> None:
        """Give the kept descriptors back."""
