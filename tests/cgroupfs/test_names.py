"""Paths of every layout that a kubelet, a runtime or something above them makes."""

import time
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.cgroupfs.names import decode
from exporter.identities import QosClass
from exporter.model import CgroupRef, Driver
from tests.support.recordings import RECORDINGS, Node, Recording
from tests.support.treebuilder import Tree
from tests.support.trees import cgroupfs_pod, systemd_pod

UID = "6a1b2c3d-0d11-4e22-8f33-123456789abc"
SLICE_UID = UID.replace("-", "_")
STATIC = "9729a196c4723b60ab401eaff722982d"
CID = "0123456789abcdef" * 4
OTHER_CID = "fedcba9876543210" * 4


def ref(
    path: str,
    pod_path: str,
    *,
    uid: str = UID,
    cid: str | None = None,
    qos: QosClass = "Burstable",
    runtime: str = "",
    driver: Driver = "systemd",
) -> CgroupRef:
    return CgroupRef(path, pod_path, uid, cid, qos, runtime, driver)


SLICES: tuple[tuple[str, str, QosClass], ...] = (
    (f"kubepods.slice/kubepods-pod{SLICE_UID}.slice", UID, "Guaranteed"),
    (f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICE_UID}.slice", UID, "Burstable"),
    (f"kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{SLICE_UID}.slice", UID, "BestEffort"),
    (f"kubepods.slice/kubepods-pod{STATIC}.slice", STATIC, "Guaranteed"),
    (f"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{SLICE_UID}.slice", UID, "Guaranteed"),
    (
        f"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{STATIC}.slice",
        STATIC,
        "Burstable",
    ),
)
FOLDERS: tuple[tuple[str, str, QosClass], ...] = (
    (f"kubepods/pod{UID}", UID, "Guaranteed"),
    (f"kubepods/burstable/pod{UID}", UID, "Burstable"),
    (f"kubepods/besteffort/pod{UID}", UID, "BestEffort"),
    (f"kubepods/burstable/pod{STATIC}", STATIC, "Burstable"),
)
PODS = {path: ref(path, path, uid=uid, qos=qos) for path, uid, qos in SLICES} | {
    path: ref(path, path, uid=uid, qos=qos, driver="cgroupfs") for path, uid, qos in FOLDERS
}

# Container directory -> its runtime, below any pod directory.
CONTAINERS = {
    CID: "",
    f"crio-{CID}": "cri-o",
    f"cri-containerd-{CID}.scope": "containerd",
    f"crio-{CID}.scope": "cri-o",
    f"docker-{CID}.scope": "docker",
    f"libpod-{CID}.scope": "",
}

PREFIXES = (
    "",
    "kubelet/",
    f"docker/{OTHER_CID}/",
    f"docker/{OTHER_CID}/kubelet/",
    f"system.slice/docker-{OTHER_CID}.scope/",
    f"system.slice/docker-{OTHER_CID}.scope/docker/{CID}/",
    "user.slice/user-1000.slice/user@1000.service/app.slice/k3s-rootless.service/",
    "actions_job/",
)


@pytest.mark.parametrize("path", PODS)
def test_pod_of_each_driver_and_class_is_known_below_any_prefix(path: str) -> None:
    for prefix in PREFIXES:
        assert decode(prefix + path) == PODS[path]._replace(path=prefix + path, pod_path=prefix + path)


@pytest.mark.parametrize("directory", CONTAINERS)
def test_container_of_each_runtime_is_known_below_any_pod(directory: str) -> None:
    for prefix, (pod, want) in product(PREFIXES, PODS.items()):
        assert decode(f"{prefix}{pod}/{directory}") == want._replace(
            path=f"{prefix}{pod}/{directory}", pod_path=prefix + pod, container_id=CID, runtime=CONTAINERS[directory]
        )


