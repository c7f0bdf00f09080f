"""Rate limit and password check of each request, by the web config, with a bound on the CPU time of the check."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from exporter.web.config import RateLimit

QUEUE: Final = 8  # checks that may wait or run at once; a scraper that was accepted before needs none
BACKOFF_FACTOR: Final = 3.0  # pause after a wrong password, times its check: guesses cost a quarter of a core at most
_CACHED: Final = 64
_LONGEST: Final = 72  # bytes that bcrypt reads; a longer password could be guessed by these alone and is never right


class TooManyChecks(Exception):  # noqa: N818 - an ordinary result, not a failure
    """Too many passwords are being checked; ask again in a second."""


class PasswordChecker:
    """Checks passwords against bcrypt hashes, one at a time; a right one is cached until its user's hash changes."""

    def __init__(
        self,
        *,
        check: Callable[[bytes, bytes], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._check, self._clock, self._sleep = check or _check, clock, sleep
        self._thread = ThreadPoolExecutor(1, "passwords")  # the shared ones render pages
        self._turn = asyncio.Lock()
        self._secret = secrets.token_bytes(32)
        self._right: OrderedDict[tuple[str, bytes, bytes], None] = OrderedDict()
        self._pending = 0

    async def verify(self, users: Mapping[str, bytes], user: str, password: bytes) -> bool:
        """Whether ``users``, hashes by name, has this password for ``user``; raises :class:`TooManyChecks`."""
        # An unknown user takes as long as a known one.
        hashed = users.get(user) or next(iter(users.values()))
        key = (user, hashed, hmac.digest(self._secret, password, "sha256"))
        if key in self._right:
            self._right.move_to_end(key)
            return True
        if self._pending >= QUEUE:
            raise TooManyChecks
        self._pending += 1
        try:
            async with self._turn:
                started = self._clock()
                loop = asyncio.get_running_loop()
                right = await loop.run_in_executor(self._thread, self._check, password[:_LONGEST], hashed)
                if not right or len(password) > _LONGEST or user not in users:
                    await self._sleep(BACKOFF_FACTOR * (self._clock() - started))
                    return False
        finally:
            self._pending -= 1
        self._right[key] = None
        if len(self._right) > _CACHED:
            self._right.popitem(last=False)
        return True

    def close(self) -> None:
        """Check nothing more; a running check ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class TokenBucket:
    """``rate_limit``: refilled with time, one token taken by each request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tokens, self._filled_at = float("inf"), clock()

    def take(self, rate: RateLimit) -> bool:
        """Take a token and return whether there was one; ``rate`` is the one in force."""
        if not rate.interval:
            return True
        now = self._clock()
        self._tokens = min(rate.burst, self._tokens + (now - self._filled_at) / rate.interval)
        self._filled_at = now
        taken = self._tokens >= 1
        self._tokens -= taken
        return taken


def _check(password: bytes, hashed: bytes) -> bool:
    import bcrypt  # noqa: PLC0415 - 0.5 MB, for those who have passwords only

    return bcrypt.checkpw(password, hashed)
