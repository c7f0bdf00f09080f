"""Scan, tick, snapshot on trees of files: what comes, changes, fails and goes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typing_extensions import override

from exporter.cgroupfs.discover import Found, Hierarchy, detect
from exporter.cgroupfs.files import Descriptors
from exporter.cgroupfs.readers import CgroupFiles, ReaderFactory
from exporter.metrics.exposition import Renderer
from exporter.model import CpuStat, Window
from exporter.sampler.sampler import NAME_WAIT_SECONDS, SETTLING_SECONDS, RefreshHint
from tests.sampler.rig import COLLECTORS, LINGER, UID, Rig, SmallNode, remove, row, running, shown, without_inotify
from tests.support.pages import triples
from tests.support.recordings import RECORDINGS, Node, Recording, advance, copied, expected_samples, overwrite
from tests.support.recordings import running as listed_running
from tests.support.treebuilder import container_id, pod_uid, v2, write_v2
from tests.support.trees import cgroupfs_pod, containerd_systemd, many_pods, pod_list, systemd_pod, v1_joint_mount

both_budgets = pytest.mark.parametrize("descriptors", [4096, 0], ids=["kept", "not kept"])


# ---- recorded nodes ----


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_recorded_node_is_shown_as_its_files_say_at_both_instants(recording: Recording, tmp_path: Path) -> None:
    tree = copied(recording, tmp_path / "node")
    with running(Rig(tree / "sys/fs/cgroup", proc=tree / "proc", sys=tree / "sys")) as rig:
        rig.pods(recording.pods.read_bytes())
        wanted = {(one.namespace, one.pod, one.name) for one in listed_running(recording.pod_list)}
        for _ in range(2):
            page = rig.page()
            assert expected_samples(Node(tree), recording.pod_list).items() <= page.samples.items()
            assert triples(page.rows("cgroup_container_cpu_usage_seconds_total")) == wanted
            advance(tree, recording)
            rig.tick(2.0)
            rig.scan()
            rig.tick(0.0)
        assert rig.failures() == {}


# ---- snapshots ----


def test_windows_come_from_ticks_and_counters_from_the_moment_of_the_page(tmp_path: Path) -> None:
    small = SmallNode(tmp_path)
    small.count("app", nr_periods=0, nr_throttled=0)
    with running(small):
        assert small.app().window is None, "one reading is no window"
        for periods, throttled in ((10, 0), (20, 10), (30, 10)):
            small.count("app", nr_periods=periods, nr_throttled=throttled)
            small.tick()
        small.count("app", nr_periods=35, nr_throttled=15)
        found = small.app()
        assert found.window == Window(3.0, 30, 10, 10 / 30, 1.0)
        assert (found.stat.periods, found.stat.throttled_periods) == (35, 15)
        assert small.failures() == {}


def test_detailed_snapshot_adds_what_findings_need_and_changes_nothing_else(small: SmallNode) -> None:
    small.count("app", nr_periods=2000, nr_throttled=1500)
    small.tick()
    plain, detailed = small.snapshot(), small.snapshot(detailed=True)
    bare = [one._replace(threads=None, intervals=(), deltas=None, placement_deltas=None) for one in detailed.containers]
    assert bare == list(plain.containers)
    found = shown(detailed, container_id("app"))
    assert [(one.seconds, one.periods) for one in found.intervals] == [(1.0, 2000 - 1004)]
    assert found.deltas is not None


# ---- what goes ----


class LateOpener(ReaderFactory):
    """Opens one container's cgroup when it is gone already: it was there during the walk."""

    def __init__(self, hierarchy: Hierarchy, budget: Descriptors) -> None:
        super().__init__(hierarchy, budget)
        self._victim = container_id("Burstable")

    @override
    def open(self, found: Found) -> CgroupFiles:
        if found.ref.container_id == self._victim:
            remove(Path(self.hierarchy.cpu) / found.ref.path)
        return super().open(found)