@pytest.mark.parametrize(
    ("name", "uid", "qos"),
    [
        (f"kubepods-burstable-pod{SLICE_UID}.slice:cri-containerd:{CID}", UID, "Burstable"),
        (f"kubepods-besteffort-pod{SLICE_UID}.slice:cri-containerd:{CID}", UID, "BestEffort"),
        (f"kubepods-pod{SLICE_UID}.slice:cri-containerd:{CID}", UID, "Guaranteed"),
        (f"kubelet-kubepods-burstable-pod{STATIC}.slice:cri-containerd:{CID}", STATIC, "Burstable"),
    ],
)
def test_containerd_with_its_own_driver_below_a_systemd_kubelet(name: str, uid: str, qos: QosClass) -> None:
    for prefix in ("system.slice/containerd.service/", "system.slice/k3s.service/", ""):
        path = prefix + name
        assert decode(path) == ref(path, path, uid=uid, cid=CID, qos=qos, runtime="containerd")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "kubepods",
        "kubepods.slice",
        "kubepods.slice/kubepods-burstable.slice",
        "kubepods/burstable",
        "system.slice/kubelet.service",
        "system.slice/pod-cleanup.service",
        "user.slice/user-1000.slice",
        f"docker/{CID}",
        f"system.slice/docker-{CID}.scope",
        f"machine.slice/libpod-{CID}.scope",
        f"machine.slice/machine-libpod_pod_{CID}.slice",
        "kubepods/podnot-a-uid",
        f"kubepods/pod{UID[:-1]}",
        f"kubepods/pod{UID}0",
        f"kubepods/pod{UID.upper()}",
        f"kubepods/xpod{UID}",
        f"kubepods/pod{UID}.scope",
        f"kubepods/pod{UID}\n",
        f"kubepods/pod{STATIC[:-1]}",
    ],
)
def test_what_is_no_pod_is_no_row(path: str) -> None:
    assert decode(path) is None


@pytest.mark.parametrize(
    "below",
    [
        f"crio-conmon-{CID}.scope",
        f"crio-conmon-{CID}",
        f"libpod-conmon-{CID}.scope",
        f"cri-containerd-{CID}.scope/init.scope",
        f"cri-containerd-{CID}.scope/system.slice/cron.service",
        f"cri-containerd-{CID}.scope/system.slice/docker-{OTHER_CID}.scope",
        f"cri-containerd-{CID}.scope/kubelet/kubepods/pod{UID}",
        f"crio-{CID}.scope/container",
        f"{CID}/{OTHER_CID}",
        f"not-a-container/{CID}",
        CID[:-1],
        CID + "0",
        f"cri-containerd-{CID}.slice",
        f"{CID}\n",
        "container",
        f"/{CID}",
    ],
)
def test_what_a_pod_holds_beside_containers_is_no_row(below: str) -> None:
    for pod in PODS:
        assert decode(f"{pod}/{below}") is None, pod


def test_kubernetes_in_a_pod_belongs_to_the_outer_container() -> None:
    inside = f"kubepods/burstable/pod{UID}/{CID}/kubelet/kubepods/besteffort/pod{STATIC}/{OTHER_CID}"
    assert decode(inside) is None
    assert decode(inside.partition("/kubelet")[0]) is not None


@pytest.mark.parametrize("spelling", ["/{}", "{}/", "//{}//"])
def test_slashes_at_the_ends_say_nothing(spelling: str) -> None:
    for path, want in PODS.items():
        assert decode(spelling.format(path)) == want


def test_every_cgroup_of_a_layout_is_decoded_as_its_builder_meant(tree: Tree) -> None:
    for pod in tree.pods:
        found = decode(pod.path)
        assert found is not None, pod
        assert found[:6] == (pod.path, pod.path, pod.pod_uid, None, pod.qos_class, "")
    for one in tree.containers:
        found = decode(one.path)
        assert found is not None, one
        assert found[:6] == (one.path, one.pod_path, one.pod_uid, one.container_id, one.qos_class, one.runtime)
    for path in (*tree.inside, *tree.noise):
        assert decode(path) is None, path


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_every_pod_of_a_recorded_kubelet_is_found_with_its_class(recording: Recording) -> None:
    cpu = Node(recording.t0).cpu
    refs = [found for path in cpu.rglob("*") if path.is_dir() and (found := decode(str(path.relative_to(cpu))))]
    qos = {found.pod_uid: found.qos_class for found in refs if found.container_id is None}
    assert qos == {pod["metadata"]["uid"]: pod["status"]["qosClass"] for pod in recording.pod_list["items"]}
    assert {found.driver for found in refs} == {"systemd" if "systemd" in recording.name else "cgroupfs"}


