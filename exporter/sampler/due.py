"""Who is read at a tick, kept until that changes: a node of a thousand cgroups is not asked one by one each second."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from exporter.sampler.tracked import Tracked

SETTLING_SECONDS = 5.0
"""How long a new cgroup's limits are read at each tick."""


class Due:
    """The cgroups under a quota, and the young ones."""

    def __init__(self, *, fine: bool, youth: float) -> None:
        """Without ``fine`` nobody wants the fine grain; for ``youth`` seconds all are read: they may soon be gone."""
        self._is_fine, self._youth = fine, max(SETTLING_SECONDS, youth)
        self.fine: list[Tracked] = []
        self.young: list[Tracked] = []
        self._youth_ends, self._state = -inf, (-1, -1)

    def look(self, live: Mapping[str, Tracked], now: float, state: tuple[int, int]) -> None:
        """Look for them again where ``state``, of all cgroups, is another, or one is no longer young."""
        if state == self._state and now < self._youth_ends:
            return
        self._state = state
        self.fine = [one for one in live.values() if one.has_quota] if self._is_fine else []
        self.young = [one for one in live.values() if now - one.first_seen < self._youth]
        self._youth_ends = min((one.first_seen + self._youth for one in self.young), default=inf)

    def settling(self, now: float) -> list[Tracked]:
        """Those whose runtime may not be done with them."""
        return [one for one in self.young if now - one.first_seen < SETTLING_SECONDS]
