"""Events of watched directories, from inotify(7): entries made, removed and written.

cgroups are made and removed through the VFS, so a watch on the read-only mount in our container sees what the kubelet
and the runtime do. Nothing here blocks: the sampling thread drains the queue at each tick.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

from exporter.errors import ReadError

IN_MODIFY = 0x2
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x1000000
IN_ISDIR = 0x40000000
_HEADER = struct.Struct("iIII")
_BUFFER = 64 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """One thing that happened."""

    kind: Literal["created", "deleted", "modified", "overflow"]
    directory: str  # the watched directory, as it was given
    name: str  # the entry in it: a directory that came or went, a file that was written to


class Inotify:
    """One queue and its watches."""

    def __init__(self) -> None:
        """Raises ``ReadError`` when the kernel gives none (limit on instances, seccomp)."""
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise _error("inotify")
        self._directories: dict[int, str] = {}
        self._watches: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._watches)

    def watch(self, directory: str) -> bool:
        """Watch ``directory``; False when it is gone. Raises ``ReadError`` when the limit of watches is reached."""
        if directory in self._watches:
            return True
        mask = IN_CREATE | IN_DELETE | IN_MODIFY | IN_ONLYDIR
        watch = _libc.inotify_add_watch(self._fd, os.fsencode(directory), mask)
        if watch < 0:
            if ctypes.get_errno() in {errno.ENOENT, errno.ENOTDIR, errno.ENODEV}:
                return False
            raise _error(directory)
        # The kernel gives the same number for the same inode: a second path to it takes the first one's place.
        self._watches.pop(self._directories.get(watch, ""), None)
        self._directories[watch], self._watches[directory] = directory, watch
        return True

    def unwatch(self, directory: str) -> None:
        """Forget ``directory``, there or not."""
        watch = self._watches.pop(directory, None)
        if watch is not None:
            self._directories.pop(watch, None)
            _libc.inotify_rm_watch(self._fd, watch)

    def drain(self) -> Iterator[Event]:
        """All that happened since the last call, oldest first; may be closed in between."""
        while self._fd >= 0:
            try:
                data = os.read(self._fd, _BUFFER)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                watch, mask, _, length = _HEADER.unpack_from(data, offset)
                offset += _HEADER.size + length
                name = os.fsdecode(data[offset - length : offset].rstrip(b"\0"))
                directory = self._directories.get(watch)
                if mask & IN_Q_OVERFLOW:
                    yield Event("overflow", "", "")
                elif directory is None:
                    continue
                elif mask & IN_IGNORED:
                    self._directories.pop(watch, None)
                    self._watches.pop(directory, None)
                elif mask & IN_MODIFY:
                    yield Event("modified", directory, name)
                elif mask & IN_ISDIR:
                    yield Event("created" if mask & IN_CREATE else "deleted", directory, name)

    def close(self) -> None:
        """Give the queue back; its watches go with it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._directories.clear()
        self._watches.clear()


def _error(path: str) -> ReadError:
    number = ctypes.get_errno()
    return ReadError.from_os_error(path, OSError(number, os.strerror(number)))
