"""Who has knocked and is not let in yet: taken from the kernel at once, let in by turns of their addresses.

The kernel hands connections over in the order they came. A crowd from one address would make everybody behind it wait
for as long as all of it takes to be let in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Doorstep(Generic[T]):
    """A bounded number of those who wait, by address."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[str, deque[T]] = {}
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[T]:
        return (one for queue in self._waiting.values() for one in queue)

    def come(self, address: str, one: T) -> T | None:
        """``one`` waits; returns who has to go for it: of the address that has most, the one that came last."""
        self._waiting.setdefault(address, deque()).append(one)
        self._number += 1
        if self._number <= self._most:
            return None
        fullest = max(self._waiting, key=lambda address: len(self._waiting[address]))
        return self._take(fullest, last=True)

    def next(self) -> tuple[str, T]:
        """Address and the one whose turn it is; raises ``LookupError`` when nobody waits."""
        address = next(iter(self._waiting), None)
        if address is None:
            raise LookupError("nobody waits")
        one = self._take(address, last=False)
        if (queue := self._waiting.pop(address, None)) is not None:
            self._waiting[address] = queue  # behind the others
        return address, one

    def _take(self, address: str, *, last: bool) -> T:
        queue = self._waiting[address]
        one = queue.pop() if last else queue.popleft()
        if not queue:
            del self._waiting[address]
        self._number -= 1
        return one
