"""Small cgroup hierarchies in the odd layouts of real systems, with what must be read from their paths.

Each function of :data:`LAYOUTS` writes one hierarchy below ``root`` (what ``--path.cgroup`` is given) and returns a
:class:`Tree`. No two cgroups of a tree hold the same numbers, so a reading under the wrong name shows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.pods import cpu, pod, running
from tests.support.treebuilder import (
    Builder,
    ExpectedContainer,
    QosClass,
    Tree,
    container_id,
    pod_uid,
    static_pod_uid,
    v1,
    v2,
    write_files,
)

QOS_FOLDERS: dict[QosClass, str] = {"Guaranteed": "", "Burstable": "burstable", "BestEffort": "besteffort"}


def cgroupfs_pod(uid: str, qos_class: QosClass, prefix: str = "") -> str:
    """A pod's path under the kubelet's cgroupfs driver."""
    folder = QOS_FOLDERS[qos_class]
    return f"{prefix}kubepods/{folder}{'/' if folder else ''}pod{uid}"


def systemd_pod(uid: str, qos_class: QosClass, prefix: str = "", slice_prefix: str = "") -> str:
    """A pod's path under the systemd driver; ``slice_prefix``: what kind's ``--cgroup-root`` puts before each name."""
    kubepods = f"{slice_prefix}kubepods"
    folder = QOS_FOLDERS[qos_class]
    qos = f"{kubepods}-{folder}" if folder else kubepods
    above = f"{prefix}{kubepods}.slice/" + (f"{qos}.slice/" if folder else "")
    return f"{above}{qos}-pod{uid.replace('-', '_')}.slice"


def in_scope(
    build: Builder, uid: str, qos_class: QosClass, cid: str, runtime: str = "containerd", **prefixes: str
) -> str:
    """A pod with one container under the systemd driver; returns the container's path."""
    pod = build.pod(systemd_pod(uid, qos_class, **prefixes), uid, qos_class)
    name = {"containerd": "cri-containerd", "cri-o": "crio"}.get(runtime, runtime)
    return build.container(f"{pod}/{name}-{cid}.scope", cid, runtime)


def in_folder(build: Builder, uid: str, qos_class: QosClass, cid: str, prefix: str = "") -> str:
    """The same under the cgroupfs driver, whose path does not say which runtime made it."""
    pod = build.pod(cgroupfs_pod(uid, qos_class, prefix), uid, qos_class)
    return build.container(f"{pod}/{cid}", cid, "")


def containerd_systemd(root: Path) -> Tree:
    """v2, systemd driver, containerd: one pod of each QoS class and a static pod."""
    build = v2(root)
    for qos_class in QOS_FOLDERS:
        in_scope(build, pod_uid(qos_class), qos_class, container_id(qos_class))
    in_scope(build, static_pod_uid("etcd"), "Burstable", container_id("etcd"))
    build.others("init.scope", "system.slice", "system.slice/kubelet.service", "system.slice/containerd.service")
    return build


def many_pods(root: Path, count: int) -> Tree:
    """v2, systemd driver: ``count`` pods of one container each."""
    build = v2(root)
    for number in range(count):
        in_scope(build, pod_uid(f"pod {number}"), "Burstable", container_id(f"pod {number}"))
    return build


def containerd_cgroupfs(root: Path) -> Tree:
    """v2, cgroupfs driver: one pod of each QoS class and a static pod."""
    build = v2(root)
    _one_of_each(build)
    in_folder(build, static_pod_uid("scheduler"), "Burstable", container_id("scheduler"))
    return build


def crio(root: Path) -> Tree:
    """CRI-O: conmon's scope beside the container's, and crun's ``container`` child with the limit on either."""
    build = v2(root)
    uid = pod_uid("crio")
    pod = build.pod(systemd_pod(uid, "Burstable"), uid, "Burstable")
    for name, quota, child_quota in (("plain", 40_000, None), ("on-scope", 60_000, None), ("on-child", None, 70_000)):
        cid = container_id(f"cri-o-{name}")
        build.container(f"{pod}/crio-{cid}.scope", cid, "cri-o", quota=quota, child_quota=child_quota)
        if name == "on-scope":
            build.below(f"{pod}/crio-{cid}.scope/container")
        build.others(f"{pod}/crio-conmon-{cid}.scope")
    return build


