"""Bounded histories of one cgroup's counters, and what they say of the last window.

Counters sampled every second show what two scrapes 15 s apart average away: the highest ratio of any single interval.
All ratios are of active periods (``nr_periods`` counts no idle ones), not of time.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from math import ceil, inf, isnan, nan
from operator import lt
from struct import Struct
from typing import TypeAlias

from exporter.model import CpuStat, Deltas, Interval, Pressure, Window, throttled_ratio

_READING = Struct("dQQd")
_write, _read, _SIZE = _READING.pack_into, _READING.unpack_from, _READING.size


class History:
    """A ring of readings ``(time, periods, throttled periods, usage)`` in one flat buffer, 32 bytes a reading."""

    __slots__ = (
        *("_capacity", "_max_gap", "_next", "_peaks", "_periods"),
        *("_ring", "_size", "_throttled", "_time", "_window"),
    )

    def __init__(self, window_seconds: float, interval_seconds: float) -> None:
        self._window = window_seconds + interval_seconds / 2
        self._max_gap = max(3 * interval_seconds, interval_seconds + 1.0)
        self._capacity = ceil(window_seconds / interval_seconds) + 1
        self._ring = bytearray(_SIZE * self._capacity)
        self._size = self._next = 0
        # The newest reading, unpacked.
        self._time, self._periods, self._throttled = 0.0, 0, 0
        # Intervals (end, ratio) that are the highest from their own end on: ratios fall, ends rise, the first that
        # ended inside the window is its peak. Most containers never have one.
        self._peaks: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return self._size

    def push(self, time: float, periods: int, throttled: int, usage: float | None) -> bool:
        """Add a reading at monotonic ``time`` (seconds); False when a counter ran backwards.

        The history restarts then, and after a gap: a stalled sampler or a suspended machine.
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
                self._note(time, throttled_ratio(throttled - self._throttled, periods - self._periods))
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

    def window(self) -> Window | None:
        """Return the window that ends at the newest reading; ``None`` before there are two readings."""
        if self._size < 2:
            return None
        _, (start, periods, throttled, _) = self._oldest()
        periods, throttled = self._periods - periods, self._throttled - throttled
        ratio = peak = 0.0
        if throttled:
            ratio = throttled_ratio(throttled, periods)
            # A period whose end is read a sample before its count is in the whole window's ratio and in no interval's.
            peak = max(ratio, next((highest for end, highest in self._peaks if end > start), 0.0))
        return Window(self._time - start, periods, throttled, ratio, peak)

    def intervals(self, newest: int | None = None) -> Iterator[Interval]:
        """Yield the intervals of the window, or so many of the newest, oldest first."""
        if self._size >= 2:
            first = self._oldest()[0] if newest is None else max(0, self._size - 1 - newest)
            time, periods, throttled, usage = self._reading(first)
            for number in range(first + 1, self._size):
                reading = self._reading(number)
                yield Interval(reading[0] - time, reading[1] - periods, reading[2] - throttled, reading[3] - usage)
                time, periods, throttled, usage = reading

    def total(self, newest: int) -> Interval | None:
        """Return so many of the newest intervals as one; ``None`` before there are two readings."""
        if self._size < 2:
            return None
        before, after = self._reading(max(0, self._size - 1 - newest)), self._reading(self._size - 1)
        return Interval(after[0] - before[0], after[1] - before[1], after[2] - before[2], after[3] - before[3])

    def _oldest(self) -> tuple[int, tuple[float, int, int, float]]:
        """Return number and content of the oldest reading inside the window; one interval always is."""
        first, reading = 0, self._reading(0)
        while first < self._size - 2 and self._time - reading[0] > self._window:
            first += 1
            reading = self._reading(first)
        return first, reading

    def _reading(self, number: int) -> tuple[float, int, int, float]:
        reading: tuple[float, int, int, float] = _read(
            self._ring, (self._next - self._size + number) % self._capacity * _SIZE
        )
        return reading


class ScanTimes:
    """Times of the last window's scans; one for a node, so that all windows that are compared begin at the same scan.

    If each reading's age decided, a scan as old as the window would be inside for one cgroup and outside for another.
    """

    MOST = 64

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
        self._times = deque[float](maxlen=self.MOST)

    def push(self, now: float) -> None:
        """Add a scan; drop those older than the window, but for one, so that the window is covered."""
        times = self._times
        times.append(now)
        while len(times) > 2 and now - times[1] >= self._window:
            times.popleft()

    @property
    def began(self) -> float:
        """Monotonic time of the scan at which the window begins."""
        return self._times[0]


Reading: TypeAlias = "array[float]"
"""The fields of :class:`Deltas` since the cgroup was made, at a monotonic time in place of the seconds; ``nan`` where
the kernel has no such counter."""
_FIELDS = len(Deltas._fields)
_LOSSES = tuple(
    Deltas._fields.index(name) - _FIELDS
    for name in ("throttled_seconds", "local_throttled_seconds", "nested_throttled_seconds")
)
_MOST_READINGS = 2 * ScanTimes.MOST


def reading_of(now: float, stat: CpuStat, pressure: Pressure | None, local: float | None, nested: float) -> Reading:
    """Return the counters read at monotonic ``now``; ``local`` and ``nested``: throttled seconds."""
    waiting, stalled = pressure or (None, None)
    values = (now, stat.usage_seconds, stat.throttled_seconds, local, waiting, stalled, stat.runqueue_wait_seconds)
    return array("d", [*(nan if value is None else value for value in values), nested])


class CounterWindow:
    """One cgroup's counters over the last window, in one flat array: at each scan, and where an epoch begins.

    All readings are of one epoch: a change of limits clears it.
    """

    __slots__ = ("_readings",)

    def __init__(self) -> None:
        self._readings = array("d")

    def push(self, reading: Reading, began: float) -> None:
        """Add a reading in place of one of the same time; drop those before ``began``.

        A counter that ran backwards drops all that was read before.
        """
        readings = self._readings
        if readings and _ran_backwards(readings[-_FIELDS:], reading):
            del readings[:]
        if readings and readings[-_FIELDS] == reading[0]:
            del readings[-_FIELDS:]
        readings += reading
        while readings and (readings[0] < began or len(readings) > _MOST_READINGS * _FIELDS):
            del readings[:_FIELDS]

    @property
    def began(self) -> float:
        """Time of the oldest reading; ``inf`` without one."""
        return self._readings[0] if self._readings else inf

    @property
    def has_losses(self) -> bool:
        """Whether any throttled time grew between the oldest and the newest reading."""
        readings = self._readings
        return bool(readings) and any(readings[at] > readings[at + _FIELDS] for at in _LOSSES)

    def clear(self) -> None:
        """Drop all readings."""
        del self._readings[:]

    def deltas(self, now: Reading | None = None, since: float = -inf) -> Deltas | None:
        """Return the growth since the oldest reading not before ``since``, until ``now`` or the newest one.

        ``None`` without one, or when a counter ran backwards.
        """
        readings = self._readings
        at = next((at for at in range(0, len(readings), _FIELDS) if readings[at] >= since), None)
        if at is None:
            return None
        first, last = readings[at : at + _FIELDS], readings[-_FIELDS:] if now is None else now
        if last[0] <= first[0] or _ran_backwards(first, last):
            return None
        seconds, *grown = (after - before for before, after in zip(first, last, strict=True))
        return Deltas(seconds, *(None if isnan(growth) else growth for growth in grown))


def _ran_backwards(before: Reading, after: Reading) -> bool:
    """Tell whether any known counter is smaller than before (``nan`` is below nothing)."""
    return any(map(lt, after, before))
