"""A bounded history of one cgroup's throttling counters, and what its last window says.

Counters sampled every second show what two scrapes 15 s apart average away: the highest ratio of any single interval.
All ratios are of active periods (``nr_periods`` counts no idle ones): they say nothing of how much time was lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, nan
from struct import Struct

from exporter.model import RATIO_BUCKETS, Distribution, Interval, Window


def _ratio(throttled: int, periods: int) -> float:
    # The kernel adds to the two counters without a lock against readers, so one may be a tick ahead of the other.
    return min(1.0, throttled / periods) if periods > 0 else 0.0


_READING = Struct("dQQd")
_write, _read, _SIZE = _READING.pack_into, _READING.unpack_from, _READING.size


class History:
    """A ring of readings ``(time, periods, throttled periods, usage)`` in one flat buffer, 32 bytes a reading."""

    __slots__ = (
        "_capacity",
        "_max_gap",
        "_next",
        "_peaks",
        "_periods",
        "_ring",
        "_size",
        "_throttled",
        "_time",
        "_window",
    )

    def __init__(self, window_seconds: float, interval_seconds: float) -> None:
        self._window = window_seconds + interval_seconds / 2
        self._max_gap = max(3 * interval_seconds, interval_seconds + 1.0)
        self._capacity = ceil(window_seconds / interval_seconds) + 1
        self._ring = bytearray(_SIZE * self._capacity)
        self._size = self._next = 0
        # The newest reading, at hand.
        self._time, self._periods, self._throttled = 0.0, 0, 0
        # Intervals (end, ratio) that are the highest from their own end on: ratios fall, ends rise, the first that
        # ended inside the window is its peak. Most containers never have one.
        self._peaks: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return self._size

    def push(self, time: float, periods: int, throttled: int, usage: float | None) -> bool:
        """Add a reading at monotonic ``time`` (seconds). False when a counter ran backwards: the history starts anew.

        A stalled sampler or a suspended machine leaves a gap. Nothing is known about it, so the history starts anew
        there too.
        """
        steady = True
        if self._size:
            if time <= self._time:
                return True
            steady = periods >= self._periods and throttled >= self._throttled
            if not steady or time - self._time > self._max_gap:
                self._size = 0
                self._peaks.clear()
            elif throttled != self._throttled:
                self._note(time, _ratio(throttled - self._throttled, periods - self._periods))
        at = self._next
        _write(self._ring, at * _SIZE, time, periods, throttled, nan if usage is None else usage)
        self._time, self._periods, self._throttled = time, periods, throttled
        self._next = at + 1 if at + 1 < self._capacity else 0
        if self._size < self._capacity:
            self._size += 1
        return steady

    def _note(self, end: float, ratio: float) -> None:
        peaks = self._peaks
        while peaks and peaks[-1][1] <= ratio:
            peaks.pop()
        peaks.append((end, ratio))
        while end - peaks[0][0] > self._window:
            del peaks[0]

    def last_interval(self) -> Interval | None:
        """What happened between the two newest readings; ``None`` before there are two."""
        return next(self._intervals(self._size - 2), None) if self._size >= 2 else None

    def window(self) -> Window | None:
        """The window that ends at the newest reading; ``None`` before there are two."""
        if self._size < 2:
            return None
        start, periods, throttled, _ = self._reading(self._oldest())
        periods, throttled = self._periods - periods, self._throttled - throttled
        ratio = peak = 0.0
        if throttled:
            ratio = _ratio(throttled, periods)
            # A period whose end is read a sample before its count is in the whole window's ratio and in no interval's.
            peak = max(ratio, next((highest for end, highest in self._peaks if end > start), 0.0))
        return Window(self._time - start, periods, throttled, ratio, peak)

    def intervals(self) -> Iterator[Interval]:
        """The window's intervals, oldest first."""
        return self._intervals(self._oldest()) if self._size >= 2 else iter(())

    def _intervals(self, first: int) -> Iterator[Interval]:
        """From the reading ``first`` on, counted from the oldest that is kept."""
        time, periods, throttled, usage = self._reading(first)
        for number in range(first + 1, self._size):
            reading = self._reading(number)
            yield Interval(reading[0] - time, reading[1] - periods, reading[2] - throttled, reading[3] - usage)
            time, periods, throttled, usage = reading

    def _oldest(self) -> int:
        """Which of the readings kept is the oldest inside the window; one interval is, however long it is."""
        first = 0
        while first < self._size - 2 and self._time - self._reading(first)[0] > self._window:
            first += 1
        return first

    def _reading(self, number: int) -> tuple[float, int, int, float]:
        reading: tuple[float, int, int, float] = _read(
            self._ring, (self._next - self._size + number) % self._capacity * _SIZE
        )
        return reading


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
