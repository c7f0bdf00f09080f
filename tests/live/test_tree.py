"""Groups of the lab in the machine's real hierarchy: what is asked for is what the kernel has, and all of it goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.lab.hierarchy import Hierarchy, LabError, own_cgroup, read_control
from exporter.lab.profiles import present_cgroup
from exporter.lab.spec import Container, CpuSettings, Pod, Workload, weight
from exporter.lab.stale_marker import own_prefix
from exporter.lab.tree import CgroupTree, KubepodsTree, remove_stale
from exporter.lab.workloads import Workforce
from exporter.model import Driver
from tests.support.lab import traces


def settings_of(tree: CgroupTree, group: str) -> tuple[str, str, str]:
    """Quota and period, burst, and weight or shares, as the kernel gives them back."""

    def read(name: str) -> str:
        return read_control(tree.file("cpu", group, name))

    if tree.hierarchy.version == "v2":
        return read("cpu.max"), read("cpu.max.burst"), read("cpu.weight")
    return f"{read('cpu.cfs_quota_us')} {read('cpu.cfs_period_us')}", read("cpu.cfs_burst_us"), read("cpu.shares")


def asked(tree: CgroupTree, quota: str, burst: str, cpu_shares: int) -> tuple[str, str, str]:
    if tree.hierarchy.version == "v2":
        return quota.replace("-1", "max"), burst, str(weight(cpu_shares))
    return quota, burst, str(cpu_shares)


def test_a_group_has_what_was_asked_for_and_can_be_resized(tree: CgroupTree) -> None:
    cpu = min(tree.hierarchy.cpus())
    tree.make("a/b", CpuSettings(quota_cores=0.4, burst_seconds=0.02, shares=512, cpus=frozenset({cpu})))
    first = settings_of(tree, "a/b")
    # Below the burst it had, with another period: in the wrong order the kernel refuses either.
    tree.set("a/b", CpuSettings(quota_cores=0.1, period_seconds=0.05, shares=512))
    second = settings_of(tree, "a/b")
    tree.set("a/b", CpuSettings(shares=512))

    assert first == asked(tree, "40000 100000", "20000", 512)
    assert second == asked(tree, "5000 50000", "0", 512)
    assert settings_of(tree, "a/b") == asked(tree, "-1 100000", "0", 512)
    assert read_control(tree.file("cpuset", "a/b", "cpuset.cpus")) == str(cpu)


def test_what_the_kernel_refuses_is_a_named_error(tree: CgroupTree) -> None:
    with pytest.raises(LabError, match="Invalid argument") as caught:
        tree.make("a", CpuSettings(quota_cores=0.1, burst_seconds=0.2))

    assert caught.value.reason == "einval"


def test_a_process_is_moved_with_the_name_of_every_controller(tree: CgroupTree) -> None:
    tree.make("a")
    with subprocess.Popen(["sleep", "60"]) as process:
        tree.attach("a", process.pid)
        memberships = Path(f"/proc/{process.pid}/cgroup").read_text()
        tree.remove("a")
        code = process.wait(5)

    assert memberships.count(f":/{tree.path('a')}\n") == len(tree.hierarchy.directories("x"))
    assert code == -signal.SIGKILL


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_pods_come_and_go_with_whatever_runs_in_them(hierarchy: Hierarchy, driver: Driver) -> None:
    prefix = own_prefix("test")
    made = Pod(namespace="a", name="b", containers=(Container(name="c", limit_cores=0.1),)).identified(prefix)
    with KubepodsTree(hierarchy, prefix, driver) as tree, Workforce() as workforce:
        tree.add_pod(made)
        members = tree.members(tree.container_group(made, made.containers[0]))
        job = workforce.start(Workload(kind="busy", workers=3), members, lifetime=30)
        pod_quota = settings_of(tree, tree.pod_group(made))[0]
        # Workers in the middle of their work, a pod in the middle of a period.
        tree.remove_pod(made)
        workforce.wait([job], 5)

        assert pod_quota == "10000 100000"
        assert not any(directory.exists() for directory in hierarchy.directories(tree.path(tree.pod_group(made))))
    assert not [trace for trace in traces(os.getpid()) if prefix in trace]


def test_only_a_dead_owners_tree_is_removed(hierarchy: Hierarchy, tree: CgroupTree) -> None:
    program = (
        "import os; from exporter.lab.hierarchy import *; from exporter.lab.tree import *\n"
        "from exporter.lab.stale_marker import own_prefix; from exporter.lab.workloads import *\n"
        "tree = CgroupTree(find_hierarchy(), own_prefix('test')).__enter__(); tree.make('a/b')\n"
        "Workforce().start(Workload(kind='busy'), tree.members('a/b'), lifetime=30)\n"
        "print(tree.prefix, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    dead = done.stdout.strip()
    tree.make("alive")
    foreign = [directory / "not-ours" for directory in hierarchy.directories(tree.prefix)]
    for directory in foreign:
        directory.mkdir()

    assert done.returncode == -signal.SIGKILL, done.stderr
    assert any(directory.exists() for directory in hierarchy.directories(dead))
    assert dead in remove_stale(hierarchy)
    assert not any(directory.exists() for directory in hierarchy.directories(dead))
    assert all(directory.exists() for directory in (*foreign, *hierarchy.directories(tree.path("alive"))))


def test_the_group_a_process_runs_in_is_found_with_its_tightest_limit(tree: CgroupTree, tmp_path: Path) -> None:
    tree.make("pod", CpuSettings(quota_cores=0.3))
    tree.make("pod/container", CpuSettings(quota_cores=0.5) if tree.hierarchy.version == "v2" else CpuSettings())
    with subprocess.Popen(["sleep", "60"]) as process:
        tree.attach("pod/container", process.pid)
        (tmp_path / "self").symlink_to(f"/proc/{process.pid}")
        with present_cgroup(*own_cgroup(proc=tmp_path)) as own:
            name, limit, stat = own.name, own.place.limit_cores, own.stat()
        process.kill()
        process.wait()

    assert name == str(tree.hierarchy.mounts["cpu"] / tree.path("pod"))
    assert limit == pytest.approx(0.3)
    assert stat.periods is not None
