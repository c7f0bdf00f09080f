"""What a cgroup's path says of the pod and container in it. Pure.

Two cgroup drivers of the kubelet and several runtimes spell the same facts differently; prefixes (kind's ``kubelet``,
docker-in-docker, k3s) may come before all of them. So the outermost component that names a pod decides, wherever it is,
and what lies deeper than a container belongs to that container.
Spellings: kubelet ``pkg/kubelet/cm/cgroup_manager_linux.go``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from exporter.identities import QosClass
from exporter.model import CgroupRef

KATA = "kata"  # what Kata names a pod's one cgroup by, with all of its virtual machine in it: kata_ID
SUBGROUP = "container"  # the child that crun puts a container's processes in (run.oci.systemd.subgroup)
Owners = Mapping[str, tuple[str, QosClass | None]]  # container id -> uid and QoS class of its pod
NO_OWNERS: Owners = MappingProxyType({})

_POD = re.compile(
    r"(?:^|/)(?:[^/]*-)?pod(?P<uid>[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})"
    r"(?P<slice>\.slice)?(?::(?P<runtime>[a-z][a-z0-9-]*):(?P<id>[0-9a-f]{64}))?(?=/|\Z)"
)
_CONTAINER = re.compile(r"(?:(?P<runtime>[a-z][a-z0-9]*(?:-[a-z]+)*)[-_])?(?P<id>[0-9a-f]{64})(?:\.scope)?")
_RUNTIMES = {"cri-containerd": "containerd", "crio": "cri-o", "docker": "docker", KATA: KATA}
_MONITORS = {"crio-conmon", "libpod-conmon"}


def decode(path: str, owners: Owners = NO_OWNERS) -> CgroupRef | None:
    """The pod or container whose cgroup is at ``path`` (relative to the hierarchy's root), or ``None`` for any other.

    Where no component names a pod, the container of ``owners`` whose id the last one has: with the kubelet's
    ``--cgroups-per-qos=false`` there are no pod cgroups (``/k8s.io/ID``, ``/docker/ID``).
    """
    path = path.strip("/")
    pod = _POD.search(path)
    if pod is None:
        return _decode_by_id(path, owners) if owners else None
    # containerd's own driver below a systemd kubelet: one component for both, SLICE:cri-containerd:ID.
    pod_path, below = path[: pod.end()], path[pod.end() + 1 :]
    container = pod if pod["id"] else _CONTAINER.fullmatch(below)
    if below and (pod["id"] or container is None or container["runtime"] in _MONITORS):
        return None
    # The pod's own slice carries the class with the systemd driver, its parent directory does with cgroupfs.
    component = f"/{pod_path}".split("/")[-1 if pod["slice"] else -2]
    qos_class: QosClass = "Guaranteed"
    if "burstable" in component:
        qos_class = "Burstable"
    elif "besteffort" in component:
        qos_class = "BestEffort"
    return CgroupRef(
        path=path,
        pod_path=pod_path,
        pod_uid=pod["uid"].replace("_", "-"),
        container_id=None if container is None else container["id"],
        qos_class=qos_class,
        runtime="" if container is None else _RUNTIMES.get(container["runtime"] or "", ""),
        driver="systemd" if pod["slice"] else "cgroupfs",
    )


def _decode_by_id(path: str, owners: Owners) -> CgroupRef | None:
    match = _CONTAINER.fullmatch(path.rpartition("/")[2])
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
        driver="systemd" if path.endswith(".scope") else "cgroupfs",
    )
