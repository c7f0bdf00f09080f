"""From a path to the files behind it, in every controller's tree."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.cgroupfs.discover import Found, detect, walk
from exporter.cgroupfs.files import Descriptors
from exporter.cgroupfs.readers import ReaderFactory
from tests.support.treebuilder import Builder, Tree, container_id, pod_uid, v1, v2, write_files
from tests.support.trees import cgroupfs_pod, hybrid_cpu_on_unified, v1_paths_differ


def opened(tree: Tree) -> tuple[ReaderFactory, dict[str, Found]]:
    factory = ReaderFactory(detect(str(tree.root)), Descriptors(0))
    return factory, dict(walk(factory.hierarchy.cpu).found)


def test_each_container_of_a_layout_has_its_own_numbers(tree: Tree) -> None:
    factory, found = opened(tree)
    for want in tree.containers:
        files = factory.open(found[want.path])
        limits, stat, cpuset = files.limits(), files.stat(), files.cpuset()
        number = want.periods - 1000
        assert stat is not None, want
        assert cpuset is not None, want
        assert limits.limit_cores == want.limit_cores, want
        assert stat[:3] == (want.periods, 100 + number, number + 0.5)
        assert stat.usage_seconds == pytest.approx(number, abs=1e-5)
        assert files.modes()[0] == number
        assert cpuset.mems == {0}
    for pod in tree.pods:
        assert factory.open(found[pod.path]).stat() is not None, pod


def test_directories_that_the_runtime_makes_last_are_found_by_the_next_scan(tmp_path: Path) -> None:
    whole = v1_paths_differ(tmp_path / "whole")
    late = Tree(tmp_path / "late", whole.version, whole.containers, whole.pods)
    shutil.copytree(whole.root, late.root)
    [container] = whole.containers
    for controller in ("cpuacct", "cpuset"):
        for folder in (late.root / controller).rglob(f"*{container.container_id}*"):
            shutil.rmtree(folder)
    factory, found = opened(late)
    files = factory.open(found[container.path])
    stat = files.stat()
    assert stat is not None
    assert (stat.periods, stat.usage_seconds, files.modes()) == (container.periods, None, (None, None))
    assert files.cpuset() is None
    shutil.copytree(whole.root, late.root, dirs_exist_ok=True)
    factory.new_scan()
    stat, cpuset = files.stat(), files.cpuset()
    assert stat is not None
    assert stat.usage_seconds == pytest.approx(container.periods - 1000, abs=1e-5)
    assert files.modes()[0] == container.periods - 1000
    assert cpuset is not None
    assert cpuset.cpus == {2}


@pytest.mark.parametrize(("on_v1", "other"), [("cpuset", "cpu"), ("cpu", "cpuset")])
def test_a_controller_left_on_v1_is_read_as_v1(tmp_path: Path, on_v1: str, other: str) -> None:
    tree = hybrid_cpu_on_unified(tmp_path)
    unified = tmp_path / "unified"
    (unified / "cgroup.controllers").write_text(f"{other} io\n")
    for file in unified.rglob(f"{on_v1}.*"):
        file.unlink()
    write_files(tmp_path / on_v1, {"cpuset.cpus": "0-3", "cpu.shares": "1024"})
    for one in tree.containers:
        write_files(tmp_path / on_v1 / one.path, {"cpu.cfs_quota_us": "20000", "cpu.cfs_period_us": "100000"})
        write_files(tmp_path / on_v1 / one.path, {"cpuset.effective_cpus": "1,3", "cpuset.effective_mems": "0"})
    factory, found = opened(tree)
    for one in tree.containers:
        files = factory.open(found[one.path])
        cpuset, (quota, cpus) = files.cpuset(), files.change_probe()
        assert cpuset is not None
        assert files.limits().limit_cores == (one.limit_cores if on_v1 == "cpuset" else 0.2)
        assert cpuset.cpus == ({1, 3} if on_v1 == "cpuset" else {0, 1, 2, 3})
        assert quota is not None
        assert cpus == (b"1,3\n" if on_v1 == "cpuset" else b"0-3\n"), "a change of either is seen"


@pytest.mark.parametrize("build", [v1, v2])
def test_threads_are_the_pids_controller_s_where_it_is(tmp_path: Path, build: Callable[[Path], Builder]) -> None:
    uid, cid = pod_uid("web"), container_id("app")
    builder = build(tmp_path)
    path = builder.container(f"{builder.pod(cgroupfs_pod(uid, 'Burstable'), uid, 'Burstable')}/{cid}", cid, "")
    pids = tmp_path / "pids" if build is v1 else tmp_path
    write_files(pids, {"cgroup.procs": ""})
    write_files(pids / path, {"pids.current": "63"})
    factory, found = opened(builder)
    assert factory.open(found[path]).threads() == 63
