"""Writes small cgroup hierarchies and remembers what must be read from them. Layouts: :mod:`tests.support.trees`."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal

Version = Literal["v1", "v2", "hybrid"]
QosClass = Literal["Guaranteed", "Burstable", "BestEffort"]


@dataclass(frozen=True, slots=True)
class ExpectedContainer:
    """A container's cgroup as its path tells, and the numbers its files hold."""

    path: str
    """Relative to the hierarchy's root: the ``cpu`` controller's on v1."""
    pod_path: str
    pod_uid: str
    container_id: str
    qos_class: QosClass
    runtime: str
    periods: int
    """``nr_periods`` where the quota is: the container's own cgroup, or the child that crun makes."""
    limit_cores: float


@dataclass(frozen=True, slots=True)
class ExpectedPod:
    """A pod's own cgroup."""

    path: str
    pod_uid: str
    qos_class: QosClass


@dataclass
class Tree:
    """What was written and what must come of it."""

    root: Path
    version: Version
    containers: list[ExpectedContainer] = field(default_factory=list)
    pods: list[ExpectedPod] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)
    """Cgroups below a container's: never rows of their own."""
    noise: list[str] = field(default_factory=list)
    """Cgroups of the host and of containers outside Kubernetes: never rows."""


def container_id(seed: str) -> str:
    """64 hex digits, as runtimes make them."""
    return hashlib.sha256(seed.encode()).hexdigest()


def pod_uid(seed: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, seed))


def static_pod_uid(seed: str) -> str:
    """A static pod's uid: the manifest's hash, 32 hex digits."""
    return hashlib.md5(seed.encode(), usedforsecurity=False).hexdigest()


class Builder(Tree):
    def __init__(self, root: Path, version: Version, mounts: dict[str, Path] | None = None) -> None:
        super().__init__(root, version)
        self.mounts = mounts or {}
        """v1: where each of ``cpu``, ``cpuacct``, ``cpuset`` lies; empty when the CPU files are on v2."""
        self.unified = root
        self._written = 0

    def group(self, path: str, *, quota: int | None = None, cpuset_path: str | None = None) -> int:
        """Write one cgroup; returns its ``nr_periods``, which no other cgroup of the tree has."""
        self._written += 1
        periods = 1000 + self._written
        if self.mounts:
            write_v1(self.mounts, path, self._written, quota, cpuset_path or path)
        else:
            write_v2(self.unified / path, self._written, quota)
        return periods

    def pod(self, path: str, uid: str, qos_class: QosClass) -> str:
        """Write a pod's cgroup and those above it; returns its path."""
        top = self.mounts["cpu"] if self.mounts else self.unified
        for parent in [*PurePath(path).parents][-2::-1]:
            if not (top / parent).exists():
                self.group(str(parent))
        self.group(path)
        self.pods.append(ExpectedPod(path, uid, qos_class))
        return path

    def container(
        self,
        path: str,
        cid: str,
        runtime: str,
        *,
        pod_path: str | None = None,
        quota: int | None = 50_000,
        child_quota: int | None = None,
        cpuset_path: str | None = None,
    ) -> str:
        """A container's cgroup in the last pod; with ``child_quota``, which crun puts on a child, that one too."""
        pod = self.pods[-1]
        periods = self.group(path, quota=quota, cpuset_path=cpuset_path)
        if child_quota is not None:
            periods = self.group(f"{path}/container", quota=child_quota)
            self.inside.append(f"{path}/container")
        facts = (pod.pod_uid, cid, pod.qos_class, runtime, periods, (quota or child_quota or 0) / 100_000)
        self.containers.append(ExpectedContainer(path, pod.path if pod_path is None else pod_path, *facts))
        return path

    def below(self, *paths: str, quota: int | None = None) -> None:
        for path in paths:
            self.group(path, quota=quota)
            self.inside.append(path)

    def others(self, *paths: str) -> None:
        for path in paths:
            self.group(path, quota=30_000)
            self.noise.append(path)


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write ``files`` into ``folder``; each text ends with a newline, as the kernel's do."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n" if text else "\n")


def write_v2(folder: Path, number: int, quota: int | None) -> None:
    """One cgroup v2 with numbers derived from ``number``."""
    files = {
        "cpu.stat": f"usage_usec {number}000001\nuser_usec {number}000000\nsystem_usec 1\nnice_usec 0\n"
        f"core_sched.force_idle_usec 0\nnr_periods {1000 + number}\nnr_throttled {100 + number}\n"
        f"throttled_usec {number}500000\nnr_bursts {number}\nburst_usec {number}250",
        "cpu.stat.local": f"throttled_usec {number}600000",
        "cpu.pressure": f"some avg10=1.00 avg60=2.00 avg300=3.00 total={number}700000\n"
        f"full avg10=0.00 avg60=0.00 avg300=0.00 total={number}800000",
    }
    files |= {"cgroup.type": "domain", "cgroup.procs": str(4000 + number)}
    files |= {"cpu.max": f"{'max' if quota is None else quota} 100000", "cpu.max.burst": "0", "cpu.weight": "79"}
    files |= {"cpuset.cpus": "", "cpuset.cpus.effective": "0-3", "cpuset.cpus.partition": "member"}
    files |= {"cgroup.controllers": "cpuset cpu io memory pids", "cpu.idle": "0"}
    write_files(folder, files | {"cpuset.mems": "", "cpuset.mems.effective": "0"})


def write_v1(mounts: dict[str, Path], path: str, number: int, quota: int | None, cpuset_path: str) -> None:
    stat = f"nr_periods {1000 + number}\nnr_throttled {100 + number}\nthrottled_time {number}500000000"
    cpu = {"cgroup.procs": str(4000 + number), "cpu.stat": stat, "cpu.cfs_period_us": "100000", "cpu.shares": "512"}
    write_files(mounts["cpu"] / path, {**cpu, "cpu.cfs_quota_us": "-1" if quota is None else str(quota)})
    usage = {"cpuacct.usage": f"{number}000000001", "cpuacct.stat": f"user {number}00\nsystem 1"}
    write_files(mounts["cpuacct"] / path, usage)
    cpuset = {"cpuset.cpus": "0-3", "cpuset.effective_cpus": "0-3", "cpuset.mems": "0", "cpuset.effective_mems": "0"}
    write_files(mounts["cpuset"] / cpuset_path, cpuset)


def v2(root: Path) -> Builder:
    """A builder on a v2 root, which has no ``cpu.max`` and no ``cpu.weight``."""
    controllers, avg = "cpuset cpu io memory pids", "avg10=0.00 avg60=0.00 avg300=0.00"
    files = {"cgroup.controllers": f"{controllers} hugetlb rdma misc", "cgroup.subtree_control": controllers}
    files |= {"cpu.stat": "usage_usec 99000000\nuser_usec 90000000\nsystem_usec 9000000", "cgroup.procs": "1"}
    files |= {"cpu.pressure": f"some {avg} total=5\nfull {avg} total=0"}
    write_files(root, files | {"cpuset.cpus.effective": "0-3", "cpuset.mems.effective": "0"})
    return Builder(root, "v2")


def v1(root: Path, mounts: dict[str, Path] | None = None) -> Builder:
    """A builder on v1 controllers, each in its own mount unless told otherwise."""
    mounts = mounts or {name: root / name for name in ("cpu", "cpuacct", "cpuset")}
    builder = Builder(root, "v1", mounts)
    write_v1(mounts, ".", 0, None, ".")
    return builder
