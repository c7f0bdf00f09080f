"""The sampling thread's day: scans and ticks at their times, snapshots when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

from exporter.sampler.core import Sampler, Wants
from exporter.sampler.pace import Pace
from exporter.snapshot import Snapshot

T = TypeVar("T")


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
        self._thread = ThreadPoolExecutor(1, "sampler")
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
        """One scan and one tick, out of turn: what a single page needs."""
        await self._hop(self._work)

    async def snapshot(self, *, detailed: bool = False) -> Snapshot:
        """The node as it is now; ``detailed`` with all that findings need."""
        return await self._hop(partial(self._sampler.snapshot, detailed=detailed))

    def close(self) -> None:
        """Wait for the thread, then give all descriptors back."""
        self._thread.shutdown()
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
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