def docker_systemd(root: Path) -> Tree:
    """Docker behind cri-dockerd, systemd driver, on v1; and a container that docker runs outside Kubernetes."""
    build = v1(root)
    in_scope(build, pod_uid("docker"), "BestEffort", container_id("docker"), "docker")
    build.others(f"system.slice/docker-{container_id('registry')}.scope", f"docker/{container_id('registry')}")
    return build


def v1_joint_mount(root: Path) -> Tree:
    """``cpu`` and ``cpuacct`` in one mount, the single names being symlinks to it, as systemd makes them."""
    tree = v1_joint_mount_only(root)
    for name in ("cpu", "cpuacct"):
        (root / name).symlink_to("cpu,cpuacct")
    (root / "systemd/kubepods.slice").mkdir(parents=True)
    return tree


def v1_joint_mount_only(root: Path) -> Tree:
    """``cpu,cpuacct`` without symlinks."""
    joint = root / "cpu,cpuacct"
    return _one_of_each(v1(root, {"cpu": joint, "cpuacct": joint, "cpuset": root / "cpuset"}))


def _one_of_each(build: Builder) -> Tree:
    for qos_class in QOS_FOLDERS:
        in_folder(build, pod_uid(qos_class), qos_class, container_id(qos_class))
    return build


def v1_paths_differ(root: Path) -> Tree:
    """containerd with its cgroupfs manager under a kubelet with the systemd driver, on v1.

    systemd does not manage ``cpuset``, so there containerd itself sits in the root, and its containers beside it.
    """
    build = v1(root)
    uid = pod_uid("differ")
    build.pod(systemd_pod(uid, "Burstable"), uid, "Burstable")
    cid = container_id("differ")
    name = f"kubepods-burstable-pod{uid.replace('-', '_')}.slice:cri-containerd:{cid}"
    path = f"system.slice/containerd.service/{name}"
    build.container(path, cid, "containerd", pod_path=path, cpuset_path=name)
    write_files(root / "cpuset" / name, {"cpuset.cpus": "2", "cpuset.effective_cpus": "2", "cpuset.mems": "0"})
    build.others("system.slice", "system.slice/containerd.service")
    return build


def containerd_slice_colon(root: Path) -> Tree:
    """The same mix of drivers on v2, with a static pod and a Guaranteed one."""
    build = v2(root)
    cases: tuple[tuple[str, QosClass], ...] = ((pod_uid("colon"), "Guaranteed"), (static_pod_uid("colon"), "Burstable"))
    for uid, qos_class in cases:
        build.pod(systemd_pod(uid, qos_class), uid, qos_class)
        cid = container_id(uid)
        name = systemd_pod(uid, qos_class).rpartition("/")[2]
        path = f"system.slice/containerd.service/{name}:cri-containerd:{cid}"
        build.container(path, cid, "containerd", pod_path=path)
    return build


def hybrid(root: Path) -> Tree:
    """systemd's hybrid mode: controllers on v1, an empty v2 hierarchy in ``unified`` with the same folders."""
    tree = _one_of_each(v1(root))
    write_files(root / "unified", {"cgroup.controllers": "", "cgroup.procs": "1", "cgroup.subtree_control": ""})
    for container in tree.containers:
        write_files(root / "unified" / container.path, {"cgroup.controllers": "", "cgroup.procs": "4001"})
        write_files(root / "systemd" / container.path, {"cgroup.procs": "4001", "tasks": "4001"})
    return Tree(root, "hybrid", tree.containers, tree.pods)


def hybrid_cpu_on_unified(root: Path) -> Tree:
    """Hybrid where ``cpu`` and ``cpuset`` were given to the v2 hierarchy and only other controllers are on v1."""
    build = v2(root / "unified")
    build.root, build.unified, build.version = root, root / "unified", "hybrid"
    tree = _one_of_each(build)
    for controller in ("memory", "pids", "systemd"):
        for container in tree.containers:
            write_files(root / controller / container.path, {"cgroup.procs": "4001", "tasks": "4001"})
    return tree


