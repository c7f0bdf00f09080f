"""Which events are repetitions; bounded in memory, given the time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

Key = tuple[str, int, str, str]
"""What makes two events the same: logger, level, message template, class of exception."""

EVERY: Final = 30.0
"""Seconds in which an event is written once."""
MOST_EVENTS: Final = 256


class Summary(NamedTuple):
    """Events that were left out and that no later one told of."""

    key: Key
    message: str
    suppressed: int


class Repeats:
    """Which events to write: remembers ``most`` of them, each for ``every`` seconds."""

    def __init__(self, every: float = EVERY, most: int = MOST_EVENTS) -> None:
        self._every = every
        self._most = most
        self._seen: OrderedDict[Key, _Seen] = OrderedDict()  # oldest first

    def __len__(self) -> int:
        return len(self._seen)

    def admit(self, key: Key, message: str, now: float) -> int | None:
        """How many of this event were left out before this one; ``None`` when this one is left out as well."""
        seen = self._seen.get(key)
        if seen is not None and now - seen.since < self._every:
            seen.suppressed += 1
            return None
        self._seen.pop(key, None)
        self._seen[key] = _Seen(now, message)
        return seen.suppressed if seen else 0

    def forget(self, now: float) -> Iterator[Summary]:
        """Drop what is over, and the oldest where there are too many; tells those that were left out meanwhile."""
        while self._seen:
            key, seen = next(iter(self._seen.items()))
            if now - seen.since < self._every and len(self._seen) <= self._most:
                return
            del self._seen[key]
            if seen.suppressed:
                yield Summary(key, seen.message, seen.suppressed)


class _Seen:
    __slots__ = ("message", "since", "suppressed")

    def __init__(self, since: float, message: str) -> None:
        self.since = since
        self.message = message
        self.suppressed = 0
