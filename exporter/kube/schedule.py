"""When to ask for the pod list again. Pure: it is told the time and never looks."""

from __future__ import annotations

from collections.abc import Callable

_SETTLE_SECONDS = 0.5
"""A poke this soon after an answer waits: what it is about may be just about to arrive with others."""
_SHORTEST_GAP_SECONDS = 1.0
_LONGEST_GAP_SECONDS = 10.0
_FIRST_RETRY_SECONDS = 0.5
_LAST_RETRY_SECONDS = 30.0


def full_jitter(failures: int, first: float, last: float, jitter: Callable[[], float]) -> float:
    """Seconds to wait after ``failures`` failures in a row: anything up to ``first`` doubled each time, up to ``last``.

    At least a fifth of it, so that a lucky draw is no tight loop. ``jitter`` gives numbers in [0, 1).
    """
    ceiling = min(last, first * 2.0 ** min(failures - 1, 30))
    return ceiling * (0.2 + 0.8 * jitter())


class RefreshSchedule:
    """Every ``interval`` seconds, sooner when poked, later when nothing answers.

    Pokes about the same unknown container over and over double the gap between refreshes up to 10 s: one that can never
    be mapped costs the kubelet no more than that. A poke about a container seen for the first time closes it again.
    """

    def __init__(self, interval: float, jitter: Callable[[], float]) -> None:
        self._interval = interval
        self._jitter = jitter
        self._failures = 0
        self._retry_at = 0.0
        self._ended_at: float | None = None
        self._scheduled_at: float | None = None
        self._poked_at: float | None = None
        self._pending = False
        self._poked_refresh = False
        self._gap = _SETTLE_SECONDS

    def poke(self, now: float, *, new: bool) -> None:
        """Somebody needs a newer list; ``new`` when for a reason that did not exist at the last poke."""
        if self._poked_at is None or now - self._poked_at > _LONGEST_GAP_SECONDS:
            self._gap = _SETTLE_SECONDS
        elif new:
            self._gap = min(self._gap, _SHORTEST_GAP_SECONDS)
        self._poked_at = now
        self._pending = True

    def wait(self, now: float) -> float:
        """Seconds until the next refresh; zero or less: now."""
        if self._ended_at is None or self._scheduled_at is None:
            return 0.0
        if self._failures:
            return self._retry_at - now
        if self._pending:
            return min(self._scheduled_at, self._ended_at + self._gap) - now
        return self._scheduled_at - now

    def begin(self, now: float) -> bool:
        """A refresh begins; whether it is a scheduled one, which also tries sources that failed before."""
        scheduled = self._scheduled_at is None or self._failures > 0 or now >= self._scheduled_at
        self._poked_refresh = self._pending
        self._pending = False
        if scheduled:
            self._scheduled_at = None
        return scheduled

    def end(self, now: float, *, ok: bool, news: bool) -> None:
        """The refresh ended, with a list (``ok``) that names containers the last one did not (``news``), or without."""
        self._ended_at = now
        if self._scheduled_at is None:
            self._scheduled_at = now + self._interval
        if not ok:
            self._failures += 1
            self._retry_at = now + full_jitter(self._failures, _FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS, self._jitter)
            return
        self._failures = 0
        if self._poked_refresh:
            self._gap = (
                _SHORTEST_GAP_SECONDS if news else max(_SHORTEST_GAP_SECONDS, min(self._gap * 2, _LONGEST_GAP_SECONDS))
            )
