"""No window and no delta spans a change of the limits, or of the CPUs, that it is judged by."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from operator import gt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.identities import KubeletConfig
from exporter.model import CgroupRow
from tests.sampler.rig import Rig, row, running, shown, without_inotify
from tests.support.recordings import overwrite
from tests.support.treebuilder import Builder, container_id, pod_uid, v1, v2
from tests.support.trees import cgroupfs_pod

UID, CID = pod_uid("web"), container_id("app")
POD = cgroupfs_pod(UID, "Burstable")
APP = f"{POD}/{CID}"
HOG_UID = pod_uid("hog")
HOG_POD = cgroupfs_pod(HOG_UID, "Burstable")
HOG = f"{HOG_POD}/{container_id('hog')}"
JUMP = 10**9
"""Growth of every counter just before a change of limits: no delta of the epoch after it may hold it."""
STEP = 10**6
"""The same before a change of the cpuset: no waiting after it may hold it."""


class Kernel:
    """The counters and settings of one container, its pod and the groups above, and of a container beside it; v2."""

    growth: ClassVar = dict.fromkeys(
        ("usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled", "throttled_usec"), 1.0
    )
    """Of each counter, while they grow by 1."""
    waiting, step = 1.0, STEP

    def __init__(self, root: Path) -> None:
        self.root = root
        build = v2(root)
        path = build.pod(POD, UID, "Burstable")
        overwrite(root / path / "cpu.max", b"200000 100000\n")
        build.container(f"{path}/{CID}", CID, "", quota=50_000)
        build.container(f"{build.pod(HOG_POD, HOG_UID, 'Burstable')}/{container_id('hog')}", container_id("hog"), "")
        self.counters = dict.fromkeys((APP, POD, "kubepods/burstable", "kubepods", HOG, HOG_POD), 0)
        self.grow(0)

    def grow(self, amount: int, without: str = "?") -> None:
        for path in [one for one in self.counters if not one.startswith(without)]:
            self.counters[path] += amount
            value = self.counters[path]
            stat = {key: int(value * each) for key, each in self.growth.items()}
            overwrite(self.root / path / "cpu.stat", "".join(f"{key} {stat[key]}\n" for key in stat).encode())
            overwrite(self.root / path / "cpu.stat.local", f"throttled_usec {stat['throttled_usec']}\n".encode())
            some = f"avg10=0.00 avg60=0.00 avg300=0.00 total={int(value * self.waiting)}\n"
            overwrite(self.root / path / "cpu.pressure", f"some {some}full {some}".encode())

    def limit(self, path: str, text: str) -> None:
        """Change a quota, after growth that belongs to the old one."""
        self.grow(JUMP, HOG_POD if path.startswith(POD) else "?")
        overwrite(self.root / path / "cpu.max", f"{text}\n".encode())

    def cpus(self, text: str, path: str = APP) -> None:
        """Change the cpuset, after growth that belongs to the old one."""
        self.grow(self.step)
        overwrite(self.root / path / "cpuset.cpus.effective", f"{text}\n".encode())


def app(rig: Rig) -> CgroupRow:
    return shown(rig.snapshot(detailed=True), CID)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def settled(rig: Rig, kernel: Kernel, seconds: int = 15) -> None:
    for second in range(seconds):
        kernel.grow(10)
        if second % 5 == 0:
            rig.scan()
        rig.tick()


def growth(found: CgroupRow) -> list[float]:
    """All that a row says of the past."""
    window, deltas = found.window, found.deltas
    return [
        *((window.periods, window.throttled_periods) if window else ()),
        *(one.periods for one in found.intervals),
        *((value * 1e6 for value in deltas[1:] if value is not None) if deltas else ()),
    ]


def ages(found: CgroupRow) -> tuple[float, float, float]:
    """Seconds of window, deltas and deltas of the placement; 0 where there are none."""
    parts = (found.window, found.deltas, found.placement_deltas)
    window, deltas, placement = (0.0 if one is None else one.seconds for one in parts)
    return window, deltas, placement


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (APP, "100000 100000"),
        (APP, "25000 50000"),
        (APP, "max 100000"),
        (POD, "300000 100000"),
        ("kubepods/burstable", "400000 100000"),
        ("kubepods", "max 50000"),
    ],
)
def test_a_changed_limit_or_period_begins_an_epoch(kernel: Kernel, path: str, text: str) -> None:
    with running(Rig(kernel.root)) as rig:
        settled(rig, kernel)
        assert min(ages(app(rig))) > 5
        kernel.limit(path, text)
        after = app(rig)
        assert (ages(after), after.intervals) == ((0, 0, 0), ())
        for _ in range(2):
            kernel.grow(10)
            rig.tick()
        later = app(rig)
        assert ages(later)[1:] == (2, 2)
        assert later.deltas is not None
        assert later.deltas.throttled_seconds == pytest.approx(20e-6)
        assert max(growth(later)) < 20.1


def test_the_pod_s_row_begins_an_epoch_with_its_own_limit_and_not_with_its_container_s(kernel: Kernel) -> None:
    with running(Rig(kernel.root)) as rig:
        settled(rig, kernel)
        kernel.limit(APP, "70000 100000")
        snapshot = rig.snapshot(detailed=True)
        for found, anew in ((row(snapshot, CID), True), (row(snapshot, uid=UID), False)):
            assert found is not None
            assert (found.window is None, found.deltas is None) == (anew, anew)


def test_a_group_above_the_pods_has_deltas_of_its_own_epoch(kernel: Kernel) -> None:
    with running(Rig(kernel.root)) as rig:
        settled(rig, kernel)
        above = rig.snapshot(detailed=True).node.ancestors
        assert set(above) == {"kubepods", "kubepods/burstable"}
        assert all(one.deltas is not None and one.deltas.throttled_seconds for one in above.values())
        kernel.limit("kubepods/burstable", "400000 100000")
        rig.tick()
        kernel.grow(10)
        rig.tick()
        above = rig.snapshot(detailed=True).node.ancestors
        burstable, kubepods = above["kubepods/burstable"], above["kubepods"]
        assert burstable.limits is not None
        assert burstable.limits.limit_cores == 4.0
        assert burstable.deltas is not None
        assert burstable.deltas.throttled_seconds == pytest.approx(10e-6)
        assert kubepods.deltas is not None
        assert kubepods.deltas.throttled_seconds == pytest.approx((JUMP + 110) / 1e6)


@pytest.mark.parametrize(("name", "text"), [("cpu.weight", b"42\n"), ("cpu.max", b"50000 100000\n")])
def test_a_weight_or_the_same_limit_again_begins_no_epoch(kernel: Kernel, name: str, text: bytes) -> None:
    with running(Rig(kernel.root)) as rig:
        settled(rig, kernel)
        before = ages(app(rig))
        for path in (APP, "kubepods") if name == "cpu.weight" else (APP,):
            overwrite(kernel.root / path / name, text)
        rig.tick()
        assert all(map(gt, ages(app(rig)), before))


def test_a_shared_pool_that_moves_restarts_waiting_and_no_ratio(kernel: Kernel) -> None:
    with running(Rig(kernel.root)) as rig:
        settled(rig, kernel)
        before = app(rig)
        assert before.placement_deltas == before.deltas is not None
        kernel.cpus("1")
        rig.scan()
        rig.tick()
        after = app(rig)
        assert all(map(gt, ages(after)[:2], ages(before)))
        assert after.placement_deltas is not None
        assert (after.placement_deltas.seconds, after.placement_deltas.waiting_seconds) == (1.0, 0.0)


def test_an_owner_that_loses_its_cpus_begins_another_placement(kernel: Kernel) -> None:
    for path, name, text in (
        (APP, "cpuset.cpus.effective", "2-3"),
        (APP, "cpuset.cpus.partition", "root"),
        (HOG, "cpuset.cpus.effective", "0-1"),
    ):
        (kernel.root / path / name).write_text(f"{text}\n")
    with running(Rig(kernel.root)) as rig:
        settled(rig, kernel)
        assert app(rig).exclusive
        kernel.cpus("0-3", HOG)
        settled(rig, kernel, 18)
        after = app(rig)
        assert after.exclusive is False
        assert ages(after)[1] > 20
        assert ages(after)[2] < 4, "what it used and waited for since others were found to share its CPUs"


def test_another_kubelet_configuration_restarts_waiting(kernel: Kernel) -> None:
    with running(Rig(kernel.root)) as rig:
        rig.sampler.set_kubelet(KubeletConfig(cpu_manager_policy="none"))
        settled(rig, kernel)
        rig.sampler.set_kubelet(KubeletConfig(cpu_manager_policy="none"))
        rig.tick()
        same = ages(app(rig))
        assert same[1] == same[2] > 5
        rig.sampler.set_kubelet(KubeletConfig(cpu_manager_policy="static"))
        rig.tick()
        rig.tick()
        after = ages(app(rig))
        assert all(map(gt, after[:2], same))
        assert after[2] == 1.0


def test_a_process_without_inotify_sees_the_change_in_a_detailed_snapshot(kernel: Kernel) -> None:
    with running(without_inotify(kernel.root)) as rig:
        settled(rig, kernel)
        assert min(ages(app(rig))) > 5
        kernel.limit(APP, "90000 100000")
        assert ages(app(rig)) == (0, 0, 0)


steps = st.one_of(
    st.tuples(st.just("tick"), st.sampled_from((0.5, 1.0, 1.4, 20.0, 100.0))),
    st.tuples(st.just("scan"), st.just(0.0)),
    st.tuples(st.just("look"), st.just(0.0)),
    st.tuples(st.sampled_from((APP, POD, "kubepods/burstable", "kubepods")), st.sampled_from((50_000, 100_000))),
    st.tuples(st.just("cpus"), st.just(0.0)),
)


@settings(max_examples=25)
@given(st.lists(steps, min_size=5, max_size=40))
def test_no_row_holds_growth_of_two_epochs(story: list[tuple[str, float]]) -> None:
    with TemporaryDirectory() as folder:
        kernel = Kernel(Path(folder))
        with running(Rig(kernel.root)) as rig:
            for number, (what, value) in enumerate(story):
                if what == "tick":
                    kernel.grow(10)
                    rig.tick(value)
                elif what == "scan":
                    rig.scan()
                elif what == "look":
                    found = app(rig)
                    assert max(growth(found), default=0) < JUMP
                    assert found.placement_deltas is None or (found.placement_deltas.waiting_seconds or 0) < STEP / 1e6
                elif what == "cpus":
                    kernel.cpus(f"0-{number + 4}")
                    rig.scan()
                else:
                    kernel.limit(what, f"{60_000 + number} {value}")  # a limit that is changed and back is not seen


def test_growth_in_nested_cgroups_is_their_quotas(kernel: Kernel) -> None:
    inner = kernel.root / APP / "docker" / "inner"
    inner.mkdir(parents=True)
    stat = "nr_periods 1\nnr_throttled 1\nthrottled_usec {}\n"
    (inner / "cpu.stat").write_text(stat.format(5_000_000))

    def nested(rig: Rig) -> float:
        deltas = app(rig).deltas
        assert deltas is not None
        assert deltas.nested_throttled_seconds is not None
        return deltas.nested_throttled_seconds

    with running(Rig(kernel.root)) as rig:
        settled(rig, kernel)
        overwrite(inner / "cpu.stat", stat.format(7_000_000).encode())
        assert nested(rig) == pytest.approx(2.0), "what was lost before it was watched is in no window"
        shutil.rmtree(inner)
        assert nested(rig) == pytest.approx(2.0)
        inner.mkdir()
        (inner / "cpu.stat").write_text(stat.format(1_500_000))
        assert nested(rig) == pytest.approx(3.5), "another one at the same path"


def test_a_cgroup_that_a_container_makes_later_is_found(kernel: Kernel) -> None:
    with running(Rig(kernel.root)) as rig:
        settled(rig, kernel)
        (kernel.root / APP / "docker").mkdir()
        (kernel.root / APP / "docker" / "cpu.stat").write_text("throttled_usec 1500000\n")
        rig.tick()
        deltas = app(rig).deltas
        assert deltas is not None
        assert deltas.nested_throttled_seconds == pytest.approx(1.5)


def test_v1_changes_of_period_and_burst_begin_an_epoch(tmp_path: Path) -> None:
    build = v1(tmp_path)
    path = build.pod(POD, UID, "Burstable")
    build.container(f"{path}/{CID}", CID, "", quota=50_000)
    with running(Rig(tmp_path)) as rig:
        for name, text in (("cpu.cfs_period_us", b"50000\n"), ("cpu.cfs_burst_us", b"1000\n")):
            rig.tick()
            rig.tick()
            assert app(rig).window is not None
            (tmp_path / "cpu" / APP / name).write_bytes(text)
            assert app(rig).window is None


@pytest.mark.parametrize(("build", "file"), [(v1, "cpuset/cpuset.effective_cpus"), (v2, "cpuset.cpus.effective")])
def test_the_node_s_cpus_are_those_of_the_root_cpuset(
    build: Callable[[Path], Builder], file: str, tmp_path: Path
) -> None:
    build(tmp_path)
    (tmp_path / file).write_text("2-3\n")
    with running(Rig(tmp_path)) as rig:
        assert rig.snapshot().node.effective_cpus == frozenset({2, 3})
        (tmp_path / file).unlink()
        (tmp_path / file.replace("effective_", "")).unlink(missing_ok=True)
        rig.scan()
        assert rig.snapshot().node.effective_cpus is None
        assert rig.failures() == {}
