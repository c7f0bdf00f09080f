"""What an idle pod spares: files that are not read say nothing new, until something of the pod runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.sampler.inventory import INOTIFY_RETRY_SECONDS
from tests.sampler.rig import Rig, running, shown, without_inotify
from tests.support.recordings import overwrite
from tests.support.treebuilder import Builder, container_id, pod_uid, v1, v2
from tests.support.trees import cgroupfs_pod

UID, CID = pod_uid("idle"), container_id("app")
POD = cgroupfs_pod(UID, "Burstable")
OLD, NEW = 1003, 5000
"""Periods that the container's file says at first, and later, while the pod's usage stays what it was."""


def node(root: Path, version: str) -> Builder:
    build = (v1 if version == "v1" else v2)(root)
    build.pod(POD, UID, "Burstable")
    for name in ("app", "log"):
        build.container(f"{POD}/{container_id(name)}", container_id(name), "")
    return build


def file(root: Path, version: str, name: str, path: str = POD) -> Path:
    controller = {"v2": "", "v1": "cpuacct" if name.startswith("cpuacct") else "cpu"}[version]
    return root / controller / path / name


def container_counts(root: Path, version: str) -> None:
    text = f"nr_periods {NEW}\nnr_throttled 500\n" + ("" if version == "v1" else "usage_usec 7000000\n")
    overwrite(file(root, version, "cpu.stat", f"{POD}/{CID}"), text.encode())


def pod_runs(root: Path, version: str) -> None:
    name, text = ("cpuacct.usage", "77") if version == "v1" else ("cpu.stat", "usage_usec 77\nnr_periods 0\n")
    overwrite(file(root, version, name), f"{text}\n".encode())


def periods(rig: Rig) -> int | None:
    found = shown(rig.snapshot(), CID)
    return found.stat.periods


def is_idle(rig: Rig) -> None:
    for _ in range(4):
        rig.tick()
        assert periods(rig) is not None


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_files_below_an_idle_pod_are_not_read_until_it_runs(version: str, tmp_path: Path) -> None:
    node(tmp_path, version)
    with running(Rig(tmp_path)) as rig:
        before = periods(rig)
        container_counts(tmp_path, version)
        assert periods(rig) == NEW != before, "it has not been idle for long enough"
        is_idle(rig)
        overwrite(file(tmp_path, version, "cpu.stat", f"{POD}/{CID}"), b"not to be read\n")
        for _ in range(3):
            rig.tick()
            assert periods(rig) == NEW
        assert not rig.failures()
        pod_runs(tmp_path, version)
        assert periods(rig) is None
        assert rig.failures() == {("parse", "malformed"): 1}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_scan_reads_what_the_pod_does_not_tell(version: str, tmp_path: Path) -> None:
    node(tmp_path, version)
    with running(Rig(tmp_path)) as rig:
        is_idle(rig)
        container_counts(tmp_path, version)
        assert periods(rig) != NEW
        rig.scan()
        rig.tick()
        assert periods(rig) == NEW


def spoil_inotify(_root: Path, _version: str) -> None:
    """Without a notification, only reading tells what is gone."""


def limit_above(root: Path, version: str) -> None:
    """What a quota of the QoS class stopped does not run when the stop ends."""
    name, text = ("cpu.cfs_quota_us", "50000") if version == "v1" else ("cpu.max", "50000 100000")
    overwrite(file(root, version, name, POD.rpartition("/")[0]), f"{text}\n".encode())


def hide_usage(root: Path, version: str) -> None:
    if version == "v1":
        file(root, version, "cpuacct.usage").unlink()
    else:
        overwrite(file(root, version, "cpu.stat"), b"nr_periods 0\nnr_throttled 0\n")


@pytest.mark.parametrize("change", [spoil_inotify, limit_above, hide_usage])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_all_is_read_where_the_pods_usage_does_not_tell(version: str, change: object, tmp_path: Path) -> None:
    node(tmp_path, version)
    assert callable(change)
    change(tmp_path, version)
    with running(without_inotify(tmp_path) if change is spoil_inotify else Rig(tmp_path)) as rig:
        is_idle(rig)
        container_counts(tmp_path, version)
        assert periods(rig) == NEW


def test_idle_pods_are_spared_once_the_kernel_tells_of_changes(tmp_path: Path) -> None:
    node(tmp_path, "v2")
    with running(without_inotify(tmp_path)) as rig:
        is_idle(rig)
        rig.now += INOTIFY_RETRY_SECONDS
        rig.scan()
        is_idle(rig)
        container_counts(tmp_path, "v2")
        assert periods(rig) != NEW


def test_usage_that_v1_counts_elsewhere_is_no_sign_of_idleness(tmp_path: Path) -> None:
    build = node(tmp_path, "v1")
    usage = build.mounts["cpuacct"]
    (usage / POD / CID).rename(usage / CID)
    (usage / f"pod{UID}").mkdir()
    (usage / CID).rename(usage / f"pod{UID}" / CID)
    with running(Rig(tmp_path)) as rig:
        is_idle(rig)
        container_counts(tmp_path, "v1")
        assert periods(rig) == NEW