HEX = "0123456789abcdef"
uids = st.uuids().map(str) | st.text(HEX, min_size=32, max_size=32)
container_ids = st.text(HEX, min_size=64, max_size=64)
qos_classes: st.SearchStrategy[QosClass] = st.sampled_from(("Guaranteed", "Burstable", "BestEffort"))
components = st.text(st.characters(blacklist_characters="/"), min_size=1, max_size=20)
prefixes = (
    st.lists(components, max_size=5)
    .map(lambda parts: "".join(f"{part}/" for part in parts))
    .filter(lambda prefix: decode(prefix + "x") is None)
)
directories = st.sampled_from(
    (
        ("{}", ""),
        ("crio-{}", "cri-o"),
        ("docker-{}.scope", "docker"),
        ("crio-{}.scope", "cri-o"),
        ("cri-containerd-{}.scope", "containerd"),
    )
)


@given(prefix=prefixes, uid=uids, qos=qos_classes, cid=container_ids, directory=directories)
def test_what_a_cgroupfs_kubelet_writes_is_read_back(
    prefix: str, uid: str, qos: QosClass, cid: str, directory: tuple[str, str]
) -> None:
    pod = cgroupfs_pod(uid, qos, prefix)
    name = directory[0].format(cid)
    head = CgroupRef(pod.strip("/"), pod.strip("/"), uid, None, qos, "", "cgroupfs")
    assert decode(pod) == head
    container = head._replace(path=f"{head.path}/{name}", container_id=cid, runtime=directory[1])
    assert decode(f"{pod}/{name}") == container
    assert decode(f"{pod}/{name}/anything") is None


@given(
    prefix=prefixes,
    slice_prefix=st.sampled_from(("", "kubelet-", "k8s-node-")),
    uid=uids,
    qos=qos_classes,
    cid=container_ids,
    directory=directories,
)
def test_what_a_systemd_kubelet_writes_is_read_back(
    prefix: str, slice_prefix: str, uid: str, qos: QosClass, cid: str, directory: tuple[str, str]
) -> None:
    pod = systemd_pod(uid, qos, prefix, slice_prefix)
    name = directory[0].format(cid)
    head = CgroupRef(pod.strip("/"), pod.strip("/"), uid, None, qos, "", "systemd")
    assert decode(pod) == head
    container = head._replace(path=f"{head.path}/{name}", container_id=cid, runtime=directory[1])
    assert decode(f"{pod}/{name}") == container
    assert decode(f"{pod}/{name}/anything") is None


fragments = st.sampled_from(
    (
        "/",
        "pod",
        "-pod",
        ".slice",
        ".scope",
        ":cri-containerd:",
        "crio-conmon-",
        "kubepods",
        UID,
        SLICE_UID,
        STATIC,
        CID,
    )
)


@given(st.text() | st.lists(fragments | st.text(max_size=3), max_size=12).map("".join))
@example(f"\udcff/pod{UID}")
@example(f"pod{UID}//{CID}")
def test_any_text_is_a_pod_a_container_or_nothing(path: str) -> None:
    found = decode(path)
    if found is None:
        return
    assert found.path == path.strip("/")
    assert found.pod_path == found.path or found.path.startswith(f"{found.pod_path}/")
    assert found.path.count("/") - found.pod_path.count("/") in {0, 1}
    assert found.pod_uid.replace("-", "_") in found.pod_path.replace("-", "_")
    assert found.container_id is None or found.container_id in found.path.rpartition("/")[2]
    assert (found.container_id is None) <= (found.path == found.pod_path)


@pytest.mark.parametrize("start", ["", f"kubepods/pod{UID}/", f"kubepods/pod{SLICE_UID}.slice:"])
def test_a_hostile_path_costs_no_more_than_its_length(start: str) -> None:
    units = ("pod", "-pod", f"pod{UID[:-1]}", f"-pod{SLICE_UID}.slice:", "/", f"/pod{UID[:-1]}", "a-", "-a", "a", "0")
    began = time.process_time()
    for unit in units:
        assert decode(start + unit * (300_000 // len(unit)) + "!") is None
    # 3 MB in all: quadratic time would be hours.
    assert time.process_time() - began < 10.0
