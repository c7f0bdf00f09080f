"""Who has knocked and is not let in yet: taken from the kernel at once, let in by turns of their addresses.

The kernel hands connections over in the order they came. A crowd from one address would make everybody behind it wait
for as long as all of it takes to be let in. Behind an address there may be a whole network: of too many at one those go
first that only stand there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_LOOKED_AT: Final = 8
"""Of those who have waited longest, for one that has asked nothing."""


class Doorstep(Generic[T]):
    """A bounded number of those who wait, by address."""

    def __init__(self, most: int, has_asked: Callable[[T], bool]) -> None:
        self._most, self._has_asked = most, has_asked
        self._waiting: dict[str, deque[T]] = {}
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[T]:
        return (one for queue in self._waiting.values() for one in queue)

    def come(self, address: str, one: T) -> T | None:
        """``one`` waits; returns who has to go for it, of the address that has most."""
        self._waiting.setdefault(address, deque()).append(one)
        self._number += 1
        if self._number <= self._most:
            return None
        fullest = max(self._waiting, key=lambda address: len(self._waiting[address]))
        return self._take(fullest, self._place_of_least(self._waiting[fullest]))

    def next(self) -> tuple[str, T]:
        """Address and the one whose turn it is; raises ``LookupError`` when nobody waits."""
        address = next(iter(self._waiting), None)
        if address is None:
            raise LookupError("nobody waits")
        one = self._take(address, 0)
        if (queue := self._waiting.pop(address, None)) is not None:
            self._waiting[address] = queue  # behind the others
        return address, one

    def _place_of_least(self, queue: deque[T]) -> int:
        """Of the one that has waited longest and asked nothing; who has asked keeps its place and is let in next."""
        silent = (place for place, one in enumerate(islice(queue, _LOOKED_AT)) if not self._has_asked(one))
        return next(silent, min(_LOOKED_AT, len(queue) - 1))

    def _take(self, address: str, place: int) -> T:
        queue = self._waiting[address]
        one = queue[place]
        del queue[place]
        if not queue:
            del self._waiting[address]
        self._number -= 1
        return one
