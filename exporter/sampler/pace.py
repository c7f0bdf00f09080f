"""Even spacing of samples. Pure."""

from __future__ import annotations

from math import floor


class Pace:
    """Due times ``start + n * interval``.

    A late sample is followed by the next due time still ahead: what was missed is counted, never caught up in a burst.
    """

    __slots__ = ("_due", "interval", "missed")

    def __init__(self, start: float, interval: float) -> None:
        self.interval = interval
        self.missed = 0
        self._due = start

    def next(self, now: float) -> float:
        """The next due time, after the one before has been served at ``now``; counts those that passed meanwhile."""
        due = self._due + self.interval
        if now > due:
            passed = floor((now - due) / self.interval) + 1
            self.missed += passed
            due += passed * self.interval
        self._due = due
        return due
