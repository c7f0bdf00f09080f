"""From a path to the files behind it, in every controller's tree."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from exporter.cgroupfs.discover import Found, detect, walk
from exporter.cgroupfs.files import Descriptors
from exporter.cgroupfs.readers import ReaderFactory
from exporter.model import CpuLimits
from tests.support.treebuilder import Tree, write_files
from tests.support.trees import hybrid_cpu_on_unified, v1_joint_mount_only, v1_paths_differ


def opened(tree: Tree) -> tuple[ReaderFactory, dict[str, Found]]:
    opener = ReaderFactory(detect(str(tree.root)), Descriptors(0))
    return opener, dict(walk(opener.hierarchy.cpu).found)


def test_each_container_of_a_layout_has_its_own_numbers(tree: Tree) -> None:
    opener, found = opened(tree)
    for want in tree.containers:
        files = opener.open(found[want.path])
        limits, stat, cpuset = files.limits(), files.stat(), files.cpuset()
        number = want.periods - 1000
        assert stat is not None, want
        assert cpuset is not None, want
        assert limits.limit_cores == want.limit_cores, want
        assert (stat.periods, stat.throttled_periods, stat.throttled_seconds) == (
            want.periods,
            100 + number,
            number + 0.5,
        )
        assert stat.usage_seconds == pytest.approx(number, abs=1e-5)
        assert files.modes()[0] == number
        assert cpuset.mems == {0}
    for pod in tree.pods:
        assert opener.open(found[pod.path]).stat() is not None, pod


def test_each_controller_is_asked_where_it_has_the_container(tmp_path: Path) -> None:
    tree = v1_paths_differ(tmp_path)
    opener, found = opened(tree)
    [container] = tree.containers
    cpuset = opener.open(found[container.path]).cpuset()
    assert cpuset is not None
    assert cpuset.cpus == {2}, "the container's, which is elsewhere, not that of a directory above it"


def remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder)


def test_a_controller_that_the_runtime_makes_last_is_found_by_the_next_scan(tmp_path: Path) -> None:
    tree = v1_joint_mount_only(tmp_path / "whole")
    late = Tree(tmp_path / "late", tree.version, tree.containers, tree.pods)
    shutil.copytree(tree.root, late.root)
    remove(*(late.root / "cpuset" / one.path for one in tree.containers))
    opener, found = opened(late)
    files = [opener.open(found[one.path]) for one in tree.containers]
    assert [one.cpuset() for one in files] == [None] * len(files)
    shutil.copytree(tree.root, late.root, dirs_exist_ok=True)
    opener.new_scan()
    for one in files:
        cpuset = one.cpuset()
        assert cpuset is not None
        assert cpuset.cpus == {0, 1, 2, 3}


def test_usage_comes_with_the_cpuacct_directory(tmp_path: Path) -> None:
    tree = v1_paths_differ(tmp_path / "whole")
    late = Tree(tmp_path / "late", tree.version, tree.containers, tree.pods)
    shutil.copytree(tree.root, late.root)
    [container] = tree.containers
    remove(late.root / "cpuacct" / container.path)
    opener, found = opened(late)
    files = opener.open(found[container.path])
    files.limits()
    stat = files.stat()
    assert stat is not None
    assert (stat.periods, stat.usage_seconds, files.modes()) == (container.periods, None, (None, None))
    shutil.copytree(tree.root, late.root, dirs_exist_ok=True)
    opener.new_scan()
    files.limits()
    stat = files.stat()
    assert stat is not None
    assert stat.periods == container.periods
    assert stat.usage_seconds == pytest.approx(container.periods - 1000, abs=1e-5)
    assert files.modes()[0] == container.periods - 1000


def test_a_cpuset_controller_left_on_v1_is_read_as_v1(tmp_path: Path) -> None:
    tree = hybrid_cpu_on_unified(tmp_path)
    (tmp_path / "unified" / "cgroup.controllers").write_text("cpu io\n")
    for file in (tmp_path / "unified").rglob("cpuset.*"):
        file.unlink()
    write_files(tmp_path / "cpuset", {"cpuset.cpus": "0-3", "cpuset.mems": "0"})
    for one in tree.containers:
        write_files(tmp_path / "cpuset" / one.path, {"cpuset.effective_cpus": "1,3", "cpuset.effective_mems": "0"})
    opener, found = opened(tree)
    for one in tree.containers:
        files = opener.open(found[one.path])
        assert files.limits().limit_cores == one.limit_cores
        cpuset = files.cpuset()
        assert cpuset is not None
        assert cpuset.cpus == {1, 3}


def test_limits_of_directories_above_the_pods_are_read_in_the_cpu_tree(tree: Tree) -> None:
    opener, _ = opened(tree)
    above = {pod.path.rpartition("/")[0] for pod in tree.pods} - {""}
    for path in above:
        limits = opener.open_path(path).limits()
        assert (limits.quota_state, limits.limit_cores, limits.period_seconds) == ("none", None, 0.1)
    assert opener.open_path(".").limits().quota_state in {"none", "unsupported"}


def test_an_ancestor_with_a_quota_says_so(tmp_path: Path) -> None:
    tree = v1_paths_differ(tmp_path)
    opener, _ = opened(tree)
    (tmp_path / "cpu" / "kubepods.slice" / "cpu.cfs_quota_us").write_text("150000\n")
    assert opener.open_path("kubepods.slice").limits() == CpuLimits("set", 1.5, 0.1, None, None, 512)


def test_descriptors_are_the_budget_s_and_come_back(tree: Tree) -> None:
    budget = Descriptors(1000)
    opener = ReaderFactory(detect(str(tree.root)), budget)
    files = [opener.open(one) for one in walk(opener.hierarchy.cpu).found.values()]
    for one in files:
        one.limits()
        assert one.stat() is not None
        one.local_throttled_seconds()
        one.pressure()
    assert (budget.kept > 0) is bool(files)
    for one in files:
        one.close()
    assert budget.kept == 0
