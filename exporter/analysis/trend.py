"""What grew over the last window, for counters that are read at the grain of a scan."""

from __future__ import annotations

from array import array
from collections import deque
from math import isnan, nan
from operator import lt
from typing import NamedTuple

from exporter.model import Deltas


class Totals(NamedTuple):
    """Counters of one cgroup at monotonic ``time``; seconds, ``None`` where the kernel has no such counter."""

    time: float
    usage: float | None
    throttled: float | None
    local_throttled: float | None
    waiting: float | None
    stalled: float | None
    runqueue_wait: float | None


class Scans:
    """When the last window's scans were. One for a node: what is compared with each other begins at the same scan.

    Were each reading's age its own business, a scan as old as the window would be in for one and out for the other.
    """

    MOST = 64

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
        self._times = deque[float](maxlen=self.MOST)

    def push(self, now: float) -> None:
        """Add a scan; what is older than the window leaves."""
        times = self._times
        times.append(now)
        # One older than the window stays: the window must be covered, not nearly covered.
        while len(times) > 2 and now - times[1] >= self._window:
            times.popleft()

    @property
    def began(self) -> float:
        """Monotonic time of the scan at which the window begins."""
        return self._times[0]


class Trend:
    """One cgroup's readings of the last window, in one flat array; one a scan, so that :class:`Scans` bounds them."""

    __slots__ = ("_readings",)

    def __init__(self) -> None:
        self._readings = array("d")

    def push(self, totals: Totals, began: float) -> None:
        """Add a reading; those before ``began`` leave. A counter that ran backwards starts the trend anew."""
        readings = self._readings
        reading = array("d", [nan if value is None else value for value in totals])
        if readings and _ran_backwards(readings[-_FIELDS:], reading):
            del readings[:]
        readings += reading
        while readings and readings[0] < began:
            del readings[:_FIELDS]

    def deltas(self, now: Totals) -> Deltas | None:
        """From the oldest reading to ``now``; ``None`` before there is one, or when a counter ran backwards."""
        if not self._readings:
            return None
        first = self._readings[:_FIELDS]
        reading = array("d", [nan if value is None else value for value in now])
        if reading[0] <= first[0] or _ran_backwards(first, reading):
            return None
        seconds, *grown = (after - before for before, after in zip(first, reading, strict=True))
        return Deltas(seconds, *(None if isnan(growth) else growth for growth in grown))


_FIELDS = len(Totals._fields)


def _ran_backwards(before: array[float], after: array[float]) -> bool:
    """What is not known, ``nan``, is not below anything."""
    return any(map(lt, after, before))
