"""What grew over the last window, for counters that are read at the grain of a scan."""

from __future__ import annotations

from typing import NamedTuple

from exporter.snapshot import Deltas


class Totals(NamedTuple):
    """Counters of one cgroup at monotonic ``time``; seconds, ``None`` where the kernel has no such counter."""

    time: float
    usage: float | None
    throttled: float | None
    local_throttled: float | None
    waiting: float | None
    stalled: float | None
    runqueue_wait: float | None


class Trend:
    """The readings of the last window; bounded by window over scan interval, and by :data:`MOST`."""

    MOST = 64
    __slots__ = ("_readings", "_window")

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
        self._readings: list[Totals] = []  # a deque takes ten times the memory of these few

    def push(self, totals: Totals) -> None:
        """Add a reading; what is older than the window leaves. A counter that ran backwards starts the trend anew."""
        readings = self._readings
        if readings and _ran_backwards(readings[-1], totals):
            readings.clear()
        readings.append(totals)
        # One reading older than the window stays: the window must be covered, not nearly covered.
        while len(readings) > self.MOST or (len(readings) > 2 and totals.time - readings[1].time >= self._window):
            del readings[0]

    def deltas(self, now: Totals) -> Deltas | None:
        """From the oldest reading to ``now``; ``None`` before there is one, or when a counter ran backwards."""
        if not self._readings:
            return None
        first = self._readings[0]
        seconds = now.time - first.time
        if seconds <= 0 or _ran_backwards(first, now):
            return None
        return Deltas(seconds, *(_difference(a, b) for a, b in zip(first[1:], now[1:], strict=True)))


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _ran_backwards(before: Totals, after: Totals) -> bool:
    return any(a is not None and b is not None and b < a for a, b in zip(before, after, strict=True))
