"""The sampling thread's day: scans and ticks at their times, snapshots when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from exporter.errors import ReadError
from exporter.model import Snapshot
from exporter.sampler.core import Sampler
from exporter.sampler.options import Wants
from exporter.sampler.pace import Pace
from exporter.threads import Worker

T = TypeVar("T")

PATIENCE_SECONDS = 5.0
"""How long a page waits for the sampling thread. Half of Prometheus' default scrape timeout."""
CLOSE_SECONDS = 1.0
"""How long the end of the process waits for it."""


class Durations(Protocol):
    """Where the cost of the work is told, in seconds."""

    def sampled(self, seconds: float) -> None:
        """One tick took so long."""

    def scanned(self, seconds: float) -> None:
        """One scan took so long."""

    def missed(self, ticks: int) -> None:
        """So many ticks were due while one before ran."""


class SamplingLoop:
    """Runs a sampler in a thread of its own, one hop for each tick."""

    def __init__(
        self,
        sampler: Sampler,
        durations: Durations,
        *,
        interval: float,
        scan_interval: float,
        monotonic: Callable[[], float],
        wants_names: Callable[[bool], None],
    ) -> None:
        self._sampler, self._durations, self._wants_names = sampler, durations, wants_names
        self._interval, self._scan_interval, self._monotonic = interval, scan_interval, monotonic
        self._thread = Worker("sampler")
        self._is_stuck = False
        self._scan_due = float("-inf")
        self.ticks = 0
        self.last_tick = monotonic()

    async def run(self) -> None:
        """Tick for ever."""
        pace = Pace(self._monotonic(), self._interval)
        while True:
            wants = await self._hop(self._work)
            if wants is not Wants.NOTHING:
                self._wants_names(wants is Wants.NEW)
            self.ticks += 1
            self.last_tick = now = self._monotonic()
            missed = pace.missed
            due = pace.next(now)
            if pace.missed > missed:
                self._durations.missed(pace.missed - missed)
            await asyncio.sleep(due - self._monotonic())

    async def scan(self) -> None:
        """One scan and one tick, out of turn: what a single page needs. Raises as :meth:`snapshot` does."""
        await self._within_patience(self._work)

    async def snapshot(self, *, detailed: bool = False) -> Snapshot:
        """The node as it is now; ``detailed`` with all that findings need.

        Raises ``ReadError``, reason ``timeout``, when the thread is stuck in a read; who asks again does not wait.
        """
        return await self._within_patience(partial(self._sampler.snapshot, detailed=detailed))

    async def _within_patience(self, work: Callable[[], T]) -> T:
        if self._is_stuck:
            raise _stuck()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._hop(work)
        except TimeoutError as error:
            self._is_stuck = True
            raise _stuck() from error

    def close(self) -> None:
        """Give all descriptors back when the thread has ended; one that is stuck is left behind with them."""
        if self._thread.close(CLOSE_SECONDS):
            self._sampler.close()

    @property
    def age(self) -> float:
        """Seconds since the last tick ended."""
        return self._monotonic() - self.last_tick

    def _work(self) -> Wants:
        start = self._monotonic()
        if start >= self._scan_due:
            self._scan_due = start + self._scan_interval
            self._sampler.scan()
            after = self._monotonic()
            self._durations.scanned(after - start)
            start = after
        wants = self._sampler.tick()
        self._durations.sampled(self._monotonic() - start)
        return wants

    async def _hop(self, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._thread.submit(partial(self._done, work)))

    def _done(self, work: Callable[[], T]) -> T:
        try:
            return work()
        finally:
            self._is_stuck = False


def _stuck() -> ReadError:
    return ReadError("the sampling thread", f"no answer within {PATIENCE_SECONDS:g} s", reason="timeout")
