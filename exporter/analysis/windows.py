"""A bounded history of one cgroup's throttling counters, and what its last window says.

Counters sampled every second show what two scrapes 15 s apart average away: the highest ratio of any single interval.
All ratios are of active periods (``nr_periods`` counts no idle ones): they say nothing of how much time was lost.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from math import ceil, nan

from exporter.readings import Window
from exporter.snapshot import RATIO_BUCKETS, Distribution, Interval


def _ratio(throttled: int, periods: int) -> float:
    # The kernel adds to the two counters without a lock against readers, so one may be a tick ahead of the other.
    return min(1.0, throttled / periods) if periods > 0 else 0.0


class History:
    """A ring of readings ``(time, periods, throttled periods, usage)`` in flat arrays, 32 bytes a reading."""

    __slots__ = ("_capacity", "_max_gap", "_next", "_periods", "_size", "_throttled", "_times", "_usage", "_window")

    def __init__(self, window_seconds: float, interval_seconds: float) -> None:
        self._window = window_seconds + interval_seconds / 2
        self._max_gap = max(3 * interval_seconds, interval_seconds + 1.0)
        self._capacity = ceil(window_seconds / interval_seconds) + 1
        self._size = self._next = 0
        zeros = bytes(8 * self._capacity)
        self._times, self._usage = array("d", zeros), array("d", zeros)
        self._periods, self._throttled = array("Q", zeros), array("Q", zeros)

    def __len__(self) -> int:
        return self._size

    def push(self, time: float, periods: int, throttled: int, usage: float | None) -> bool:
        """Add a reading at monotonic ``time`` (seconds). False when a counter ran backwards: the history starts anew.

        A stalled sampler or a suspended machine leaves a gap. Nothing is known about it, so the history starts anew
        there too.
        """
        steady = True
        if self._size:
            last = self._next - 1
            if time <= self._times[last]:
                return True
            steady = periods >= self._periods[last] and throttled >= self._throttled[last]
            if not steady or time - self._times[last] > self._max_gap:
                self._size = 0
        at = self._next
        self._times[at] = time
        self._periods[at] = periods
        self._throttled[at] = throttled
        self._usage[at] = nan if usage is None else usage
        self._next = at + 1 if at + 1 < self._capacity else 0
        if self._size < self._capacity:
            self._size += 1
        return steady

    def last_interval(self) -> Interval | None:
        """What happened between the two newest readings; ``None`` before there are two."""
        if self._size < 2:
            return None
        last, before = self._next - 1, self._next - 2
        return Interval(
            self._times[last] - self._times[before],
            self._periods[last] - self._periods[before],
            self._throttled[last] - self._throttled[before],
            self._usage[last] - self._usage[before],
        )

    def window(self) -> Window | None:
        """The window that ends at the newest reading; ``None`` before there are two."""
        if self._size < 2:
            return None
        first, last = self._oldest(), self._next - 1
        periods = self._periods[last] - self._periods[first]
        throttled = self._throttled[last] - self._throttled[first]
        ratio = _ratio(throttled, periods)
        # A period whose end is read a sample before its count is in the whole window's ratio and in no interval's.
        peak = max(ratio, self._peak(first)) if throttled else 0.0
        return Window(self._times[last] - self._times[first], periods, throttled, ratio, peak)

    def _peak(self, first: int) -> float:
        """Highest ratio of the intervals from ``first`` on."""
        periods, throttled = self._periods, self._throttled
        return max(
            _ratio(throttled[at] - throttled[at - 1], periods[at] - periods[at - 1])
            for at in range(first + 1, self._next)
            if throttled[at] != throttled[at - 1]
        )

    def _oldest(self) -> int:
        """Index of the oldest reading inside the window; indices below zero count from the ring's end."""
        first, last = self._next - self._size, self._next - 1
        while first < last - 1 and self._times[last] - self._times[first] > self._window:
            first += 1
        return first

    def intervals(self) -> Iterator[Interval]:
        """The window's intervals, oldest first."""
        times, periods, throttled, usage = self._times, self._periods, self._throttled, self._usage
        for at in range(self._oldest() + 1, self._next):
            yield Interval(
                times[at] - times[at - 1],
                periods[at] - periods[at - 1],
                throttled[at] - throttled[at - 1],
                usage[at] - usage[at - 1],
            )


class Observed:
    """A histogram of interval ratios that only grows."""

    __slots__ = ("_counts", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * len(RATIO_BUCKETS)
        self._sum = 0.0

    def observe(self, interval: Interval | None) -> None:
        """Count ``interval``, if it had active periods."""
        if interval is not None and interval.periods > 0:
            self._sum += interval.ratio
            for at, bound in enumerate(RATIO_BUCKETS):
                self._counts[at] += interval.ratio <= bound

    def so_far(self) -> Distribution:
        """As it is published."""
        return Distribution(tuple(self._counts), self._sum)
