"""What a node of the lab is made of: pods, their containers, and what runs in them. Pure."""

from __future__ import annotations

import hashlib
import math
import uuid
from dataclasses import dataclass, field, replace
from typing import Literal

from exporter.identities import ContainerType, QosClass

WorkloadKind = Literal["idle", "busy", "bursty", "fixed", "fib_slow"]

PERIOD_SECONDS = 0.1
"""The kubelet's default ``cpuCFSQuotaPeriod``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Processes with a purpose, all of them in one cgroup."""

    kind: WorkloadKind = "idle"
    """``idle`` sleeps; ``busy`` does one unit after the other; ``bursty`` does one unit every ``every_seconds``, all
    workers at the same moment; ``fixed`` does one unit and ends; ``fib_slow`` does 100 iterations and sleeps 10 ms."""
    workers: int = 1
    unit_seconds: float = 0.01
    """CPU time of one unit of work, per worker."""
    every_seconds: float = 1.0
    cpus: tuple[int, ...] | None = None
    """Worker ``i`` is pinned to ``cpus[i % len(cpus)]``; ``None`` leaves it to the cgroup."""
    seconds: float | None = None
    """Ends by itself after this time and reports what it did; ``None`` runs until it is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSettings:
    """What is written into one cgroup; ``None`` leaves the kernel's default."""

    quota_cores: float | None = None
    period_seconds: float = PERIOD_SECONDS
    burst_seconds: float | None = None
    shares: int | None = None
    """v1's unit; on v2 it becomes the weight that newer runtimes make of it."""
    cpus: frozenset[int] | None = None

    @property
    def quota_us(self) -> int | None:
        """The kubelet's rounding: down to whole microseconds, never below the kernel's least, 1 ms."""
        if self.quota_cores is None:
            return None
        return max(1000, math.floor(self.quota_cores * self.period_us + 1e-6))

    @property
    def period_us(self) -> int:
        """The period as the kernel takes it."""
        return round(self.period_seconds * 1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container of a pod's spec; CPU in cores."""

    name: str
    request_cores: float | None = None
    limit_cores: float | None = None
    container_type: ContainerType = "container"
    exclusive_cpus: frozenset[int] | None = None
    """As the static CPU manager gives them: then the kubelet sets no quota (1.33)."""
    burst_seconds: float | None = None
    workload: Workload = field(default_factory=Workload)
    finished: bool = False
    """An init container that ended well: it is in the pod's status and has no cgroup any more."""
    container_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One pod. ``limit_cores`` is the pod-level limit (KEP-2837), the quota of the pod's own cgroup."""

    namespace: str
    name: str
    containers: tuple[Container, ...]
    owner_kind: str = ""
    """As ``ownerReferences`` has it: ``ReplicaSet``, ``StatefulSet``, ``Job``, ...; empty without an owner."""
    owner_name: str = ""
    limit_cores: float | None = None
    static: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    uid: str = ""
    sandbox_id: str = ""

    @property
    def qos_class(self) -> QosClass:
        """Kubernetes' rule, on CPU alone: a container of the lab has memory limits where it has CPU limits."""
        if self.limit_cores is not None:
            return "Guaranteed"  # pod-level resources decide alone, and the lab's have a request equal to the limit
        asked = [(one.request_cores, one.limit_cores) for one in self.containers]
        if not any(request or limit for request, limit in asked):
            return "BestEffort"
        if all(limit is not None and request in {None, limit} for request, limit in asked):
            return "Guaranteed"
        return "Burstable"

    @property
    def requests_cores(self) -> float:
        """The pod's own request, else the sum of its containers', a limit standing in for an absent request."""
        if self.limit_cores is not None:
            return self.limit_cores
        asked = ((one.request_cores, one.limit_cores) for one in self.containers if not one.finished)
        return sum(limit or 0.0 if request is None else request for request, limit in asked)

    def settings(self) -> CpuSettings:
        """Of the pod's own cgroup: a quota only where the pod, or each of its containers, has a limit."""
        running = [one for one in self.containers if not one.finished]
        quota = self.limit_cores
        if quota is None and all(one.limit_cores is not None for one in running):
            quota = sum(one.limit_cores or 0.0 for one in running)
        if any(one.exclusive_cpus for one in running):
            quota = None
        # A pod that could not burst would take back what its container may save.
        burst = sum(one.burst_seconds or 0.0 for one in running) or None
        return CpuSettings(
            quota_cores=quota,
            burst_seconds=None if quota is None else burst,
            shares=shares(self.requests_cores),
        )

    def container_settings(self, container: Container, shared_cpus: frozenset[int] | None) -> CpuSettings:
        """Of one container's cgroup; without a limit of its own it gets the pod's (KEP-2837)."""
        quota = self.limit_cores if container.limit_cores is None else container.limit_cores
        if container.exclusive_cpus:
            quota = None
        request = container.limit_cores if container.request_cores is None else container.request_cores
        return CpuSettings(
            quota_cores=quota,
            burst_seconds=container.burst_seconds,
            shares=shares(request or 0.0),
            cpus=container.exclusive_cpus or shared_cpus,
        )

    def identified(self, owner: str) -> Pod:
        """The pod with the uid and ids it lacks; ``owner`` keeps those of two nodes apart."""
        key = f"{owner}/{self.namespace}/{self.name}"
        made = uuid.uuid5(uuid.NAMESPACE_URL, key)
        uid = self.uid or (made.hex if self.static else str(made))
        return replace(
            self,
            uid=uid,
            sandbox_id=self.sandbox_id or _container_id(f"{uid}/"),
            containers=tuple(
                replace(one, container_id=one.container_id or _container_id(f"{uid}/{one.name}"))
                for one in self.containers
            ),
        )


def shares(cores: float) -> int:
    """The kubelet's ``MilliCPUToShares``."""
    return max(2, min(262144, int(cores * 1024 + 1e-6)))


def weight(cpu_shares: int) -> int:
    """The v2 weight for v1's shares, as opencontainers/cgroups ``utils.go`` converts since June 2025.

    >>> weight(2), weight(1024), weight(262144)
    (1, 100, 10000)
    """
    if cpu_shares <= 2:
        return 1
    exponent = math.log2(min(cpu_shares, 262144))
    return math.ceil(10 ** ((exponent * exponent + 125 * exponent) / 612.0 - 7.0 / 34.0))


def _container_id(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
