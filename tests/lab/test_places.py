"""Where the machine's hierarchy is, whose a tree is, and where this process itself runs: from given files alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.lab.hierarchy import CONTROLLERS, LabError, find_hierarchy, writable_hierarchy
from exporter.lab.own import own_cgroup
from exporter.lab.owner import names_owner, own_prefix, owner_is_dead

TREES = Path(__file__).parent.parent / "fixtures/trees"

V1_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 {root} /sys/fs/cgroup/cpuset rw,relatime shared:3 - cgroup cgroup rw,cpuset
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V1_MEMBERSHIPS = "4:cpuset:{path}\n3:cpu,cpuacct:{path}\n1:name=systemd:/x\n0::/y\n"


def proc(folder: Path, memberships: str, mounts: str) -> Path:
    (folder / "self").mkdir()
    (folder / "self/cgroup").write_text(memberships)
    (folder / "self/mountinfo").write_text(mounts)
    return folder


def test_v1_on_a_host(tmp_path: Path) -> None:
    own = own_cgroup(proc(tmp_path, V1_MEMBERSHIPS.format(path="/a/b"), V1_MOUNTS.format(root="/")))

    assert own.hierarchy.version == "v1"
    assert [str(path) for path in own.ancestors("cpu")] == [
        "/sys/fs/cgroup/cpu,cpuacct/a/b",
        "/sys/fs/cgroup/cpu,cpuacct/a",
        "/sys/fs/cgroup/cpu,cpuacct",
    ]
    assert own.paths == dict.fromkeys(CONTROLLERS, "a/b")


def test_v1_in_a_container_that_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    path = "/kubepods/burstable/pod1/c"
    own = own_cgroup(proc(tmp_path, V1_MEMBERSHIPS.format(path=path), V1_MOUNTS.format(root=path)))

    assert own.ancestors("cpu") == [Path("/sys/fs/cgroup/cpu,cpuacct")]


@pytest.mark.parametrize(("path", "expected"), [("/", ""), ("/user.slice/a b.scope", "/user.slice/a b.scope")])
def test_v2(tmp_path: Path, path: str, expected: str) -> None:
    mounts = "29 23 0:26 / /sys/fs/c\\040group rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    own = own_cgroup(proc(tmp_path, f"0::{path}\n", mounts))

    assert own.hierarchy.version == "v2"
    assert str(own.ancestors("cpu")[0]) == f"/sys/fs/c group{expected}"


@pytest.mark.parametrize(
    ("memberships", "mounts"),
    [
        (V1_MEMBERSHIPS.format(path="/other"), V1_MOUNTS.format(root="/kubepods/x")),
        (V1_MEMBERSHIPS.format(path="/a"), ""),
        ("0::/a\n", "31 23 0:28 / /sys rw - tmpfs tmpfs rw\n"),
        ("1:name=systemd:/\n", V1_MOUNTS.format(root="/")),
    ],
)
def test_a_group_that_is_not_mounted_here_is_a_named_error(tmp_path: Path, memberships: str, mounts: str) -> None:
    with pytest.raises(LabError):
        own_cgroup(proc(tmp_path, memberships, mounts))


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
    (tmp_path / "cpu,cpuacct").mkdir()
    (tmp_path / "cpuset").mkdir()
    for name in ("cpu,cpuacct/cpu.shares", "cpu,cpuacct/cpuacct.usage", "cpuset/cpuset.cpus"):
        (tmp_path / name).write_text("0\n")
    (tmp_path / "cpu").symlink_to("cpu,cpuacct")

    hierarchy = find_hierarchy(tmp_path)

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
    program = "from exporter.lab.owner import own_prefix; print(own_prefix('demo'))"
    dead = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    start, namespace = mine.split("-")[3:5]

    assert mine != again
    assert all(map(names_owner, (mine, again, dead)))
    assert not owner_is_dead(mine)
    assert owner_is_dead(dead)
    # The pid was given to another process since.
    assert owner_is_dead(mine.replace(start, str(int(start) + 1)))
    # A process of another pid namespace cannot be seen from here.
    assert not owner_is_dead(dead.replace(namespace, str(int(namespace) + 1)))
    for other in ("kubepods", "kte-demo", "kte-demo-1", f"x{dead}", f"{dead}/y", "kte-demo-1-2-3-x"):
        assert not names_owner(other)
        assert not owner_is_dead(other)


def test_the_owner_of_a_name_may_be_a_zombie() -> None:
    program = "from exporter.lab.owner import own_prefix; print(own_prefix('demo'), flush=True)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert owner_is_dead(name)
