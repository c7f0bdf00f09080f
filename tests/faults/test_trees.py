"""What lingers has a bound, and what a node does not have is said by name."""

from __future__ import annotations

import shutil
from pathlib import Path

from exporter.sampler.inventory import MAX_LINGERING
from tests.sampler.rig import COLLECTORS, Rig, running
from tests.soak.soak import memory_folder
from tests.support.treebuilder import container_id, pod_uid, v2, write_files
from tests.support.trees import cgroupfs_pod, containerd_systemd, docker_systemd


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


def test_what_no_collector_wants_is_not_missed(tmp_path: Path) -> None:
    containerd_systemd(tmp_path)
    read_for = {"throttle": "cpu_stat_local", "usage": "cpu_usage", "pressure": "cpu_pressure", "cpuset": "cpuset"}
    for collector, name in read_for.items():
        with running(Rig(tmp_path, collectors=COLLECTORS - {collector})) as rig:
            assert name not in rig.snapshot().inputs


def test_without_containers_nothing_is_said_of_what_they_would_show(tmp_path: Path) -> None:
    v2(tmp_path)
    with running(Rig(tmp_path)) as rig:
        assert rig.snapshot().inputs.keys() == OF_THE_NODE
