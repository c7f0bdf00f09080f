"""What each online CPU spent its time on: ``/proc/stat``, kernel ``Documentation/filesystems/proc.rst``.

``cpuN user nice system idle iowait irq softirq steal guest guest_nice``, in ticks of 10 ms since boot. The guest
columns are part of ``user`` and ``nice`` already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from exporter.errors import ParseError
from exporter.model import CpuTimes

USER_HZ = 100
"""What the kernel shows to user space on every architecture that Kubernetes runs on, whatever its own tick is."""


class Jiffies(NamedTuple):
    """One CPU's line, in ticks since boot."""

    user: int
    nice: int
    system: int
    idle: int
    iowait: int = 0
    irq: int = 0
    softirq: int = 0
    steal: int = 0


def parse_proc_stat(data: bytes, path: str) -> dict[int, Jiffies]:
    """CPU -> its counters; the kernel lists online CPUs only. Raises ``ParseError``."""
    if not data.startswith(b"cpu"):
        raise ParseError(path, data, "not the times of CPUs" if data.strip() else "is empty")
    cpus: dict[int, Jiffies] = {}
    for line in data.splitlines():
        if not line.startswith(b"cpu"):
            # The lines of the CPUs come first; below them is one that can be hundreds of kilobytes long (intr).
            break
        name, *words = line.split()
        number = name[3:]
        if not number:
            continue
        if not number.isdigit() or len(number) > 6 or len(words) < 4 or not all(map(_is_count, words)):
            raise ParseError(path, line, "not a CPU's times")
        cpus[int(number)] = Jiffies(*map(int, words[: len(Jiffies._fields)]))
    return cpus


def _is_count(word: bytes) -> bool:
    return word.isdigit() and len(word) <= 20


def read_proc_stat(proc: str) -> dict[int, Jiffies] | None:
    """``stat`` below ``proc``; ``None`` where it is not there. Raises ``ParseError``."""
    path = f"{proc}/stat"
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    return parse_proc_stat(data, path)


def cpu_times(before: Mapping[int, Jiffies], after: Mapping[int, Jiffies], seconds: float) -> dict[int, CpuTimes]:
    """What each CPU did in the ``seconds`` between two readings. A CPU that was not online in both is left out."""
    if not seconds > 0 or math.isinf(seconds):
        return {}
    return {cpu: _times(before[cpu], now, seconds) for cpu, now in after.items() if cpu in before}


def _times(before: Jiffies, after: Jiffies, seconds: float) -> CpuTimes:
    # Each counter for itself: idle, iowait and steal are known to run backwards, and must not eat up what grew.
    grown = Jiffies(*(max(0, late - early) for early, late in zip(before, after, strict=True)))
    interrupts = grown.irq + grown.softirq
    return CpuTimes(
        seconds=seconds,
        busy_seconds=(grown.user + grown.nice + grown.system + interrupts) / USER_HZ,
        steal_seconds=grown.steal / USER_HZ,
        irq_seconds=interrupts / USER_HZ,
    )
