"""The one face of a cgroup's files that both versions show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from exporter.errors import ExporterError, VanishedError
from exporter.readings import CpuLimits, Cpuset, CpuStat, Pressure

T = TypeVar("T")

Locate = Callable[[], str | None]
"""The cgroup's directory in another controller's tree; ``None`` while it is not there."""
ReadCpuset = Callable[[str], Cpuset | None]
"""Reads the cpuset of a directory."""


TreeLives = Callable[[str], bool]
"""Whether the tree of another controller that a directory was in is still mounted."""


OnError = Callable[[ExporterError], None]


def raise_it(error: ExporterError) -> None:
    """For a caller who wants all or nothing."""
    raise error


def nowhere() -> None:
    """For a cgroup that will never be in that tree."""


def always(_: str) -> bool:
    """For a tree that nobody unmounts."""
    return True


def elsewhere(read: Callable[[str], T], directory: str | None, lives: TreeLives) -> T | None:
    """What ``read`` finds in another controller's tree; ``None`` where that is not there, or there no longer.

    Raises ``VanishedError`` when the cgroup is gone and its tree is not: then it is on its way out everywhere.
    """
    if directory is None:
        return None
    try:
        return read(directory)
    except VanishedError:
        if lives(directory):
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

    def quota_text(self) -> bytes | None:
        """The text of the file that tells most changes of limits: the quota."""

    def cpus_text(self) -> bytes | None:
        """The text of the file that tells most changes of the cpuset: effective CPUs."""

    def limits(self) -> CpuLimits:
        """Quota, period, burst and weight."""

    def cpuset(self) -> Cpuset | None:
        """Where it may run."""

    def threads(self) -> int | None:
        """Number of threads in the cgroup."""

    def close(self) -> None:
        """Give the kept descriptors back."""
