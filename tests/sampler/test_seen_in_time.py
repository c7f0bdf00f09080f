"""A setting that changed is on the page soon, whoever changed it and whether or not anybody told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.sampler.sampler import FULL_RESYNC_SCANS
from tests.sampler.rig import Rig, row, running, shown
from tests.support.recordings import overwrite
from tests.support.treebuilder import container_id, pod_uid, v1, v2, write_v2
from tests.support.trees import cgroupfs_pod, crio, many_pods, systemd_pod

SETTLED = 8


def settle(rig: Rig) -> None:
    """No container is young any more."""
    for _ in range(SETTLED):
        rig.tick()
    rig.scan()
    rig.tick()


def scans_until(rig: Rig, seen: Callable[[], bool], most: int = 3 * FULL_RESYNC_SCANS) -> int:
    """How many scans it takes; 0 when a tick is enough."""
    for number in range(most):
        if number:
            rig.now += 9
            rig.scan()
        rig.tick()
        if seen():
            return number
    return most


def limit(rig: Rig, cid: str) -> float | None:
    found = row(rig.snapshot(), cid=cid)
    return found.limits.limit_cores if found is not None and found.limits is not None else None


def has_cpuset(rig: Rig, cid: str) -> bool:
    found = row(rig.snapshot(), cid=cid)
    return found is not None and found.cpuset is not None


def test_the_quota_of_crun_s_subgroup_which_nobody_watches(tmp_path: Path) -> None:
    tree = crio(tmp_path)
    with running(Rig(tmp_path)) as rig:
        settle(rig)
        one = next(container for container in tree.containers if container.limit_cores == 0.7)
        assert limit(rig, one.container_id) == 0.7
        (tmp_path / one.path / "container" / "cpu.max").write_text("20000 100000\n")
        assert scans_until(rig, lambda: limit(rig, one.container_id) == 0.2) <= 1


def test_a_subgroup_that_comes_late(tmp_path: Path) -> None:
    build, uid, cid = v2(tmp_path), pod_uid("late"), container_id("late")
    build.pod(systemd_pod(uid, "Burstable"), uid, "Burstable")
    scope = build.container(f"{build.pods[-1].path}/crio-{cid}.scope", cid, "cri-o", quota=60000)
    with running(Rig(tmp_path)) as rig:
        settle(rig)
        assert limit(rig, cid) == 0.6
        write_v2(tmp_path / scope / "container", 77, 20000)
        assert scans_until(rig, lambda: limit(rig, cid) == 0.2) <= 1
        found = shown(rig.snapshot(), cid=cid)
        assert found.stat.periods == 1077, "counted where the quota is"


def test_what_no_file_tells_is_read_in_turn_however_many_come_and_go(tmp_path: Path) -> None:
    tree = many_pods(tmp_path, 60)
    *others, victim = tree.containers
    with running(Rig(tmp_path)) as rig:
        settle(rig)
        (tmp_path / victim.path / "cpu.max.burst").unlink()
        seen = FULL_RESYNC_SCANS + 1
        for scan in range(1, FULL_RESYNC_SCANS + 1):
            shutil.rmtree(tmp_path / others[scan].path)
            rig.now += 9
            rig.scan()
            rig.tick()
            found = row(rig.snapshot(), cid=victim.container_id)
            if found is not None and found.limits is not None and found.limits.burst_seconds is None:
                seen = scan
                break
        assert seen <= FULL_RESYNC_SCANS


@pytest.mark.parametrize("scans", [1, 4])
def test_a_cpuset_that_could_not_be_understood(tmp_path: Path, scans: int) -> None:
    tree = many_pods(tmp_path, 20)
    one = tree.containers[0]
    with running(Rig(tmp_path)) as rig:
        settle(rig)
        overwrite(tmp_path / one.path / "cpuset.mems.effective", b"x\n")
        overwrite(tmp_path / one.path / "cpuset.cpus.effective", b"0-2\n")
        for _ in range(scans):
            rig.failures()
            rig.now += 9
            rig.scan()
            rig.tick()
            assert not has_cpuset(rig, one.container_id)
            assert rig.failures() == {("parse", "malformed"): 1}, "as long as it lasts"
        overwrite(tmp_path / one.path / "cpuset.mems.effective", b"0\n")
        assert scans_until(rig, lambda: has_cpuset(rig, one.container_id)) <= 1


def test_directories_of_other_controllers_that_come_late(tmp_path: Path) -> None:
    build, uid = v1(tmp_path), pod_uid("late")
    build.pod(cgroupfs_pod(uid, "Burstable"), uid, "Burstable")
    ids = [container_id(f"late{number}") for number in range(FULL_RESYNC_SCANS + 2)]
    for cid in ids:
        build.container(f"{build.pods[-1].path}/{cid}", cid, "")
    path, late = build.pods[-1].path, ids[3]
    for controller in ("cpuset", "cpuacct"):
        shutil.move(tmp_path / controller / path / late, tmp_path / f"later-{controller}")
    with running(Rig(tmp_path)) as rig:
        settle(rig)
        assert not has_cpuset(rig, late)
        for controller in ("cpuset", "cpuacct"):
            shutil.move(tmp_path / f"later-{controller}", tmp_path / controller / path / late)
        assert scans_until(rig, lambda: has_cpuset(rig, late)) <= 1
        found = shown(rig.snapshot(), cid=late)
        assert found.stat.usage_seconds is not None
