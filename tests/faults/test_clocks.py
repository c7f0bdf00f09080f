"""A clock that is set, a machine that sleeps, a process that is frozen: an average at most, never a spike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.node import Node, Place, by_hand, jiffies
from tests.support.recordings import overwrite
from tests.support.trees import containerd_systemd

RATIO, PEAK = "cgroup_container_cpu_throttled_ratio", "cgroup_container_cpu_throttled_ratio_peak"
TAKEN_AT = "throttle_exporter_snapshot_timestamp_seconds"
PERIODS_A_SECOND = 10
WINDOW_SECONDS = 60


class Motion:
    """All containers of a place: so many periods a second, throttled or not."""

    def __init__(self, place: Place) -> None:
        self._files = sorted(place.folder.glob("cgroup/kubepods.slice/**/*.scope/cpu.stat"))
        self._periods = self._throttled = 0
        assert self._files
        self.goes_on(0.0)

    def goes_on(self, seconds: float, *, throttled: bool = False) -> None:
        self._periods += round(seconds * PERIODS_A_SECOND)
        self._throttled += round(seconds * PERIODS_A_SECOND) * throttled
        text = f"usage_usec 1\nnr_periods {self._periods}\nnr_throttled {self._throttled}\nthrottled_usec 1\n"
        for file in self._files:
            overwrite(file, text.encode())


async def lives(node: Node, motion: Motion, seconds: int, *, throttled: bool = False) -> None:
    for _ in range(seconds):
        motion.goes_on(1.0, throttled=throttled)
        await node.lives(1)


@pytest.mark.parametrize("seconds", [4.0, 3600.0])
async def test_what_happened_while_nobody_looked_is_an_average(seconds: float, tmp_path: Path) -> None:
    """The process was frozen, its containers were not: every period of that time was throttled."""
    place = Place(tmp_path, containerd_systemd(tmp_path / "cgroup"))
    motion = Motion(place)
    async with by_hand(place.settings) as node:
        await lives(node, motion, 5)
        node.clock.now += seconds
        motion.goes_on(seconds, throttled=True)
        await lives(node, motion, 1)
        page = await node.page()
        earlier = 4.0 if seconds < WINDOW_SECONDS else 0.0
        assert [*set(page.rows(PEAK).values())] == [pytest.approx(seconds / (seconds + 1))]
        assert [*set(page.rows(RATIO).values())] == [pytest.approx(seconds / (seconds + 1 + earlier))]
        await lives(node, motion, WINDOW_SECONDS + 1)
        page = await node.page()
        assert {*page.rows(PEAK).values(), *page.rows(RATIO).values()} == {0.0}, "nor is it in any later window"


@pytest.mark.parametrize("step", [-86_400.0, -1.0, 1.0, 365 * 86_400.0])
async def test_a_wall_clock_that_is_set_moves_nothing_but_its_own_metric(step: float, tmp_path: Path) -> None:
    """As after a suspend, too: the monotonic clock stood still, and so did the containers."""
    place = Place(tmp_path, containerd_systemd(tmp_path / "cgroup"))
    motion = Motion(place)
    wall = 1_800_000_000.0
    read: Callable[[], float] = lambda: wall  # noqa: E731 - its value is set below
    async with by_hand(place.settings, read) as node:
        await lives(node, motion, 20, throttled=True)
        before = await node.page()
        wall += step
        await lives(node, motion, 1, throttled=True)
        page = await node.page()
        assert page.rows(RATIO) == before.rows(RATIO)
        assert set(page.rows(RATIO).values()) == {1.0}
        assert page.get(TAKEN_AT) == (before.get(TAKEN_AT) or 0.0) + step


async def test_cpu_times_over_a_stall_are_of_that_time(tmp_path: Path) -> None:
    """Half busy before, during and after: no CPU was ever busier than that."""
    place = Place(tmp_path, containerd_systemd(tmp_path / "cgroup"))
    second = 0
    shares: list[float | None] = []
    async with by_hand(place.settings) as node:
        for seconds in [1] * 30 + [600] + [1] * 60:
            second += seconds
            node.clock.now += seconds - 1
            place.write("proc/stat", jiffies(second))
            await node.lives(1)
            shares = [cpu["busy_share"] for cpu in (await node.document())["cpus"]]
            assert all(share is None or share == pytest.approx(0.5) for share in shares)
        assert None not in shares
