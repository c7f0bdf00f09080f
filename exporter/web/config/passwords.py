"""Is it this user's password? bcrypt at a price that neither a scraper each second nor a flood of guesses can raise."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

QUEUE: Final = 8
"""Checks that may wait or run at once; a scraper that was let in before needs none."""
QUEUE_OF_ONE_ADDRESS: Final = 2
REST: Final = 3.0
"""After a wrong password the checker rests so many times as long as it worked: guessing costs the node a quarter of a
core at most."""
_REMEMBERED: Final = 64
_LONGEST: Final = 72
"""Bytes of a password that bcrypt looks at; a longer one could be guessed by these alone and is never right."""

_Key = tuple[str, bytes, bytes]


class Busy(Exception):  # noqa: N818 - an ordinary result, not a failure
    """Too many passwords are being checked; ask again in a second."""


class Passwords:
    """Checks passwords against the hashes that ``users`` gives at that time.

    What was found is remembered for a pair of user and password, as long as the user's hash stays what it was.
    """

    def __init__(
        self,
        users: Callable[[], Mapping[str, bytes]],
        *,
        check: Callable[[bytes, bytes], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._users, self._check, self._clock, self._rest = users, check or _check, clock, rest
        # One thread of its own: the shared ones render pages.
        self._thread = ThreadPoolExecutor(1, "passwords")
        self._turn = asyncio.Lock()
        self._secret = secrets.token_bytes(32)
        self._right: OrderedDict[_Key, None] = OrderedDict()
        self._wrong: OrderedDict[_Key, None] = OrderedDict()
        self._pending: Counter[str] = Counter()

    @property
    def needed(self) -> bool:
        """Whether there are users at all."""
        return bool(self._users())

    async def are_right(self, user: str, password: bytes, address: str) -> bool:
        """Whether ``user`` has this password; raises :class:`Busy` when ``address`` or everybody asks too much.

        An unknown user takes as long as a known one.
        """
        users = self._users()
        known = user in users
        hashed = users[user] if known else self._decoy(user, users)
        key = (user, hashed, hmac.digest(self._secret, password, "sha256"))
        for found, right in ((self._right, True), (self._wrong, False)):
            if key in found:
                found.move_to_end(key)
                return right
        if self._pending.total() >= QUEUE or self._pending[address] >= QUEUE_OF_ONE_ADDRESS:
            raise Busy
        self._pending[address] += 1
        try:
            async with self._turn:
                right = await self._compare(password, hashed) and known
        finally:
            self._pending[address] -= 1
            if not self._pending[address]:
                del self._pending[address]
        self._remember(key, self._right if right else self._wrong)
        return right

    def close(self) -> None:
        """Check nothing more; the check under way ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _compare(self, password: bytes, hashed: bytes) -> bool:
        started = self._clock()
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(self._thread, self._check, password[:_LONGEST], hashed)
        right = right and len(password) <= _LONGEST
        if not right:
            await self._rest(REST * (self._clock() - started))
        return right

    def _decoy(self, user: str, users: Mapping[str, bytes]) -> bytes:
        """A hash nobody has the password of, as costly as a real one; always the same for one name."""
        number = int.from_bytes(hmac.digest(self._secret, user.encode("utf-8", "surrogateescape"), "sha256"))
        costs = sorted(hashed[4:6] for hashed in users.values()) or [b"10"]
        return b"$2b$" + costs[number % len(costs)] + b"$" + b"." * 53

    @staticmethod
    def _remember(key: _Key, found: OrderedDict[_Key, None]) -> None:
        found[key] = None
        while len(found) > _REMEMBERED:
            found.popitem(last=False)


def _check(password: bytes, hashed: bytes) -> bool:
    import bcrypt  # noqa: PLC0415 - 0.5 MB for who has passwords only

    return bcrypt.checkpw(password, hashed)