@both_budgets
def test_a_cgroup_removed_between_walk_and_read_is_no_error_and_no_sample(descriptors: int, tmp_path: Path) -> None:
    containerd_systemd(tmp_path)
    budget = Descriptors(descriptors)
    with running(Rig(tmp_path, opener=LateOpener(detect(str(tmp_path)), budget))) as rig:
        page = rig.page()
        assert container_id("Burstable")[:12] not in page.text
        assert container_id("Guaranteed")[:12] in page.text
        assert rig.failures() == {}
    assert budget.kept == 0


@both_budgets
def test_a_cgroup_removed_between_ticks_leaves_its_last_counters_and_nothing_else(
    descriptors: int, tmp_path: Path
) -> None:
    with running(SmallNode(tmp_path, descriptors=descriptors)) as small:
        small.count("app", nr_periods=3000, nr_throttled=2000)
        small.tick()
        before = small.app()
        remove(small.path("app"))
        small.tick()
        page, after = small.page(), small.app()
        assert (before.live, after.live) == (True, False)
        assert after.stat == before.stat
        assert after.window is None
        labels = {"namespace": "", "pod": UID, "container": container_id("app")[:12]}
        assert page.get("cgroup_container_cpu_periods_total", **labels) == 3000
        assert page.get("cgroup_container_cpu_limit_cores", **labels) is None
        assert page.get("cgroup_container_cpu_throttled_ratio", **labels) is None
        assert small.snapshot().cgroups["lingering"] == 1
        assert small.failures() == {}


@pytest.mark.parametrize("linger", [0.0, 2.0])
def test_what_lingers_goes_in_time_though_no_scan_comes(linger: float, tmp_path: Path) -> None:
    with running(SmallNode(tmp_path, linger=linger)) as small:
        remove(small.path("app"))
        small.tick()
        assert (small.found() is not None) is (linger > 0)
        small.tick(linger - 0.1)
        assert (small.found() is not None) is (linger > 0)
        small.tick(0.1)
        assert small.found() is None
        assert small.snapshot().cgroups["lingering"] == 0
        assert row(small.snapshot(), uid=UID) is not None


def test_the_root_itself_may_go(tmp_path: Path) -> None:
    with running(SmallNode(tmp_path / "cgroup")) as small:
        remove(tmp_path / "cgroup")
        small.scan()
        small.tick()
        assert not any(one.live for one in small.snapshot().containers)
        assert small.failures() == {("read", "enoent"): 1}


def test_user_and_system_time_linger_with_the_usage_on_v1(tmp_path: Path) -> None:
    tree = v1_joint_mount(tmp_path)
    cid = tree.containers[0].container_id
    with running(Rig(tmp_path)) as rig:
        before = row(rig.snapshot(), cid)
        rig.tick()
        remove(tmp_path / "cpu,cpuacct" / tree.containers[0].path)
        rig.tick()
        after = row(rig.snapshot(), cid)
        assert before is not None
        assert after is not None
        assert before.stat.user_seconds is not None
        assert after.stat == before.stat


def test_a_thousand_lifetimes_leave_nothing_open(tmp_path: Path) -> None:
    build = v2(tmp_path)
    pod = tmp_path / build.pod(cgroupfs_pod(UID, "Burstable"), UID, "Burstable")
    before = len(os.listdir("/proc/self/fd"))
    with running(Rig(tmp_path, linger=5.0)) as rig:
        first = 0
        for generation in range(40):
            folders = [pod / container_id(f"{generation}/{number}") for number in range(25)]
            for folder in folders:
                folder.mkdir()
                (folder / "cpu.stat").write_bytes(b"nr_periods 1\nnr_throttled 1\nusage_usec 1\n")
                (folder / "cpu.max").write_bytes(b"5000 100000\n")
            rig.tick()
            assert len(rig.snapshot().containers) >= 25
            remove(*folders)
            rig.tick()
            rig.now += 5
            rig.scan()
            assert rig.snapshot().containers == ()
            if generation == 1:  # the directories above the pods are read since, and stay open
                first = len(os.listdir("/proc/self/fd"))
            assert generation == 0 or len(os.listdir("/proc/self/fd")) == first < before + 10
        assert rig.failures() == {}
    assert len(os.listdir("/proc/self/fd")) == before


# ---- what comes ----


