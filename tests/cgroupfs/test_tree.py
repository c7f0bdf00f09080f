"""Which hierarchy lies under a root, and what is found in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.cgroupfs.discover import Found, Hierarchy, detect, walk
from exporter.cgroupfs.names import decode
from exporter.errors import ReadError
from exporter.model import CgroupRef
from tests.cgroupfs.privileges import unprivileged
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

CPU = {"cpu.shares": "1024"}
SPLIT = {"cpu": "cpu", "cpuacct": "cpuacct", "cpuset": "cpuset"}
JOINT = {"cpu": "cpu,cpuacct", "cpuacct": "cpu,cpuacct", "cpuset": "cpuset"}


def on_v2(folder: str) -> dict[str, Any]:
    return dict.fromkeys(("cpu", "cpuacct", "cpuset", "pids"), folder) | {"cpu_is_v2": True, "cpuset_is_v2": True}


def dangling_symlinks(root: Path) -> None:
    v1_joint_mount_only(root)
    for name in ("cpu", "cpuacct"):
        (root / name).symlink_to("elsewhere")


def only_cpu(root: Path) -> None:
    write_files(root / "cpu", CPU)


def only_cpuset_on_v2(root: Path) -> None:
    write_files(root / "cpu", CPU)
    write_files(root / "unified", {"cgroup.controllers": "cpuset memory"})


def only_cpu_on_v2(root: Path) -> None:
    write_files(root / "cpuset", {"cpuset.cpus": "0-3"})
    write_files(root / "unified", {"cgroup.controllers": "cpu io"})


@pytest.mark.parametrize(
    ("layout", "version", "expected"),
    [
        (containerd_systemd, "v2", on_v2("")),
        (v1_paths_differ, "v1", SPLIT),
        (v1_joint_mount, "v1", JOINT),
        (v1_joint_mount_only, "v1", JOINT),
        (dangling_symlinks, "v1", JOINT),
        (only_cpu, "v1", {"cpu": "cpu", "cpuacct": None, "cpuset": None}),
        (hybrid, "hybrid", SPLIT),
        (hybrid_cpu_on_unified, "hybrid", on_v2("unified")),
        (only_cpuset_on_v2, "hybrid", {"cpu": "cpu", "cpuacct": None, "cpuset": "unified", "cpuset_is_v2": True}),
        (only_cpu_on_v2, "hybrid", SPLIT | {"cpu": "unified", "cpuacct": "unified", "cpu_is_v2": True}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_hierarchy_is_known_by_the_tree_alone(
    layout: Callable[[Path], object], version: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    layout(tmp_path)
    fields: dict[str, Any] = {"version": version, "cpu_is_v2": False}
    fields |= {name: str(tmp_path / value) if isinstance(value, str) else value for name, value in expected.items()}
    assert detect(str(tmp_path)) == Hierarchy(**fields)


@pytest.mark.parametrize(
    ("folder", "files"),
    [
        pytest.param("", {}, id="an empty directory"),
        pytest.param("cpu", {}, id="an empty directory called cpu"),
        pytest.param("", {"cpu": "x"}, id="a file called cpu"),
        pytest.param("memory", {}, id="another controller"),
        pytest.param("cpuset", {"cpuset.cpus": "0"}, id="v1 without the cpu controller"),
        pytest.param("unified", {"cgroup.controllers": "memory"}, id="hybrid without a cpu controller"),
        pytest.param("", {"cgroup.controllers": "memory pids"}, id="v2 without the cpu controller"),
        pytest.param("", {"cgroup.controllers": ""}, id="v2 without any controller"),
    ],
)
def test_a_tree_without_a_cpu_controller_is_refused(folder: str, files: dict[str, str], tmp_path: Path) -> None:
    write_files(tmp_path / folder, files)
    with pytest.raises(ReadError) as caught:
        detect(str(tmp_path))
    assert (caught.value.reason, caught.value.path) == ("not_cgroup", str(tmp_path))


@pytest.mark.parametrize(
    ("path", "reason"), [("absent", "enoent"), ("file", "enotdir"), ("loop", "eloop"), ("secret", "eacces")]
)
def test_a_root_that_cannot_be_listed_is_refused_with_its_reason(path: str, reason: str, public_path: Path) -> None:
    (public_path / "file").write_text("")
    (public_path / "loop").symlink_to("loop")
    v1(public_path / "secret")
    (public_path / "secret").chmod(0)
    with unprivileged(), pytest.raises(ReadError) as caught:
        detect(str(public_path / path))
    (public_path / "secret").chmod(0o755)
    assert caught.value.reason == reason


# ---- walk ----


def cpu_tree(tree: Tree) -> Path:
    return Path(detect(str(tree.root)).cpu) if tree.pods else tree.root


def facts(one: Found) -> tuple[CgroupRef, int, bool]:
    return one.ref, one.inode, one.subgroup


def test_walk_finds_every_pod_and_container_and_nothing_else(tree: Tree) -> None:
    root = cpu_tree(tree)
    found, problems = walk(str(root))
    assert set(found) == {pod.path for pod in tree.pods} | {container.path for container in tree.containers}
    assert problems == {}
    for path, one in found.items():
        assert facts(one) == (decode(path), (root / path).stat().st_ino, (root / path / "container").is_dir())


def test_walk_gives_what_is_known_as_it_is(tree: Tree) -> None:
    root = str(cpu_tree(tree))
    known = walk(root).found
    again = walk(root, known=known).found
    assert {path: facts(one) for path, one in again.items()} == {path: facts(one) for path, one in known.items()}
    for path, one in again.items():
        assert one is known[path] or one.ref.runtime == "cri-o"
    made_again = {path: Found(one.ref, one.inode + 1, subgroup=False) for path, one in known.items()}
    assert all(one is not made_again[path] for path, one in walk(root, known=made_again).found.items())


def test_walk_below_a_path_finds_that_one_and_those_under_it(tree: Tree) -> None:
    root = str(cpu_tree(tree))
    whole = walk(root).found
    for below in (*whole, "kubepods", "kubepods.slice", "absent", *tree.inside):
        expected = {path: facts(one) for path, one in whole.items() if path == below or path.startswith(f"{below}/")}
        assert {path: facts(one) for path, one in walk(root, below).found.items()} == expected, below


def test_only_a_directory_that_a_cri_o_container_holds_is_its_subgroup(tmp_path: Path) -> None:
    tree = containerd_cgroupfs(tmp_path)
    for one in tree.containers:
        (tmp_path / one.path / "container").mkdir()
    path = tmp_path / cgroupfs_pod(pod_uid("x"), "Burstable") / f"crio-{container_id('x')}"
    (path / "other").mkdir(parents=True)
    (path / "container").write_text("")
    known = walk(str(tmp_path)).found
    assert not any(one.subgroup for one in known.values())
    (path / "container").unlink()
    (path / "container").mkdir()
    late = [one.ref.runtime for one in walk(str(tmp_path), known=known).found.values() if one.subgroup]
    assert late == ["cri-o"], "crun makes it after the container"


def test_symlinks_are_not_followed(tmp_path: Path) -> None:
    tree = containerd_cgroupfs(tmp_path)
    expected = set(walk(str(tmp_path)).found)
    (tmp_path / "kubepods" / "self").symlink_to(".")
    (tmp_path / "kubepods" / "up").symlink_to("..")
    (tmp_path / tree.pods[0].path / container_id("link")).symlink_to(tmp_path / tree.containers[0].path)
    found, problems = walk(str(tmp_path))
    assert (set(found), problems) == (expected, {})


@pytest.mark.parametrize(("root", "reason"), [("gone", "enoent"), ("file", "enotdir"), ("secret", "eacces")])
def test_a_root_that_is_gone_holds_nothing_and_is_a_problem(root: str, reason: str, public_path: Path) -> None:
    """A node without containers has a root; one whose cgroups were unmounted must not look like it."""
    (public_path / "file").write_text("")
    containerd_cgroupfs(public_path / "secret")
    (public_path / "secret").chmod(0)
    with unprivileged():
        found, problems = walk(str(public_path / root))
    (public_path / "secret").chmod(0o755)
    assert (found, problems) == ({}, {reason: 1})


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_an_unreadable_directory_costs_what_is_in_it_and_is_counted(public_path: Path, mode: int) -> None:
    root = public_path / "cgroup"
    tree = containerd_cgroupfs(root)
    paths = [pod.path for pod in tree.pods] + [container.path for container in tree.containers]
    (root / "kubepods" / "burstable").chmod(mode)
    with unprivileged():
        found, problems = walk(str(root))
    (root / "kubepods" / "burstable").chmod(0o755)
    assert set(found) == {path for path in paths if "/burstable/" not in path} != set(paths)
    assert set(problems) == {"eacces"}


def test_what_a_container_makes_inside_itself_is_not_even_looked_at(public_path: Path) -> None:
    root = public_path / "cgroup"
    tree = systemd_in_pod(root)
    for path in sorted(tree.inside, reverse=True):
        (root / path).chmod(0)
    with unprivileged():
        found, problems = walk(str(root))
    for path in sorted(tree.inside):
        (root / path).chmod(0o755)
    assert problems == {}
    assert {one.path for one in tree.containers} <= set(found)


def test_names_that_are_no_utf_8_and_deep_ones_are_directories_like_others(tmp_path: Path) -> None:
    path = os.fsdecode(b"sl\xff\xfeice/" * 40 + cgroupfs_pod(pod_uid("x"), "Guaranteed").encode())
    (v2(tmp_path).root / path).mkdir(parents=True)
    assert set(walk(str(tmp_path)).found) == {path}
