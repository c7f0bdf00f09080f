"""One line a minute, and what they come to: a table, and whether anything grew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Minute:
    """The process at one moment, and the scrapes since the moment before."""

    at: float
    """Seconds after the beginning."""
    resident: int
    """Bytes."""
    descriptors: int
    watches: int
    threads: int
    cpu_seconds: float
    """Since the process began."""
    scrapes: tuple[float, ...]
    """Seconds that each took."""
    samples: int
    made: int
    """Containers so far."""
    log_lines: int
    """So far."""
    counted: dict[str, float]
    """Failures so far, by ``stage/reason``."""

    def line(self) -> str:
        """For who watches."""
        counted = " ".join(f"{kind}={number:g}" for kind, number in sorted(self.counted.items()))
        usual, worst = 1000 * median(self.scrapes or (0.0,)), 1000 * max(self.scrapes, default=0.0)
        return (
            f"{self.at:6.0f} s  {self.resident / 1e6:6.2f} MB  {self.descriptors:4} fds  {self.watches:4} watches  "
            f"{self.threads:2} threads  {self.cpu_seconds:7.2f} CPU s  scrape {usual:5.1f} ms, worst {worst:5.1f}  "
            f"{self.made:6} made  {counted}"
        )


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def threads(pid: int) -> int:
    """Threads of a process."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@dataclass(frozen=True)
class Row:
    """A figure that must stay, and by how much it may differ."""

    name: str
    value: Callable[[Minute], float]
    most: float
    """What it may grow by from the middle to the last third."""
    form: str = "{:.0f}"


ROWS = (
    Row("resident memory, MB", lambda one: one.resident / 1e6, 3.0, "{:.2f}"),
    # Which pods are alive differs from minute to minute: four of them, of one to three containers.
    Row("descriptors", lambda one: one.descriptors, 24),
    Row("inotify watches", lambda one: one.watches, 16),
    Row("threads", lambda one: one.threads, 2),
    Row("samples of a page", lambda one: one.samples, 300),
    Row("scrape, median ms", lambda one: 1000 * median(one.scrapes or (0.0,)), 50.0, "{:.1f}"),
)
LEAST_MINUTES = 12
"""Fewer have no thirds that mean anything: caches and arenas still fill."""


def thirds(minutes: Sequence[Minute], value: Callable[[Minute], float]) -> tuple[float, float, float]:
    """The median of each third."""
    size = max(1, len(minutes) // 3)
    parts = (minutes[:size], minutes[size : 2 * size] or minutes[-size:], minutes[-size:])
    first, middle, last = (median(value(one) for one in part) for part in parts)
    return first, middle, last


def grown(minutes: Sequence[Minute]) -> Iterator[str]:
    """What grew, where the run was long enough to say so."""
    if len(minutes) < LEAST_MINUTES:
        return
    for row in ROWS:
        _, middle, last = thirds(minutes, row.value)
        if last - middle > row.most:
            yield f"{row.name} grew from {middle:.2f} to {last:.2f}"


def core_percent(minutes: Sequence[Minute]) -> float:
    """Of one core, from the first minute to the last."""
    first, last = minutes[0], minutes[-1]
    return 100 * (last.cpu_seconds - first.cpu_seconds) / max(1e-9, last.at - first.at)


def table(minutes: Sequence[Minute], facts: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Markdown: medians of thirds, then single facts."""
    yield "| what | first third | second third | last third | growth |"
    yield "|---|---|---|---|---|"
    for row in ROWS:
        first, middle, last = thirds(minutes, row.value)
        shown = " | ".join(row.form.format(number) for number in (first, middle, last))
        yield f"| {row.name} | {shown} | {row.form.replace(':', ':+').format(last - middle)} |"
    yield ""
    yield "| what | |"
    yield "|---|---|"
    for name, text in facts:
        yield f"| {name} | {text} |"


def summary(minutes: Sequence[Minute], **more: object) -> dict[str, Any]:
    """The same for a program."""
    return {
        row.name: dict(zip(("first", "middle", "last"), thirds(minutes, row.value), strict=True)) for row in ROWS
    } | more
