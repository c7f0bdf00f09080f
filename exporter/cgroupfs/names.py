"""What a cgroup's path says of the pod and container in it. Pure.

Two cgroup drivers of the kubelet and several runtimes spell the same facts differently; prefixes (kind's ``kubelet``,
docker-in-docker, k3s) may come before all of them. So the outermost component that names a pod decides, wherever it is,
and what lies deeper than a container belongs to that container.
Spellings: kubelet ``pkg/kubelet/cm/cgroup_manager_linux.go``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from exporter.identities import QosClass
from exporter.model import CgroupRef, Driver

KATA = "kata"
"""What Kata names a pod's one cgroup by, with all of its virtual machine in it: ``kata_ID``."""
_POD = re.compile(
    r"(?:^|-)pod(?P<uid>[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})"
    r"(?P<slice>\.slice)?(?::(?P<runtime>[a-z][a-z0-9-]*):(?P<id>[0-9a-f]{64}))?\Z"
)
_CONTAINER = re.compile(r"(?:(?P<runtime>[a-z][a-z0-9]*(?:-[a-z]+)*)[-_])?(?P<id>[0-9a-f]{64})(?:\.scope)?\Z")
_RUNTIMES = {"cri-containerd": "containerd", "crio": "cri-o", "docker": "docker", KATA: KATA}
_MONITORS = {"crio-conmon", "libpod-conmon"}

SUBGROUP = "container"
"""The child that crun puts a container's processes in (``run.oci.systemd.subgroup``)."""
Owners = Mapping[str, tuple[str, QosClass | None]]
"""Container id -> uid and QoS class of its pod."""


def decode(path: str) -> CgroupRef | None:
    """The pod or container whose cgroup is at ``path`` (relative to the hierarchy's root), or ``None`` for any other.

    The limit of a name is its own: a path that merely resembles one gives ``None``, never an error.
    """
    components = path.strip("/").split("/")
    for depth, component in enumerate(components):
        match = _POD.search(component) if "pod" in component else None
        if match is None:
            continue
        parent = components[depth - 1] if depth else ""
        pod_path = "/".join(components[: depth + 1])
        below = components[depth + 1 :]
        if match["id"] is not None:
            return None if below else _ref(pod_path, pod_path, match, parent, match["id"], match["runtime"])
        if not below:
            return _ref(pod_path, pod_path, match, parent, None, None)
        inner = _CONTAINER.match(below[0]) if len(below) == 1 else None
        if inner is None or inner["runtime"] in _MONITORS:
            return None
        return _ref(f"{pod_path}/{below[0]}", pod_path, match, parent, inner["id"], inner["runtime"])
    return None


def decode_by_id(path: str, owners: Owners) -> CgroupRef | None:
    """The container whose id the last component has, where no component names a pod; ``None`` for any other.

    With the kubelet's ``--cgroups-per-qos=false`` there are no pod cgroups: ``/k8s.io/ID``, ``/docker/ID``,
    ``/system.slice/docker-ID.scope``.
    """
    name = path.rpartition("/")[2]
    match = _CONTAINER.match(name) if owners else None
    if match is None or match["id"] not in owners or match["runtime"] in _MONITORS:
        return None
    uid, qos_class = owners[match["id"]]
    return CgroupRef(
        path=path,
        pod_path=path,
        pod_uid=uid,
        container_id=match["id"],
        qos_class=qos_class or "BestEffort",
        runtime=_RUNTIMES.get(match["runtime"] or "", ""),
        driver="systemd" if name.endswith(".scope") else "cgroupfs",
    )


def _ref(
    path: str, pod_path: str, pod: re.Match[str], parent: str, container_id: str | None, runtime: str | None
) -> CgroupRef:
    driver: Driver = "systemd" if pod["slice"] else "cgroupfs"
    # The pod's own slice carries the class with the systemd driver, its parent directory does with cgroupfs.
    said_in = pod.string if driver == "systemd" else parent
    qos_class: QosClass = "Guaranteed"
    if "burstable" in said_in:
        qos_class = "Burstable"
    elif "besteffort" in said_in:
        qos_class = "BestEffort"
    return CgroupRef(
        path=path,
        pod_path=pod_path,
        pod_uid=pod["uid"].replace("_", "-"),
        container_id=container_id,
        qos_class=qos_class,
        runtime=_RUNTIMES.get(runtime or "", ""),
        driver=driver,
    )
