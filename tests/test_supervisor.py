"""Tasks that fail or end are restarted and counted, and those that fail again and again are named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from exporter.app import FAILURE_WINDOW_SECONDS, MAX_FAILURES, MAX_PAUSE_SECONDS, Supervisor


class Watched:
    """A supervisor whose time passes only in its pauses, of which there are so many."""

    def __init__(self, pauses: int) -> None:
        self.now, self.pauses, self.failed = 0.0, list[float](), list[str]()
        self._most = pauses
        self.supervisor = Supervisor(self.failed.append, lambda: self.now, self._sleep)

    async def run(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with pytest.raises(asyncio.CancelledError):
            await self.supervisor.run("pods", task)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        if len(self.pauses) >= self._most:
            raise asyncio.CancelledError


async def ends() -> None:
    return


async def awaits_a_cancelled_future() -> None:
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    await cancelled


@pytest.mark.parametrize("task", [ends, awaits_a_cancelled_future])
async def test_a_task_is_restarted_after_growing_pauses(task: Callable[[], Coroutine[Any, Any, None]]) -> None:
    watched = Watched(pauses=9)
    await watched.run(task)
    assert watched.failed == ["pods"] * 9
    assert watched.pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(watched.pauses) <= MAX_PAUSE_SECONDS


async def test_a_task_is_crash_looping_until_its_failures_are_old() -> None:
    watched = Watched(pauses=MAX_FAILURES)
    assert watched.supervisor.crash_looping() is None
    await watched.run(ends)
    assert watched.supervisor.crash_looping() == "pods"
    watched.now += FAILURE_WINDOW_SECONDS
    assert watched.supervisor.crash_looping() is None


async def test_rare_failures_do_not_add_up() -> None:
    watched = Watched(pauses=2 * MAX_FAILURES)

    async def lives_for_long() -> None:
        watched.now += FAILURE_WINDOW_SECONDS + 1

    await watched.run(lives_for_long)
    assert watched.supervisor.crash_looping() is None
    assert set(watched.pauses) == {0.5}


async def test_cancelling_the_supervisor_cancels_the_task() -> None:
    cancelled, started = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    supervised = asyncio.create_task(Watched(pauses=1).run(waits))
    await started.wait()
    supervised.cancel()
    await supervised
    assert cancelled.is_set()