def kind_from_host(root: Path) -> Tree:
    """A kind node from its real host: a docker container, not a row, with kind's cgroup root ``/kubelet`` in it."""
    build = v2(root)
    node = f"system.slice/docker-{container_id('kind-control-plane')}.scope"
    build.others("system.slice", node, f"{node}/init.scope", f"{node}/system.slice")
    pods: tuple[tuple[str, QosClass], ...] = ((static_pod_uid("kind"), "Burstable"), (pod_uid("kind"), "Guaranteed"))
    for uid, qos_class in pods:
        place = {"prefix": f"{node}/kubelet.slice/", "slice_prefix": "kubelet-"}
        in_scope(build, uid, qos_class, container_id(f"kind{uid}"), **place)
    return build


def two_kind_nodes(root: Path) -> Tree:
    """Two kind nodes on one host, cgroupfs driver: the same static pod, one uid, two pods."""
    build = v2(root)
    uid = static_pod_uid("kube-proxy")
    for node in ("worker", "worker2"):
        prefix = f"docker/{container_id(node)}/"
        build.others(prefix.rstrip("/"))
        in_folder(build, uid, "BestEffort", container_id(f"kube-proxy on {node}"), f"{prefix}kubelet/")
    return build


def gvisor(root: Path) -> Tree:
    """gVisor: pods whose containers have no cgroups of their own, beside an ordinary pod."""
    build = v2(root)
    for uid in (pod_uid("gvisor"), pod_uid("gvisor2")):
        build.pod(systemd_pod(uid, "Guaranteed"), uid, "Guaranteed")
    in_scope(build, pod_uid("runc"), "Burstable", container_id("runc"))
    return build


def systemd_in_pod(root: Path) -> Tree:
    """A container that runs systemd, which makes cgroups below it, one of them of docker in that container."""
    build = v2(root)
    scope = in_scope(build, pod_uid("systemd"), "Burstable", container_id("systemd"))
    build.below(
        f"{scope}/init.scope",
        f"{scope}/system.slice",
        f"{scope}/system.slice/cron.service",
        f"{scope}/system.slice/docker-{container_id('docker in the pod')}.scope",
        quota=20_000,
    )
    return build


def host_noise(root: Path) -> Tree:
    """Everything a host runs beside Kubernetes, some of it with names that look like pods; no pod at all."""
    build = v2(root)
    libpod = container_id("toolbox")
    build.others(
        "init.scope",
        "system.slice",
        "system.slice/podman.service",
        "system.slice/pod-cleanup.service",
        "system.slice/kubepods-watch.service",
        f"system.slice/docker-{libpod}.scope",
        "user.slice",
        f"user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{libpod}.scope",
        f"user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-{libpod}.scope",
        "machine.slice",
        f"machine.slice/libpod-{libpod}.scope",
        f"machine.slice/machine-libpod_pod_{libpod}.slice/libpod-{container_id('in a podman pod')}.scope",
        r"machine.slice/machine-qemu\x2d1\x2dpod5c3e1b01.scope",
        f"docker/{libpod}",
        f"default/{libpod}",
        "lxc.payload.web",
        "kubepods.slice",
        "kubepods.slice/kubepods-burstable.slice",
        "kubepods.slice/kubepods-besteffort.slice",
    )
    return build


LAYOUTS: tuple[Callable[[Path], Tree], ...] = (
    *(containerd_systemd, containerd_cgroupfs, crio, docker_systemd),
    *(v1_joint_mount, v1_joint_mount_only, v1_paths_differ, containerd_slice_colon, hybrid, hybrid_cpu_on_unified),
    *(kind_from_host, two_kind_nodes, gvisor, systemd_in_pod, host_noise),
)


def pod_list(tree: Tree) -> dict[str, Any]:
    """A PodList that names the tree's pods ``apps/pod-<first 8 of the uid>`` and their containers ``c<number>``."""
    found: defaultdict[str, list[tuple[str, ExpectedContainer]]] = defaultdict(list)
    for one in tree.containers:
        found[one.pod_uid].append((f"c{len(found[one.pod_uid])}", one))
    items = [
        pod(
            uid,
            f"pod-{uid[:8]}",
            namespace="apps",
            containers=[{"name": name, **cpu(limits=f"{one.limit_cores:g}")} for name, one in found[uid]],
            statuses=[
                running(name, f"{one.runtime or 'containerd'}://{one.container_id}", restartCount=0)
                for name, one in found[uid]
            ],
            status={"qosClass": qos_class},
        )
        for uid, qos_class in {one.pod_uid: one.qos_class for one in tree.pods}.items()
    ]
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
