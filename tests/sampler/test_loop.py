"""The sampling thread's day, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from exporter.cgroupfs.discover import ReaderFactory, detect
from exporter.cgroupfs.files import Descriptors
from exporter.errors import ExporterError
from exporter.sampler.loop import SamplingLoop
from exporter.sampler.sampler import RefreshHint, Sampler, SamplerOptions
from tests.support.treebuilder import v2
from tests.support.trees import containerd_systemd

SCAN_INTERVAL = 10.0


class Clock:
    """Monotonic time that takes a step each time somebody looks. A step above the interval leaves nothing to sleep."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 1000.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Told:
    """What the loop said of its work."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self.scans: list[float] = []
        self.missed_ticks = 0
        self.hints: list[RefreshHint] = []
        self.threads: set[int] = set()

    def sampled(self, seconds: float) -> None:
        self.samples.append(seconds)
        self.threads.add(threading.get_ident())

    def scanned(self, seconds: float) -> None:
        self.scans.append(seconds)

    def missed(self, ticks: int) -> None:
        self.missed_ticks += ticks


def _loop_on(
    tree: Path, clock: Clock, told: Told, *, expects_names: bool = False, interval: float = 1.0
) -> SamplingLoop:
    errors: list[ExporterError] = []
    absent = str(tree / "absent")
    sampler = Sampler(
        ReaderFactory(detect(str(tree)), Descriptors(0)),
        SamplerOptions(
            proc=absent,
            sys=absent,
            checkpoint=absent,
            interval=interval,
            window=60.0,
            linger=60.0,
            collectors=frozenset({"throttle"}),
            expects_names=expects_names,
        ),
        monotonic=lambda: clock.now,
        wall=lambda: 0.0,
        attempts=lambda: 0,
        on_error=errors.append,
    )
    return SamplingLoop(
        sampler,
        told,
        interval=interval,
        scan_interval=SCAN_INTERVAL,
        monotonic=clock,
        on_hint=told.hints.append,
    )


async def loop_on(
    tree: Path, clock: Clock, told: Told, *, expects_names: bool = False, interval: float = 1.0
) -> SamplingLoop:
    # Looking for the hierarchy reads files, and this loop is watched.
    return await asyncio.to_thread(_loop_on, tree, clock, told, expects_names=expects_names, interval=interval)


@asynccontextmanager
async def ticking(loop: SamplingLoop, ticks: int) -> AsyncIterator[None]:
    """Runs until so many ticks have ended; the loop is closed in the end."""
    task = asyncio.create_task(loop.run(), name="sampling")
    try:
        while loop.ticks < ticks:
            await asyncio.sleep(0)
            assert not task.done()
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(loop.close)  # it waits for its thread


async def test_each_tick_is_one_hop_into_one_thread_that_is_not_the_loop_s(tmp_path: Path) -> None:
    v2(tmp_path)
    told = Told()
    async with ticking(await loop_on(tmp_path, Clock(step=1.1), told), 5):
        assert len(told.samples) >= 5
        assert len(told.threads) == 1
        assert threading.get_ident() not in told.threads


async def test_scans_come_at_their_own_interval(tmp_path: Path) -> None:
    v2(tmp_path)
    told, clock = Told(), Clock(step=1.1)
    async with ticking(await loop_on(tmp_path, clock, told), 30):
        elapsed = clock.now - 1000.0
        # At the first tick after each interval: never sooner, at most a tick later.
        assert elapsed / (2 * SCAN_INTERVAL) <= len(told.scans) <= elapsed / SCAN_INTERVAL + 1
        assert len(told.scans) < len(told.samples) / 2
        assert all(seconds > 0 for seconds in (*told.samples, *told.scans))


async def test_ticks_that_could_not_be_kept_are_told(tmp_path: Path) -> None:
    v2(tmp_path)
    told = Told()
    # Each look at the clock costs 2.5 intervals.
    async with ticking(await loop_on(tmp_path, Clock(step=2.5), told), 4):
        assert told.missed_ticks >= 3 * 2


async def test_waiting_containers_ask_for_names_and_say_that_they_are_new(tmp_path: Path) -> None:
    containerd_systemd(tmp_path)
    told = Told()
    async with ticking(await loop_on(tmp_path, Clock(step=1.1), told, expects_names=True), 2):
        assert told.hints[0] is RefreshHint.NEW


async def test_with_nobody_waiting_no_names_are_asked_for(tmp_path: Path) -> None:
    containerd_systemd(tmp_path)
    told = Told()
    async with ticking(await loop_on(tmp_path, Clock(step=1.1), told), 3):
        assert told.hints == []


async def test_a_snapshot_may_be_asked_for_at_any_time(tmp_path: Path) -> None:
    tree = containerd_systemd(tmp_path)
    loop = await loop_on(tmp_path, Clock(step=1.1), Told())
    assert (await loop.snapshot()).containers == (), "nothing was scanned"
    async with ticking(loop, 1):
        found = await asyncio.gather(*(loop.snapshot() for _ in range(5)))
        assert {len(one.containers) for one in found} == {len(tree.containers)}


async def test_one_scan_out_of_turn_is_a_whole_sample(tmp_path: Path) -> None:
    tree = containerd_systemd(tmp_path)
    told = Told()
    loop = await loop_on(tmp_path, Clock(step=0.0), told)
    await loop.scan()
    assert (len(told.scans), len(told.samples)) == (1, 1)
    assert len((await loop.snapshot()).containers) == len(tree.containers)
    await asyncio.to_thread(loop.close)


async def test_age_grows_until_the_next_tick_has_ended(tmp_path: Path) -> None:
    v2(tmp_path)
    clock = Clock(step=0.0)
    loop = await loop_on(tmp_path, clock, Told())
    clock.now += 3.0
    assert loop.age == 3.0
    clock.step = 1.1
    async with ticking(loop, 2):
        assert loop.age <= 15.0
    clock.step = 0.0
    clock.now = loop.last_tick + 7.0
    assert loop.age == 7.0
