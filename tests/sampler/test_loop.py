"""The sampling thread's schedule, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.kube.cache import PodCacheStatus
from exporter.metrics.own import OwnMetrics
from exporter.sampler.loop import SamplingLoop, next_due
from exporter.sampler.sampler import RefreshHint
from tests.sampler.rig import Rig
from tests.support.pages import Page
from tests.support.treebuilder import v2
from tests.support.trees import containerd_systemd

SCAN_INTERVAL = 10.0


@given(
    interval=st.sampled_from((0.1, 0.25, 1.0, 10.0, 60.0)),
    start=st.floats(0, 1e6),
    costs=st.lists(st.floats(0, 8) | st.just(86_400.0), min_size=1, max_size=50),
)
def test_due_times_lie_on_the_grid_ahead_of_now_and_every_missed_one_is_counted(
    interval: float, start: float, costs: list[float]
) -> None:
    due, now, ticks = start, start, 0
    for cost in costs:
        before, now = due, max(now, due) + cost * interval
        due, missed = next_due(due, interval, now)
        ticks += 1 + missed
        assert due - before >= interval * (1 - 1e-6), "never two samples within an interval"
        assert due >= now - 1e-6 * interval, "never a due time that has passed already"
        assert due - max(before, now) <= interval * (1 + 1e-6), "nor one further than the next"
        assert round((due - start) / interval) == ticks
        assert missed == 0 or cost >= 0.99


class LoopRig(Rig):
    """A sampler in its loop. Each look at the clock takes ``step``: above the interval there is nothing to sleep."""

    def __init__(self, tree: Path, step: float, *, expects_names: bool = False) -> None:
        super().__init__(tree, expects_names=expects_names, descriptors=0)
        self.step = step
        self.hints: list[RefreshHint] = []
        self.threads: set[int] = set()
        self.own = OwnMetrics(interval=1.0, window=60.0, directory=lambda: PodCacheStatus(()), process=False)
        self.loop = SamplingLoop(
            self.sampler,
            self.own,
            interval=1.0,
            scan_interval=SCAN_INTERVAL,
            monotonic=self.look,
            on_hint=self.hints.append,
        )

    def look(self) -> float:
        self.threads.add(threading.get_ident())
        self.now += self.step
        return self.now

    def said(self, name: str) -> float:
        """What the exporter's own metrics say."""
        return Page(self.own.render("text").decode(), "text/plain").total(f"throttle_exporter_{name}")


async def rig_on(tree: Path, step: float = 1.1, *, expects_names: bool = False) -> LoopRig:
    if not any(tree.iterdir()):
        v2(tree)
    # Looking for the hierarchy reads files, and this loop is watched.
    return await asyncio.to_thread(LoopRig, tree, step, expects_names=expects_names)


@asynccontextmanager
async def ticking(rig: LoopRig, ticks: int) -> AsyncIterator[None]:
    """Runs until so many ticks have ended; the loop is closed in the end."""
    task = asyncio.create_task(rig.loop.run(), name="sampling")
    try:
        while rig.loop.ticks < ticks:
            await asyncio.sleep(0)
            assert not task.done()
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(rig.loop.close)  # it waits for its thread


async def test_all_ticks_run_in_one_thread_that_is_not_the_loop_s(tmp_path: Path) -> None:
    rig = await rig_on(tmp_path)
    rig.threads.clear()
    async with ticking(rig, 5):
        assert len(rig.threads - {threading.get_ident()}) == 1
        assert rig.said("sample_duration_seconds_count") >= 5


async def test_scans_come_at_their_own_interval(tmp_path: Path) -> None:
    rig = await rig_on(tmp_path)
    async with ticking(rig, 30):
        elapsed, scans = rig.now - 1000.0, rig.said("scan_duration_seconds_count")
        # At the first tick after each interval: never sooner, at most a tick later.
        assert elapsed / (2 * SCAN_INTERVAL) <= scans <= elapsed / SCAN_INTERVAL + 1
        assert scans < rig.said("sample_duration_seconds_count") / 2
        assert min(rig.said(f"{name}_duration_seconds_sum") for name in ("sample", "scan")) > 0


async def test_ticks_that_could_not_be_kept_are_counted(tmp_path: Path) -> None:
    rig = await rig_on(tmp_path, step=2.5)
    async with ticking(rig, 4):
        assert rig.said("sample_overruns_total") >= 3 * 2


@pytest.mark.parametrize("expects_names", [True, False])
async def test_containers_that_wait_for_names_ask_for_them_and_say_that_they_are_new(
    expects_names: bool, tmp_path: Path
) -> None:
    containerd_systemd(tmp_path)
    rig = await rig_on(tmp_path, expects_names=expects_names)
    async with ticking(rig, 3):
        assert rig.hints[:1] == ([RefreshHint.NEW] if expects_names else [])


async def test_a_snapshot_may_be_asked_for_at_any_time(tmp_path: Path) -> None:
    tree = containerd_systemd(tmp_path)
    rig = await rig_on(tmp_path)
    assert (await rig.loop.snapshot()).containers == (), "nothing was scanned"
    async with ticking(rig, 1):
        found = await asyncio.gather(*(rig.loop.snapshot() for _ in range(5)))
        assert {len(one.containers) for one in found} == {len(tree.containers)}


async def test_one_scan_out_of_turn_is_a_whole_sample(tmp_path: Path) -> None:
    tree = containerd_systemd(tmp_path)
    rig = await rig_on(tmp_path, step=0.0)
    await rig.loop.scan()
    assert rig.said("scan_duration_seconds_count") == rig.said("sample_duration_seconds_count") == 1
    assert len((await rig.loop.snapshot()).containers) == len(tree.containers)
    await asyncio.to_thread(rig.loop.close)


async def test_age_grows_until_the_next_tick_has_ended(tmp_path: Path) -> None:
    rig = await rig_on(tmp_path, step=0.0)
    rig.now += 3.0
    assert rig.loop.age == 3.0
    rig.step = 1.1
    async with ticking(rig, 2):
        assert rig.loop.age <= 15.0
    rig.step = 0.0
    rig.now = rig.loop.last_tick + 7.0
    assert rig.loop.age == 7.0
