"""Whatever comes, goes, stalls, restarts or is reset: a served counter is what the kernel's file said.

A random life of one pod on files, with the clock in the test's hand. The files keep their history: a live container's
counters must be what they say at the scrape, a removed one's what they said since it was last to be read.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from exporter.model import CgroupRow, Snapshot
from tests.sampler.rig import LINGER, Rig
from tests.support.pages import Page, duplicates
from tests.support.recordings import overwrite
from tests.support.treebuilder import Builder, container_id, pod_uid, v1, v2, write_v1, write_v2
from tests.support.trees import cgroupfs_pod

UID = pod_uid("life")
POD = cgroupfs_pod(UID, "Burstable")
PREFIX = "cgroup_container_cpu_"
SLOTS = ("c0", "c1", "c2")
"""The pod's containers; one cgroup at a time is there for each."""


class Counters(NamedTuple):
    """What the files of a cgroup say, in the kernel's own units."""

    periods: int = 0
    throttled_periods: int = 0
    throttled: int = 0
    usage: int = 0

    def served(self, unit: float) -> tuple[float, ...]:
        """In seconds, where they are times."""
        return (self.periods, self.throttled_periods, self.throttled / unit, self.usage / unit)


@dataclass
class Instance:
    """One cgroup, and what its files say and have said; ``None`` while they are spoilt."""

    cid: str
    quota: bool
    born: int
    """At which step of the life."""
    born_at: float
    """In seconds."""
    counters: Counters = field(default_factory=Counters)
    spoilt: bool = False
    gone: int | None = None
    gone_at: float = 0.0
    history: list[tuple[int, Counters | None]] = field(default_factory=list)

    def since(self, step: int) -> list[Counters | None]:
        """At any step from this on."""
        before = [said for at, said in self.history if at <= step]
        return before[-1:] + [said for at, said in self.history if at > step]