def test_a_new_container_is_seen_by_the_next_tick_and_its_late_limit_too(small: SmallNode) -> None:
    write_v2(small.path("late"), 77, None)
    small.tick()
    found = small.app("late")
    assert found.limits is not None
    assert found.limits.quota_state == "none"
    small.write("late", "cpu.max", "50000 100000")
    small.tick()
    small.count("late", nr_periods=1087, nr_throttled=187)
    small.tick()
    found = small.app("late")
    assert found.limits is not None
    assert found.limits.limit_cores == 0.5
    assert found.window == Window(1.0, 10, 10, 1.0, 1.0)
    assert small.failures() == {}


def test_a_new_pod_with_all_in_it_is_seen_by_the_next_tick(small: SmallNode) -> None:
    uid = pod_uid("new")
    folder = small.tree.root / cgroupfs_pod(uid, "BestEffort")
    write_v2(folder, 70, None)
    write_v2(folder / container_id("new"), 71, 20_000)
    small.tick()
    assert row(small.snapshot(), uid=uid) is not None
    assert small.found("new") is not None


@pytest.mark.parametrize("seen_by", ["scan", "tick"])
def test_another_cgroup_at_the_same_path_is_another_one(seen_by: str, small: SmallNode) -> None:
    small.count("app", nr_periods=3000, nr_throttled=2000)
    small.tick()
    if seen_by == "scan":
        small.path("app").rename(small.tree.root / "kept")  # so that its inode is not given away, and nothing is told
    else:
        remove(small.path("app"))
    write_v2(small.path("app"), 5, 50_000)
    small.now += 1
    (small.scan if seen_by == "scan" else small.tick)()
    found = small.app()
    assert (found.live, found.stat.periods, found.window) == (True, 1005, None)
    assert small.failures() == {}, "no counter ran backwards: the old one was let go"


def test_a_process_that_gets_no_inotify_finds_by_walking_and_says_so_once(tmp_path: Path) -> None:
    tree = many_pods(tmp_path, 1)
    with running(without_inotify(tmp_path)) as rig:
        assert rig.failures() == {("read", "emfile"): 1}
        write_v2(tmp_path / tree.pods[0].path / f"cri-containerd-{container_id('late')}.scope", 77, 50_000)
        rig.tick()
        assert row(rig.snapshot(), container_id("late")) is None
        rig.scan()
        assert row(rig.snapshot(), container_id("late")) is not None
        assert rig.failures() == {}


# ---- what changes ----


@pytest.mark.parametrize(
    ("name", "text"), [("cpu.max", "70000 100000"), ("cpu.weight", "42"), ("cpu.max.burst", "5000")]
)
def test_a_limit_that_is_written_while_a_container_runs_holds_from_the_next_snapshot(
    name: str, text: str, small: SmallNode
) -> None:
    for _ in range(int(SETTLING_SECONDS) + 1):
        small.tick()
    before, version = small.app().limits, small.snapshot().settings_version
    small.write("app", name, text)
    assert small.app().limits != before
    assert small.snapshot().settings_version != version
    assert small.failures() == {}


def test_a_quota_that_appears_and_goes_is_followed(small: SmallNode) -> None:
    for text, state, ticks in (
        ("max 100000", "none", 3),
        ("20000 100000", "set", int(LINGER) + 5),
        ("max 100000", "none", 1),
        ("20000 100000", "set", 3),
        ("garbage", None, 1),
    ):
        small.write("app", "cpu.max", text)
        small.rescan(ticks)
        found = small.app()
        assert (found.limits and found.limits.quota_state) == state
        assert (found.window is not None) is (state == "set")


def test_a_counter_that_ran_backwards_is_counted_once_and_starts_anew(small: SmallNode) -> None:
    small.count("app", nr_periods=3000, nr_throttled=2000)
    small.tick()
    small.count("app", nr_periods=10, nr_throttled=5)
    small.tick()
    assert small.failures() == {("read", "counter_reset"): 1}
    assert small.app().window is None
    assert small.app().stat.periods == 10, "what the kernel says is served"
    small.count("app", nr_periods=20, nr_throttled=5)
    small.tick()
    assert small.app().window == Window(1.0, 10, 0, 0.0, 0.0)
    assert small.failures() == {}


