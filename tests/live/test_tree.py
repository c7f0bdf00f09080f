"""Groups of the lab in the machine's real hierarchy: what is asked for is what the kernel has, and all of it goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.cli.stress import place
from exporter.lab.cgroups import CgroupTree, Hierarchy, LabError, writable_hierarchy, write_control
from exporter.lab.spec import Container, CpuSettings, Workload, weight
from exporter.lab.workloads import Workforce
from exporter.model import Driver
from tests.support.lab import group_of, pod, traces


def settings_of(tree: CgroupTree, group: str) -> list[str]:
    """Quota and period, burst, and weight or shares, as the kernel gives them back."""
    names = ["cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us", "cpu.shares"]
    if tree.hierarchy.version == "v2":
        names = ["cpu.max", "cpu.max.burst", "cpu.weight"]
    return " ".join(tree.file("cpu", group, name).read_text() for name in names).split()


@contextmanager
def sleeping_in(tree: CgroupTree, group: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        for file in tree.members(group):
            write_control(file, str(process.pid))
        yield process
        process.kill()


def test_a_group_has_what_was_asked_for_and_can_be_resized(tree: CgroupTree) -> None:
    cpu = min(tree.hierarchy.cpus())
    tree.make("a/b", CpuSettings(quota_cores=0.4, burst_us=20_000, shares=512, cpus=frozenset({cpu})))
    first = settings_of(tree, "a/b")
    tree.set("a/b", CpuSettings(quota_cores=0.5, period_us=50_000))
    tree.set("a/b", CpuSettings())

    shares, unlimited = (str(weight(512)), "max") if tree.hierarchy.version == "v2" else ("512", "-1")
    assert first == ["40000", "100000", "20000", shares]
    assert settings_of(tree, "a/b") == [unlimited, "100000", "20000", shares]
    assert tree.file("cpuset", "a/b", "cpuset.cpus").read_text() == f"{cpu}\n"
    with pytest.raises(LabError, match="<- '300000': Invalid argument"):
        tree.make("a", CpuSettings(quota_cores=0.1, burst_us=300_000))


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_pods_come_and_go_with_whatever_runs_in_them(hierarchy: Hierarchy, driver: Driver) -> None:
    with CgroupTree(hierarchy, "test", driver) as tree, Workforce() as workforce:
        made = pod("b", Container(name="c", limit_cores=0.1)).identified(tree.prefix)
        tree.add_pod(made)
        job = workforce.start(Workload("busy", 3), tree.members(group_of(tree, made)))
        pod_quota = settings_of(tree, made.cgroup(driver))[:2]
        with sleeping_in(tree, group_of(tree, made)) as process:
            memberships = Path(f"/proc/{process.pid}/cgroup").read_text()
            # Workers in the middle of their work, a pod in the middle of a period.
            tree.remove(made.cgroup(driver))
            assert process.wait(5) == -signal.SIGKILL

        assert job.wait() == []
        assert pod_quota == ["10000", "100000"]
        path = tree.path(made.cgroup(driver))
        assert memberships.count(f":/{path}/") == len(hierarchy.directories("x"))
        assert not any(directory.exists() for directory in hierarchy.directories(path))
    assert not [trace for trace in traces(os.getpid()) if tree.prefix in trace]


def test_only_a_dead_owners_tree_is_removed(hierarchy: Hierarchy, tree: CgroupTree) -> None:
    program = (
        "import os; from exporter.lab.cgroups import *; from exporter.lab.workloads import *\n"
        "tree = CgroupTree(find_hierarchy(), 'test').__enter__(); tree.make('a/b')\n"
        "Workforce().start(Workload('busy'), tree.members('a/b'))\n"
        "print(tree.prefix, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    dead = hierarchy.directories(done.stdout.strip())
    tree.make("alive")

    assert done.returncode == -signal.SIGKILL, done.stderr
    assert any(directory.exists() for directory in dead)
    writable_hierarchy()
    assert not any(directory.exists() for directory in dead)
    assert all(directory.exists() for directory in hierarchy.directories(tree.path("alive")))


def test_the_group_a_process_runs_in_is_found_with_its_tightest_limit(tree: CgroupTree, tmp_path: Path) -> None:
    tree.make("pod", CpuSettings(quota_cores=0.3))
    tree.make("pod/container", CpuSettings(quota_cores=0.5) if tree.hierarchy.version == "v2" else CpuSettings())
    with sleeping_in(tree, "pod/container") as process:
        (tmp_path / "self").symlink_to(f"/proc/{process.pid}")
        with place(tree.hierarchy.root, tmp_path) as own:
            name, quota, stat = own.name, own.quota_seconds, own.stat()

    assert name == str(tree.hierarchy.mounts["cpu"] / tree.path("pod"))
    assert quota == pytest.approx(0.03)
    assert stat is not None
    assert stat.periods is not None
