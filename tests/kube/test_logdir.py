import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import MappingError
from exporter.identities import ContainerIdentity, PodIdentity, PodList
from exporter.kube.logdir import LogDirSource, parse_log_names
from exporter.kube.podlist import parse_pod_list
from exporter.kube.source import FileSource, NoneSource, TimedFile
from tests.kube.conftest import failure
from tests.sampler.rig import Rig, running
from tests.support.pods import pod, pod_list
from tests.support.trees import containerd_systemd

TREES = Path(__file__).parent.parent / "fixtures" / "trees"
LISTINGS = Path(__file__).parent.parent / "fixtures" / "logs"
UID = "0b7c9a52-0000-4000-8000-000000000001"
ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64


def recorded(driver: str) -> tuple[list[str], list[tuple[str, str]]]:
    listing = json.loads((LISTINGS / f"kubelet-1.36-cgroup-v1-{driver}.json").read_text())
    return listing["pods"], [(name, target) for name, target in listing["containers"].items()]


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_recorded_names_tell_the_same_pods_as_the_kubelet(driver: str) -> None:
    told = parse_pod_list((TREES / f"kubelet-1.36-cgroup-v1-{driver}" / "pods.json").read_bytes(), "kubelet")
    named = parse_log_names(*recorded(driver))
    assert dict(named.problems) == {}
    assert {(p.uid, p.namespace, p.name) for p in named.pods.values()} == {
        (p.uid, p.namespace, p.name) for p in told.pods.values()
    }
    assert {(p.uid, c.name, c.container_id, c.restart_count) for p in named.pods.values() for c in p.containers} == {
        (p.uid, c.name, c.container_id, c.restart_count) for p in told.pods.values() for c in p.containers
    }


def lay(folder: Path, pods: list[str], links: dict[str, str]) -> LogDirSource:
    for name in pods:
        (folder / "pods" / name).mkdir(parents=True)
    (folder / "containers").mkdir()
    for name, target in links.items():
        (folder / "containers" / name).symlink_to(target)
    return LogDirSource(str(folder))


async def test_links_that_lead_nowhere_are_enough(tmp_path: Path) -> None:
    pod = f"payments_web-1_{UID}"
    source = lay(tmp_path, [pod], {f"web-1_payments_app-x-{ONE}.log": f"/var/log/pods/{pod}/app-x/0.log"})
    assert (await source.pods()).pods[UID] == PodIdentity(
        uid=UID,
        namespace="payments",
        name="web-1",
        spec=None,
        workload_kind="",
        workload="",
        containers=(ContainerIdentity(ONE, "app-x", "container", "", True, None),),
    )


async def test_of_two_instances_the_later_one_runs_and_pods_of_one_name_are_told_apart(tmp_path: Path) -> None:
    old, new = "default_db-0_old", "default_db-0_new"
    links = {
        f"db-0_default_app-{ONE}.log": f"/var/log/pods/{old}/app/10.log",
        f"db-0_default_app-{TWO}.log": f"/var/log/pods/{old}/app/9.log",
        f"db-0_default_app-{THREE}.log": f"/var/log/pods/{new}/app/0.log",
    }
    pods = (await lay(tmp_path, [old, new], links).pods()).pods
    told = {
        u: (c.container_id, c.previous_container_ids, c.restart_count) for u, p in pods.items() for c in p.containers
    }
    assert told == {"old": (ONE, (TWO,), 10), "new": (THREE, (), 0)}


async def test_foreign_entries_are_counted_and_passed_over(tmp_path: Path) -> None:
    folder = f"default_web-1_{UID}"
    no_text = os.fsdecode(b"shop_web\xfe_uid")  # as question marks two such names would look alike on the page
    half_an_id = {f"web-1_default_app-{ONE[:40]}.log": f"/var/log/pods/{folder}/app/0.log"}
    pods = [folder, "lost+found", "a_b", "a_b_c_d", no_text]
    source = lay(tmp_path, pods, {"latest": "/etc", f"a_b-{ONE}.log": "/x", **half_an_id})
    (tmp_path / "containers" / f"web-1_default_app-{ONE}.log").write_text("a file, no link")
    found = await source.pods()
    assert (set(found.pods), dict(found.problems)) == ({UID}, {"malformed_name": 8})


