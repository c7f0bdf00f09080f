"""What CFS bandwidth control should do to a workload, from theory alone. Pure.

The model is the kernel's own rule (``Documentation/scheduler/sched-bwc.rst``): of each period the group may use its
quota, summed over CPUs, and then stands still until the next one. Slices, the timer's start and other load are left
out, so a prediction is a yardstick, not a promise. Times in seconds, limits in cores.

The example known in this field, 200 ms of CPU in one thread under 40 ms of every 100 ms:

>>> one = burst(work_seconds=0.2, workers=1, place=Place(cpus=2, limit_cores=0.4))
>>> one.periods, one.throttled_periods, round(one.throttled_seconds, 3), round(one.latency_seconds, 3)
(5, 4, 0.24, 0.44)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the work runs: CPUs it may use, and the quota it runs under (``None``: no quota)."""

    cpus: int
    limit_cores: float | None
    period_seconds: float = 0.1

    @property
    def quota_seconds(self) -> float:
        """CPU time of one period; infinite without a quota."""
        return math.inf if self.limit_cores is None else self.limit_cores * self.period_seconds

    def throttles(self, demand_cores: float) -> bool:
        """Whether so much demand, kept up for a whole period, uses the quota up."""
        return demand_cores * self.period_seconds > self.quota_seconds + _ROUNDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one run, predicted or measured. Without a quota the kernel counts no periods: the first three are ``None``."""

    periods: int | None
    throttled_periods: int | None
    throttled_seconds: float | None
    usage_seconds: float | None
    latency_seconds: float | None
    """Of one unit of work; ``None`` when not one was finished."""

    @property
    def throttled_ratio(self) -> float | None:
        """Share of the periods that were throttled; ``None`` when no period was counted."""
        if not self.periods or self.throttled_periods is None:
            return None
        return self.throttled_periods / self.periods


def burst(*, work_seconds: float, workers: int, place: Place, bursts: int = 1) -> Figures:
    """``workers`` wake together, each needs ``work_seconds`` of CPU, then all sleep; ``bursts`` times, far apart."""
    total = work_seconds * workers
    parallel = min(workers, place.cpus)
    used = total * bursts
    if place.limit_cores is None:
        return Figures(
            periods=None, throttled_periods=None, throttled_seconds=None, usage_seconds=used,
            latency_seconds=total / parallel,
        )  # fmt: skip
    stops = 0
    if place.throttles(parallel):
        # The last part of the work, up to a whole quota, ends without a stop.
        stops = max(0, math.ceil(total / place.quota_seconds - _ROUNDING) - 1)
    rest = total - stops * place.quota_seconds
    latency = stops * place.period_seconds + rest / parallel
    return Figures(
        periods=bursts * max(1, math.ceil(latency / place.period_seconds - _ROUNDING)),
        throttled_periods=bursts * stops,
        throttled_seconds=bursts * stops * (parallel * place.period_seconds - place.quota_seconds),
        usage_seconds=used,
        latency_seconds=latency,
    )


def steady(*, unit_seconds: float, workers: int, place: Place, seconds: float) -> Figures:
    """``workers`` do one unit of ``unit_seconds`` CPU after the other for so long; the latency is the mean."""
    parallel = min(workers, place.cpus)
    if not place.throttles(parallel):
        periods = None if place.limit_cores is None else round(seconds / place.period_seconds)
        return Figures(
            periods=periods,
            throttled_periods=None if periods is None else 0,
            throttled_seconds=None if periods is None else 0.0,
            usage_seconds=parallel * seconds,
            latency_seconds=unit_seconds * workers / parallel,
        )
    periods = round(seconds / place.period_seconds)
    return Figures(
        periods=periods,
        throttled_periods=periods,
        throttled_seconds=periods * (parallel * place.period_seconds - place.quota_seconds),
        usage_seconds=periods * place.quota_seconds,
        latency_seconds=unit_seconds * workers * place.period_seconds / place.quota_seconds,
    )


def fibtest(
    *, unit_seconds: float, slow_seconds: float, slow_sleep_seconds: float, place: Place, seconds: float
) -> Figures:
    """One fast worker on a CPU of its own, on every other CPU a slow one, on a kernel without the bug.

    ``slow_seconds`` is the CPU time of a slow worker's 100 iterations. When the quota is used up, a slow worker goes
    on with what was left on its CPU, up to a millisecond, and stands still some wake-ups later: half the rest is taken.
    """
    fast = steady(unit_seconds=unit_seconds, workers=1, place=place, seconds=seconds)
    slow_workers = place.cpus - 1
    if fast.periods is None or not place.throttles(1):
        return fast
    demand = 1 + slow_workers * slow_seconds / (slow_seconds + slow_sleep_seconds)
    awake = place.quota_seconds / demand
    still = place.period_seconds - awake
    return Figures(
        periods=fast.periods,
        throttled_periods=fast.periods,
        throttled_seconds=fast.periods * (still + slow_workers * still / 2),
        usage_seconds=fast.periods * place.quota_seconds,
        latency_seconds=unit_seconds * place.period_seconds / awake,
    )
