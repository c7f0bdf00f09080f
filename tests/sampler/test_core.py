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
from exporter.errors import ExporterError
from exporter.metrics.exposition import Renderer
from exporter.model import CgroupRow, Snapshot, Window
from exporter.sampler.sampler import NAME_WAIT_SECONDS, SETTLING_SECONDS, RefreshHint
from tests.sampler.rig import COLLECTORS, LINGER, Rig, remove, row, running, without_inotify
from tests.support.pages import duplicates, triples
from tests.support.recordings import RECORDINGS, Node, Recording, advance, copied, expected_samples, overwrite
from tests.support.recordings import running as listed_running
from tests.support.treebuilder import Tree, container_id, pod_uid, v1, v2, write_v2
from tests.support.trees import cgroupfs_pod, containerd_systemd, crio, many_pods, pod_list, systemd_pod, v1_joint_mount

UID = pod_uid("web")
each_recording = pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
both_budgets = pytest.mark.parametrize("descriptors", [4096, 0], ids=["kept", "not kept"])


def of(tree: Path, recording: Recording) -> Rig:
    return Rig(tree / "sys/fs/cgroup", proc=tree / "proc", sys=tree / "sys")


# ---- recorded nodes ----


@each_recording
def test_recorded_node_is_shown_as_its_files_say_at_both_instants(recording: Recording, tmp_path: Path) -> None:
    tree = copied(recording, tmp_path / "node")
    with running(of(tree, recording)) as rig:
        rig.pods(recording.pods.read_bytes())
        first = check_page(rig, tree, recording)
        advance(tree, recording)
        rig.tick(2.0)
        check_windows(first, rig.snapshot())
        rig.scan()
        rig.tick(0.0)
        check_page(rig, tree, recording)
        assert rig.failures() == {}


def check_page(rig: Rig, tree: Path, recording: Recording) -> Snapshot:
    """Every sample that the files and the list make one expect, and the running containers only."""
    page = rig.page()
    assert expected_samples(Node(tree), recording.pod_list).items() <= page.samples.items()
    assert duplicates(page.text) == {}
    wanted = {(one.namespace, one.pod, one.name) for one in listed_running(recording.pod_list)}
    assert triples(page.rows("cgroup_container_cpu_usage_seconds_total")) == wanted
    return rig.snapshot()


def check_windows(first: Snapshot, second: Snapshot) -> None:
    """Each window is the growth between the two instants, 2 s apart."""
    before = {one[:3]: one.stat for one in first.containers}
    shown = [one for one in second.containers if one.window is not None]
    assert shown
    for one in shown:
        periods = (one.stat.periods or 0) - (before[one[:3]].periods or 0)
        throttled = (one.stat.throttled_periods or 0) - (before[one[:3]].throttled_periods or 0)
        ratio = throttled / periods if periods else 0.0
        assert one.window == Window(2.0, periods, throttled, ratio, ratio)
        assert one.limits is not None
        assert one.limits.quota_state == "set"


@each_recording
def test_recorded_sandboxes_are_counted_and_not_shown(recording: Recording) -> None:
    with running(of(recording.t0, recording)) as rig:
        rig.pods(recording.pods.read_bytes())
        rig.tick()
        snapshot = rig.snapshot()
        assert snapshot.cgroups["mapped"] == len(list(listed_running(recording.pod_list)))
        assert snapshot.cgroups["unmapped"] == snapshot.cgroups["lingering"] == snapshot.cgroups["pending"] == 0
        if recording.is_v1:
            assert snapshot.cgroups["sandbox"] == len(recording.pod_list["items"])


def test_recorded_resize_is_followed_in_place(tmp_path: Path) -> None:
    [recording] = [one for one in RECORDINGS if one.name == "linux-6.18-cgroup-v2-systemd"]
    tree = copied(recording, tmp_path / "node")
    with running(of(tree, recording)) as rig:
        rig.pods(recording.pods.read_bytes())

        def search() -> CgroupRow:
            [found] = [one for one in rig.snapshot().containers if one.container == "search"]
            return found

        before = search()
        advance(tree, recording)
        rig.now += 10
        rig.scan()
        rig.tick()
        after = search()
        assert before.limits is not None
        assert after.limits is not None
        assert (before.limits.limit_cores, after.limits.limit_cores) == (0.1, 0.6)
        assert after.ref == before.ref


# ---- a small node ----


