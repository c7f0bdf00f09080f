"""Reads small kernel files through kept descriptors, and defines the interface of a cgroup's reader.

Opening, reading and closing a file costs four times as much as ``pread`` on a descriptor that stays open. An open file
of a removed cgroup answers ENODEV, so a kept descriptor never shows a dead cgroup as alive.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable
from os import pread
from typing import Generic, Literal, Protocol, TypeVar

from exporter.cgroupfs import parse
from exporter.errors import ExporterError, ReadError, VanishedError
from exporter.model import CgroupRef, CpuLimits, Cpuset, CpuStat, Pressure

T = TypeVar("T")
OnError = Callable[[ExporterError], None]
ChangeProbe = tuple[bytes | None, bytes | None]

MAX_BYTES = 64 * 1024
"""Longest file read here; the longest real one is a cpuset list."""
RESERVE = 384
"""Descriptors left to sockets (served clients and as many waiting), the pod sources and the interpreter."""
_USUAL_BYTES = 4096
"""Longer than any of these files usually is; what is longer is read again, up to :data:`MAX_BYTES`."""
MAX_NESTED = 1000
"""Cgroups below one container that are looked at."""
_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR})


class Descriptors:
    """The number of descriptors that may be kept open; beyond it a file is opened for each read."""

    __slots__ = ("kept", "limit")

    def __init__(self, limit: int | None = None) -> None:
        self.kept = 0
        self.limit = raise_file_limit() if limit is None else limit


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; return how many descriptors may be kept."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a container runtime may forbid it; the soft limit holds then
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return max(0, min(soft, 1 << 20) - RESERVE)


def _raise_unless_absent(path: str, error: OSError) -> None:
    """Return only when the cgroup exists and has no such file."""
    if error.errno not in _GONE:
        raise ReadError.from_os_error(path, error) from error
    if not os.path.isdir(os.path.dirname(path)):
        raise VanishedError(path) from error


def _bounded(data: bytes, path: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise ReadError(path, f"longer than {MAX_BYTES} bytes", reason="too_large")
    return data


def read_once(path: str) -> bytes | None:
    """Read a file without keeping it open; ``None`` when its cgroup has no such file.

    Raises ``VanishedError`` when the cgroup is gone and ``ReadError`` for any other failure.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = pread(fd, MAX_BYTES + 1, 0)
        finally:
            os.close(fd)
    except OSError as error:
        _raise_unless_absent(path, error)
        return None
    return _bounded(data, path)


def count_lines(path: str) -> int | None:
    """Count the lines of a file of any length (``cgroup.threads``); fails as :func:`read_once` does."""
    try:
        with open(path, "rb", buffering=0) as file:  # the kernel answers in pieces of a page, whatever is asked for
            return sum(piece.count(b"\n") for piece in iter(lambda: file.read(MAX_BYTES), b""))
    except OSError as error:
        _raise_unless_absent(path, error)
        return None


def read_optional(read: Callable[[str], T], directory: str | None, paths: ControllerPaths) -> T | None:
    """Apply ``read`` to a directory of another controller's tree; ``None`` while or once that tree is not there.

    Raises ``VanishedError`` when the cgroup is gone and the tree is still mounted.
    """
    if directory is None:
        return None
    try:
        return read(directory)
    except VanishedError:
        if paths.is_mounted(directory):
            raise
        return None


def reraise(error: ExporterError) -> None:
    """Raise ``error``: the error handler of a caller that wants all values or none."""
    raise error


