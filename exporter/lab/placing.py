"""Where the kubelet and the runtime put a pod's and a container's cgroup. Pure; paths are relative to the top's parent.

The kubelet's side is ``pkg/kubelet/cm/cgroup_manager_linux.go``, containerd's ``internal/cri/server``.
"""

from __future__ import annotations

from typing import assert_never

from exporter.identities import QosClass
from exporter.model import Driver


def top(driver: Driver) -> str:
    """The group of all pods."""
    return "kubepods" if driver == "cgroupfs" else "kubepods.slice"


def qos_group(driver: Driver, qos: QosClass) -> str:
    """The group of all pods of one QoS class; Guaranteed pods sit directly below the top."""
    match qos:
        case "Guaranteed":
            return top(driver)
        case "Burstable" | "BestEffort":
            name = qos.lower()
            return f"{top(driver)}/" + (name if driver == "cgroupfs" else f"kubepods-{name}.slice")
        case _:
            assert_never(qos)


def pod_group(driver: Driver, qos: QosClass, uid: str) -> str:
    """A pod's group; systemd's slice names carry the whole way down, and a dash in them would mean a level."""
    above = qos_group(driver, qos)
    if driver == "cgroupfs":
        return f"{above}/pod{uid}"
    slice_ = above.rsplit("/", 1)[-1].removesuffix(".slice")
    return f"{above}/{slice_}-pod{uid.replace('-', '_')}.slice"


def container_group(driver: Driver, qos: QosClass, uid: str, container_id: str) -> str:
    """A container's group as containerd names it; a pod's sandbox has one of its own."""
    leaf = container_id if driver == "cgroupfs" else f"cri-containerd-{container_id}.scope"
    return f"{pod_group(driver, qos, uid)}/{leaf}"