def small(root: Path) -> Tree:
    """One pod of two containers, with a quota each."""
    build = v2(root)
    path = build.pod(cgroupfs_pod(UID, "Burstable"), UID, "Burstable")
    for name in ("app", "log"):
        build.container(f"{path}/{container_id(name)}", container_id(name), "")
    return build.tree()


def set_stat(tree: Tree, name: str, **fields: int) -> None:
    """New counters of a container, in place."""
    text = "".join(f"{key} {value}\n" for key, value in fields.items())
    overwrite(tree.root / path_of(tree, name) / "cpu.stat", text.encode())


def path_of(tree: Tree, name: str) -> str:
    [found] = [one.path for one in tree.containers if one.container_id == container_id(name)]
    return found


def app_of(rig: Rig, name: str = "app") -> CgroupRow:
    found = row(rig.snapshot(), container_id(name))
    assert found is not None
    return found


def test_nothing_is_known_before_a_scan(tmp_path: Path) -> None:
    small(tmp_path)
    rig = Rig(tmp_path)
    snapshot = rig.snapshot()
    assert (snapshot.containers, snapshot.pods) == ((), ())
    assert set(snapshot.cgroups.values()) == {0}
    rig.sampler.close()


def test_an_empty_tree_is_an_empty_page_and_no_error(tmp_path: Path) -> None:
    v2(tmp_path)
    with running(Rig(tmp_path)) as rig:
        assert (rig.snapshot().containers, rig.snapshot().pods) == ((), ())
        assert rig.failures() == {}


def test_windows_come_from_ticks_and_counters_from_the_moment_of_the_page(tmp_path: Path) -> None:
    tree = small(tmp_path)
    set_stat(tree, "app", nr_periods=0, nr_throttled=0)
    with running(Rig(tmp_path)) as rig:
        assert app_of(rig).window is None, "one reading is no window"
        for periods, throttled in ((10, 0), (20, 10), (30, 10)):
            set_stat(tree, "app", nr_periods=periods, nr_throttled=throttled)
            rig.tick()
        set_stat(tree, "app", nr_periods=35, nr_throttled=15)
        found = app_of(rig)
        assert found.window == Window(3.0, 30, 10, 10 / 30, 1.0)
        assert (found.stat.periods, found.stat.throttled_periods) == (35, 15)
        assert rig.failures() == {}


def test_two_scrapers_of_one_tick_see_the_same_windows(tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        set_stat(tree, "app", nr_periods=2000, nr_throttled=1000)
        rig.tick()
        first = rig.snapshot()
        assert rig.snapshot() == first
        for _ in range(5):
            rig.page()
        assert [one.window for one in rig.snapshot().containers] == [one.window for one in first.containers]


def test_a_snapshot_that_was_published_does_not_change(tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        before = rig.snapshot()
        kept = repr(before)
        set_stat(tree, "app", nr_periods=9000, nr_throttled=9000)
        remove(tmp_path / path_of(tree, "log"))
        rig.scan()
        rig.tick()
        rig.snapshot()
        assert repr(before) == kept


def test_detailed_snapshot_adds_intervals_and_trends_and_changes_nothing_else(tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        set_stat(tree, "app", nr_periods=2000, nr_throttled=1500)
        rig.tick()
        plain, detailed = rig.snapshot(), rig.snapshot(detailed=True)
        assert [
            one._replace(threads=None, intervals=(), deltas=None, placement_deltas=None) for one in detailed.containers
        ] == list(plain.containers)
        found = row(detailed, container_id("app"))
        assert found is not None
        assert [(one.seconds, one.periods) for one in found.intervals] == [(1.0, 2000 - 1004)]


# ---- what goes ----


class LateOpener(ReaderFactory):
    """Opens one container's cgroup when it is gone already: it was there during the walk."""

    def __init__(self, hierarchy: Hierarchy, budget: Descriptors, victim: str) -> None:
        super().__init__(hierarchy, budget)
        self._victim = victim

    @override
    def open(self, found: Found) -> CgroupFiles:
        if found.ref.container_id == self._victim:
            remove(Path(self.hierarchy.cpu) / found.ref.path)
        return super().open(found)


@both_budgets
def test_a_cgroup_removed_between_walk_and_read_is_no_error_and_no_sample(descriptors: int, tmp_path: Path) -> None:
    small(tmp_path)
    budget = Descriptors(descriptors)
    opener = LateOpener(detect(str(tmp_path)), budget, container_id("app"))
    with running(Rig(tmp_path, opener=opener)) as rig:
        page = rig.page()
        assert container_id("app")[:12] not in page.text
        assert container_id("log")[:12] in page.text
        assert rig.failures() == {}
    assert budget.kept == 0


@both_budgets
def test_a_cgroup_removed_between_ticks_leaves_its_last_counters_and_nothing_else(
    descriptors: int, tmp_path: Path
) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path, descriptors=descriptors)) as rig:
        set_stat(tree, "app", nr_periods=3000, nr_throttled=2000)
        rig.tick()
        before = app_of(rig)
        remove(tmp_path / path_of(tree, "app"))
        rig.tick()
        page, after = rig.page(), app_of(rig)
        assert (before.live, after.live) == (True, False)
        assert after.stat == before.stat
        assert after.window is None
        labels = {"namespace": "", "pod": UID, "container": container_id("app")[:12]}
        assert page.get("cgroup_container_cpu_periods_total", **labels) == 3000
        assert page.get("cgroup_container_cpu_limit_cores", **labels) is None
        assert page.get("cgroup_container_cpu_throttled_ratio", **labels) is None
        assert rig.snapshot().cgroups["lingering"] == 1
        assert rig.failures() == {}


@both_budgets
def test_lingering_counters_go_after_their_time(descriptors: int, tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path, descriptors=descriptors)) as rig:
        remove(tmp_path / path_of(tree, "app"))
        rig.scan()
        rig.now += LINGER - 1
        rig.scan()
        assert not app_of(rig).live
        rig.now += 1
        rig.scan()
        assert row(rig.snapshot(), container_id("app")) is None
        assert rig.snapshot().cgroups["lingering"] == 0