class CachedFile(Generic[T]):
    """One file of a cgroup, kept open, and its parsed value; parses only text that has changed."""

    # Directory and name apart, so that the files of a cgroup share one long string.
    __slots__ = ("_budget", "_bytes", "_fd", "_name", "_parse", "_required", "_value", "directory")

    def __init__(
        self,
        directory: str,
        name: str,
        parsed: Callable[[bytes, str], T],
        budget: Descriptors,
        *,
        required: bool = False,
    ) -> None:
        """``parsed`` takes text and path. A ``required`` file exists as long as its cgroup does."""
        self.directory, self._name, self._parse, self._budget = directory, name, parsed, budget
        self._required = required
        self._fd = -1
        self._bytes: bytes | Literal[False] | None = None
        """``None`` for an absent file; ``False`` equals no text."""
        self._value: T | None = None

    @property
    def path(self) -> str:
        """The path read."""
        return f"{self.directory}/{self._name}"

    def value_in(self, directory: str) -> T | None:
        """Read and parse the file of the same name in another directory, once; raises as :meth:`value` does."""
        path = f"{directory}/{self._name}"
        data = read_once(path)
        return None if data is None else self._parse(data, path)

    def value(self) -> T | None:
        """Return the parsed value, the same object while the text is the same; ``None`` for an absent file.

        Raises ``VanishedError``, ``ReadError`` or ``ParseError``.
        """
        # Runs for each file of each sample: straight-line code, one call deep.
        try:
            data: bytes | None = pread(self._fd, _USUAL_BYTES, 0)
        except OSError:  # not kept open, or gone
            data = self.read()
        if data != self._bytes:
            self._update(data)
        return self._value

    def _update(self, data: bytes | None) -> None:
        if data is not None and len(data) >= _USUAL_BYTES:
            data = self.read()
        # A cgroup that is being removed loses its files before its directory.
        if data is None and self._required:
            raise VanishedError(self.path)
        self._value = None if data is None else self._parse(data, self.path)
        # Only the beginning of a long text would be compared.
        self._bytes = data if data is None or len(data) < _USUAL_BYTES else False

    def read(self) -> bytes | None:
        """Read the whole file; ``None`` when its cgroup has no such file. Raises as :func:`read_once` does."""
        try:
            data = self._read_kept()
            if data is None:
                data = self._open_and_read()
        except OSError as error:
            self.close()
            _raise_unless_absent(self.path, error)
            return None
        return _bounded(data, self.path)

    def _read_kept(self) -> bytes | None:
        """``None`` without a usable descriptor: another cgroup may be at the path by now (ENODEV)."""
        if self._fd < 0:
            return None
        try:
            return pread(self._fd, MAX_BYTES + 1, 0)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            self.close()
            return None

    def _open_and_read(self) -> bytes:
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = pread(fd, MAX_BYTES + 1, 0)
        except OSError:
            os.close(fd)
            raise
        if self._budget.kept < self._budget.limit:
            self._budget.kept += 1
            self._fd = fd
        else:
            os.close(fd)
        return data

    def move(self, directory: str) -> None:
        """Read the file of the same name in another directory from now on."""
        if directory != self.directory:
            self.close()
            self.directory = directory

    def close(self) -> None:
        """Release the descriptor; a later read opens the file again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._budget.kept -= 1


class ControllerPaths(Protocol):
    """Finds a cgroup in the trees of the other controllers."""

    def cpuacct_of(self, ref: CgroupRef, /) -> str | None:
        """Return its directory in the cpuacct tree; ``None`` while it is not there."""

    def cpuset_of(self, ref: CgroupRef, /, *, leaf: bool) -> str | None:
        """Return its directory in the cpuset tree; with ``leaf`` its subgroup's, where that tree has it."""

    def pids_of(self, ref: CgroupRef, /) -> str | None:
        """Return its directory in the pids tree."""

    def read_cpuset(self, path: str, /) -> Cpuset | None:
        """Read the cpuset of a directory in the cpuset tree, whose version may be another than the cpu tree's."""

    def is_mounted(self, path: str, /) -> bool:
        """Tell whether the tree that holds ``path`` is still mounted."""


