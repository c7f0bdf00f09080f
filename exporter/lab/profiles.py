"""The stress profiles: a load, what theory says of it, and what the kernel counted."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from exporter.lab import prediction
from exporter.lab.arena import Arena
from exporter.lab.keeper import SLOW_ITERATIONS, SLOW_SLEEP_SECONDS, fibonacci
from exporter.lab.prediction import Figures
from exporter.lab.spec import Workload
from exporter.lab.workloads import Report, Workforce
from exporter.model import CpuStat

ProfileName = Literal["steady", "burst", "fibtest"]
Verdict = Literal["yes", "no", "undecided"]

MOST_PERIODS_THROTTLED = 0.5
"""Below this share of throttled periods the quota was hardly the limit, and nothing can be said about it."""
MOST_OF_THE_QUOTA = 0.75
"""A kernel that stops a group which used less than this share of its quota throttles below the limit. A healthy one
loses at most what is stranded on other CPUs at the very end; an affected one loses most of it."""
_AHEAD_SECONDS = 0.05
"""Time for all workers to stand in their cgroup before they begin together."""
_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run: predicted beside measured."""

    title: str
    predicted: Figures
    measured: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the user can choose."""

    workers: int
    unit_seconds: float
    every_seconds: float
    seconds: float


def steady(arena: Arena, workforce: Workforce, load: Load) -> Comparison:
    """Busy workers, for the whole time."""
    predicted = prediction.steady(
        unit_seconds=load.unit_seconds, workers=load.workers, place=arena.place, seconds=load.seconds
    )
    workload = Workload(kind="busy", workers=load.workers, unit_seconds=load.unit_seconds, seconds=load.seconds)
    measured = _measure(arena, workforce, [workload], load.seconds)
    title = f"{plural(load.workers, 'busy worker')}, units of {_ms(load.unit_seconds)} CPU"
    return Comparison(title, predicted, measured)


def burst(arena: Arena, workforce: Workforce, load: Load) -> Comparison:
    """Idle, then all workers at once; the latency is that of the slowest one."""
    bursts = max(1, int(load.seconds / load.every_seconds + 1e-9))
    predicted = prediction.burst(work_seconds=load.unit_seconds, workers=load.workers, place=arena.place, bursts=bursts)
    workload = Workload(
        kind="bursty",
        workers=load.workers,
        unit_seconds=load.unit_seconds,
        every_seconds=load.every_seconds,
        seconds=load.seconds,
    )
    measured = _measure(arena, workforce, [workload], load.seconds)
    workers = plural(load.workers, "worker")
    title = f"{workers}, each with {_ms(load.unit_seconds)} CPU of work every {load.every_seconds:g} s"
    return Comparison(title, predicted, measured)


def fibtest(arena: Arena, workforce: Workforce, load: Load) -> list[Comparison]:
    """One fast worker alone, then with a slow one on every other CPU; half of the time each."""
    cpus = sorted(os.sched_getaffinity(0))
    seconds = load.seconds / 2
    fast = Workload(kind="busy", unit_seconds=load.unit_seconds, cpus=(cpus[0],), seconds=seconds)
    slow = Workload(kind="fib_slow", workers=len(cpus) - 1, cpus=tuple(cpus[1:]), seconds=seconds)
    alone = Comparison(
        "a fast worker alone",
        prediction.steady(unit_seconds=load.unit_seconds, workers=1, place=arena.place, seconds=seconds),
        _measure(arena, workforce, [fast], seconds),
    )
    if len(cpus) == 1:
        return [alone]
    predicted = prediction.fibtest(
        unit_seconds=load.unit_seconds,
        slow_seconds=_slow_burst_seconds(),
        slow_sleep_seconds=SLOW_SLEEP_SECONDS,
        place=arena.place,
        seconds=seconds,
    )
    together = Comparison(
        f"beside it {plural(len(cpus) - 1, 'slow worker')}, each on a CPU of its own",
        predicted,
        _measure(arena, workforce, [fast, slow], seconds),
    )
    return [alone, together]


def throttles_below_limit(comparisons: Sequence[Comparison], quota_seconds: float) -> tuple[Verdict, str]:
    """Whether this kernel stops a group before its quota is used up, and the reason for saying so."""
    if len(comparisons) < 2:
        return "undecided", "there is only one CPU, and the bug needs a second one"
    shares = [_share_of_quota(one.measured, quota_seconds) for one in comparisons]
    ratio = comparisons[-1].measured.throttled_ratio
    if ratio is None or shares[0] is None or shares[1] is None:
        return "undecided", "there is no quota here; --limit makes a cgroup with one"
    told = f"{ratio:.0%} of the periods were throttled, and {shares[1]:.0%} of the quota was used"
    if ratio < MOST_PERIODS_THROTTLED:
        return "undecided", f"{told}: something else kept the workers from their CPUs"
    if shares[1] >= MOST_OF_THE_QUOTA:
        return "no", told
    if shares[0] < MOST_OF_THE_QUOTA:
        return "undecided", f"{told}, but the fast worker alone got no more than {shares[0]:.0%}"
    return "yes", f"{told}, where the fast worker alone got {shares[0]:.0%}"


def _share_of_quota(figures: Figures, quota_seconds: float) -> float | None:
    if not figures.periods or figures.usage_seconds is None:
        return None
    return figures.usage_seconds / (figures.periods * quota_seconds)


def _measure(arena: Arena, workforce: Workforce, workloads: Sequence[Workload], seconds: float) -> Figures:
    before = arena.stat()
    start = time.monotonic() + _AHEAD_SECONDS
    lifetime = seconds + _GRACE_SECONDS
    jobs = [workforce.start(one, arena.members, lifetime=lifetime, at=start) for one in workloads]
    reports = workforce.wait(jobs, lifetime + _GRACE_SECONDS)
    # The fast worker's latency is the one that counts, not that of the slow ones beside it.
    first = [jobs[0].reports[pid] for pid in jobs[0].pids if pid in jobs[0].reports]
    slowest = workloads[0].kind == "bursty"
    return _figures(before, arena.stat(), reports, _latency(first, slowest=slowest))


def _figures(before: CpuStat, after: CpuStat, reports: Sequence[Report], latency: float | None) -> Figures:
    counted = bool(after.periods)
    usage = sum(report.cpu_seconds for report in reports)
    if before.usage_seconds is not None and after.usage_seconds is not None:
        usage = after.usage_seconds - before.usage_seconds
    return Figures(
        periods=(after.periods or 0) - (before.periods or 0) if counted else None,
        throttled_periods=(after.throttled_periods or 0) - (before.throttled_periods or 0) if counted else None,
        throttled_seconds=(after.throttled_seconds or 0) - (before.throttled_seconds or 0) if counted else None,
        usage_seconds=usage,
        latency_seconds=latency,
    )


def _latency(reports: Sequence[Report], *, slowest: bool) -> float | None:
    means = [report.latency_sum_seconds / report.units for report in reports if report.units]
    if not means:
        return None
    if slowest:
        return max(means)
    return sum(report.latency_sum_seconds for report in reports) / sum(report.units for report in reports)


def _slow_burst_seconds() -> float:
    """CPU time of a slow worker's iterations on this machine."""
    started = time.thread_time()
    for _ in range(SLOW_ITERATIONS):
        fibonacci()
    return time.thread_time() - started


def plural(count: int, noun: str) -> str:
    """``1 CPU``, ``2 CPUs``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:g} ms"
