"""Reads what each online CPU spent its time on: ``/proc/schedstat`` where the kernel has it, and ``/proc/stat``.

``/proc/stat`` (kernel ``Documentation/filesystems/proc.rst``): ``cpuN user nice system idle iowait irq softirq steal
guest guest_nice`` in ticks of 10 ms since boot, the guest columns being part of ``user`` and ``nice``. The kernel
samples them at clock ticks: a task in phase with the tick, 0.2 CPUs in truth, may show as 0.5 or as nothing.

``/proc/schedstat`` (``Documentation/scheduler/sched-stats.rst``, version 15 and later): fields 7 and 9 of ``cpuN`` are
the time that tasks ran, in nanoseconds, and the number of their slices. A slice is added when it ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from exporter.errors import ParseError
from exporter.model import CpuTimes

USER_HZ = 100
"""The tick that the kernel shows to user space on every architecture that Kubernetes runs on."""
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
    run: Mapping[int, RunTime]
    """Empty without ``/proc/schedstat``."""


def parse_proc_stat(data: bytes, path: str) -> dict[int, Jiffies]:
    """Return the counters of each online CPU. Raises ``ParseError``."""
    if not data.startswith(b"cpu"):
        raise ParseError(path, data, "not the times of CPUs" if data.strip() else "is empty")
    cpus: dict[int, Jiffies] = {}
    for line in data.splitlines():
        if not line.startswith(b"cpu"):
            # The lines of the CPUs come first; one below them (intr) can be hundreds of kilobytes long.
            break
        name, *words = line.split()
        if name != b"cpu":
            cpu = _cpu(name, words, 4, line, path)
            cpus[cpu] = Jiffies(*map(int, words[: len(Jiffies._fields)]))
    return cpus


def parse_schedstat(data: bytes, path: str) -> dict[int, RunTime]:
    """Return each CPU's run time; nothing for versions before 15. Raises ``ParseError``."""
    lines = data.splitlines()
    version = lines[0].split() if lines else []
    if len(version) != 2 or version[0] != b"version" or not _is_count(version[1]):
        raise ParseError(path, data, "no version")
    cpus: dict[int, RunTime] = {}
    for line in lines if int(version[1]) >= 15 else ():
        name, *words = line.split() or [b""]
        if name.startswith(b"cpu"):
            cpu = _cpu(name, words, 9, line, path)
            cpus[cpu] = RunTime(int(words[6]), int(words[8]))
    return cpus


def _cpu(name: bytes, words: list[bytes], least: int, line: bytes, path: str) -> int:
    number = name[3:]
    if not number.isdigit() or len(number) > 6 or len(words) < least or not all(map(_is_count, words)):
        raise ParseError(path, line, "not a CPU's times")
    return int(number)


def _is_count(word: bytes) -> bool:
    return word.isdigit() and len(word) <= 20


def read_cpu_readings(proc: str) -> CpuReadings | None:
    """Read ``schedstat`` and ``stat`` below ``proc``; ``None`` without ``stat``. Raises ``ParseError``."""
    run, stat = _read(f"{proc}/schedstat"), _read(f"{proc}/stat")
    if stat is None:
        return None
    return CpuReadings(
        parse_proc_stat(stat, f"{proc}/stat"), {} if run is None else parse_schedstat(run, f"{proc}/schedstat")
    )


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def cpu_times(before: CpuReadings, after: CpuReadings, seconds: float) -> dict[int, CpuTimes]:
    """Return each CPU's times in the ``seconds`` between two readings; only of CPUs online in both."""
    if not seconds > 0 or math.isinf(seconds):
        return {}
    return {
        cpu: _with_run_time(_times(before.ticks[cpu], now, seconds), before.run.get(cpu), after.run.get(cpu))
        for cpu, now in after.ticks.items()
        if cpu in before.ticks
    }


def _times(before: Jiffies, after: Jiffies, seconds: float) -> CpuTimes:
    # Each counter for itself: idle, iowait and steal are known to run backwards, and must not reduce the others.
    grown = Jiffies(*(max(0, late - early) for early, late in zip(before, after, strict=True)))
    interrupts = grown.irq + grown.softirq
    return CpuTimes(
        seconds=seconds,
        busy_seconds=(grown.user + grown.nice + grown.system + interrupts) / USER_HZ,
        steal_seconds=grown.steal / USER_HZ,
        irq_seconds=interrupts / USER_HZ,
    )


def _with_run_time(times: CpuTimes, before: RunTime | None, after: RunTime | None) -> CpuTimes:
    """Replace the sampled busy time by the exact one, if slices end often enough to tell."""
    if before is None or after is None:
        return times
    busy, slices = (after.nanoseconds - before.nanoseconds) / _NS, after.slices - before.slices
    # With less than a slice a second, a task that never leaves the CPU (isolated, nohz_full) is not in it yet.
    if slices < times.seconds or not 0 <= busy <= times.seconds * 1.01:
        return times
    # The clock of slices runs on while the hypervisor runs another machine.
    return times._replace(busy_seconds=max(0.0, min(busy, times.seconds) - times.steal_seconds), exact=True)
