from __future__ import annotations

import asyncio
import itertools

import pytest

from exporter.app.supervision import LONGEST_PAUSE, MANY, WITHIN, Supervisor


class Clock:
    """Time that passes only while somebody sleeps."""

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


async def test_a_task_that_dies_is_started_again_later_and_later_and_counted() -> None:
    clock = Clock(pauses=9)
    died: list[str] = []
    supervisor = Supervisor(on_death=died.append, clock=clock, sleep=clock.sleep)

    async def dies() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(asyncio.CancelledError):
        await supervisor.keep("sampling", dies)

    assert died == ["sampling"] * 9
    assert clock.pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(clock.pauses) <= LONGEST_PAUSE


async def test_a_task_that_keeps_dying_is_hopeless_and_one_that_died_long_ago_is_not() -> None:
    clock = Clock(pauses=MANY)
    supervisor = Supervisor(on_death=lambda _: None, clock=clock, sleep=clock.sleep)

    async def ends() -> None:
        return

    assert supervisor.hopeless() is None
    with pytest.raises(asyncio.CancelledError):
        await supervisor.keep("pods", ends)
    assert supervisor.hopeless() == "pods"
    clock.now += WITHIN
    assert supervisor.hopeless() is None


async def test_rare_deaths_do_not_add_up() -> None:
    clock = Clock(pauses=2 * MANY)
    supervisor = Supervisor(on_death=lambda _: None, clock=clock, sleep=clock.sleep)

    async def lives_for_long() -> None:
        clock.now += WITHIN + 1

    with pytest.raises(asyncio.CancelledError):
        await supervisor.keep("pods", lives_for_long)
    assert supervisor.hopeless() is None
    assert set(clock.pauses) == {0.5}


async def test_cancelling_the_keeper_cancels_the_task() -> None:
    supervisor = Supervisor(on_death=lambda _: None, clock=itertools.count().__next__)
    cancelled = asyncio.Event()
    started = asyncio.Event()

    async def waits() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    keeper = asyncio.create_task(supervisor.keep("sampling", waits))
    await started.wait()
    keeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeper
    assert cancelled.is_set()


async def test_a_task_that_something_inside_of_it_cancelled_is_started_again() -> None:
    clock, died = Clock(pauses=3), list[str]()
    supervisor = Supervisor(on_death=died.append, clock=clock, sleep=clock.sleep)

    async def awaits_what_is_given_up() -> None:
        given_up = asyncio.get_running_loop().create_future()
        given_up.cancel()
        await given_up

    with pytest.raises(asyncio.CancelledError):  # the clock's, at its third pause
        await supervisor.keep("pods", awaits_what_is_given_up)
    assert died == ["pods"] * 3
