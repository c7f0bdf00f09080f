"""Whatever comes, goes, stalls, restarts or is reset: a served counter is what the kernel's file said.

A random life of one pod on files, with the clock in the test's hand. The files keep their history: a live container's
counters must be what they say at the scrape, a removed one's what they said since it was last to be read, and a window
what they said at two ticks. As in the kernel, counters also move while nothing runs: period timers that end later,
groups in debt of their quota for seconds, quotas above, tasks that wait for a CPU.
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

from exporter.model import CgroupRow, Snapshot, Window
from tests.sampler.rig import LINGER, Rig
from tests.support.pages import Page
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
    local: int = 0
    waiting: int = 0
    """Microseconds."""

    def served(self, unit: float) -> tuple[float, ...]:
        """In seconds, where they are times."""
        times = (self.throttled / unit, self.usage / unit, self.local / unit, self.waiting / 1e6)
        return (self.periods, self.throttled_periods, *times)


@dataclass
class Instance:
    """One cgroup, and what its files say and have said; ``None`` while they are spoilt."""

    cid: str
    """Empty for the pod's own."""
    period: float | None
    """In seconds; ``None`` without a quota."""
    born: int
    """At which step of the life."""
    born_at: float
    """In seconds."""
    counters: Counters = field(default_factory=Counters)
    due: list[tuple[float, str, int]] = field(default_factory=list)
    """What will grow, and when, while nothing runs."""
    spoilt: bool = False
    gone: int | None = None
    gone_at: float = 0.0
    history: list[tuple[int, Counters | None]] = field(default_factory=list)
    at_tick: dict[float, Counters] = field(default_factory=dict)

    def since(self, step: int) -> list[Counters | None]:
        """At any step from this on."""
        before = [said for at, said in self.history if at <= step]
        return before[-1:] + [said for at, said in self.history if at > step]

    def grow(self, **fields: int) -> None:
        grown = {name: getattr(self.counters, name) + amount for name, amount in fields.items()}
        self.counters = self.counters._replace(**grown)


