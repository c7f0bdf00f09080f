"""Layouts in which a path alone does not tell what a cgroup is: the pod list decides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from exporter.analysis.nodeview import name_of
from exporter.model import Snapshot
from exporter.sampler.mapping import ATTEMPTS
from tests.sampler.rig import Rig, running, shown
from tests.support.pods import pod
from tests.support.pods import running as status
from tests.support.treebuilder import container_id, pod_uid, v1, v2, write_v2
from tests.support.trees import cgroupfs_pod, systemd_pod

UID = pod_uid("web")
APP, OTHER = container_id("app"), container_id("other")


def listed(*ids: str, uid: str = UID, qos_class: str = "Burstable") -> dict[str, Any]:
    """The pod ``default/web-1`` with a running container for each id."""
    return pod(
        uid,
        containers=[{"name": f"c{n}"} for n, _ in enumerate(ids)],
        statuses=[status(f"c{n}", f"containerd://{cid}") for n, cid in enumerate(ids)],
        status={"qosClass": qos_class},
    )


def settled(rig: Rig, *pods: dict[str, Any]) -> Snapshot:
    """Some refreshes and scans later, when nothing waits for its name any more."""
    for _ in range(ATTEMPTS):
        rig.pods(json.dumps({"kind": "PodList", "items": list(pods)}).encode())
    rig.scan()
    rig.tick()
    return rig.snapshot()


def names(snapshot: Snapshot) -> set[tuple[str, str, str | None]]:
    return {(one.namespace, one.pod, one.container) for one in (*snapshot.containers, *snapshot.pods)}


def test_an_empty_leftover_of_a_listed_pod_is_no_unmapped_container(tmp_path: Path) -> None:
    build = v2(tmp_path)
    path = build.pod(systemd_pod(UID, "Burstable"), UID, "Burstable")
    build.container(f"{path}/cri-containerd-{APP}.scope", APP, "containerd")
    left = tmp_path / path / f"cri-containerd-{OTHER}.scope"
    write_v2(left, 77, None)
    (left / "pids.current").write_text("0\n")
    with running(Rig(tmp_path, expects_names=True)) as rig:
        snapshot = settled(rig, listed(APP))
        assert names(snapshot) == {("default", "web-1", "c0"), ("default", "web-1", None)}
        assert (snapshot.cgroups["empty"], snapshot.cgroups["unmapped"]) == (1, 0)
        (left / "pids.current").write_text("2\n")
        assert settled(rig, listed(APP)).cgroups["unmapped"] == 1


def test_a_leftover_of_a_sandbox_that_timed_out_does_not_stand_for_the_one_that_runs(tmp_path: Path) -> None:
    build = v2(tmp_path)
    path = build.pod(systemd_pod(UID, "Burstable"), UID, "Burstable")
    left, pause = (tmp_path / path / f"cri-containerd-{container_id(name)}.scope" for name in ("left", "pause"))
    with running(Rig(tmp_path, expects_names=True)) as rig:
        for directory in (left, pause):
            write_v2(directory, 77, None)
            (directory / "cpu.weight").write_text("1\n")
            (directory / "pids.current").write_text("1\n")
            settled(rig, listed())
            (left / "pids.current").write_text("0\n")
        build.container(f"{path}/cri-containerd-{APP}.scope", APP, "containerd")
        snapshot = settled(rig, listed(APP))
        assert names(snapshot) == {("default", "web-1", "c0"), ("default", "web-1", None)}
        assert (snapshot.cgroups["sandbox"], snapshot.cgroups["empty"]) == (1, 1)


def test_a_leftover_of_which_nothing_tells_the_tasks_stays_unmapped(tmp_path: Path) -> None:
    build = v2(tmp_path)
    path = build.pod(systemd_pod(UID, "Burstable"), UID, "Burstable")
    build.container(f"{path}/cri-containerd-{APP}.scope", APP, "containerd")
    write_v2(tmp_path / path / f"cri-containerd-{OTHER}.scope", 77, None)
    with running(Rig(tmp_path, expects_names=True)) as rig:
        assert settled(rig, listed(APP)).cgroups["unmapped"] == 1


@pytest.mark.parametrize("directory", [f"kata_{OTHER}", OTHER, f"cri-containerd-{OTHER}.scope"])
@pytest.mark.parametrize("quota", [None, 200_000])
def test_a_kata_pod_has_pod_rows_only(tmp_path: Path, directory: str, quota: int | None) -> None:
    build = v2(tmp_path)
    path = build.pod(systemd_pod(UID, "Burstable"), UID, "Burstable")
    write_v2(tmp_path / path / directory, 77, quota)
    (tmp_path / path / directory / "cpu.weight").write_text("100\n")
    with running(Rig(tmp_path, expects_names=True)) as rig:
        snapshot = settled(rig, listed(APP))
    assert names(snapshot) == {("default", "web-1", None)}
    assert {state: snapshot.cgroups[state] for state in ("sandbox", "unmapped", "missing")} == {
        "sandbox": 1,
        "unmapped": 0,
        "missing": 1,
    }
    assert [name_of(one) for one in snapshot.subjects] == [("default", "web-1", "")]


@pytest.mark.parametrize("is_left", [True, False])
@pytest.mark.parametrize("directory", ["kata_{}", "{}", "cri-containerd-{}.scope"])
def test_a_kata_sandbox_made_anew_takes_the_place_of_the_one_before(
    tmp_path: Path, directory: str, *, is_left: bool
) -> None:
    """The one before is left without a task, or its last counters linger."""
    build = v2(tmp_path)
    path = build.pod(systemd_pod(UID, "Burstable"), UID, "Burstable")
    first, second = (tmp_path / path / directory.format(cid) for cid in (OTHER, container_id("second")))
    with running(Rig(tmp_path, expects_names=True)) as rig:
        write_v2(first, 77, None)
        settled(rig, listed(APP))
        if is_left:
            (first / "pids.current").write_text("0\n")
        else:
            shutil.rmtree(first)
        write_v2(second, 78, None)
        rig.scan()
        rig.tick()
        snapshot = settled(rig, listed(APP))
    assert names(snapshot) == {("default", "web-1", None)}
    assert (snapshot.cgroups["sandbox"], snapshot.cgroups["empty"]) == (1, int(is_left))


def test_a_container_that_restarted_is_no_sandbox_once_its_status_has_come(tmp_path: Path) -> None:
    """In a pod without a sandbox cgroup a status that lags names only the instance before."""
    build = v2(tmp_path)
    path = build.pod(systemd_pod(UID, "Burstable"), UID, "Burstable")
    build.container(f"{path}/crio-{OTHER}.scope", OTHER, "cri-o")
    with running(Rig(tmp_path, expects_names=True)) as rig:
        settled(rig, listed(APP))
        snapshot = settled(rig, listed(OTHER))
    assert ("default", "web-1", "c0") in names(snapshot)


@pytest.mark.parametrize(
    "place",
    [
        *("k8s.io/{}", "docker/{}", "system.slice/docker-{}.scope", "system.slice/cri-containerd-{}.scope"),
        "system.slice/crio-{}.scope",
    ],
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_without_pod_cgroups_containers_are_found_by_the_ids_of_the_pod_list(
    tmp_path: Path, place: str, version: str
) -> None:
    build = v2(tmp_path) if version == "v2" else v1(tmp_path)
    build.group(place.format(APP), quota=50_000)
    build.others(place.format(OTHER), "system.slice/kubelet.service")
    with running(Rig(tmp_path, expects_names=True)) as rig:
        assert names(rig.snapshot()) == set()
        snapshot = settled(rig, listed(APP, qos_class="Guaranteed"))
        assert names(snapshot) == {("default", "web-1", "c0")}
        found = shown(snapshot, cid=APP)
        assert (found.ref.pod_uid, found.qos_class, found.ref.path) == (UID, "Guaranteed", place.format(APP))
        assert found.limits is not None
        assert found.limits.limit_cores == 0.5
        assert found.stat.periods
        later = settled(rig)  # a name once known stays
        assert (names(later), later.cgroups["mapped"]) == (names(snapshot), 1)
        assert snapshot.cgroups["missing"] == 0


@pytest.mark.parametrize("first", [True, False])
def test_a_pod_whose_slice_exists_twice_is_read_where_its_containers_are(tmp_path: Path, first: bool) -> None:
    """The kubelet with the systemd driver makes one, with the quota; the runtime with cgroupfs the other."""
    build = v2(tmp_path)
    slices = [systemd_pod(UID, "Burstable"), cgroupfs_pod(UID, "Burstable")]
    for path in slices if first else slices[::-1]:
        build.pod(path, UID, "Burstable")
    (tmp_path / slices[0] / "cpu.max").write_text("90000 100000\n")
    build.container(f"{slices[1]}/{APP}", APP, "")
    with running(Rig(tmp_path, expects_names=True)) as rig:
        snapshot = settled(rig, listed(APP))
    assert names(snapshot) == {("default", "web-1", "c0"), ("default", "web-1", None)}
    assert [one.ref.path for one in snapshot.pods] == [slices[1]]


def test_a_pod_whose_containers_are_elsewhere_is_not_shown_as_a_whole_pod(tmp_path: Path) -> None:
    """containerd with the cgroupfs driver below a kubelet with the systemd driver."""
    build = v2(tmp_path)
    path = build.pod(systemd_pod(UID, "Burstable"), UID, "Burstable")
    build.group(f"system.slice/{Path(path).name}:cri-containerd:{APP}", quota=50_000)
    with running(Rig(tmp_path, expects_names=True)) as rig:
        assert [name_of(one) for one in settled(rig, listed(APP)).subjects] == [("default", "web-1", "c0")]
