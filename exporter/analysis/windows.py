"""One cgroup's counters over the last window, in bounded memory: ratio, peak, and what grew since an epoch began.

Counters sampled every second show what two scrapes 15 s apart average away: the highest ratio of any single interval.
All ratios are of active periods (``nr_periods`` counts no idle ones), not of time.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from math import ceil, inf, isnan, nan
from operator import lt
from struct import Struct
from typing import Any, TypeAlias

from exporter.model import CpuStat, Deltas, Interval, Pressure, Window, throttled_ratio

_READING = Struct("QQQd")
_write, _read, _SIZE = _READING.pack, _READING.unpack_from, _READING.size


class Ticks:
    """Times of the last window's ticks, by number; one for a node, so that a history keeps only what changed."""

    def __init__(self, window_seconds: float, interval_seconds: float) -> None:
        self._window = window_seconds + interval_seconds / 2
        most = ceil(window_seconds / interval_seconds) + 1
        self._times = deque[float](maxlen=most)
        # Of a history that changed at each tick, and a few more, so that not each tick has to drop one.
        self.most_bytes = (most + 8) * _SIZE
        self.newest = -1
        self.first = 0  # number of the oldest tick inside the window; one interval always is
        self._idle: dict[int, Window] = {}

    def push(self, now: float) -> None:
        """Begin a tick at monotonic ``now`` (seconds); no new one when no time has passed.

        A gap, of a sampler without CPU time, is one long interval: counters have no gap, so its averages are exact.
        """
        times = self._times
        if times and now <= times[-1]:
            return
        times.append(now)
        self.newest += 1
        while len(times) > 2 and now - times[0] > self._window:
            times.popleft()
        self.first = self.newest + 1 - len(times)
        self._idle.clear()

    def seconds(self, begin: int, end: int) -> float:
        """Return the time between two ticks of the window."""
        return self._times[end - self.first] - self._times[begin - self.first]

    def idle(self, begin: int) -> Window:
        """Return the window since tick ``begin`` of a cgroup that was idle."""
        window = self._idle.get(begin)
        if window is None:
            window = self._idle[begin] = Window(self.seconds(begin, self.newest), 0, 0, 0.0, 0.0)
        return window


