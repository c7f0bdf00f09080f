"""Who has knocked and is not let in yet: taken from the kernel at once, let in by turns of their addresses.

The kernel hands connections over in the order they came. A crowd from one address would make everybody behind it wait
for as long as all of it takes to be let in. Behind an address there may be a whole network: of too many at one those go
first that only stand there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Doorstep(Generic[T]):
    """A bounded number of those who wait, by address."""

    def __init__(self, most: int, has_asked: Callable[[T], bool]) -> None:
        self._most, self._has_asked = most, has_asked
        self._waiting: dict[str, _Queue[T]] = {}
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[T]:
        return (one for queue in self._waiting.values() for one in (*queue.asked, *queue.silent))

    def come(self, address: str, one: T) -> T | None:
        """``one`` waits; returns who has to go for it, of the address that has most."""
        self._waiting.setdefault(address, _Queue()).silent.append(one)
        self._number += 1
        if self._number <= self._most:
            return None
        fullest = max(self._waiting, key=lambda address: len(self._waiting[address]))
        goes = self._waiting[fullest].least(self._has_asked)
        self._left(fullest)
        return goes

    def next(self) -> tuple[str, T]:
        """Address and the one whose turn it is; raises ``LookupError`` when nobody waits."""
        address = next(iter(self._waiting), None)
        if address is None:
            raise LookupError("nobody waits")
        queue = self._waiting[address]
        one = (queue.asked or queue.silent).popleft()
        self._left(address)
        if queue:
            self._waiting[address] = self._waiting.pop(address)  # behind the others
        return address, one

    def _left(self, address: str) -> None:
        self._number -= 1
        if not self._waiting[address]:
            del self._waiting[address]


class _Queue(Generic[T]):
    """Those of one address, each kind in the order it came."""

    __slots__ = ("asked", "silent")

    def __init__(self) -> None:
        self.asked = deque[T]()
        """Of whom it is known. They are let in first."""
        self.silent = deque[T]()
        """Nobody has looked yet, or there was nothing."""

    def __len__(self) -> int:
        return len(self.asked) + len(self.silent)

    def least(self, has_asked: Callable[[T], bool]) -> T:
        """Take out the one that has waited longest and asked nothing, else the last."""
        while self.silent:
            one = self.silent.popleft()
            if not has_asked(one):
                return one
            self.asked.append(one)
        return self.asked.pop()
