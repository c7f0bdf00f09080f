"""The smallest CPU limit that would serve a container's bursts, learned from the counters of its quota. Pure.

``used + lost`` is no demand: a throttled CPU counts as lost for the rest of the period, whatever little its task still
wanted. But a burst ends with two periods that are not throttled, the one it ends in and the idle one that stops the
period timer (``do_sched_cfs_period_timer``), so its CPU time is 2 x used / unthrottled periods. It is a
bit more, for a period shortly before whose end it begins is not throttled either. That needs idle time between bursts.
Where every period is throttled, nothing tells the demand.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import ceil, exp, floor, inf, isfinite, log, log10
from typing import Final

from exporter.model import Interval, Recommendation, Window

_BINS: Final = 19
_FACTOR: Final = log(1.5)
_SMALLEST: Final = 0.001  # seconds of CPU: bins reach from 1 ms to 2.2 s
_SINCE, _IDLE, _UNTHROTTLED, _USED, _OPEN, _THROTTLED = range(2 * _BINS, 2 * _BINS + 6)
DECAY_SECONDS: Final = 86400.0  # a burst counts e times less after a day
QUANTILE: Final = 0.99
MIN_WEIGHT: Final = 3.0  # bursts below which nothing is said
MIN_UNTHROTTLED: Final = 8  # periods, four bursts: the sample in which one ends may hold the beginning of the next
MIN_IDLE: Final = 0.005  # seconds of stopped period timer for each unthrottled period: then bursts are apart
IDLE_MEMORY: Final = 0.95  # what is kept of the idle time's average at each scan
SLICE_SECONDS: Final = 0.005  # ``sched_cfs_bandwidth_slice_us``: may be stranded on each CPU but the last
KEPT_SECONDS = 0.001  # ``min_cfs_rq_runtime``: what a CPU never gives back
MIN_THROTTLED: Final = 3  # throttled periods from which on the number of CPUs in use is derived from them
ENOUGH_RATIO: Final = 0.01  # throttled ratio below which a limit is enough
ENOUGH_PERIODS: Final = 20


class DemandHistogram:
    """CPU time of a container's bursts, decaying over a day; 19 bins with the mean of each, 300 bytes in all."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        # Weights and sums of the bins, and what the indices above name.
        self._state = array("f", [0.0]) * (2 * _BINS + 6)

    def restart(self) -> None:
        """Forget the burst that is under way: the limit has changed. Sizes of bursts do not depend on it."""
        self._state[_IDLE:] = array("f", [0.0]) * (_THROTTLED - _SINCE)

    def ends_burst(self, total: Interval) -> bool:
        """Whether a burst ends within ``total``: if not, its sample intervals say no more than their sum."""
        return self._state[_OPEN] + total.periods - total.throttled_periods >= MIN_UNTHROTTLED

    def learn(
        self, intervals: Sequence[Interval], *, limit: float, period: float, now: float, at_once: int = 1
    ) -> None:
        """Add the sample intervals since the last call, under one limit (cores), ending at monotonic ``now``.

        ``at_once``: CPUs that it can use at once. The faster they use up the quota, the fewer bursts begin too late in
        a period for that.
        """
        sums = intervals[0] if len(intervals) == 1 else map(sum, zip(*intervals, strict=True))
        seconds, periods, throttled, total = sums
        if not isfinite(total):
            self.restart()
        if periods <= 0 or not isfinite(total):
            return
        state = self._state
        state[_IDLE] = IDLE_MEMORY * state[_IDLE] + seconds - periods * period
        state[_UNTHROTTLED] = IDLE_MEMORY * state[_UNTHROTTLED] + periods - throttled
        are_apart = state[_IDLE] >= max(1.5 * period, MIN_IDLE * state[_UNTHROTTLED])
        quota, used, unthrottled, stopped = limit * period, state[_USED], state[_OPEN], state[_THROTTLED]
        for _, active, lost, usage in intervals:
            used += usage if usage > 0 else 0.0
            stopped += max(0, lost)
            unthrottled += active - lost if active > lost else 0
            if unthrottled >= MIN_UNTHROTTLED:
                if are_apart:
                    size = 2 * used / unthrottled
                    size *= 1 + min(1.0, min(quota, size) / (at_once * period)) / 2
                    self._add(size if stopped else min(size, quota), unthrottled / 2, now)
                elif 0 < stopped <= unthrottled:
                    # Without idle time a period in which it was not throttled holds a whole burst.
                    self._add(max(quota, used / unthrottled), unthrottled, now)
                used = unthrottled = stopped = 0.0
        state[_USED], state[_OPEN], state[_THROTTLED] = used, unthrottled, stopped

    def _add(self, size: float, weight: float, now: float) -> None:
        state = self._state
        if not state[_SINCE]:
            state[_SINCE] = now
        age = (now - state[_SINCE]) / DECAY_SECONDS
        if age > 8:
            for at in range(2 * _BINS):
                state[at] *= exp(-age)
            state[_SINCE], age = now, 0.0
        at = 0 if size <= _SMALLEST else min(_BINS - 1, floor(log(size / _SMALLEST) / _FACTOR))
        grown = weight * exp(age)
        state[at] += grown
        state[_BINS + at] += grown * size

    def burst_seconds(self, now: float) -> float | None:
        """Return the CPU time within which 99 % of the bursts end; ``None`` where too few were seen."""
        weights = self._state[:_BINS]
        total = sum(weights)
        if total * exp((self._state[_SINCE] - now) / DECAY_SECONDS) < MIN_WEIGHT:
            return None
        above = 0.0
        most = (1 - QUANTILE) * total
        for at in range(_BINS - 1, -1, -1):
            above += weights[at]
            if above > most:
                return self._state[_BINS + at] / weights[at]
        return None


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
    seconds, periods, stopped, ratio, _ = window or Window(0.0, 0, 0, 0.0, 0.0)
    is_throttled = stopped >= MIN_THROTTLED and ratio >= ENOUGH_RATIO
    if burst_seconds is None and not is_throttled:
        return None
    # The CPUs that it can use at once. In a throttled period n CPUs lose n x period - quota together, whatever number
    # of threads there is.
    most = min(threads or inf, cpus or inf)
    if lost is not None and stopped >= MIN_THROTTLED:
        most = min(most, max(1, ceil(lost * seconds / (stopped * period) + limit - 0.05)))
    high = float(most) if most < inf else None
    if burst_seconds is not None:
        wanted = (burst_seconds + KEPT_SECONDS + SLICE_SECONDS * (0.0 if high is None else high - 1)) / period
        wanted = rounded_up(wanted if high is None else min(wanted, high))
        if periods >= ENOUGH_PERIODS and ratio < ENOUGH_RATIO:
            wanted = min(wanted, limit)
        if wanted > limit or not is_throttled:
            return Recommendation(wanted, wanted, wanted, high)
    double = 2 * limit if high is None or high <= limit else min(2 * limit, high)
    return Recommendation(None, rounded_up(double), limit, None if high is None else max(high, limit))


def rounded_up(cores: float) -> float:
    """Return ``cores`` rounded up to two digits, at least 10 millicores: the rule for every limit that is advised."""
    if cores <= 0.01:
        return 0.01
    step = max(0.01, 10.0 ** (floor(log10(cores)) - 1))
    return round(step * ceil(cores / step - 1e-9), 3)