def test_without_lingering_what_is_gone_is_gone(tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path, linger=0.0)) as rig:
        remove(tmp_path / path_of(tree, "app"))
        rig.scan()
        assert row(rig.snapshot(), container_id("app")) is None


def test_a_whole_pod_that_goes_leaves_pod_and_containers_lingering(tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        remove(tmp_path / tree.pods[0].path)
        rig.tick()
        snapshot = rig.snapshot()
        assert [one.live for one in (*snapshot.containers, *snapshot.pods)] == [False] * 3
        assert rig.failures() == {}


def test_lingering_containers_are_counted_like_the_others_without_their_pods(tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        remove(tmp_path / tree.pods[0].path)
        rig.tick()
        assert rig.snapshot().cgroups["lingering"] == len(tree.containers)


def test_the_root_itself_may_go(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    small(root)
    with running(Rig(root)) as rig:
        remove(root)
        rig.scan()
        rig.tick()
        assert not any(one.live for one in rig.snapshot().containers)
        assert rig.failures() == {("read", "enoent"): 1}


# ---- what comes ----


def test_a_new_container_is_seen_by_the_next_tick_and_its_late_limit_too(tmp_path: Path) -> None:
    small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        cid = container_id("late")
        path = tmp_path / cgroupfs_pod(UID, "Burstable") / cid
        write_v2(path, 77, None)
        rig.tick()
        found = app_of(rig, "late")
        assert found.limits is not None
        assert found.limits.quota_state == "none"
        overwrite(path / "cpu.max", b"50000 100000\n")
        rig.tick()
        overwrite(path / "cpu.stat", b"nr_periods 1087\nnr_throttled 187\n")
        rig.tick()
        found = app_of(rig, "late")
        assert found.limits is not None
        assert found.limits.limit_cores == 0.5
        assert found.window == Window(1.0, 10, 10, 1.0, 1.0)
        assert rig.failures() == {}


def test_a_new_pod_with_all_in_it_is_seen_by_the_next_tick(tmp_path: Path) -> None:
    small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        uid = pod_uid("new")
        write_v2(tmp_path / cgroupfs_pod(uid, "BestEffort"), 70, None)
        write_v2(tmp_path / cgroupfs_pod(uid, "BestEffort") / container_id("new"), 71, 20_000)
        rig.tick()
        snapshot = rig.snapshot()
        assert row(snapshot, uid=uid) is not None
        assert row(snapshot, container_id("new")) is not None


@both_budgets
def test_another_cgroup_at_the_same_path_is_another_one_after_a_scan(descriptors: int, tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path, descriptors=descriptors)) as rig:
        set_stat(tree, "app", nr_periods=3000, nr_throttled=2000)
        rig.tick()
        path = tmp_path / path_of(tree, "app")
        path.rename(tmp_path / "kept-so-that-its-inode-is-not-given-away")
        write_v2(path, 5, 50_000)
        rig.now += 1
        rig.scan()
        found = app_of(rig)
        assert (found.live, found.stat.periods, found.window) == (True, 1005, None)
        rig.tick()
        assert app_of(rig).window is None
        assert rig.failures() == {}, "no counter ran backwards: the old one was let go"


def test_another_cgroup_at_the_same_path_is_another_one_at_the_next_tick(tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        path = tmp_path / path_of(tree, "app")
        remove(path)
        write_v2(path, 5, 50_000)
        rig.tick()
        found = app_of(rig)
        assert (found.live, found.stat.periods) == (True, 1005)
        rig.tick()
        assert app_of(rig).live


def test_crun_s_child_that_comes_after_the_scope_is_taken_in(tmp_path: Path) -> None:
    tree = crio(tmp_path / "whole")
    child = tmp_path / "whole" / path_of(tree, "on-child") / "container"
    child.rename(tmp_path / "later")
    with running(Rig(tmp_path / "whole")) as rig:
        assert app_of(rig, "on-child").limits != app_of(rig, "plain").limits
        (tmp_path / "later").rename(child)
        rig.scan()
        rig.tick()
        found = app_of(rig, "on-child")
        [want] = [one for one in tree.containers if one.container_id == container_id("on-child")]
        assert found.limits is not None
        assert (found.limits.limit_cores, found.stat.periods) == (want.limit_cores, want.periods)
        assert rig.snapshot().cgroups["lingering"] == 0


def test_a_process_that_gets_no_inotify_finds_by_walking_and_says_so_once(tmp_path: Path) -> None:
    small(tmp_path)
    with running(without_inotify(tmp_path)) as rig:
        assert rig.failures() == {("read", "emfile"): 1}
        write_v2(tmp_path / cgroupfs_pod(UID, "Burstable") / container_id("late"), 77, 50_000)
        rig.tick()
        assert row(rig.snapshot(), container_id("late")) is None
        rig.scan()
        assert row(rig.snapshot(), container_id("late")) is not None
        assert rig.failures() == {}


# ---- what changes ----


@pytest.mark.parametrize(
    ("name", "text"), [("cpu.max", b"70000 100000\n"), ("cpu.weight", b"42\n"), ("cpu.max.burst", b"5000\n")]
)
def test_a_limit_that_is_written_while_a_container_runs_holds_from_the_next_snapshot(
    name: str, text: bytes, tmp_path: Path
) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        for _ in range(int(SETTLING_SECONDS) + 1):
            rig.tick()
        before, version = app_of(rig).limits, rig.snapshot().settings_version
        overwrite(tmp_path / path_of(tree, "app") / name, text)
        snapshot = rig.snapshot()
        [after] = [one.limits for one in snapshot.containers if one.ref.container_id == container_id("app")]
        assert after != before
        assert snapshot.settings_version != version
        assert rig.failures() == {}


def test_a_quota_that_appears_and_goes_is_followed(tmp_path: Path) -> None:
    tree = small(tmp_path)
    limit = tmp_path / path_of(tree, "app") / "cpu.max"
    with running(Rig(tmp_path)) as rig:
        for text, state, ticks in (
            (b"max 100000\n", "none", 3),
            (b"20000 100000\n", "set", 3),
            (b"max 100000\n", "none", 1),
        ):
            overwrite(limit, text)
            rig.now += 10
            rig.scan()
            for _ in range(ticks):
                rig.tick()
            found = app_of(rig)
            assert found.limits is not None
            assert found.limits.quota_state == state
            assert (found.window is not None) is (state == "set")
        assert rig.failures() == {}


def test_a_counter_that_ran_backwards_is_counted_once_and_starts_anew(tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        set_stat(tree, "app", nr_periods=3000, nr_throttled=2000)
        rig.tick()
        set_stat(tree, "app", nr_periods=10, nr_throttled=5)
        rig.tick()
        assert rig.failures() == {("read", "counter_reset"): 1}
        assert app_of(rig).window is None
        assert app_of(rig).stat.periods == 10, "what the kernel says is served"
        set_stat(tree, "app", nr_periods=20, nr_throttled=5)
        rig.tick()
        assert app_of(rig).window == Window(1.0, 10, 0, 0.0, 0.0)
        assert rig.failures() == {}


def test_a_stalled_sampler_leaves_no_window_over_its_gap(tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        rig.tick()
        assert app_of(rig).window is not None
        set_stat(tree, "app", nr_periods=90_000, nr_throttled=90_000)
        rig.tick(300.0)
        assert app_of(rig).window is None


def test_the_effective_limit_is_the_smallest_on_the_way_up(tmp_path: Path) -> None:
    build = v2(tmp_path)
    path = build.pod(systemd_pod(UID, "Burstable"), UID, "Burstable")
    build.container(
        f"{path}/cri-containerd-{container_id('app')}.scope", container_id("app"), "containerd", quota=300_000
    )
    with running(Rig(tmp_path)) as rig:
        for where, quota, effective in (
            (path, None, 3.0),
            (path, 200_000, 2.0),
            ("kubepods.slice", 150_000, 1.5),
            ("kubepods.slice", 50_000, 0.5),
            ("kubepods.slice", None, 2.0),
        ):
            overwrite(tmp_path / where / "cpu.max", f"{'max' if quota is None else quota} 100000\n".encode())
            rig.scan()
            rig.tick()
            assert app_of(rig).effective_limit_cores == effective
        overwrite(tmp_path / path / f"cri-containerd-{container_id('app')}.scope" / "cpuset.cpus.effective", b"1\n")
        rig.scan()
        rig.tick()
        assert app_of(rig).effective_limit_cores == 1.0, "its one CPU"
        assert rig.failures() == {}


# ---- settled families ----


def test_the_page_follows_every_change_of_a_setting(tmp_path: Path) -> None:
    # The renderer keeps what does not depend on counters until the sampler says that something changed.
    tree = small(tmp_path)
    app, log = (tmp_path / path_of(tree, name) for name in ("app", "log"))
    changes: tuple[Callable[[], object], ...] = (
        lambda: overwrite(app / "cpu.max", b"10000 100000\n"),
        lambda: overwrite(app / "cpuset.cpus.effective", b"1\n"),
        lambda: overwrite(tmp_path / tree.pods[0].path / "cpu.max", b"5000 100000\n"),
        lambda: overwrite(tmp_path / "kubepods" / "cpu.max", b"2000 100000\n"),
        lambda: overwrite(log / "cpu.weight", b"1\n"),
        lambda: remove(log),
        lambda: rig.pods(json.dumps(pod_list(tree)).encode()),
        lambda: write_v2(app.parent / container_id("more"), 50, 10_000),
    )
    with running(Rig(tmp_path)) as rig:
        for change in changes:
            before = rig.page().text
            change()
            rig.now += 10
            rig.scan()
            for _ in range(2):
                rig.tick()
                snapshot = rig.snapshot()
                anew = Renderer(COLLECTORS).render(snapshot, "text")
                assert rig.renderer.render(snapshot, "text") == anew
            assert rig.page().text != before


def test_a_page_of_unchanged_settings_says_so(tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        for _ in range(int(SETTLING_SECONDS) + 1):
            rig.tick()
        before = rig.snapshot()
        set_stat(tree, "app", nr_periods=9000, nr_throttled=9000)
        rig.tick()
        after = rig.snapshot()
        assert after.settings_version == before.settings_version
        assert after.tick > before.tick
        assert after != before


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
    name: str, text: bytes, failure: tuple[str, str], tmp_path: Path
) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        healthy = rig.page()
        good = (tmp_path / path_of(tree, "app") / name).read_bytes()
        overwrite(tmp_path / path_of(tree, "app") / name, text)
        rig.failures()
        rig.now += 10
        rig.scan()
        rig.tick()
        page = rig.page()
        found = rig.failures()
        assert set(found) == {failure}
        assert 1 <= found[failure] <= 4, "once for each reading: scan, tick, page"
        other = {key: value for key, value in healthy.samples.items() if container_id("app")[:12] not in str(key)}
        assert {key for key in other if "ratio" not in key[0]} <= set(page.samples)
        mine = {key for key in healthy.samples if container_id("app")[:12] in str(key)}
        assert 0 < len(mine & set(page.samples)) < len(mine)
        overwrite(tmp_path / path_of(tree, "app") / name, good)
        rig.now += 10
        rig.scan()
        rig.tick()
        rig.tick()
        assert set(healthy.samples) <= set(rig.page().samples)
        assert rig.failures() == {}


def test_every_failure_has_a_stage_and_a_reason_of_few(tmp_path: Path) -> None:
    tree = small(tmp_path)
    errors: list[ExporterError] = []
    for one in tree.containers:
        for file in (tmp_path / one.path).iterdir():
            file.write_bytes(b"\xff" * 10)
    with running(Rig(tmp_path)) as rig:
        rig.page()
        errors += rig.errors
    assert errors
    assert {error.stage for error in errors} <= {"read", "parse"}
    assert {error.reason for error in errors} <= {"malformed", "too_large"}
    assert all(str(error).isprintable() and str(error).isascii() for error in errors)


def test_a_pod_directory_that_cannot_be_listed_is_counted_at_each_scan(tmp_path: Path) -> None:
    tree = small(tmp_path)
    (tmp_path / "kubepods" / "loop").symlink_to("loop")
    with running(Rig(tmp_path)) as rig:
        assert len(rig.snapshot().containers) == len(tree.containers)
        assert rig.failures() == {}


# ---- names ----


def test_names_come_with_the_list_and_stay_when_the_source_is_away(tmp_path: Path) -> None:
    tree = containerd_systemd(tmp_path)
    with running(Rig(tmp_path, expects_names=True)) as rig:
        assert rig.snapshot().containers == ()
        assert rig.tick() is RefreshHint.NEW
        rig.pods(json.dumps(pod_list(tree)).encode())
        assert rig.tick() is RefreshHint.NOTHING
        assert {one.namespace for one in rig.snapshot().containers} == {"apps"}
        assert len(rig.snapshot().containers) == len(tree.containers)
        for _ in range(5):
            rig.attempts += 1
            rig.tick(60.0)
        assert {one.namespace for one in rig.snapshot().containers} == {"apps"}


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


def test_a_silent_source_does_not_hide_containers_for_ever(tmp_path: Path) -> None:
    containerd_systemd(tmp_path)
    with running(Rig(tmp_path, expects_names=True)) as rig:
        for _ in range(12):
            rig.tick()
        assert len(rig.snapshot().containers) == 4


def test_who_will_not_wait_sees_the_unknown_at_once(tmp_path: Path) -> None:
    containerd_systemd(tmp_path)
    with running(Rig(tmp_path, expects_names=True)) as rig:
        rig.sampler.stop_waiting()
        assert len(rig.snapshot().containers) == 4
        assert rig.tick() is RefreshHint.NOTHING


# ---- collectors ----


def test_user_and_system_time_linger_with_the_usage_on_v1(tmp_path: Path) -> None:
    tree = v1_joint_mount(tmp_path)
    path = tmp_path / "cpu,cpuacct" / tree.containers[0].path
    cid = tree.containers[0].container_id
    with running(Rig(tmp_path)) as rig:
        before = row(rig.snapshot(), cid)
        rig.tick()
        remove(path)
        rig.tick()
        after = row(rig.snapshot(), cid)
        assert before is not None
        assert after is not None
        assert before.stat.user_seconds is not None
        assert after.stat == before.stat


# ---- bounds ----


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
            snapshot = rig.snapshot()
            assert snapshot.containers == ()
            if generation == 1:  # the directories above the pods are read since, and stay open
                first = len(os.listdir("/proc/self/fd"))
            assert generation == 0 or len(os.listdir("/proc/self/fd")) == first < before + 10
        assert rig.failures() == {}
    assert len(os.listdir("/proc/self/fd")) == before


@both_budgets
def test_many_pods_are_read_within_any_budget_of_descriptors(descriptors: int, tmp_path: Path) -> None:
    tree = many_pods(tmp_path, 40)
    with running(Rig(tmp_path, descriptors=min(descriptors, 10))) as rig:
        rig.tick()
        snapshot = rig.snapshot()
        assert {one.ref.container_id: one.stat.periods for one in snapshot.containers} == {
            one.container_id: one.periods for one in tree.containers
        }
        assert rig.budget.kept <= 10
        assert rig.failures() == {}


def test_each_layout_s_containers_are_shown_with_their_numbers(layout_tree: Tree) -> None:
    with running(Rig(layout_tree.root)) as rig:
        snapshot = rig.snapshot()
        found = {one.ref.path: (one.stat.periods, one.limits and one.limits.limit_cores) for one in snapshot.containers}
        assert found == {one.path: (one.periods, one.limit_cores) for one in layout_tree.containers}
        assert {one.ref.path for one in snapshot.pods} <= {one.path for one in layout_tree.pods}
        assert rig.failures() == {}


def test_a_v1_node_without_pods_is_an_empty_page(tmp_path: Path) -> None:
    v1(tmp_path)
    with running(Rig(tmp_path)) as rig:
        assert rig.snapshot().containers == ()
        assert rig.failures() == {}
