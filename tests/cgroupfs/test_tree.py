"""Which hierarchy lies under a root, and what is found in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.cgroupfs.discover import Found, Hierarchy, detect, walk
from exporter.cgroupfs.names import decode
from exporter.errors import ReadError
from exporter.model import CgroupRef
from tests.cgroupfs.privileges import unprivileged
from tests.support.recordings import RECORDINGS, Node, Recording
from tests.support.treebuilder import Tree, container_id, pod_uid, v1, v2, write_files
from tests.support.trees import (
    cgroupfs_pod,
    containerd_cgroupfs,
    containerd_systemd,
    hybrid,
    hybrid_cpu_on_unified,
    systemd_in_pod,
    v1_joint_mount,
    v1_joint_mount_only,
    v1_paths_differ,
)

# ---- detect ----


def under(
    root: Path,
    *,
    version: str,
    cpu: str,
    cpuacct: str | None,
    cpuset: str | None,
    pids: str | None = None,
    v2_files: str = "",
) -> Hierarchy:
    """``v2_files``: which of ``cpu`` and ``cpuset`` have the files of v2."""
    return Hierarchy(
        version=version,  # type: ignore[arg-type] # a plain string keeps the table below short
        cpu_is_v2="cpu" in v2_files.split(),
        cpu=str(root / cpu),
        cpuacct=None if cpuacct is None else str(root / cpuacct),
        cpuset=None if cpuset is None else str(root / cpuset),
        cpuset_is_v2="cpuset" in v2_files.split(),
        pids=None if pids is None else str(root / pids),
    )


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (
            containerd_systemd,
            {"version": "v2", "cpu": "", "cpuacct": "", "cpuset": "", "pids": "", "v2_files": "cpu cpuset"},
        ),
        (v1_paths_differ, {"version": "v1", "cpu": "cpu", "cpuacct": "cpuacct", "cpuset": "cpuset"}),
        (v1_joint_mount, {"version": "v1", "cpu": "cpu,cpuacct", "cpuacct": "cpu,cpuacct", "cpuset": "cpuset"}),
        (v1_joint_mount_only, {"version": "v1", "cpu": "cpu,cpuacct", "cpuacct": "cpu,cpuacct", "cpuset": "cpuset"}),
        (hybrid, {"version": "hybrid", "cpu": "cpu", "cpuacct": "cpuacct", "cpuset": "cpuset"}),
        (
            hybrid_cpu_on_unified,
            {
                "version": "hybrid",
                "cpu": "unified",
                "cpuacct": "unified",
                "cpuset": "unified",
                "pids": "unified",
                "v2_files": "cpu cpuset",
            },
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_hierarchy_is_known_by_the_tree_alone(
    layout: Callable[[Path], Tree], expected: dict[str, str], tmp_path: Path
) -> None:
    layout(tmp_path)
    found = detect(str(tmp_path))
    assert found == under(tmp_path, **{"v2_files": "", **expected})


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_recorded_hierarchy_is_what_its_name_says(recording: Recording) -> None:
    node = Node(recording.t0)
    found = detect(str(recording.t0 / "sys/fs/cgroup"))
    assert (found.version, found.cpu_is_v2) == (("v1", False) if recording.is_v1 else ("v2", True))
    assert (found.cpu, found.cpuacct, found.cpuset) == (str(node.cpu), str(node.cpuacct), str(node.cpuset))


def test_a_dangling_symlink_beside_the_joint_mount_misleads_nobody(tmp_path: Path) -> None:
    v1_joint_mount_only(tmp_path)
    (tmp_path / "cpu").symlink_to("elsewhere")
    (tmp_path / "cpuacct").symlink_to("elsewhere")
    assert detect(str(tmp_path)).cpu == str(tmp_path / "cpu,cpuacct")


def test_controllers_without_cpuacct_and_cpuset_are_enough(tmp_path: Path) -> None:
    write_files(tmp_path / "cpu", {"cpu.shares": "1024"})
    assert detect(str(tmp_path)) == under(tmp_path, version="v1", cpu="cpu", cpuacct=None, cpuset=None)


def test_hybrid_with_only_cpuset_on_v2(tmp_path: Path) -> None:
    write_files(tmp_path / "cpu", {"cpu.shares": "1024"})
    write_files(tmp_path / "unified", {"cgroup.controllers": "cpuset memory"})
    expected = under(tmp_path, version="hybrid", cpu="cpu", cpuacct=None, cpuset="unified", v2_files="cpuset")
    assert detect(str(tmp_path)) == expected


def test_hybrid_with_only_cpu_on_v2(tmp_path: Path) -> None:
    write_files(tmp_path / "cpuset", {"cpuset.cpus": "0-3"})
    write_files(tmp_path / "unified", {"cgroup.controllers": "cpu io"})
    expected = under(tmp_path, version="hybrid", cpu="unified", cpuacct="unified", cpuset="cpuset", v2_files="cpu")
    assert detect(str(tmp_path)) == expected


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda root: None, id="an empty directory"),
        pytest.param(lambda root: (root / "cpu").mkdir(), id="an empty directory called cpu"),
        pytest.param(lambda root: (root / "cpu").write_text("x"), id="a file called cpu"),
        pytest.param(lambda root: (root / "memory").mkdir(), id="another controller"),
        pytest.param(
            lambda root: write_files(root / "cpuset", {"cpuset.cpus": "0"}), id="v1 without the cpu controller"
        ),
        pytest.param(
            lambda root: write_files(root / "unified", {"cgroup.controllers": "memory"}),
            id="hybrid without a cpu controller",
        ),
        pytest.param(
            lambda root: write_files(root, {"cgroup.controllers": "memory pids"}), id="v2 without the cpu controller"
        ),
        pytest.param(lambda root: write_files(root, {"cgroup.controllers": ""}), id="v2 without any controller"),
    ],
)
def test_a_tree_without_a_cpu_controller_is_refused(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(ReadError) as caught:
        detect(str(tmp_path))
    assert (caught.value.reason, caught.value.path) == ("not_cgroup", str(tmp_path))


@pytest.mark.parametrize(("path", "reason"), [("absent", "enoent"), ("file", "enotdir"), ("loop", "eloop")])
def test_a_root_that_cannot_be_listed_is_refused_with_its_reason(path: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ReadError) as caught:
        detect(str(tmp_path / path))
    assert caught.value.reason == reason


def test_a_root_that_may_not_be_entered_is_refused_as_such(public_path: Path) -> None:
    root = public_path / "cgroup"
    v1(root)
    root.chmod(0)
    with unprivileged(), pytest.raises(ReadError) as caught:
        detect(str(root))
    root.chmod(0o755)
    assert caught.value.reason == "eacces"


# ---- walk ----


def cpu_tree(tree: Tree) -> Path:
    return Path(detect(str(tree.root)).cpu) if tree.pods else tree.root


def test_walk_finds_every_pod_and_container_and_nothing_else(tree: Tree) -> None:
    root = cpu_tree(tree)
    walked = walk(str(root))
    assert set(walked.found) == {pod.path for pod in tree.pods} | {container.path for container in tree.containers}
    assert dict(walked.problems) == {}
    for path, found in walked.found.items():
        assert found.ref == decode(path)
        assert found.inode == (root / path).stat().st_ino
        assert found.subgroup is (root / path / "container").is_dir()


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_walk_finds_all_that_a_slower_search_finds(recording: Recording) -> None:
    cpu = Node(recording.t0).cpu
    relative = (str(path.relative_to(cpu)) for path in cpu.rglob("*") if path.is_dir())
    assert dict(walk(str(cpu)).problems) == {}
    assert {path: one.ref for path, one in walk(str(cpu)).found.items()} == {
        path: ref for path in relative if (ref := decode(path))
    }


def test_walk_below_a_path_finds_that_one_and_those_under_it(tree: Tree) -> None:
    root = cpu_tree(tree)
    whole = walk(str(root)).found
    for below in (*whole, "kubepods", "kubepods.slice", "absent", *tree.inside):
        expected = {path: facts(one) for path, one in whole.items() if path == below or path.startswith(f"{below}/")}
        assert {path: facts(one) for path, one in walk(str(root), below).found.items()} == expected, below


def facts(one: Found) -> tuple[CgroupRef, int, bool]:
    return one.ref, one.inode, one.subgroup


def test_only_what_a_cri_o_container_holds_is_its_subgroup(tmp_path: Path) -> None:
    tree = containerd_cgroupfs(tmp_path)
    for one in tree.containers:
        (tmp_path / one.path / "container").mkdir()
    assert not any(one.subgroup for one in walk(str(tmp_path)).found.values())


def test_a_file_called_container_is_no_subgroup(tmp_path: Path) -> None:
    cid = container_id("x")
    path = tmp_path / cgroupfs_pod(pod_uid("x"), "Burstable") / f"crio-{cid}"
    (path / "other").mkdir(parents=True)
    (path / "container").write_text("")
    assert [one.subgroup for one in walk(str(tmp_path)).found.values()] == [False, False]


def test_symlinks_are_not_followed(tmp_path: Path) -> None:
    tree = containerd_cgroupfs(tmp_path)
    expected = set(walk(str(tmp_path)).found)
    (tmp_path / "kubepods" / "self").symlink_to(".")
    (tmp_path / "kubepods" / "up").symlink_to("..")
    (tmp_path / tree.pods[0].path / container_id("link")).symlink_to(tmp_path / tree.containers[0].path)
    walked = walk(str(tmp_path))
    assert set(walked.found) == expected
    assert dict(walked.problems) == {}


def test_a_root_that_is_gone_holds_nothing_and_is_a_problem(tmp_path: Path) -> None:
    """A node without containers has a root; one whose cgroups were unmounted must not look like it."""
    (tmp_path / "file").write_text("")
    for root, reason in (("gone", "enoent"), ("file", "enotdir")):
        walked = walk(str(tmp_path / root))
        assert (dict(walked.found), dict(walked.problems)) == ({}, {reason: 1})


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_an_unreadable_directory_costs_what_is_in_it_and_is_counted(public_path: Path, mode: int) -> None:
    root = public_path / "cgroup"
    tree = containerd_cgroupfs(root)
    paths = [pod.path for pod in tree.pods] + [container.path for container in tree.containers]
    (root / "kubepods" / "burstable").chmod(mode)
    with unprivileged():
        walked = walk(str(root))
    (root / "kubepods" / "burstable").chmod(0o755)
    assert set(walked.found) == {path for path in paths if "/burstable/" not in path} != set(paths)
    assert set(walked.problems) == {"eacces"}


def test_an_unreadable_root_is_counted(public_path: Path) -> None:
    root = public_path / "cgroup"
    containerd_cgroupfs(root)
    root.chmod(0)
    with unprivileged():
        walked = walk(str(root))
    root.chmod(0o755)
    assert (dict(walked.found), dict(walked.problems)) == ({}, {"eacces": 1})


def test_what_a_container_makes_inside_itself_is_not_even_looked_at(public_path: Path) -> None:
    root = public_path / "cgroup"
    tree = systemd_in_pod(root)
    for path in sorted(tree.inside, reverse=True):
        (root / path).chmod(0)
    with unprivileged():
        walked = walk(str(root))
    for path in sorted(tree.inside):
        (root / path).chmod(0o755)
    assert dict(walked.problems) == {}
    assert {one.path for one in tree.containers} <= set(walked.found)


def test_names_that_are_no_utf_8_are_directories_like_others(tmp_path: Path) -> None:
    build = v2(tmp_path)
    path = os.fsdecode(b"sl\xff\xfeice/" + cgroupfs_pod(pod_uid("x"), "Guaranteed").encode())
    (tmp_path / path).mkdir(parents=True)
    assert set(walk(str(build.root)).found) == {path}
