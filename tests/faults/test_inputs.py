"""What a node does not have is said by name, and only what somebody asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sampler.rig import COLLECTORS, Rig, running
from tests.support.treebuilder import v2
from tests.support.trees import containerd_systemd, docker_systemd

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
