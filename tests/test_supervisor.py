from __future__ import annotations

import asyncio
import itertools

import pytest

from exporter.app import FAILURE_WINDOW_SECONDS, MAX_FAILURES, MAX_PAUSE_SECONDS, Supervisor


class Clock:
    """Time that passes only in sleep."""

    def __init__(self, pauses: int) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self._most = pauses

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        if len(self.pauses) >= self._most:
            raise asyncio.CancelledError


async def test_a_failed_task_is_counted_and_restarted_after_growing_pauses() -> None:
    clock = Clock(pauses=9)
    failed: list[str] = []
    supervisor = Supervisor(on_failure=failed.append, clock=clock, sleep=clock.sleep)

    async def fails() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(asyncio.CancelledError):
        await supervisor.run("sampling", fails)

    assert failed == ["sampling"] * 9
    assert clock.pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(clock.pauses) <= MAX_PAUSE_SECONDS


async def test_a_task_is_crash_looping_until_its_failures_are_old() -> None:
    clock = Clock(pauses=MAX_FAILURES)
    supervisor = Supervisor(on_failure=lambda _: None, clock=clock, sleep=clock.sleep)

    async def ends() -> None:
        return

    assert supervisor.crash_looping() is None
    with pytest.raises(asyncio.CancelledError):
        await supervisor.run("pods", ends)
    assert supervisor.crash_looping() == "pods"
    clock.now += FAILURE_WINDOW_SECONDS
    assert supervisor.crash_looping() is None


async def test_rare_failures_do_not_add_up() -> None:
    clock = Clock(pauses=2 * MAX_FAILURES)
    supervisor = Supervisor(on_failure=lambda _: None, clock=clock, sleep=clock.sleep)

    async def lives_for_long() -> None:
        clock.now += FAILURE_WINDOW_SECONDS + 1

    with pytest.raises(asyncio.CancelledError):
        await supervisor.run("pods", lives_for_long)
    assert supervisor.crash_looping() is None
    assert set(clock.pauses) == {0.5}


async def test_cancelling_the_supervisor_cancels_the_task() -> None:
    supervisor = Supervisor(on_failure=lambda _: None, clock=itertools.count().__next__)
    cancelled = asyncio.Event()
    started = asyncio.Event()

    async def waits() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    supervised = asyncio.create_task(supervisor.run("sampling", waits))
    await started.wait()
    supervised.cancel()
    with pytest.raises(asyncio.CancelledError):
        await supervised
    assert cancelled.is_set()


async def test_a_task_that_something_inside_of_it_cancelled_is_started_again() -> None:
    clock, failed = Clock(pauses=3), list[str]()
    supervisor = Supervisor(on_failure=failed.append, clock=clock, sleep=clock.sleep)

    async def awaits_a_cancelled_future() -> None:
        cancelled = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled

    with pytest.raises(asyncio.CancelledError):  # the clock's, at its third pause
        await supervisor.run("pods", awaits_a_cancelled_future)
    assert failed == ["pods"] * 3