class TickHistory:
    """One cgroup's counters over the last window, at the ticks at which they changed: 32 bytes each."""

    __slots__ = ("_began", "_changed", "_newest", "_peaks", "_pushed", "_readings", "_ticks")

    def __init__(self, ticks: Ticks) -> None:
        self._ticks = ticks
        self._readings = bytearray()
        # Numbers of ticks: of the first reading, the newest, and the newest that differs from the one before.
        self._began = self._pushed = self._changed = -1
        # Periods, throttled periods and usage (a ``nan`` is this very one, so that it equals itself in a tuple).
        self._newest: tuple[int, int, float] = (0, 0, nan)
        # Intervals (end, ratio) that are the highest from their own end on: ratios fall, ends rise, the first that
        # ended inside the window is its peak. Most containers never have one.
        self._peaks: list[tuple[int, float]] = []

    def push(self, periods: int, throttled: int, usage: float | None) -> bool:
        """Add the newest tick's reading, if anything changed; False when a counter ran backwards, to restart at it."""
        tick, steady = self._ticks.newest, True
        reading = (periods, throttled, nan if usage is None else usage)
        if tick == self._pushed or (reading == self._newest and self._readings):
            self._pushed = tick
            return True
        if self._readings:
            before, throttled_before, _ = self._newest
            if periods < before or throttled < throttled_before:
                steady = False
                self._readings.clear()
                self._peaks.clear()
            elif throttled != throttled_before:
                self._note(tick, throttled_ratio(throttled - throttled_before, periods - before))
        if not self._readings:
            self._began = tick
        self._readings += _write(tick, *reading)
        self._changed = self._pushed = tick
        self._newest = reading
        if len(self._readings) > self._ticks.most_bytes:
            self._trim()
        return steady

    def _note(self, end: int, ratio: float) -> None:
        peaks = self._peaks
        while peaks and peaks[-1][1] <= ratio:
            peaks.pop()
        peaks.append((end, ratio))
        while peaks and peaks[0][0] <= self._ticks.first:
            del peaks[0]

    def _trim(self) -> None:
        """Drop the readings that a later one replaced before the window began."""
        readings, first = self._readings, self._ticks.first
        while len(readings) > _SIZE and _read(readings, _SIZE)[0] <= first:
            del readings[:_SIZE]

    def _begin(self, newest: int | None = None) -> int | None:
        """Return the tick at which the window, or so many of its newest intervals, begin; ``None`` before two ticks."""
        ticks = self._ticks
        begin = max(self._began, ticks.first, 0 if newest is None else ticks.newest - newest)
        return begin if self._began >= 0 and begin < ticks.newest else None

    def window(self) -> Window | None:
        """Return the window that ends at the newest tick; ``None`` before there are two readings."""
        begin = self._begin()
        if begin is None or self._changed <= begin:
            return None if begin is None else self._ticks.idle(begin)
        periods, throttled, _ = self._reading(begin)
        periods, throttled = self._newest[0] - periods, self._newest[1] - throttled
        ratio = peak = 0.0
        if throttled:
            ratio = throttled_ratio(throttled, periods)
            # A period whose end is read a sample before its count is in the whole window's ratio and in no interval's.
            peak = max(ratio, next((highest for end, highest in self._peaks if end > begin), 0.0))
        return Window(self._ticks.seconds(begin, self._ticks.newest), periods, throttled, ratio, peak)

    def intervals(self, newest: int | None = None) -> Iterator[Interval]:
        """Yield the intervals of the window, or so many of the newest, oldest first."""
        begin = self._begin(newest)
        if begin is not None:
            changes = {tick: reading for tick, *reading in _READING.iter_unpack(self._readings)}
            before: Sequence[float] = self._reading(begin)
            for tick in range(begin + 1, self._ticks.newest + 1):
                after = changes.get(tick, before)
                yield self._interval(tick - 1, tick, before, after)
                before = after

    def total(self, newest: int) -> Interval | None:
        """Return so many of the newest intervals as one; ``None`` before there are two readings."""
        begin = self._begin(newest)
        if begin is None:
            return None
        return self._interval(begin, self._ticks.newest, self._reading(begin), self._newest)

    def _interval(self, begin: int, end: int, before: Sequence[Any], after: Sequence[Any]) -> Interval:
        (periods, throttled, usage), (periods_after, throttled_after, usage_after) = before, after
        seconds = self._ticks.seconds(begin, end)
        return Interval(seconds, periods_after - periods, throttled_after - throttled, usage_after - usage)

    def _reading(self, tick: int) -> tuple[int, int, float]:
        """Return what was read at a tick of the window, or last before it."""
        if self._changed <= tick:
            return self._newest
        found: tuple[int, int, int, float]
        place = len(self._readings) - _SIZE * (1 + self._changed - tick)
        if place >= 0 and (found := _read(self._readings, place))[0] == tick:  # it changed at each tick
            return found[1:]
        for reading in _READING.iter_unpack(self._readings):
            if reading[0] > tick:
                break
            found = reading
        return found[1:]


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
        self._times.append(now)
        while len(self._times) > 2 and now - self._times[1] >= self._window:
            self._times.popleft()

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
    usage, throttled, runqueue_wait = stat.usage_seconds, stat.throttled_seconds, stat.runqueue_wait_seconds
    values = (now, usage, throttled, local, waiting, stalled, runqueue_wait, nested)
    return array("d", [nan if value is None else value for value in values])


class CounterWindow:
    """One cgroup's counters over the last window, in one flat array: at each scan, and where the epoch begins."""

    __slots__ = ("_readings",)

    def __init__(self) -> None:
        self._readings = array("d")

    def push(self, reading: Reading, began: float) -> None:
        """Add a reading in place of one of the same time; drop those before ``began``, or a counter's restart."""
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
        # Without a comprehension: asked of each cgroup at each scan.
        for loss in _LOSSES if readings else ():  # noqa: SIM110 - as above
            if readings[loss] > readings[loss + _FIELDS]:
                return True
        return False

    def clear(self) -> None:
        """Drop all readings."""
        del self._readings[:]

    def deltas(self, now: Reading | None = None, since: float = -inf) -> Deltas | None:
        """Return the growth since the first reading from ``since`` on, to ``now`` or the newest; ``None``: unknown."""
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
