"""Schedules scans, ticks and snapshots on the sampling thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from math import floor
from typing import TypeVar

from exporter.errors import ReadError
from exporter.metrics.own import OwnMetrics
from exporter.model import Snapshot
from exporter.sampler.sampler import RefreshHint, Sampler
from exporter.threads import Worker

T = TypeVar("T")

PAGE_TIMEOUT_SECONDS = 5.0  # how long a page waits for the sampling thread: half of Prometheus' default scrape timeout
CLOSE_TIMEOUT_SECONDS = 1.0  # how long the end of the process waits for it


def next_due(due: float, interval: float, now: float) -> tuple[float, int]:
    """Return when the tick after the one due at ``due``, which ended at ``now``, is due, and how many were missed.

    Due times stay on their grid; a missed one is never caught up.
    """
    due += interval
    missed = floor((now - due) / interval) + 1 if now > due else 0
    return due + missed * interval, missed


class SamplingLoop:
    """Runs a sampler in a thread of its own, one thread hop for each tick."""

    def __init__(
        self,
        sampler: Sampler,
        own: OwnMetrics,
        *,
        interval: float,
        scan_interval: float,
        monotonic: Callable[[], float],
        on_hint: Callable[[RefreshHint], None],
    ) -> None:
        """``on_hint`` is called when a newer pod list would help."""
        self._sampler, self._own, self._on_hint = sampler, own, on_hint
        self._interval, self._scan_interval, self._monotonic = interval, scan_interval, monotonic
        self._thread = Worker("sampler")
        self._is_stuck = False
        self._scan_due = float("-inf")
        self.ticks = 0
        self.last_tick = monotonic()

    async def run(self) -> None:
        """Tick until cancelled."""
        due = self._monotonic()
        while True:
            hint = await self._on_sampler(self._scan_and_tick, None)
            if hint is not RefreshHint.NOTHING:
                self._on_hint(hint)
            self.ticks += 1
            self.last_tick = now = self._monotonic()
            due, missed = next_due(due, self._interval, now)
            self._own.overruns.inc(missed)
            await asyncio.sleep(due - self._monotonic())

    async def scan(self) -> None:
        """Scan and tick once, out of schedule. Raises as :meth:`snapshot` does."""
        self._scan_due = self._monotonic()
        await self._on_sampler(self._scan_and_tick)

    async def snapshot(self, *, detailed: bool = False) -> Snapshot:
        """Take a snapshot now; ``detailed`` with what findings need.

        Raises ``ReadError``, reason ``timeout``, when the thread is stuck in a read; later calls then raise at once.
        """
        return await self._on_sampler(partial(self._sampler.snapshot, detailed=detailed))

    async def _on_sampler(self, work: Callable[[], T], timeout: float | None = PAGE_TIMEOUT_SECONDS) -> T:  # noqa: ASYNC109 - what it does on timeout is its subject
        if self._is_stuck and timeout is not None:
            raise _stuck()
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(self._thread.submit(partial(self._finish, work)))
        except TimeoutError as error:
            self._is_stuck = True
            raise _stuck() from error

    def _finish(self, work: Callable[[], T]) -> T:
        try:
            return work()
        finally:
            self._is_stuck = False

    def close(self) -> None:
        """Release all descriptors when the thread has ended; one that is stuck is left behind with them."""
        if self._thread.close(CLOSE_TIMEOUT_SECONDS):
            self._sampler.close()

    @property
    def age(self) -> float:
        """Seconds since the last tick ended."""
        return self._monotonic() - self.last_tick

    def _scan_and_tick(self) -> RefreshHint:
        start = self._monotonic()
        if start >= self._scan_due:
            self._scan_due = start + self._scan_interval
            self._sampler.scan()
            after = self._monotonic()
            self._own.scan_seconds.observe(after - start)
            start = after
        hint = self._sampler.tick()
        self._own.sample_seconds.observe(self._monotonic() - start)
        return hint


def _stuck() -> ReadError:
    return ReadError("the sampling thread", f"no answer within {PAGE_TIMEOUT_SECONDS:g} s", reason="timeout")