async def test_a_folder_that_is_missing_or_none(tmp_path: Path) -> None:
    assert str(tmp_path / "pods") in await failure(LogDirSource(str(tmp_path)), "not_found")
    (tmp_path / "pods").write_text("")
    await failure(LogDirSource(str(tmp_path)), "unreadable")


names = st.text(alphabet="ab_-/.0\n" + "f" * 3, max_size=90) | st.just(f"p_n_c-{ONE}.log") | st.just("/n_p_u/c/0.log")


@given(folders=st.lists(names), links=st.lists(st.tuples(names, names)))
def test_any_names_are_pods_or_counted(folders: list[str], links: list[tuple[str, str]]) -> None:
    pods = parse_log_names(folders, links)
    assert isinstance(pods, PodList)
    assert len(pods.pods) + pods.problems.get("malformed_name", 0) <= len(folders) + len(links)


def test_a_page_without_specs_says_no_drift_and_the_class_of_the_path(tmp_path: Path) -> None:
    """Unknown is not unset: log names know neither limits nor QoS class."""
    tree = containerd_systemd(tmp_path)
    for one in tree.containers:
        (tree.root / one.path / "cpu.max").write_text("50000 100000\n")
    folders = {pod.pod_uid: f"apps_pod-{pod.pod_uid[:8]}_{pod.pod_uid}" for pod in tree.pods}
    links = [
        (f"pod-{c.pod_uid[:8]}_apps_c-{c.container_id}.log", f"/var/log/pods/{folders[c.pod_uid]}/c/0.log")
        for c in tree.containers
    ]
    with running(Rig(tree.root)) as rig:
        rig.sampler.set_pods(parse_log_names(list(folders.values()), links))
        rig.tick()
        snapshot, page = rig.snapshot(), rig.page()
    assert {row.pod for row in snapshot.containers} == {f"pod-{uid[:8]}" for uid in folders}
    classes = {one.pod_uid: one.qos_class for one in tree.pods}
    assert {row.ref.pod_uid: row.qos_class for row in snapshot.containers} == classes
    assert page.rows("cgroup_container_cpu_limit_cores")
    assert not page.rows("cgroup_container_cpu_limit_drift")
    assert not page.rows("cgroup_container_spec_cpu_limit_cores")
    shown = {(dict(labels)["pod"], dict(labels)["qos_class"]) for labels in page.rows("cgroup_pod_info")}
    assert shown == {(row.pod, row.qos_class) for row in snapshot.containers}


@pytest.mark.parametrize(("left", "is_known"), [(63, True), (40, True), (8, True), (7, False), (0, False)])
def test_a_name_cut_within_the_id_still_names_the_cgroup(tmp_path: Path, left: int, is_known: bool) -> None:
    """Its target tells the rest: the kubelet cuts link names at 255 characters, the id first."""
    tree = containerd_systemd(tmp_path)
    one = tree.containers[0]
    start = f"{'p' * 63}_{'n' * 63}_"
    container = "c" * (255 - len(".log") - left - len(start) - len("-"))
    name = f"{start}{container}-{one.container_id}"[: 255 - len(".log")] + ".log"
    folder = f"{'n' * 63}_{'p' * 63}_{one.pod_uid}"
    found = parse_log_names([folder], [(name, f"/var/log/pods/{folder}/{container}/0.log")])
    assert dict(found.problems) == ({} if is_known else {"malformed_name": 1})
    with running(Rig(tree.root)) as rig:
        rig.sampler.set_pods(found)
        rig.tick()
        shown = {row.container for row in rig.snapshot().containers if row.ref.container_id == one.container_id}
    assert (shown == {container}) is is_known


# ---- file and none ----


async def test_the_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    source = FileSource(str(path))
    await failure(source, "not_found")
    for name in ("one", "two"):
        path.write_bytes(pod_list(pod("uid", name)))
        assert (await source.pods()).pods["uid"].name == name
    path.write_text("kind: PodList\nitems: []\n")
    await failure(source, "malformed")
    await failure(FileSource(str(tmp_path)), "unreadable")


async def test_a_file_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"12345")
    assert await TimedFile(str(path), "file", most=5).read() == b"12345"
    with pytest.raises(MappingError, match=f"^file {path}: more than 4 bytes$"):
        await TimedFile(str(path), "file", most=4).read()


async def test_none_knows_nothing_and_never_fails() -> None:
    assert await NoneSource().pods() == PodList(pods={})
