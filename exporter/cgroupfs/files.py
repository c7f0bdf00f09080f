"""Reads small kernel files, once or again and again through kept descriptors.

Opening, reading and closing a file costs four times as much as ``pread`` on a descriptor that stays open. An open file
of a removed cgroup answers ENODEV, so a kept descriptor never shows a dead cgroup as alive.

Every read gives ``None`` when the cgroup has no such file, and raises ``VanishedError`` when the cgroup is gone and
``ReadError`` for any other failure.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable
from os import pread
from typing import Generic, TypeVar

from exporter.errors import ExporterError, ReadError, VanishedError

T = TypeVar("T")
OnError = Callable[[ExporterError], None]

MAX_BYTES = 64 * 1024  # longest file read here; the longest real one is a cpuset list
RESERVE = 384  # descriptors left to sockets (served clients and as many waiting), the pod sources and the interpreter
MAX_CACHED_BYTES = 4096  # a file kept open is shorter; the longest real one is cpu.stat with some 300 bytes
_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR})


class Descriptors:
    """The number of descriptors that may be kept open; beyond it a file is opened for each read."""

    __slots__ = ("kept", "limit")

    def __init__(self, limit: int | None = None) -> None:
        """Without a ``limit``, as many as the hard limit of open files allows; the soft one is raised to it."""
        self.kept = 0
        if limit is None:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            with contextlib.suppress(ValueError, OSError):  # a container runtime may forbid it
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
                soft = hard
            limit = max(0, min(soft, 1 << 20) - RESERVE)
        self.limit = limit


def raise_unless_absent(path: str, error: OSError) -> None:
    """Return only when the cgroup exists and has no such file."""
    if error.errno not in _GONE:
        raise ReadError.from_os_error(path, error) from error
    if not os.path.isdir(os.path.dirname(path)):
        raise VanishedError(path) from error


def read_once(path: str) -> bytes | None:
    """Read a file without keeping it open."""
    try:
        fd = os.open(path, _FLAGS)
        try:
            data = pread(fd, MAX_BYTES + 1, 0)
        finally:
            os.close(fd)
    except OSError as error:
        raise_unless_absent(path, error)
        return None
    if len(data) > MAX_BYTES:
        raise ReadError(path, f"longer than {MAX_BYTES} bytes", reason="too_large")
    return data


def read_value(directory: str, name: str, parse: Callable[[bytes, str], T]) -> T | None:
    """Read and parse a file without keeping it open."""
    path = f"{directory}/{name}"
    data = read_once(path)
    return None if data is None else parse(data, path)


def count_lines(path: str) -> int | None:
    """Count the lines of a file of any length (``cgroup.threads``)."""
    try:
        with open(path, "rb") as file:
            return sum(1 for _ in file)
    except OSError as error:
        raise_unless_absent(path, error)
        return None


def reraise(error: ExporterError) -> None:
    """Raise ``error``: the error handler of a caller that wants all values or none."""
    raise error


class CachedFile(Generic[T]):
    """One file of a cgroup, kept open, and its parsed value; parses only text that has changed."""

    # Directory and name apart, so that the files of a cgroup share one long string.
    __slots__ = ("_budget", "_bytes", "_fd", "_name", "_required", "_value", "directory", "parse")

    def __init__(
        self,
        directory: str,
        name: str,
        parse: Callable[[bytes, str], T],
        budget: Descriptors,
        *,
        required: bool = False,
    ) -> None:
        """``parse`` takes text and path. A ``required`` file exists as long as its cgroup does."""
        self.directory, self._name, self.parse, self._budget = directory, name, parse, budget
        self._required = required
        self._fd = -1
        self._bytes: bytes | None = None
        self._value: T | None = None

    def value(self) -> T | None:
        """Return the parsed value, the same object while it is equal; also raises ``ParseError``."""
        # Runs for each file of each sample: straight-line code, one call deep.
        try:
            data: bytes | None = pread(self._fd, MAX_CACHED_BYTES, 0)
        except OSError:  # not kept open, or gone
            data = self._open()
        if data != self._bytes:
            self._update(data)
        return self._value

    def _open(self) -> bytes | None:
        """Read the file at the path, and keep it open while there are descriptors left."""
        self.close()  # another cgroup may be at the path by now
        path = f"{self.directory}/{self._name}"
        try:
            self._fd = os.open(path, _FLAGS)
            self._budget.kept += 1
            data = pread(self._fd, MAX_CACHED_BYTES, 0)
        except OSError as error:
            self.close()
            raise_unless_absent(path, error)
            return None
        if self._budget.kept > self._budget.limit:
            self.close()
        return data

    def _update(self, data: bytes | None) -> None:
        path = f"{self.directory}/{self._name}"
        if data is None:
            if self._required:  # a cgroup that is being removed loses its files before its directory
                raise VanishedError(path)
            self._value = None
        elif len(data) == MAX_CACHED_BYTES:
            raise ReadError(path, f"not shorter than {MAX_CACHED_BYTES} bytes", reason="too_large")
        else:
            value = self.parse(data, path)
            if value != self._value:
                self._value = value
        self._bytes = data

    def close(self) -> None:
        """Release the descriptor; a later read opens the file again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._budget.kept -= 1
