"""Where the machine's hierarchy is, and where this process itself runs: from given files alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from exporter.cli.stress import place
from exporter.errors import ReadError
from exporter.lab.cgroups import LabError, find_hierarchy, writable_hierarchy

TREES = Path(__file__).parent.parent / "fixtures/trees"


def v1_tree(folder: Path, *groups: str) -> Path:
    for name in ("cpu,cpuacct/cpu.shares", "cpu,cpuacct/cpuacct.usage", "cpuset/cpuset.cpus"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("0\n")
    (folder / "cpu").symlink_to("cpu,cpuacct")
    for group in groups:
        (folder / "cpu" / group).mkdir(parents=True)
    return folder


def own_cgroup(root: Path, memberships: str) -> str:
    """The path of the cgroup that a process with these memberships runs in, below its mount."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(memberships)
    with place(root, root / "proc") as found:
        assert found.quota_seconds == math.inf
        return str(Path(found.name).relative_to(find_hierarchy(root).mounts["cpu"]))


@pytest.mark.parametrize(("groups", "path"), [(["a/b c"], "a/b c"), ([], ".")], ids=["host", "container"])
def test_the_own_cgroup_on_v1(tmp_path: Path, groups: list[str], path: str) -> None:
    """A container sees its own group as the root."""
    memberships = "4:cpuset:/a/b c\n3:cpu,cpuacct:/a/b c\n1:name=systemd:/x\n0::/y\n"
    assert own_cgroup(v1_tree(tmp_path, *groups), memberships) == path


@pytest.mark.parametrize("path", [".", "user.slice/a.scope"])
def test_the_own_cgroup_on_v2(tmp_path: Path, path: str) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu\n")
    (tmp_path / path).mkdir(parents=True, exist_ok=True)
    assert own_cgroup(tmp_path, f"0::/{path}\n") == path


@pytest.mark.parametrize(
    ("recording", "version"), [("kubelet-1.36-cgroup-v1-cgroupfs", "v1"), ("linux-6.18-cgroup-v2-systemd", "v2")]
)
def test_the_hierarchy_is_the_one_that_holds_cpu(recording: str, version: str) -> None:
    hierarchy = find_hierarchy(TREES / recording / "t0/sys/fs/cgroup")

    assert hierarchy.version == version
    assert set(hierarchy.mounts) == {"cpu", "cpuacct", "cpuset"}
    assert len(hierarchy.directories("x")) == (3 if version == "v1" else 1)
    assert hierarchy.cpus()


def test_a_joint_mount_is_one_directory_and_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="not a cgroup tree"):
        find_hierarchy(tmp_path)
    hierarchy = find_hierarchy(v1_tree(tmp_path))
    assert hierarchy.directories("x") == (tmp_path / "cpu,cpuacct/x", tmp_path / "cpuset/x")
    with pytest.raises(LabError, match="no cgroup with a cpu controller"):
        own_cgroup(tmp_path, "1:name=systemd:/\n0::/a\n")


def test_plain_files_are_not_a_writable_hierarchy(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpuset cpu\n")

    with pytest.raises(LabError, match=r"No such file|only root"):
        writable_hierarchy(tmp_path)

    assert {one.name for one in tmp_path.iterdir()} == {"cgroup.controllers", "cgroup.subtree_control"}