class CgroupFiles(Protocol):
    """Interface implemented by V1Files and V2Files: reads one cgroup.

    Each method raises ``VanishedError`` when the cgroup is gone, ``ReadError`` or ``ParseError`` for bad files, and
    returns ``None`` for what this kernel, mount or controller does not have.
    """

    def stat(self, on_error: OnError = reraise) -> CpuStat | None:
        """Read the counters; ``on_error`` gets failures that cost only the usage (v1: a file of its own)."""

    def tick_stat(self, on_error: OnError = reraise) -> CpuStat | None:
        """Read the counters for a tick; the usage may be as old as the last change of the period counters."""

    def modes(self) -> tuple[float | None, float | None]:
        """Read user and system seconds."""

    def local_throttled_seconds(self) -> float | None:
        """Read the seconds lost to its own and its ancestors' quotas: ``cpu.stat.local``, kernel 6.6+."""

    def pressure(self) -> Pressure | None:
        """Read the PSI totals."""

    def change_probe(self) -> ChangeProbe:
        """Read the text of the two files in which most changes of settings show: quota, and effective CPUs."""

    def limits(self) -> CpuLimits:
        """Read quota, period, burst and weight."""

    def cpuset(self) -> Cpuset | None:
        """Read the effective CPUs and memory nodes."""

    def threads(self) -> int | None:
        """Read the number of threads in it and all cgroups below; ``None`` where no file tells."""

    def nested_throttled(self) -> dict[str, float]:
        """Read the throttled seconds of the cgroups below, by directory."""

    def close(self) -> None:
        """Release the kept descriptors."""


class CgroupDirectory:
    """A cgroup's directory in the cpu tree, and the same cgroup's in the trees of cpuset and pids.

    A directory that is missing there is looked for again at each reading: runtimes make one after the other.
    """

    __slots__ = ("_cpuset_path", "_directory", "_leaf", "_local", "_paths", "_ref", "_stat")

    def __init__(
        self,
        directory: str,
        leaf: str,
        ref: CgroupRef,
        paths: ControllerPaths,
        stat: CachedFile[CpuStat],
        local: CachedFile[float | None],
    ) -> None:
        """``leaf`` is where its processes are: ``directory``, or the subgroup that crun makes below it."""
        self._directory, self._leaf, self._ref, self._paths = directory, leaf, ref, paths
        self._stat, self._local = stat, local
        self._cpuset_path: str | None = None
        self._find_cpuset()

    def _find_cpuset(self) -> str | None:
        if self._cpuset_path is None:
            self._cpuset_path = self._paths.cpuset_of(self._ref, leaf=self._leaf != self._directory)
        return self._cpuset_path

    def cpuset(self) -> Cpuset | None:
        """Read the effective CPUs and memory nodes."""
        return read_optional(self._paths.read_cpuset, self._find_cpuset(), self._paths)

    def local_throttled_seconds(self) -> float | None:
        """Read ``cpu.stat.local``."""
        return self._local.value()

    def nested_throttled(self) -> dict[str, float]:
        """Read the throttled seconds of all cgroups below, by directory; 0.0 of the one that :meth:`stat` reads."""
        found = {}
        for directory in self._directories_below():
            with contextlib.suppress(VanishedError):
                stat = None if directory == self._stat.directory else self._stat.value_in(directory)
                found[directory] = 0.0 if stat is None else stat.throttled_seconds or 0.0
        return found

    def threads(self) -> int | None:
        """Read the number of threads in the cgroup and all below: ``pids.current``, else the lists of tasks."""
        pids = read_optional(_read_pids, self._paths.pids_of(self._ref), self._paths)
        return self._count_tasks() if pids is None else pids

    def _count_tasks(self) -> int | None:
        """An empty list says nothing: v1 lists no tasks of another PID namespace (v2 has a line ``0`` for each)."""
        lines = 0
        for directory in (self._directory, *self._directories_below()):
            for name in ("cgroup.threads", "tasks"):
                lines += count_lines(f"{directory}/{name}") or 0
        return lines or None

    def _directories_below(self) -> list[str]:
        """Return at most :data:`MAX_NESTED` directories; kernfs keeps a leaf's link count at 2."""
        try:
            pending = [] if os.stat(self._directory).st_nlink == 2 else [self._directory]
            found: list[str] = []
            while pending and len(found) < MAX_NESTED:
                with contextlib.suppress(FileNotFoundError), os.scandir(pending.pop()) as entries:
                    children = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
                    found += children
                    pending += children
        except OSError as error:
            _raise_unless_absent(self._directory, error)
            raise VanishedError(self._directory) from error
        return found[:MAX_NESTED]


def _read_pids(directory: str) -> int | None:
    data = read_once(f"{directory}/pids.current")
    return None if data is None else parse.number(data, f"{directory}/pids.current")
