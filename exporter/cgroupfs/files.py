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

_RESERVE = 256
"""Descriptors left to sockets, the pod sources and the interpreter."""
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
    return max(0, min(soft, 1 << 20) - _RESERVE)


class KernelFile:
    """One file of one cgroup directory."""

    __slots__ = ("_budget", "_fd", "path")

    def __init__(self, path: str, budget: Descriptors) -> None:
        self.path = path
        self._budget = budget
        self._fd = -1

    def read(self) -> bytes | None:
        """The file's bytes now; ``None`` when the cgroup has no such file.

        Raises ``VanishedError`` when the whole cgroup is gone and ``ReadError`` for any other failure.
        """
        try:
            fd = self._fd
            if fd < 0:
                fd = self._open()
            data = os.pread(fd, MAX_BYTES + 1, 0)
            if self._fd < 0:
                os.close(fd)
        except OSError as error:
            self.close()
            if error.errno not in _GONE:
                raise ReadError.from_os_error(self.path, error) from error
            if not os.path.isdir(os.path.dirname(self.path)):
                raise VanishedError(self.path) from error
            return None
        if len(data) > MAX_BYTES:
            raise ReadError(self.path, f"longer than {MAX_BYTES} bytes", reason="too_large")
        return data

    def _open(self) -> int:
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        if self._budget.kept < self._budget.limit:
            self._budget.kept += 1
            self._fd = fd
        return fd

    def move(self, path: str) -> None:
        """Read another file from now on."""
        self.close()
        self.path = path

    def close(self) -> None:
        """Give the descriptor back; a later read opens the file anew."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._budget.kept -= 1


_UNKEPT = Descriptors(0)


def read_once(path: str) -> bytes | None:
    """One read of a file that is read too rarely to keep open; the rules of :meth:`KernelFile.read` hold."""
    return KernelFile(path, _UNKEPT).read()
