"""The last six hours of each container, a value a minute: what answers "since when?"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from exporter.model import CgroupName, CgroupRow, Deltas, Snapshot

MINUTES: Final = 360
BYTES_PER_CONTAINER: Final = 2 * MINUTES
_STEPS: Final = 254
_UNKNOWN: Final = 0
"""A known value is 1 to 255."""
_LEVELS: Final = (None, *(step / _STEPS for step in range(_STEPS + 1)))


class History:
    """Highest throttled ratio and throttled time share of each minute, in :data:`BYTES_PER_CONTAINER` a container.

    Containers that are not in a snapshot are dropped, so that the node's containers bound it. The highest ratio is that
    of the window: with a window longer than a minute it is shown in each minute of the window.
    """

    def __init__(self) -> None:
        self._minute: int | None = None
        self._ratios: dict[CgroupName, bytearray] = {}
        self._shares: dict[CgroupName, bytearray] = {}

    def record(self, snapshot: Snapshot) -> None:
        """Add a snapshot to the minute it was taken in; call it at least once a minute and once a window."""
        minute = int(snapshot.taken_at // 60)
        live = {CgroupName(row.namespace, row.pod, row.container or ""): row for row in snapshot.containers if row.live}
        for values in (self._ratios, self._shares):
            for name in values.keys() - live.keys():
                del values[name]
            if self._minute is not None:
                _forget(values, self._minute, minute)
        self._minute = minute
        for name, row in live.items():
            peak = None if row.window is None else row.window.peak
            _raise(self._ratios.setdefault(name, _empty()), minute, peak)
            _raise(self._shares.setdefault(name, _empty()), minute, throttled_time_share(row))

    def ratios(self, name: CgroupName, *, minutes: int = 1) -> Sequence[float | None]:
        """Return the highest throttled ratio of each ``minutes``, oldest first, ``None`` where it is unknown."""
        return self._values(self._ratios, name, minutes)

    def shares(self, name: CgroupName, *, minutes: int = 1) -> Sequence[float | None]:
        """Return the highest throttled time share of each ``minutes``, oldest first, ``None`` where it is unknown."""
        return self._values(self._shares, name, minutes)

    def _values(self, values: dict[CgroupName, bytearray], name: CgroupName, minutes: int) -> Sequence[float | None]:
        ring = values.get(name)
        if ring is None or self._minute is None or not any(ring):
            return ()
        oldest = (self._minute + 1) % MINUTES
        steps = ring[oldest:] + ring[:oldest]
        bins = [max(steps[at : at + minutes]) for at in range(0, MINUTES, minutes)] if minutes > 1 else steps
        return [_LEVELS[step] for step in bins]


def throttled_time_share(row: CgroupRow) -> float | None:
    """Return lost / (used + lost) over the window; ``None`` where either is unknown."""
    deltas: Deltas | None = row.deltas
    if deltas is None or deltas.usage_seconds is None:
        return None
    lost = [deltas.throttled_seconds if row.counts_periods else None, deltas.local_throttled_seconds]
    known = [seconds for seconds in lost if seconds is not None]
    total = deltas.usage_seconds + max(known, default=0.0)
    return max(known) / total if known and total > 0 else None


def _empty() -> bytearray:
    return bytearray(MINUTES)


def _forget(values: dict[CgroupName, bytearray], last: int, minute: int) -> None:
    """Make the minutes since ``last`` unknown; a clock that was set back keeps what there is."""
    for passed in range(last + 1, min(minute, last + MINUTES) + 1):
        for ring in values.values():
            ring[passed % MINUTES] = _UNKNOWN


def _raise(ring: bytearray, minute: int, value: float | None) -> None:
    if value is None:
        return
    step = 1 + round(_STEPS * min(1.0, max(0.0, value)))
    ring[minute % MINUTES] = max(step, ring[minute % MINUTES])