class Life:
    """What happens on a node and what the exporter does, one step after the other."""

    def __init__(self, folder: Path, version: str) -> None:
        self.folder, self.version = folder, version
        self.unit = 1e9 if version == "v1" else 1e6
        self.build: Builder = (v1 if version == "v1" else v2)(folder)
        self.build.pod(POD, UID, "Burstable")
        # Without kept descriptors: a removed plain file would go on answering through one, as no cgroup's does.
        self.rig = Rig(self.folder, descriptors=0)
        self.live: dict[str, Instance] = {}
        self.gone: list[Instance] = []
        self.made = self.steps = 0
        self.ticks: list[int] = []
        self.scans: list[int] = []
        self.whole_ticks: list[int] = []
        self.reads_all = False
        self.snapshots: list[int] = []
        self.stalled = False
        for slot in SLOTS[:2]:
            self._make(slot, quota=True)
        self.walks()
        self.ticks_after(0.0)

    # ---- the node ----

    def runs(self, one: Instance, periods: int, share: float, amount: int) -> None:
        grown = Counters(periods, int(periods * share), int(amount * share), amount)
        one.counters = Counters(*(a + b for a, b in zip(one.counters, grown, strict=True)))
        self._write(one)

    def is_reset(self, one: Instance) -> None:
        """As by systemd, which takes a cgroup apart and makes it anew around its processes."""
        one.counters = Counters(one.counters.periods // 2, 0, 0, one.counters.usage // 3)
        self._write(one)

    def is_spoilt_or_mended(self, one: Instance) -> None:
        one.spoilt = not one.spoilt
        self._write(one)

    def restarts(self, slot: str, *, quota: bool, same_path: bool) -> None:
        """Under another id, or once more under its own."""
        old = self.goes(slot)
        self._make(slot, quota=quota, cid=old.cid if old is not None and same_path else None)

    def goes(self, slot: str) -> Instance | None:
        one = self.live.pop(slot, None)
        if one is not None:
            one.gone, one.gone_at = self._step(), self.rig.now
            self.gone.append(one)
            for mount in self.build.mounts.values() if self.version == "v1" else [self.folder]:
                shutil.rmtree(mount / POD / one.cid)
        return one

    # ---- the exporter ----

    def ticks_after(self, seconds: float) -> None:
        self.rig.tick(seconds)
        self.ticks.append(self._step())
        self.stalled = False
        if self.reads_all:
            self.whole_ticks.append(self.ticks[-1])
            self.reads_all = False

    def stalls_for(self, seconds: float) -> None:
        """A frozen process, a paused machine: the tick comes late."""
        self.ticks_after(seconds)
        self.stalled = True

    def walks(self) -> None:
        self.rig.scan()
        self.scans.append(self._step())
        self.reads_all = True

    def is_scraped(self) -> None:
        snapshot = self._look()
        page = Page(self.rig.renderer.render(snapshot, "text").decode(), "text/plain")
        assert duplicates(page.text) == {}
        shown = {one.ref.container_id for one in snapshot.containers if one.live}
        for one in self.live.values():
            assert one.cid in shown or one.born > max(self.ticks[-1], self.scans[-1])
        for container in snapshot.containers:
            self._is_what_the_files_said(container)
            labels = {"namespace": container.namespace, "pod": container.pod, "container": container.container or ""}
            assert page.get(PREFIX + "usage_seconds_total", **labels) == container.stat.usage_seconds
            if container.counts_periods:
                assert page.get(PREFIX + "periods_total", **labels) == container.stat.periods
        ratios = [*page.rows(PREFIX + "throttled_ratio").values(), *page.rows(PREFIX + "throttled_ratio_peak").values()]
        assert all(0 <= ratio <= 1 for ratio in ratios)

    def has_a_gap(self) -> None:
        """The first reading after a stall stands alone: no window, so nothing that could look like a spike."""
        assert [one.window for one in self._look().containers if one.window is not None] == []

    def shows_no_less_than_nothing_and_no_more_than_all(self) -> None:
        for container in self._look(detailed=True).containers:
            assert all(value is None or value >= 0 for value in container.deltas or ())
            assert all(0 <= interval.ratio <= 1 for interval in container.intervals)
            window = container.window
            assert window is None or 0 <= window.ratio <= window.peak <= 1

    # ---- what must hold ----

    def _look(self, *, detailed: bool = False) -> Snapshot:
        found = self.rig.snapshot(detailed=detailed)
        self.snapshots.append(self._step())
        return found

    def _step(self) -> int:
        self.steps += 1
        self.rig.now += 0.001
        return self.steps

    def _is_what_the_files_said(self, container: CgroupRow) -> None:
        stat = container.stat
        shown = (stat.periods, stat.throttled_periods, stat.throttled_seconds, stat.usage_seconds)
        allowed = [
            (None,) * 4 if said is None else said.served(self.unit)
            for one in self._instances(container)
            for said in ([one.history[-1][1]] if one.gone is None else one.since(self._last_read(one)))
        ]
        assert shown in allowed

    def _instances(self, container: CgroupRow) -> Iterator[Instance]:
        candidates = self.live.values() if container.live else self.gone
        return (one for one in candidates if one.cid == container.ref.container_id)

    def _last_read(self, one: Instance) -> int:
        """The step at which it was last to be read: at any page, at a tick if it was young or had a quota, and at the
        tick after a scan."""
        gone = one.gone or self.steps
        each_tick = one.quota or one.gone_at - one.born_at < LINGER
        steps = [*self.whole_ticks, *self.snapshots, *(self.ticks if each_tick else ())]
        return max((step for step in steps if step <= gone), default=one.born)

    # ---- files ----

    def _make(self, slot: str, *, quota: bool, cid: str | None = None) -> None:
        self.made += 1
        one = Instance(cid or container_id(f"{slot} {self.made}"), quota, self._step(), self.rig.now)
        path, limit = f"{POD}/{one.cid}", 50_000 if quota else None
        if self.version == "v1":
            write_v1(self.build.mounts, path, self.made, limit, path)
        else:
            write_v2(self.folder / path, self.made, limit)
        self.live[slot] = one
        self._write(one)

    def _write(self, one: Instance) -> None:
        periods, throttled_periods, throttled, usage = one.counters
        text = f"nr_periods {periods}\nnr_throttled {throttled_periods}\n"
        if self.version == "v1":
            stat, cpuacct = self.folder / "cpu" / POD / one.cid, self.folder / "cpuacct" / POD / one.cid
            text += f"throttled_time {throttled}\n"
            overwrite(cpuacct / "cpuacct.usage", b"junk" if one.spoilt else b"%d\n" % usage)
        else:
            stat = self.folder / POD / one.cid
            text += f"throttled_usec {throttled}\nusage_usec {usage}\n"
        overwrite(stat / "cpu.stat", b"junk" if one.spoilt else text.encode())
        one.history.append((self._step(), None if one.spoilt else one.counters))


STEPS = 1500
OFTEN = 6
"""How much oftener a container runs, and the exporter ticks, than anything else happens."""


def live_through(life: Life, chance: random.Random) -> Counter[str]:
    """So many random steps; how many of each kind."""
    happens: dict[str, Callable[[], object]] = {
        "runs": lambda: life.runs(some(), chance.randint(1, 20), chance.random(), chance.randint(0, 10**9)),
        "reset": lambda: life.is_reset(some()),
        "spoilt or mended": lambda: life.is_spoilt_or_mended(some()),
        "restarts": lambda: life.restarts(slot(), quota=chance.random() < 0.7, same_path=chance.random() < 0.3),
        "goes": lambda: life.goes(slot()),
        "tick": lambda: life.ticks_after(chance.choice((1.0, 1.0, 1.0, 0.3, 1.9, 2.9))),
        "stall": lambda: life.stalls_for(chance.choice((3.5, 30.0, 4000.0))),
        "scan": life.walks,
        "scrape": life.is_scraped,
        "gap": lambda: life.has_a_gap() if life.stalled else None,
        "detailed": life.shows_no_less_than_nothing_and_no_more_than_all,
    }
    names = [*happens, *("runs", "tick") * OFTEN, *("scrape",) * 2]

    def slot() -> str:
        return chance.choice(SLOTS)

    def some() -> Instance:
        if not life.live:
            life.restarts(slot(), quota=True, same_path=False)
        return chance.choice(list(life.live.values()))

    lived: Counter[str] = Counter()
    for _ in range(STEPS):
        name = chance.choice(names)
        lived[name] += 1
        happens[name]()
    return lived


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("seed", range(2))
def test_a_served_counter_is_what_the_kernel_said(version: str, seed: int, tmp_path: Path) -> None:
    life = Life(tmp_path, version)
    try:
        lived = live_through(life, random.Random(seed))
    finally:
        life.rig.sampler.close()
    assert min(lived.values()) > STEPS / 100, lived
    # What was wrong with the files was counted, and nothing else was wrong.
    assert {(error.stage, error.reason) for error in life.rig.errors} == {
        ("parse", "malformed"),
        ("read", "counter_reset"),
    }
