"""Reads what each online CPU spent its time on: ``/proc/schedstat`` where the kernel has it, and ``/proc/stat``.

``/proc/stat`` (``filesystems/proc.rst``) has ticks of 10 ms, sampled: a task in phase with the tick, 0.2 CPUs in truth,
may show as 0.5 or 0. ``/proc/schedstat`` (``scheduler/sched-stats.rst``, from version 15 on) has nanoseconds that tasks
ran and the number of their slices, fields 7 and 9 of ``cpuN``; a slice is added when it ends.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from exporter.errors import ParseError
from exporter.model import CpuTimes
from exporter.node.machine import read_file

USER_HZ = 100  # the tick that the kernel shows to user space on every architecture that Kubernetes runs on
_NS = 1_000_000_000


class Jiffies(NamedTuple):
    """One CPU's line of ``/proc/stat``, in ticks since boot."""

    user: int
    nice: int
    system: int
    idle: int
    iowait: int = 0
    irq: int = 0
    softirq: int = 0
    steal: int = 0


class RunTime(NamedTuple):
    """One CPU's time running tasks since boot."""

    nanoseconds: int
    slices: int


class CpuReadings(NamedTuple):
    """All CPUs at one time."""

    ticks: Mapping[int, Jiffies]
    run: Mapping[int, RunTime]  # empty without /proc/schedstat


def parse_proc_stat(data: bytes, path: str) -> dict[int, Jiffies]:
    """Return the counters of each online CPU. Raises ``ParseError``."""
    if not data.startswith(b"cpu"):
        raise ParseError(path, data, "not the times of CPUs" if data.strip() else "is empty")
    return {cpu: Jiffies(*counts[: len(Jiffies._fields)]) for cpu, counts in _cpu_lines(data, 4, path)}


def parse_schedstat(data: bytes, path: str) -> dict[int, RunTime]:
    """Return each CPU's run time; nothing for versions before 15. Raises ``ParseError``."""
    version = re.match(rb"version ([0-9]{1,9})\n", data)
    if version is None:
        raise ParseError(path, data, "no version")
    lines = _cpu_lines(data, 9, path) if int(version[1]) >= 15 else ()
    return {cpu: RunTime(counts[6], counts[8]) for cpu, counts in lines}


def _cpu_lines(data: bytes, least: int, path: str) -> Iterator[tuple[int, list[int]]]:
    for line in data.splitlines():
        if line.startswith(b"cpu") and not line.startswith(b"cpu "):
            words = line[3:].split()
            are_numbers = all(word.isdigit() and len(word) <= 20 for word in words)
            if len(words) <= least or len(words[0]) > 6 or not are_numbers:
                raise ParseError(path, line, "not a CPU's times")
            cpu, *counts = map(int, words)
            yield cpu, counts


def read_cpu_readings(proc: str) -> CpuReadings | None:
    """Read ``schedstat`` and ``stat`` below ``proc``; ``None`` without ``stat``. Raises ``ParseError``."""
    run, stat = read_file(f"{proc}/schedstat"), read_file(f"{proc}/stat")
    if stat is None:
        return None
    ticks = parse_proc_stat(stat, f"{proc}/stat")
    return CpuReadings(ticks, {} if run is None else parse_schedstat(run, f"{proc}/schedstat"))


def cpu_times(before: CpuReadings, after: CpuReadings, seconds: float) -> dict[int, CpuTimes]:
    """Return each CPU's times in the ``seconds`` between two readings; only of CPUs online in both."""
    if not 0 < seconds < math.inf:
        return {}
    return {cpu: _times(cpu, before, after, seconds) for cpu in after.ticks if cpu in before.ticks}


def _times(cpu: int, before: CpuReadings, after: CpuReadings, seconds: float) -> CpuTimes:
    # Each counter for itself: idle, iowait and steal are known to run backwards, and must not reduce the others.
    pairs = zip(before.ticks[cpu], after.ticks[cpu], strict=True)
    grown = Jiffies(*(max(0, late - early) for early, late in pairs))
    interrupts = grown.irq + grown.softirq
    sampled = CpuTimes(
        seconds=seconds,
        busy_seconds=(grown.user + grown.nice + grown.system + interrupts) / USER_HZ,
        steal_seconds=grown.steal / USER_HZ,
        irq_seconds=interrupts / USER_HZ,
    )
    first, last = before.run.get(cpu), after.run.get(cpu)
    if first is None or last is None:
        return sampled
    busy = (last.nanoseconds - first.nanoseconds) / _NS
    # With less than a slice a second, a task that never leaves the CPU (isolated, nohz_full) is not in it yet.
    if last.slices - first.slices < seconds or not 0 <= busy <= seconds * 1.01:
        return sampled
    # The clock of slices runs on while the hypervisor runs another machine.
    return sampled._replace(busy_seconds=max(0.0, min(busy, seconds) - sampled.steal_seconds), exact=True)
