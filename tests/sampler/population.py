"""Cgroups and pod lists by hand, for what the sampler decides without reading a file."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from pathlib import Path

from exporter.cgroupfs.files import Descriptors, reraise
from exporter.identities import ContainerIdentity, ContainerSpec, PodIdentity, PodList, PodSpec, QosClass
from exporter.model import CgroupRef, CpuLimits
from exporter.sampler.mapping import PodIndex, assign, deadline
from exporter.sampler.tracked import MappingState, TrackedCgroup
from tests.support.readers import v2_files
from tests.support.treebuilder import container_id

NOW = 1000.0
ORDINARY = CpuLimits("set", 0.5, 0.1, shares=512)
SMALLEST = CpuLimits("none", None, 0.1, shares=2)
"""What the kubelet gives a sandbox, and a container that asks for no CPU."""

_inodes = count(1)


def cgroup(
    uid: str,
    name: str | None = None,
    *,
    prefix: str = "kubepods",
    limits: CpuLimits = ORDINARY,
    seen: float = NOW,
    attempts: int = 0,
    inode: int | None = None,
    qos_class: QosClass = "Burstable",
) -> TrackedCgroup:
    """The cgroup of container ``name`` (its id is made from the name) in pod ``uid``, or the pod's own; made now."""
    pod_path = f"{prefix}/pod{uid}"
    cid = None if name is None else container_id(name)
    path = pod_path if cid is None else f"{pod_path}/{cid}"
    ref = CgroupRef(path, pod_path, uid, cid, qos_class, "containerd", "cgroupfs")
    return TrackedCgroup(
        ref=ref,
        inode=next(_inodes) if inode is None else inode,
        subgroup=False,
        files=v2_files(Path(path), budget=Descriptors(0)),
        on_error=reraise,
        first_seen=seen,
        first_attempts=attempts,
        placement_began=seen,
        limits=limits,
    )


def running(name: str, *, now: str | None = None, before: tuple[str, ...] = ()) -> ContainerIdentity:
    """Container ``name`` whose instance has the id made from ``now`` (from its own name unless told)."""
    return ContainerIdentity(
        container_id(now or name),
        name,
        "container",
        "containerd",
        True,
        ContainerSpec(0.25, 0.5),
        previous_container_ids=tuple(map(container_id, before)),
    )


def pod(uid: str, name: str, *containers: ContainerIdentity, namespace: str = "shop") -> PodIdentity:
    return PodIdentity(uid, namespace, name, PodSpec("Burstable"), "Pod", name, containers=containers)


def directory(*pods: PodIdentity) -> PodIndex:
    return PodIndex.of(PodList({one.uid: one for one in pods}))


def states(
    cgroups: Iterable[TrackedCgroup],
    known: PodIndex,
    *,
    attempts: int = 0,
    waited: float = 0.0,
    expects_names: bool = True,
) -> list[MappingState]:
    """The state of each cgroup after names were given at ``waited`` seconds from :data:`NOW`."""
    cgroups = list(cgroups)
    assign(cgroups, known, deadline(attempts, NOW + waited, expects_names=expects_names))
    return [one.state for one in cgroups]
