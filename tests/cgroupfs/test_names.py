"""Paths of every layout that a kubelet, a runtime or something above them makes."""

from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.cgroupfs.names import decode
from exporter.identities import QosClass
from exporter.model import CgroupRef
from tests.support.treebuilder import Tree
from tests.support.trees import cgroupfs_pod, systemd_pod

UID = "6a1b2c3d-0d11-4e22-8f33-123456789abc"
SLICE_UID = UID.replace("-", "_")
STATIC = "9729a196c4723b60ab401eaff722982d"
CID = "0123456789abcdef" * 4
OTHER_CID = "fedcba9876543210" * 4

QOS_CLASSES: tuple[QosClass, ...] = ("Guaranteed", "Burstable", "BestEffort")
PODS: dict[str, CgroupRef] = {}
"""A pod's path, with each driver, class and kind of uid, as the kubelet and as kind's kubelet name it."""
for uid, qos in product((UID, STATIC), QOS_CLASSES):
    for path in (systemd_pod(uid, qos), systemd_pod(uid, qos, "kubelet.slice/", "kubelet-")):
        PODS[path] = CgroupRef(path, path, uid, None, qos, "", "systemd")
    path = cgroupfs_pod(uid, qos)
    PODS[path] = CgroupRef(path, path, uid, None, qos, "", "cgroupfs")

CONTAINERS = {
    "{}": "",
    "crio-{}": "cri-o",
    "kata_{}": "kata",
    "cri-containerd-{}.scope": "containerd",
    "crio-{}.scope": "cri-o",
    "docker-{}.scope": "docker",
    "libpod-{}.scope": "",
}
"""Container directory -> its runtime, below any pod directory."""

PREFIXES = (
    "",
    "kubelet/",
    f"docker/{OTHER_CID}/",
    f"docker/{OTHER_CID}/kubelet/",
    f"system.slice/docker-{OTHER_CID}.scope/",
    f"system.slice/docker-{OTHER_CID}.scope/docker/{CID}/",
    "user.slice/user-1000.slice/user@1000.service/app.slice/k3s-rootless.service/",
)


@pytest.mark.parametrize("path", PODS)
def test_pod_and_its_containers_are_known_below_any_prefix(path: str) -> None:
    for prefix in PREFIXES:
        pod = PODS[path]._replace(path=prefix + path, pod_path=prefix + path)
        for spelling in ("{}", "/{}", "//{}//"):
            assert decode(spelling.format(prefix + path)) == pod
        for directory, runtime in CONTAINERS.items():
            container = f"{prefix}{path}/{directory.format(CID)}"
            assert decode(container) == pod._replace(path=container, container_id=CID, runtime=runtime)


@pytest.mark.parametrize(("uid", "qos"), list(product((UID, STATIC), QOS_CLASSES)))
def test_containerd_with_its_own_driver_below_a_systemd_kubelet(uid: str, qos: QosClass) -> None:
    name = systemd_pod(uid, qos).rpartition("/")[2] + f":cri-containerd:{CID}"
    for path in (f"system.slice/containerd.service/{name}", f"system.slice/k3s.service/{name}", name):
        assert decode(path) == CgroupRef(path, path, uid, CID, qos, "containerd", "systemd")
        assert decode(f"{path}/below") is None


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "kubepods", "kubepods.slice/kubepods-burstable.slice", "kubepods/burstable"),
        *("system.slice/kubelet.service", "system.slice/pod-cleanup.service", "user.slice/user-1000.slice"),
        *(f"docker/{CID}", f"system.slice/docker-{CID}.scope", f"machine.slice/machine-libpod_pod_{CID}.slice"),
        *("kubepods/podnot-a-uid", f"kubepods/pod{UID[:-1]}", f"kubepods/pod{UID}0", f"kubepods/pod{UID.upper()}"),
        *(f"kubepods/xpod{UID}", f"kubepods/pod{UID}.scope", f"kubepods/pod{UID}\n", f"kubepods/pod{STATIC[:-1]}"),
    ],
)
def test_what_is_no_pod_is_no_row(path: str) -> None:
    assert decode(path) is None


@pytest.mark.parametrize(
    "below",
    [
        *(f"crio-conmon-{CID}.scope", f"crio-conmon-{CID}", f"libpod-conmon-{CID}.scope"),
        *(
            f"cri-containerd-{CID}.scope/init.scope",
            f"cri-containerd-{CID}.scope/system.slice/docker-{OTHER_CID}.scope",
        ),
        *(f"cri-containerd-{CID}.scope/kubelet/kubepods/pod{UID}", f"crio-{CID}.scope/container"),
        *(f"{CID}/{OTHER_CID}", f"{CID}/kubelet/kubepods/besteffort/pod{STATIC}/{OTHER_CID}", f"not-a-container/{CID}"),
        *(CID[:-1], CID + "0", f"cri-containerd-{CID}.slice", f"{CID}\n", "container", f"/{CID}"),
    ],
)
def test_what_a_pod_holds_beside_containers_is_no_row(below: str) -> None:
    for pod in PODS:
        assert decode(f"{pod}/{below}") is None, pod


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"k8s.io/{CID}", ("", "cgroupfs")),
        (f"system.slice/docker-{CID}.scope", ("docker", "systemd")),
        (f"system.slice/crio-conmon-{CID}.scope", None),
        (f"k8s.io/{OTHER_CID}", None),
        (f"docker/{CID}/inside", None),
    ],
)
def test_container_without_a_pod_s_cgroup_is_known_by_its_id(path: str, expected: tuple[str, str] | None) -> None:
    for qos in (None, *QOS_CLASSES):
        found = decode(path, {CID: (UID, qos)})
        assert found == (expected and (path, path, UID, CID, qos or "BestEffort", *expected))
    assert decode(path, {}) is None


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
