"""Names that carry their owner, so that a later start removes what a killed one left and nothing of a living one."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

_PREFIX = re.compile(r"kte-[a-z]+-(?P<pid>[0-9]+)-(?P<start>[0-9]+)-(?P<namespace>[0-9]+)-[0-9]+")
_numbers = itertools.count(1)


def own_prefix(purpose: str) -> str:
    """Return a new ``kte-PURPOSE-PID-START-NAMESPACE-N`` with this process's start time and pid namespace."""
    pid = os.getpid()
    return f"kte-{purpose}-{pid}-{_start_time(pid)}-{_pid_namespace()}-{next(_numbers)}"


def has_owner(name: str) -> bool:
    """Return whether :func:`own_prefix` made the name."""
    return _PREFIX.fullmatch(name) is not None


def is_stale(name: str) -> bool:
    """Return whether the name's owner is gone; false for one of another pid namespace, which cannot be seen."""
    match = _PREFIX.fullmatch(name)
    if match is None or int(match["namespace"]) != _pid_namespace():
        return False
    return _start_time(int(match["pid"])) != int(match["start"])


def _start_time(pid: int) -> int | None:
    """Return field 22 of ``/proc/PID/stat``, clock ticks after boot, or None if the process does not live."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything, parentheses too.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else int(fields[18])


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
