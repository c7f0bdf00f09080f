"""The last six hours of each container, a value a minute: what answers "since when?"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from exporter.analysis.nodeview import name_of
from exporter.model import CgroupName, CgroupRow, Snapshot

Measure = Literal["ratio", "time_share"]
MINUTES: Final = 360
_STEPS: Final = 254
_UNKNOWN: Final = 0  # a known value is 1 to 255
_LEVELS: Final = (None, *(step / _STEPS for step in range(_STEPS + 1)))


class MinuteHistory:
    """Highest throttled ratio of any window, and time share, of each minute: two bytes a minute and live container."""

    def __init__(self) -> None:
        self._minute: int | None = None
        self._rings: dict[CgroupName, tuple[bytearray, bytearray]] = {}

    def record(self, snapshot: Snapshot) -> None:
        """Add a snapshot to the minute it was taken in; call it at least once a minute and once a window."""
        minute = int(snapshot.taken_at // 60)
        last = minute if self._minute is None else self._minute
        # Without a snapshot a minute is unknown; a clock that was set back keeps what there is.
        skipped = range(last + 1, min(minute, last + MINUTES) + 1)
        before, self._rings, self._minute = self._rings, {}, minute
        for row in filter(lambda row: row.live, snapshot.subjects):
            name = name_of(row)
            rings = self._rings[name] = before.get(name) or (bytearray(MINUTES), bytearray(MINUTES))
            peak = None if row.window is None else row.window.peak
            for ring, value in zip(rings, (peak, throttled_time_share(row)), strict=True):
                for passed in skipped:
                    ring[passed % MINUTES] = _UNKNOWN
                step = _UNKNOWN if value is None else 1 + round(_STEPS * min(1.0, max(0.0, value)))
                ring[minute % MINUTES] = max(step, ring[minute % MINUTES])

    def highest(self, what: Measure, name: CgroupName, *, minutes: int = 1) -> Sequence[float | None]:
        """Return the highest value of each ``minutes``, oldest first, ``None`` where it is unknown."""
        if self._minute is None or name not in self._rings or not any(ring := self._rings[name][what == "time_share"]):
            return ()
        oldest = (self._minute + 1) % MINUTES
        steps = ring[oldest:] + ring[:oldest]
        return [_LEVELS[max(steps[at : at + minutes])] for at in range(0, MINUTES, minutes)]


def throttled_time_share(row: CgroupRow) -> float | None:
    """Return lost / (used + lost) over the window; ``None`` where either is unknown."""
    deltas = row.deltas
    if deltas is None or deltas.usage_seconds is None:
        return None
    lost = deltas.throttled_seconds if row.counts_periods else None, deltas.local_throttled_seconds
    known = [seconds for seconds in lost if seconds is not None]
    total = deltas.usage_seconds + max(known, default=0.0)
    return max(known) / total if known and total > 0 else None
