"""Controller trees that are missing, go away and come: their values with them, never the containers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.sampler.inventory import MAX_LINGERING
from tests.faults.files import on_v1
from tests.sampler.rig import COLLECTORS, Rig, running
from tests.soak.soak import memory_folder
from tests.support.pages import Page, triples
from tests.support.treebuilder import Tree, container_id, pod_uid, v2, write_files
from tests.support.trees import cgroupfs_pod, containerd_systemd, docker_systemd, hybrid, v1_paths_differ

USAGE = "cgroup_container_cpu_usage_seconds_total"
PERIODS = "cgroup_container_cpu_periods_total"
CPUS = "cgroup_container_cpuset_cpus"
OF_TREE = {"cpuacct": USAGE, "cpuset": CPUS}
SCAN_SECONDS = 10


def seconds(rig: Rig, number: int) -> None:
    """As a process lives them: a tick each second, a scan each ten."""
    for second in range(number):
        if second % SCAN_SECONDS == 0:
            rig.scan()
        rig.tick()


def shown(page: Page, name: str) -> int:
    return len(triples(page.rows(name)))


@pytest.mark.parametrize("layout", [on_v1, v1_paths_differ, hybrid])
@pytest.mark.parametrize("name", OF_TREE)
def test_a_tree_that_goes_away_costs_its_values_and_no_container(
    name: str, layout: Callable[[Path], Tree], tmp_path: Path
) -> None:
    containers = len(layout(tmp_path / "cgroup").containers)
    mount, aside = tmp_path / "cgroup" / name, tmp_path / "aside"
    with running(Rig(tmp_path / "cgroup", descriptors=0)) as rig:
        seconds(rig, 30)
        ratios = shown(rig.page(), "cgroup_container_cpu_throttled_ratio")
        mount.rename(aside)
        for _ in range(25):
            rig.tick()
            page = rig.page()
            assert shown(page, PERIODS) == shown(page, "cgroup_container_cpu_limit_cores") == containers
            # The history goes on: nothing has happened to the quota.
            assert shown(page, "cgroup_container_cpu_throttled_ratio") == ratios == containers
        rig.scan()
        assert shown(rig.page(), OF_TREE[name]) == 0
        assert shown(rig.page(), "cgroup_container_cpu_throttled_ratio") == containers

        aside.rename(mount)
        seconds(rig, 61)
        assert shown(rig.page(), OF_TREE[name]) == containers
        assert rig.failures() == {}


def test_what_lingers_has_a_bound() -> None:
    """A job that makes a container a moment, and an hour of linger: the newest are kept, whatever was asked for."""
    folders: list[Path] = []
    with memory_folder() as root:
        pod = root / v2(root).pod(cgroupfs_pod(pod_uid("jobs"), "Burstable"), pod_uid("jobs"), "Burstable")
        with running(Rig(root, linger=3600.0)) as rig:
            for batch in range(MAX_LINGERING // 500 + 2):
                folders = [pod / container_id(f"{batch} {number}") for number in range(500)]
                for folder in folders:
                    write_files(folder, {"cpu.stat": "usage_usec 5"})
                rig.tick(0.1)
                for folder in folders:
                    shutil.rmtree(folder)
                rig.tick(0.1)
            shown = {one.ref.container_id for one in rig.snapshot().containers}
    assert MAX_LINGERING // 2 <= len(shown) <= MAX_LINGERING
    assert {folder.name for folder in folders} <= shown


# ---- what a node does not have is said by name, and only what somebody asked for ----

OF_THE_NODE = {"cpu_topology", "proc_stat", "cpu_manager_state", "kubelet_configz", "inotify"}


def test_each_version_of_cgroups_has_what_it_has(tmp_path: Path) -> None:
    containerd_systemd(tmp_path / "v2")
    docker_systemd(tmp_path / "v1")
    with running(Rig(tmp_path / "v2")) as rig:
        found = rig.snapshot().inputs
    assert {name for name in found.keys() - OF_THE_NODE if not found[name]} == set()
    with running(Rig(tmp_path / "v1")) as rig:
        found = rig.snapshot().inputs
    assert {name for name in found.keys() - OF_THE_NODE if not found[name]} == {"cpu_stat_local", "cpu_pressure"}
    assert {name for name in OF_THE_NODE if found[name]} == {"inotify"}


@pytest.mark.parametrize(
    ("collector", "name"),
    [("throttle", "cpu_stat_local"), ("usage", "cpu_usage"), ("pressure", "cpu_pressure"), ("cpuset", "cpuset")],
)
def test_what_no_collector_wants_is_not_missed(collector: str, name: str, tmp_path: Path) -> None:
    containerd_systemd(tmp_path)
    with running(Rig(tmp_path, collectors=COLLECTORS - {collector})) as rig:
        assert name not in rig.snapshot().inputs


def test_without_containers_nothing_is_said_of_what_they_would_show(tmp_path: Path) -> None:
    v2(tmp_path)
    with running(Rig(tmp_path)) as rig:
        assert rig.snapshot().inputs.keys() == OF_THE_NODE