def test_the_effective_limit_is_the_smallest_on_the_way_up_and_unknown_where_one_is(tmp_path: Path) -> None:
    build = v2(tmp_path)
    path = build.pod(systemd_pod(UID, "Burstable"), UID, "Burstable")
    own = f"{path}/cri-containerd-{container_id('app')}.scope"
    build.container(own, container_id("app"), "containerd", quota=300_000)
    with running(Rig(tmp_path)) as rig:
        for where, file, text, effective in (
            (path, "cpu.max", "max 100000", 3.0),
            (path, "cpu.max", "200000 100000", 2.0),
            ("kubepods.slice", "cpu.max", "150000 100000", 1.5),
            ("kubepods.slice", "cpu.max", "50000 100000", 0.5),
            ("kubepods.slice", "cpu.max", "max 100000", 2.0),
            (own, "cpuset.cpus.effective", "1", 1.0),
            (own, "cpu.max", "garbage", None),
            (own, "cpu.max", "max 100000", 1.0),
            (path, "cpu.max", "garbage", None),
            (path, "cpu.max", "50000 100000", 0.5),
            ("kubepods.slice", "cpu.max", "garbage", None),
        ):
            overwrite(tmp_path / where / file, f"{text}\n".encode())
            rig.scan()
            rig.tick()
            found = shown(rig.snapshot(), container_id("app"))
            assert found.effective_limit_cores == effective


def test_the_page_follows_every_change_of_a_setting(small: SmallNode) -> None:
    # The renderer keeps what does not depend on counters until the sampler says that something changed.
    changes: tuple[Callable[[], object], ...] = (
        lambda: small.write("app", "cpu.max", "10000 100000"),
        lambda: small.write("app", "cpuset.cpus.effective", "1"),
        lambda: small.write("pod", "cpu.max", "5000 100000"),
        lambda: overwrite(small.tree.root / "kubepods" / "cpu.max", b"2000 100000\n"),
        lambda: small.write("log", "cpu.weight", "1"),
        lambda: remove(small.path("log")),
        lambda: small.pods(json.dumps(pod_list(small.tree)).encode()),
        lambda: write_v2(small.path("more"), 50, 10_000),
    )
    for change in changes:
        before = small.page().text
        change()
        small.rescan(0)
        for _ in range(2):
            small.tick()
            snapshot = small.snapshot()
            assert small.renderer.render(snapshot, "text") == Renderer(COLLECTORS).render(snapshot, "text")
        assert small.page().text != before
    before_counting = small.snapshot()
    small.count("app", nr_periods=9000, nr_throttled=9000)
    small.tick()
    after = small.snapshot()
    assert (after.settings_version, after.tick) == (before_counting.settings_version, before_counting.tick + 1)


# ---- what fails ----


@pytest.mark.parametrize(
    ("name", "text", "failure"),
    [
        ("cpu.stat", b"", ("parse", "malformed")),
        ("cpu.stat", b"nr_periods 12", ("parse", "malformed")),
        ("cpu.stat", b"\x00\xff\n", ("parse", "malformed")),
        ("cpu.stat", b"nr_periods ten\n", ("parse", "malformed")),
        ("cpu.stat", b"nr_periods " + b"9" * 500 + b"\n", ("parse", "malformed")),
        ("cpu.stat", b"x" * (10 << 20), ("read", "too_large")),
        ("cpu.max", b"max\n", ("parse", "malformed")),
        ("cpu.max", b"0 100000\n", ("parse", "malformed")),
        ("cpuset.cpus.effective", b"0-3,8,10-9,x\n", ("parse", "malformed")),
        ("cpu.pressure", b"some nothing\n", ("parse", "malformed")),
        ("cpu.stat.local", b"throttled_usec\n", ("parse", "malformed")),
    ],
    ids=lambda value: ascii(value)[:40] if isinstance(value, bytes) else None,
)
def test_a_bad_file_costs_its_own_samples_and_is_counted(
    name: str, text: bytes, failure: tuple[str, str], small: SmallNode
) -> None:
    healthy, file = small.page(), small.path("app") / name
    good = file.read_bytes()
    overwrite(file, text)
    small.rescan()
    page, found = small.page(), small.failures()
    assert set(found) == {failure}
    assert 1 <= found[failure] <= 4, "once for each reading: scan, tick, page"
    mine = {key for key in healthy.samples if container_id("app")[:12] in str(key)}
    assert {key for key in healthy.samples.keys() - mine if "ratio" not in key[0]} <= set(page.samples)
    assert 0 < len(mine & set(page.samples)) < len(mine)
    overwrite(file, good)
    small.rescan(2)
    assert set(healthy.samples) <= set(small.page().samples)
    assert small.failures() == {}


