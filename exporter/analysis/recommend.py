"""The smallest CPU limit that would serve a container's bursts, learned from the counters of its quota. Pure.

``used + lost`` is no demand: a throttled CPU counts as lost for the rest of the period, whatever little its task still
wanted. But a burst ends with two periods that are not throttled, the one it ends in and the idle one that stops the
period timer (``do_sched_cfs_period_timer``), so its CPU time is 2 x used / unthrottled periods. That needs idle time
between bursts. Where every period is throttled, nothing tells the demand.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import ceil, exp, floor, isfinite, log, log10
from typing import Final

from exporter.model import Interval, Recommendation, Window

_BINS: Final = 19
_FACTOR: Final = 1.5
_SMALLEST: Final = 0.001
"""Seconds of CPU: bins reach from 1 ms to 2.2 s."""
_WEIGHT, _SUM = 0, _BINS
_SINCE, _IDLE, _UNTHROTTLED, _USED, _OPEN, _THROTTLED = range(2 * _BINS, 2 * _BINS + 6)
DECAY_SECONDS: Final = 86400.0
"""A burst counts e times less after a day."""
QUANTILE: Final = 0.99
MIN_WEIGHT: Final = 3.0
"""Bursts below which nothing is said."""
MIN_UNTHROTTLED: Final = 8
"""Unthrottled periods, four bursts: the sample in which one ends may hold the beginning of the next."""
MIN_IDLE: Final = 0.005
"""Seconds of stopped period timer for each unthrottled period: then bursts are apart."""
IDLE_MEMORY: Final = 0.95
"""What is kept of the idle time's average at each scan."""
SLICE_SECONDS: Final = 0.005
"""``sched_cfs_bandwidth_slice_us``: quota that may be stranded on each CPU."""
MIN_THROTTLED: Final = 3
"""Throttled periods from which on the number of CPUs in use is derived from them."""
ENOUGH_RATIO: Final = 0.01
"""Throttled ratio below which a limit is enough."""
ENOUGH_PERIODS: Final = 20


class DemandHistogram:
    """CPU time of a container's bursts, decaying over a day; 19 bins with the mean of each, 300 bytes in all."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = array("f", [0.0]) * (2 * _BINS + 6)

    def restart(self) -> None:
        """Forget the burst that is under way: the limit has changed. Sizes of bursts do not depend on it."""
        state = self._state
        for at in (_IDLE, _UNTHROTTLED, _USED, _OPEN, _THROTTLED):
            state[at] = 0.0

    def learn(self, intervals: Sequence[Interval], *, limit: float, period: float, now: float) -> None:
        """Add the sample intervals since the last call, under one limit (cores), ending at monotonic ``now``."""
        if not isfinite(sum(one.usage_seconds for one in intervals)):
            self.restart()
            return
        periods = sum(one.periods for one in intervals)
        if periods <= 0:
            return
        state, quota = self._state, limit * period
        throttled = sum(one.throttled_periods for one in intervals)
        state[_IDLE] = IDLE_MEMORY * state[_IDLE] + sum(one.seconds for one in intervals) - periods * period
        state[_UNTHROTTLED] = IDLE_MEMORY * state[_UNTHROTTLED] + periods - throttled
        for one in intervals:
            state[_USED] += max(0.0, one.usage_seconds)
            state[_OPEN] += max(0, one.periods - one.throttled_periods)
            state[_THROTTLED] += max(0, one.throttled_periods)
            if state[_OPEN] >= MIN_UNTHROTTLED:
                self._close(quota, period, now)

    def _close(self, quota: float, period: float, now: float) -> None:
        state = self._state
        used, unthrottled, throttled = state[_USED], state[_OPEN], state[_THROTTLED]
        state[_USED] = state[_OPEN] = state[_THROTTLED] = 0.0
        idle = state[_IDLE]
        if idle >= 1.5 * period and idle >= MIN_IDLE * state[_UNTHROTTLED]:
            size = 2 * used / unthrottled
            self._add(size if throttled else min(size, quota), unthrottled / 2, now)
        elif 0 < throttled <= unthrottled:
            # Without idle time a period in which it was not throttled holds a whole burst.
            self._add(max(quota, used / unthrottled), unthrottled, now)

    def _add(self, size: float, weight: float, now: float) -> None:
        state = self._state
        if not state[_SINCE]:
            state[_SINCE] = now
        age = (now - state[_SINCE]) / DECAY_SECONDS
        if age > 8:
            for at in range(2 * _BINS):
                state[at] *= exp(-age)
            state[_SINCE], age = now, 0.0
        at = 0 if size <= _SMALLEST else min(_BINS - 1, floor(log(size / _SMALLEST) / _LOG))
        grown = weight * exp(age)
        state[_WEIGHT + at] += grown
        state[_SUM + at] += grown * size

    def burst_seconds(self, now: float) -> float | None:
        """Return the CPU time within which 99 % of the bursts end; ``None`` where too few were seen."""
        state = self._state
        total = sum(state[:_BINS])
        if total * exp((state[_SINCE] - now) / DECAY_SECONDS) < MIN_WEIGHT:
            return None
        above = 0.0
        for at in reversed(range(_BINS)):
            above += state[at]
            if above > (1 - QUANTILE) * total:
                return state[_SUM + at] / state[at]
        return None


_LOG: Final = log(_FACTOR)


def recommend(
    burst_seconds: float | None,
    *,
    limit: float,
    period: float,
    window: Window | None,
    lost: float | None,
    threads: int | None,
    cpus: int | None,
) -> Recommendation | None:
    """Return the recommendation for a container under ``limit`` cores; ``lost`` CPU seconds per second to it.

    ``None`` where it is not throttled, and no bursts are known from before.
    """
    throttled = window is not None and window.throttled_periods >= MIN_THROTTLED and window.ratio >= ENOUGH_RATIO
    if burst_seconds is None and not throttled:
        return None
    high = _high(limit, period, window, lost, threads, cpus)
    parallel = 1.0 if high is None else high
    enough = window is not None and window.periods >= ENOUGH_PERIODS and window.ratio < ENOUGH_RATIO
    if burst_seconds is not None:
        wanted = (burst_seconds + SLICE_SECONDS * parallel) / period
        wanted = rounded_up(wanted if high is None else min(wanted, high))
        if enough:
            wanted = min(wanted, limit)
        if wanted > limit or not throttled:
            return Recommendation(wanted, wanted, wanted, high)
    double = 2 * limit if high is None or high <= limit else min(2 * limit, high)
    return Recommendation(None, rounded_up(double), limit, None if high is None else max(high, limit))


def _high(
    limit: float, period: float, window: Window | None, lost: float | None, threads: int | None, cpus: int | None
) -> float | None:
    """CPUs that it can use at once.

    In a throttled period n CPUs lose n x period - quota together, whatever number of threads there is.
    """
    bounds = [float(one) for one in (threads, cpus) if one]
    if window is not None and lost is not None and window.throttled_periods >= MIN_THROTTLED:
        stopped = window.throttled_periods * period / window.seconds
        bounds.append(float(max(1, ceil(lost / stopped + limit - 0.05))))
    return min(bounds, default=None)


def rounded_up(cores: float) -> float:
    """Return ``cores`` rounded up to two digits, at least 10 millicores: the rule for every limit that is advised."""
    if cores <= 0.01:
        return 0.01
    step = 10.0 ** (floor(log10(cores)) - 1)
    return round(max(0.01, step) * ceil(cores / max(0.01, step) - 1e-9), 3)
