"""The kernel's list format for CPUs and memory nodes, ``0-3,8``; also the kubelet's spelling of a cpuset. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby

from exporter.errors import ParseError

MAX_CPUS = 1 << 16  # above any kernel's NR_CPUS (8192): bounds what a hostile 0-4294967295 may cost
_PART = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")


def cpu_list(data: bytes | str, path: str) -> frozenset[int]:
    """The kernel's list format, ``0-3,8``; empty text is the empty set. Also memory nodes."""
    text = (data.decode("ascii", "replace") if isinstance(data, bytes) else data).strip()
    try:
        return _numbers(text)
    except ValueError as error:
        raise ParseError(path, text, str(error)) from error


@lru_cache(maxsize=256)
def _numbers(text: str) -> frozenset[int]:
    """Cached: the containers of a node share a handful of sets, one object each instead of one a container."""
    numbers: set[int] = set()
    named = 0
    for part in text.split(",") if text else ():
        match = _PART.fullmatch(part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not low <= high < MAX_CPUS:
            raise ValueError("not a list of CPUs")
        named += high - low + 1
        if named > MAX_CPUS:
            raise ValueError(f"names more than {MAX_CPUS} CPUs")
        numbers.update(range(low, high + 1))
    return frozenset(numbers)


def format_cpu_list(cpus: Iterable[int]) -> str:
    """The inverse of :func:`cpu_list`, in the kernel's shortest form."""
    numbered = enumerate(sorted(set(cpus)))  # the difference to its place is the same for all CPUs of a run
    runs = ([cpu for _, cpu in run] for _, run in groupby(numbered, lambda pair: pair[1] - pair[0]))
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