def test_modes_go_with_the_counters_they_are_shown_with(small: SmallNode) -> None:
    assert small.app().stat.user_seconds is not None
    small.write("app", "cpu.stat", "garbage")
    small.tick()
    assert small.app().stat == CpuStat()


def test_a_clock_that_goes_back_costs_no_container(tmp_path: Path) -> None:
    containerd_systemd(tmp_path / "cgroup")
    (tmp_path / "stat").write_text("cpu  1 0 0 1 0 0 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\n")
    with running(Rig(tmp_path / "cgroup", proc=tmp_path)) as rig:
        for seconds in (70, 70, -500, 1, -1, 0, 70, 70):
            rig.now += seconds
            rig.scan()
            rig.tick(0)
            assert len(rig.snapshot(detailed=True).containers) == 4


# ---- names ----


def test_names_come_with_the_list_and_stay_when_the_source_is_away(tmp_path: Path) -> None:
    tree = containerd_systemd(tmp_path)
    with running(Rig(tmp_path, expects_names=True)) as rig:
        assert rig.snapshot().containers == ()
        assert rig.tick() is RefreshHint.NEW
        rig.pods(json.dumps(pod_list(tree)).encode())
        assert rig.tick() is RefreshHint.NOTHING
        for _ in range(5):
            assert {one.namespace for one in rig.snapshot().containers} == {"apps"}
            assert len(rig.snapshot().containers) == len(tree.containers)
            rig.attempts += 1
            rig.tick(60.0)


def test_unknown_containers_are_asked_for_then_shown_by_their_ids(tmp_path: Path) -> None:
    containerd_systemd(tmp_path)
    with running(Rig(tmp_path, expects_names=True)) as rig:
        assert rig.tick() is RefreshHint.NEW
        rig.attempts += 1
        assert rig.tick() is RefreshHint.AGAIN
        assert rig.snapshot().cgroups["pending"] == 4
        rig.attempts += 1
        assert rig.tick() is RefreshHint.AGAIN
        snapshot = rig.snapshot()
        assert {one.namespace for one in snapshot.containers} == {""}
        assert snapshot.cgroups["unmapped"] == len(snapshot.containers) == 4
        assert rig.tick(NAME_WAIT_SECONDS) is RefreshHint.NOTHING


def test_a_container_whose_status_comes_after_its_end_is_named_while_its_counters_linger(tmp_path: Path) -> None:
    tree = containerd_systemd(tmp_path)
    with running(Rig(tmp_path, expects_names=True)) as rig:
        for _ in range(3):
            rig.attempts += 1
            rig.tick()
        remove(*(tmp_path / one.path for one in tree.containers))
        rig.scan()
        assert rig.tick() is RefreshHint.AGAIN
        rig.pods(json.dumps(pod_list(tree)).encode())
        assert rig.tick() is RefreshHint.NOTHING
        assert {one.namespace for one in rig.snapshot().containers} == {"apps"}


@pytest.mark.parametrize("stops_waiting", [False, True])
def test_a_silent_source_does_not_hide_containers_for_ever(stops_waiting: bool, tmp_path: Path) -> None:
    containerd_systemd(tmp_path)
    with running(Rig(tmp_path, expects_names=True)) as rig:
        if stops_waiting:
            rig.sampler.stop_waiting()
        hints = [rig.tick() for _ in range(1 if stops_waiting else 12)]
        assert hints[-1] is (RefreshHint.NOTHING if stops_waiting else RefreshHint.NEW)
        assert len(rig.snapshot().containers) == 4
