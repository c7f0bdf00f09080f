"""Names that tell whose a tree is, so that a later start can remove a dead owner's and never a living one's."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

_PREFIX = re.compile(r"kte-[a-z]+-(?P<pid>[0-9]+)-(?P<start>[0-9]+)-(?P<namespace>[0-9]+)-[0-9]+")
_numbers = itertools.count(1)


def own_prefix(purpose: str) -> str:
    """``kte-PURPOSE-PID-START-NAMESPACE-N``: this process, its start time, its pid namespace, its n-th tree."""
    pid = os.getpid()
    return f"kte-{purpose}-{pid}-{_start_time(pid)}-{_pid_namespace()}-{next(_numbers)}"


def names_owner(name: str) -> bool:
    """Whether :func:`own_prefix` made the name."""
    return _PREFIX.fullmatch(name) is not None


def owner_is_dead(name: str) -> bool:
    """Whether the name is one of ours and its owner, a process that could be seen from here, is gone.

    A process of another pid namespace cannot be seen, so its trees are left alone.
    """
    match = _PREFIX.fullmatch(name)
    if match is None or int(match["namespace"]) != _pid_namespace():
        return False
    return _start_time(int(match["pid"])) != int(match["start"])


def _start_time(pid: int) -> int | None:
    """Field 22 of ``/proc/PID/stat``, in clock ticks after boot; ``None`` when there is no such living process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything, parentheses too.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else int(fields[18])


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
