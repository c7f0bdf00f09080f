"""Pods, containers and workloads of the lab's node, with the names of their cgroups. Pure.

Cgroup names follow the kubelet's ``pkg/kubelet/cm/cgroup_manager_linux.go`` and containerd's ``internal/cri/server``.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from dataclasses import dataclass, field, replace
from typing import Literal

from exporter.identities import ContainerType, QosClass
from exporter.model import Driver


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Worker processes in one cgroup.

    ``idle`` sleeps; ``busy`` does units without a pause; ``bursty`` starts one unit every ``every_seconds``, all
    workers at once; ``fixed`` does one unit and ends; ``fib_slow`` alternates 100 short iterations and 10 ms of sleep.
    """

    kind: Literal["idle", "busy", "bursty", "fixed", "fib_slow"] = "idle"
    workers: int = 1
    unit_seconds: float = 0.01
    """CPU time of a unit of work."""
    every_seconds: float = 1.0
    cpus: tuple[int, ...] | None = None
    """Worker ``i`` is pinned to ``cpus[i % len(cpus)]``; ``None`` leaves it to the cgroup."""
    seconds: float | None = None
    """After this time a worker ends by itself and reports; ``None``: when it is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSettings:
    """Values for one cgroup's CPU files; ``None`` leaves the kernel's default."""

    quota_cores: float | None = None
    period_seconds: float = 0.1
    burst_seconds: float | None = None
    shares: int | None = None
    cpus: frozenset[int] | None = None

    @property
    def quota_us(self) -> int | None:
        """The quota as the kubelet rounds it: down to whole microseconds, at least 1 ms."""
        if self.quota_cores is None:
            return None
        return max(1000, math.floor(self.quota_cores * self.period_us + 1e-6))

    @property
    def period_us(self) -> int:
        """The period in microseconds."""
        return round(self.period_seconds * 1e6)

    @property
    def burst_us(self) -> int:
        """The burst in microseconds."""
        return round((self.burst_seconds or 0.0) * 1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container of a pod's spec."""

    name: str
    request_cores: float | None = None
    limit_cores: float | None = None
    container_type: ContainerType = "container"
    exclusive_cpus: frozenset[int] | None = None
    """CPUs from the static CPU manager; the kubelet then sets no quota (1.33)."""
    burst_seconds: float | None = None
    workload: Workload = field(default_factory=Workload)
    finished: bool = False
    """Has a status and no cgroup any more, as an init container."""
    container_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One pod; ``limit_cores`` is the pod-level limit (KEP-2837)."""

    namespace: str
    name: str
    containers: tuple[Container, ...]
    owner_kind: str = ""
    owner_name: str = ""
    limit_cores: float | None = None
    static: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    uid: str = ""
    sandbox_id: str = ""

    @property
    def running(self) -> tuple[Container, ...]:
        """The containers that have cgroups."""
        return tuple(one for one in self.containers if not one.finished)

    @property
    def qos_class(self) -> QosClass:
        """Kubernetes' rule on CPU alone; the lab's pod-level requests equal their limits."""
        asked = [(one.request_cores, one.limit_cores) for one in self.containers]
        if self.limit_cores is None and not any(request or limit for request, limit in asked):
            return "BestEffort"
        guaranteed = all(limit is not None and request in {None, limit} for request, limit in asked)
        return "Guaranteed" if self.limit_cores is not None or guaranteed else "Burstable"

    def settings(self) -> CpuSettings:
        """Return what the pod's own cgroup gets: a quota if the pod or each of its containers has a limit."""
        limits, quota = [one.limit_cores for one in self.running], self.limit_cores
        if quota is None and None not in limits:
            quota = sum(limit or 0.0 for limit in limits)
        if any(one.exclusive_cpus for one in self.running):
            quota = None
        requests = (one.limit_cores if one.request_cores is None else one.request_cores for one in self.running)
        request = sum(one or 0.0 for one in requests) if self.limit_cores is None else self.limit_cores
        # Without a burst of its own the pod's quota would stop a container that uses what it saved.
        burst = sum(one.burst_seconds or 0.0 for one in self.running) or None
        return CpuSettings(quota_cores=quota, burst_seconds=None if quota is None else burst, shares=shares(request))

    def container_settings(self, container: Container, shared_cpus: frozenset[int] | None) -> CpuSettings:
        """Return what one container's cgroup gets; without a limit of its own the pod's (KEP-2837)."""
        quota = self.limit_cores if container.limit_cores is None else container.limit_cores
        request = container.limit_cores if container.request_cores is None else container.request_cores
        return CpuSettings(
            quota_cores=None if container.exclusive_cpus else quota,
            burst_seconds=container.burst_seconds,
            shares=shares(request or 0.0),
            cpus=container.exclusive_cpus or shared_cpus,
        )

    def identified(self, node: str) -> Pod:
        """Return the pod with the uid and the ids it lacks, which differ from those of another ``node``."""
        made = uuid.uuid5(uuid.NAMESPACE_URL, f"{node}/{self.namespace}/{self.name}")
        uid = self.uid or (made.hex if self.static else str(made))

        def container_id(name: str) -> str:
            return hashlib.sha256(f"{uid}/{name}".encode()).hexdigest()

        containers = (replace(one, container_id=one.container_id or container_id(one.name)) for one in self.containers)
        sandbox_id = self.sandbox_id or container_id("")
        return replace(self, uid=uid, sandbox_id=sandbox_id, containers=tuple(containers))

    def cgroup(self, driver: Driver, container_id: str = "") -> str:
        """Return the path of the pod's cgroup, or of a container's or the sandbox's, below the node's root."""
        qos, parts = self.qos_class.lower(), [pods_cgroup(driver)]
        if driver == "cgroupfs":
            parts += [qos] * (qos != "guaranteed") + [f"pod{self.uid}"] + [container_id] * bool(container_id)
        else:
            # A slice's name carries the names above it, and a dash in it would mean a level.
            slice_ = "kubepods" if qos == "guaranteed" else f"kubepods-{qos}"
            parts += [f"{slice_}.slice"] * (qos != "guaranteed")
            parts += [f"{slice_}-pod{self.uid.replace('-', '_')}.slice"]
            parts += [f"cri-containerd-{container_id}.scope"] * bool(container_id)
        return "/".join(parts)


def pods_cgroup(driver: Driver) -> str:
    """Return the cgroup of all pods."""
    return "kubepods" if driver == "cgroupfs" else "kubepods.slice"


def shares(cores: float) -> int:
    """Return cgroup v1 shares by the kubelet's ``MilliCPUToShares``."""
    return max(2, min(262144, int(cores * 1024 + 1e-6)))


def weight(cpu_shares: int) -> int:
    """Return the v2 weight for v1's shares, as opencontainers/cgroups ``utils.go`` converts since June 2025.

    >>> weight(2), weight(1024), weight(262144)
    (1, 100, 10000)
    """
    if cpu_shares <= 2:
        return 1
    exponent = math.log2(min(cpu_shares, 262144))
    return math.ceil(10 ** ((exponent * exponent + 125 * exponent) / 612.0 - 7.0 / 34.0))
