"""Where the machine's hierarchy is, whose a tree is, and where this process itself runs: from given files alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.lab.hierarchy import CONTROLLERS, LabError, find_hierarchy, own_cgroup, writable_hierarchy
from exporter.lab.stale_marker import has_owner, is_stale, own_prefix

TREES = Path(__file__).parent.parent / "fixtures/trees"


def v1_tree(folder: Path, *groups: str) -> Path:
    for name in ("cpu,cpuacct/cpu.shares", "cpu,cpuacct/cpuacct.usage", "cpuset/cpuset.cpus"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("0\n")
    (folder / "cpu").symlink_to("cpu,cpuacct")
    for group in groups:
        (folder / "cpu" / group).mkdir(parents=True)
    return folder


def proc(folder: Path, memberships: str) -> Path:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(memberships)
    return folder / "proc"


@pytest.mark.parametrize(("groups", "path"), [(["a/b c"], "a/b c"), ([], "")], ids=["host", "container"])
def test_the_own_cgroup_on_v1(tmp_path: Path, groups: list[str], path: str) -> None:
    """A container sees its own group as the root."""
    memberships = "4:cpuset:/a/b c\n3:cpu,cpuacct:/a/b c\n1:name=systemd:/x\n0::/y\n"
    hierarchy, found = own_cgroup(v1_tree(tmp_path, *groups), proc(tmp_path, memberships))

    assert (hierarchy.version, found) == ("v1", path)


@pytest.mark.parametrize("path", ["", "user.slice/a.scope"])
def test_the_own_cgroup_on_v2(tmp_path: Path, path: str) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu\n")
    (tmp_path / path).mkdir(parents=True, exist_ok=True)
    hierarchy, found = own_cgroup(tmp_path, proc(tmp_path, f"0::/{path}\n"))

    assert (hierarchy.version, found) == ("v2", path)


def test_a_process_without_a_cpu_cgroup_is_a_named_error(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no cgroup with a cpu controller"):
        own_cgroup(v1_tree(tmp_path), proc(tmp_path, "1:name=systemd:/\n0::/a\n"))


@pytest.mark.parametrize(
    ("recording", "version"), [("kubelet-1.36-cgroup-v1-cgroupfs", "v1"), ("linux-6.18-cgroup-v2-systemd", "v2")]
)
def test_the_hierarchy_is_the_one_that_holds_cpu(recording: str, version: str) -> None:
    hierarchy = find_hierarchy(TREES / recording / "t0/sys/fs/cgroup")

    assert hierarchy.version == version
    assert set(hierarchy.mounts) == set(CONTROLLERS)
    assert len(hierarchy.directories("x")) == (3 if version == "v1" else 1)
    assert hierarchy.cpus()


def test_a_joint_mount_is_one_directory(tmp_path: Path) -> None:
    hierarchy = find_hierarchy(v1_tree(tmp_path))

    assert hierarchy.directories("x") == (tmp_path / "cpu,cpuacct/x", tmp_path / "cpuset/x")


def test_no_hierarchy_is_a_named_error(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="not a cgroup tree"):
        find_hierarchy(tmp_path)


def test_plain_files_are_not_a_writable_hierarchy(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpuset cpu\n")

    with pytest.raises(LabError) as caught:
        writable_hierarchy(tmp_path)

    assert caught.value.reason in {"enoent", "not_root"}
    assert {one.name for one in tmp_path.iterdir()} == {"cgroup.controllers", "cgroup.subtree_control"}


def test_v2_without_the_controllers_says_which(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory pids\n")

    with pytest.raises(LabError, match=r"no cpu and no cpuset|only root"):
        writable_hierarchy(tmp_path)


def test_own_names_are_told_from_others_and_from_the_dead() -> None:
    mine, again = own_prefix("demo"), own_prefix("demo")
    program = "from exporter.lab.stale_marker import own_prefix; print(own_prefix('demo'))"
    dead = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    start, namespace = mine.split("-")[3:5]

    assert mine != again
    assert all(map(has_owner, (mine, again, dead)))
    assert not is_stale(mine)
    assert is_stale(dead)
    # The pid was given to another process since.
    assert is_stale(mine.replace(start, str(int(start) + 1)))
    # A process of another pid namespace cannot be seen from here.
    assert not is_stale(dead.replace(namespace, str(int(namespace) + 1)))
    for other in ("kubepods", "kte-demo", "kte-demo-1", f"x{dead}", f"{dead}/y", "kte-demo-1-2-3-x"):
        assert not has_owner(other)
        assert not is_stale(other)


def test_the_owner_of_a_name_may_be_a_zombie() -> None:
    program = "from exporter.lab.stale_marker import own_prefix; print(own_prefix('demo'), flush=True)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert is_stale(name)