class Life:
    """What happens on a node and what the exporter does, one step after the other."""

    def __init__(self, folder: Path, version: str, chance: random.Random, *, above: bool) -> None:
        self.folder, self.version, self.chance, self.above = folder, version, chance, above
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
        self.pod = Instance("", 0.1, 0, self.rig.now)
        self._limit(POD, 0.1)
        if above:
            self._limit(POD.rpartition("/")[0], 0.1)
        self._write(self.pod)
        for slot in SLOTS[:2]:
            self._make(slot, period=0.1)
        self.walks()
        self.ticks_after(0.0)

    # ---- the node ----

    def runs(self, one: Instance, periods: int, share: float, amount: int) -> None:
        for group in (one, self.pod):
            group.grow(usage=amount)
            self._ends_periods(group, self.rig.now, 2)
        one.grow(periods=periods, throttled_periods=int(periods * share), throttled=int(amount * share))
        self._write(one)
        self._write(self.pod)

    def is_in_debt(self, one: Instance, seconds: float) -> None:
        """Its last run used more than the quota of so many seconds to come; what is below it is stopped, too."""
        self.runs(one if one is not self.pod else self.any(), 1, 1.0, 10**6)
        end = self._ends_periods(one, self.rig.now, int(seconds / (one.period or 1.0)), "throttled_periods")
        self._ends_periods(one, end, 2)
        for stopped in self.live.values() if one is self.pod else [one]:
            # It runs again when a CPU is free.
            stopped.due += [(end, "local", 10**6), (end + self.chance.random() / 2, "usage", 10**6)]

    def is_stopped_above(self) -> None:
        """By the quota of the QoS class: nothing of the pod moves, not even when the stop ends."""
        for one in self.live.values():
            one.grow(local=10**6)
            self._write(one)

    def waits(self, one: Instance, amount: int) -> None:
        """For a CPU; a read brings the totals up to date, so that those of the pod grow at the same moment."""
        until = self.rig.now + 2 * self.chance.random()
        for group in (one, self.pod):
            group.due.append((until, "waiting", amount))

    def any(self) -> Instance:
        if not self.live:
            self.restarts(SLOTS[0], period=0.1, same_path=False)
        return self.chance.choice(list(self.live.values()))

    def _ends_periods(self, one: Instance, start: float, count: int, *fields: str) -> float:
        period = one.period or 1.0
        ends = [start + period * (number + self.chance.random() / 2) for number in range(1, count + 1)]
        if one.period is not None:
            one.due += [(end, name, 1) for end in ends for name in ("periods", *fields)]
        return start + period * count

    def passes(self, seconds: float) -> None:
        self.rig.now += seconds
        for one in [*self.live.values(), self.pod]:
            now = [entry for entry in one.due if entry[0] <= self.rig.now]
            one.due = [entry for entry in one.due if entry[0] > self.rig.now]
            for _, name, amount in now:
                one.grow(**{name: amount})
                if name == "usage":
                    self.pod.grow(usage=amount)
                    self._ends_periods(one, self.rig.now, 2)
            if now or one is self.pod:
                self._write(one)

    def is_reset(self, one: Instance) -> None:
        """As by systemd, which takes a cgroup apart and makes it anew around its processes."""
        one.counters = Counters(one.counters.periods // 2, 0, 0, one.counters.usage // 3)
        self._writes(one)

    def is_spoilt_or_mended(self, one: Instance) -> None:
        """Whichever wrote the file ran."""
        one.spoilt = not one.spoilt
        self._writes(one)

    def _writes(self, one: Instance) -> None:
        self.pod.grow(usage=1000)
        self._write(one)
        self._write(self.pod)

    def restarts(self, slot: str, *, period: float | None, same_path: bool) -> None:
        """Under another id, or once more under its own."""
        old = self.goes(slot)
        self._make(slot, period=period, cid=old.cid if old is not None and same_path else None)

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
        self.passes(seconds)
        for one in [*self.live.values(), self.pod]:
            one.at_tick[self.rig.now] = one.counters
        self.rig.tick(0.0)
        self.ticks.append(self._step())
        if self.reads_all:
            self.whole_ticks.append(self.ticks[-1])
            self.reads_all = False

    def walks(self) -> None:
        self.rig.scan()
        self.scans.append(self._step())
        self.reads_all = True

    def is_scraped(self) -> None:
        self.passes(0.0)
        snapshot = self._look()
        page = Page(self.rig.renderer.render(snapshot, "text").decode(), "text/plain")
        assert len(page.samples) == sum(len(family.samples) for family in page.families), "none twice"
        shown = {one.ref.container_id for one in snapshot.containers if one.live}
        for one in self.live.values():
            assert one.cid in shown or one.born > max(self.ticks[-1], self.scans[-1])
        for container in snapshot.containers:
            self._is_what_the_files_said(container)
            labels = {"namespace": container.namespace, "pod": container.pod, "container": container.container or ""}
            assert page.get(PREFIX + "usage_seconds_total", **labels) == container.stat.usage_seconds
            if container.counts_periods:
                assert page.get(PREFIX + "periods_total", **labels) == container.stat.periods
        [pod] = snapshot.pods
        assert self._shown(pod) == self.pod.counters.served(self.unit)[:4]
        assert pod.pressure is None or pod.pressure.waiting_seconds == self.pod.counters.waiting / 1e6
        exact = self._look(detailed=True)
        windows = {one.ref.path: one.window for one in (*exact.containers, *exact.pods)}
        for row in (*snapshot.containers, *snapshot.pods):
            if row.live:
                self._has_the_window_of_two_ticks(row, windows[row.ref.path])
        ratios = [*page.rows(PREFIX + "throttled_ratio").values(), *page.rows(PREFIX + "throttled_ratio_peak").values()]
        assert all(0 <= ratio <= 1 for ratio in ratios)

    def is_left_alone(self) -> None:
        for _ in range(5):
            self.ticks_after(self.chance.choice((0.3, 1.0)))
            if self.live and self.chance.random() < 0.1:
                self.waits(self.any(), self.chance.randint(1, 10**6))
            if self.chance.random() < 0.4:
                self.is_scraped()

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

    def _shown(self, row: CgroupRow) -> tuple[float | None, ...]:
        return (row.stat.periods, row.stat.throttled_periods, row.stat.throttled_seconds, row.stat.usage_seconds)

    def _is_what_the_files_said(self, container: CgroupRow) -> None:
        allowed = [
            (None,) * 6 if said is None else said.served(self.unit)
            for one in self._instances(container)
            for said in ([one.history[-1][1]] if one.gone is None else one.since(self._last_read(one)))
        ]
        shown = self._shown(container)
        assert shown in [one[:4] for one in allowed]
        if container.live and shown[0] is not None:
            [(*_, local, waiting)] = allowed
            assert container.local_throttled_seconds == local
            assert container.pressure is None or container.pressure.waiting_seconds == waiting

    def _has_the_window_of_two_ticks(self, row: CgroupRow, window: Window | None) -> None:
        """``window``: of a detailed row, which alone has the exact length."""
        assert (row.window or ())[1:] == (window or ())[1:]
        [one] = [one for one in (self.pod, *self.live.values()) if one.cid == (row.ref.container_id or "")]
        if window is not None:
            end = max(one.at_tick)
            begin = min(one.at_tick, key=lambda time: abs(end - window.seconds - time))
            before, after = one.at_tick[begin], one.at_tick[end]
            assert end - begin == pytest.approx(window.seconds)
            assert window.periods == after.periods - before.periods
            assert window.throttled_periods == after.throttled_periods - before.throttled_periods

    def _instances(self, container: CgroupRow) -> Iterator[Instance]:
        candidates = self.live.values() if container.live else self.gone
        return (one for one in candidates if one.cid == container.ref.container_id)

    def _last_read(self, one: Instance) -> int:
        """The step at which it was last to be read: at any page, at a tick if it was young or had a quota, and at the
        tick after a scan."""
        gone = one.gone or self.steps
        each_tick = one.period is not None or one.gone_at - one.born_at < LINGER
        steps = [*self.whole_ticks, *self.snapshots, *(self.ticks if each_tick else ())]
        return max((step for step in steps if step <= gone), default=one.born)

    # ---- files ----

    def _make(self, slot: str, *, period: float | None, cid: str | None = None) -> None:
        self.made += 1
        one = Instance(cid or container_id(f"{slot} {self.made}"), period, self._step(), self.rig.now)
        path, limit = f"{POD}/{one.cid}", None if period is None else 50_000
        if self.version == "v1":
            write_v1(self.build.mounts, path, self.made, limit, path)
        else:
            write_v2(self.folder / path, self.made, limit)
        self._limit(path, period)
        self.live[slot] = one
        self._write(one)

    def _limit(self, path: str, period: float | None) -> None:
        if period is not None and self.version == "v1":
            overwrite(self.folder / "cpu" / path / "cpu.cfs_period_us", b"%d\n" % (period * 1e6))
            overwrite(self.folder / "cpu" / path / "cpu.cfs_quota_us", b"50000\n")
        elif period is not None:
            overwrite(self.folder / path / "cpu.max", b"50000 %d\n" % (period * 1e6))

    def _write(self, one: Instance) -> None:
        periods, throttled_periods, throttled, usage, local, waiting = one.counters
        path = f"{POD}/{one.cid}"
        text = f"nr_periods {periods}\nnr_throttled {throttled_periods}\n"
        if self.version == "v1":
            stat, cpuacct = self.folder / "cpu" / path, self.folder / "cpuacct" / path
            text += f"throttled_time {throttled}\n"
            overwrite(cpuacct / "cpuacct.usage", b"junk" if one.spoilt else b"%d\n" % usage)
            (stat / "cpu.stat.local").write_bytes(b"throttled_time %d\n" % local)
        else:
            stat = self.folder / path
            text += f"throttled_usec {throttled}\nusage_usec {usage}\n"
            overwrite(stat / "cpu.stat.local", b"throttled_usec %d\n" % local)
            averages = f"avg10={self.chance.random():.2f} avg60=0.00 avg300=0.00"
            overwrite(stat / "cpu.pressure", f"some {averages} total={waiting}\nfull {averages} total=0\n".encode())
        overwrite(stat / "cpu.stat", b"junk" if one.spoilt else text.encode())
        one.history.append((self._step(), None if one.spoilt else one.counters))


STEPS = 300
OFTEN = 6
"""How much oftener a container runs, and the exporter ticks, than anything else happens."""
PERIODS = (0.1, 0.1, 1.0, None)


def live_through(life: Life, steps: int) -> Counter[str]:
    """Random steps; how many of each kind."""
    chance = life.chance
    happens: dict[str, Callable[[], object]] = {
        "runs": lambda: life.runs(life.any(), chance.randint(1, 20), chance.random(), chance.randint(10**4, 10**9)),
        "in debt": lambda: life.is_in_debt(chance.choice((life.any(), life.pod)), 5 * chance.random()),
        "waits": lambda: life.waits(life.any(), chance.randint(1, 10**6)),
        "stopped above": life.is_stopped_above if life.above else life.is_left_alone,
        "reset": lambda: life.is_reset(life.any()),
        "spoilt or mended": lambda: life.is_spoilt_or_mended(life.any()),
        "restarts": lambda: life.restarts(slot(), period=chance.choice(PERIODS), same_path=chance.random() < 0.3),
        "goes": lambda: life.goes(slot()),
        "tick": lambda: life.ticks_after(chance.choice((1.0, 1.0, 1.0, 0.3, 1.9, 2.9))),
        "stall": lambda: life.ticks_after(chance.choice((3.5, 30.0, 4000.0))),
        "scan": life.walks,
        "scrape": life.is_scraped,
        "left alone": life.is_left_alone,
        "detailed": life.shows_no_less_than_nothing_and_no_more_than_all,
    }
    names = [*happens, *("runs", "tick", "left alone") * OFTEN, *("scrape",) * 2]

    def slot() -> str:
        return chance.choice(SLOTS)

    lived: Counter[str] = Counter()
    for _ in range(steps):
        name = chance.choice(names)
        lived[name] += 1
        happens[name]()
    return lived


@pytest.mark.parametrize("above", [False, True], ids=["", "quota above"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_served_counter_is_what_the_kernel_said(version: str, above: bool, tmp_path: Path) -> None:
    check(tmp_path, version, above=above, seed=0, steps=STEPS)


def check(folder: Path, version: str, *, above: bool, seed: int, steps: int) -> None:
    """Raise where anything served was not so; of other seeds and more steps, ``tests/soak``."""
    life = Life(folder, version, random.Random(seed), above=above)
    try:
        lived = live_through(life, steps)
    finally:
        life.rig.sampler.close()
    assert min(lived.values()) > steps / 200, lived
    # What was wrong with the files was counted, and nothing else was wrong.
    counted = {(error.stage, error.reason) for error in life.rig.errors}
    assert ("parse", "malformed") in counted <= {("parse", "malformed"), ("read", "counter_reset")}
