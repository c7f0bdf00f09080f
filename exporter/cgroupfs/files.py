"""Reading one small kernel file again and again: a kept descriptor and ``pread``.

Opening, reading and closing a file costs four times as much as reading it through a descriptor that stays open. An open
file of a removed cgroup answers ENODEV, so a kept descriptor never shows a dead cgroup as alive.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource

from exporter.errors import ReadError, VanishedError

MAX_BYTES = 64 * 1024
"""Above any of the files read here, the longest being a cpuset list; what is longer is not what it claims to be."""

RESERVE = 384
"""Descriptors left to sockets (of clients: those that are served, and as many at the door), the pod sources and the
interpreter."""
_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR})


class Descriptors:
    """How many descriptors may be kept open; beyond it files are opened for each read. Nothing ever fails for it."""

    __slots__ = ("kept", "limit")

    def __init__(self, limit: int | None = None) -> None:
        self.kept = 0
        self.limit = raise_file_limit() if limit is None else limit


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; the number of descriptors that may be kept under it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a container runtime may forbid it; the soft limit holds then
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return max(0, min(soft, 1 << 20) - RESERVE)


def _raise_unless_absent(path: str, error: OSError) -> None:
    """Returns when ``error`` means that the cgroup is there and has no such file."""
    if error.errno not in _GONE:
        raise ReadError.from_os_error(path, error) from error
    if not os.path.isdir(os.path.dirname(path)):
        raise VanishedError(path) from error


class KernelFile:
    """One file of one cgroup directory."""

    __slots__ = ("_budget", "_directory", "_fd", "_name")

    def __init__(self, directory: str, name: str, budget: Descriptors) -> None:
        # Apart, so that a cgroup's files share the one long string.
        self._directory, self._name = directory, name
        self._budget = budget
        self._fd = -1

    @property
    def path(self) -> str:
        """Where it is."""
        return f"{self._directory}/{self._name}"

    def read(self) -> bytes | None:
        """The file's bytes now; ``None`` when the cgroup has no such file.

        Raises ``VanishedError`` when the whole cgroup is gone and ``ReadError`` for any other failure.
        """
        try:
            data = self._read_kept()
            if data is None:
                data = self._read_anew()
        except OSError as error:
            self.close()
            _raise_unless_absent(self.path, error)
            return None
        return _bounded(data, self.path)

    def _read_kept(self) -> bytes | None:
        """``None`` without a kept descriptor, and when what it was opened on is no longer at the path.

        That need not be the end: the path may hold a cgroup made since, or ``cgroup.pressure`` may be on again.
        """
        if self._fd < 0:
            return None
        try:
            return os.pread(self._fd, MAX_BYTES + 1, 0)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            self.close()
            return None

    def _read_anew(self) -> bytes:
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(fd, MAX_BYTES + 1, 0)
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
        if directory != self._directory:
            self.close()
            self._directory = directory

    def close(self) -> None:
        """Give the descriptor back; a later read opens the file anew."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._budget.kept -= 1


def read_once(path: str) -> bytes | None:
    """One read of a file that is read too rarely to keep open; the rules of :meth:`KernelFile.read` hold."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(fd, MAX_BYTES + 1, 0)
        finally:
            os.close(fd)
    except OSError as error:
        _raise_unless_absent(path, error)
        return None
    return _bounded(data, path)


def _bounded(data: bytes, path: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise ReadError(path, f"longer than {MAX_BYTES} bytes", reason="too_large")
    return data


def count_lines(path: str) -> int | None:
    """Lines of a file of any length, ``tasks`` and its like; the rules of :meth:`KernelFile.read` hold.

    The kernel gives such a file in pieces of a page, whatever was asked for.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            return sum(piece.count(b"\n") for piece in iter(lambda: file.read(MAX_BYTES), b""))
    except OSError as error:
        _raise_unless_absent(path, error)
        return None
