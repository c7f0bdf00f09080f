"""Pods, containers and workloads of the lab's node, and their cgroups as kubelet and containerd make them. Pure."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal

from exporter.identities import ContainerType, QosClass
from exporter.model import Driver


@dataclass(frozen=True, slots=True)
class Workload:
    """Worker processes in one cgroup; worker ``i`` is pinned to ``cpus[i % len(cpus)]``, if there are any.

    ``idle`` sleeps; ``busy`` does units without a pause; ``bursty`` starts one unit every ``every_seconds``, all
    workers at once; ``fib_slow`` alternates 100 short iterations and 10 ms of sleep.
    """

    kind: Literal["idle", "busy", "bursty", "fib_slow"] = "idle"
    workers: int = 1
    unit_seconds: float = 0.01  # CPU time of a unit of work
    every_seconds: float = 1.0
    cpus: tuple[int, ...] = ()
    seconds: float | None = None  # after this time a worker ends by itself and reports; `None`: when it is stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSettings:
    """Values for one cgroup's CPU files; ``None`` leaves the kernel's default."""

    quota_cores: float | None = None
    period_us: int = 100_000
    burst_us: int = 0
    shares: int | None = None
    cpus: frozenset[int] | None = None

    @property
    def quota_us(self) -> int | None:
        """The quota as the kubelet rounds it: down to whole microseconds, at least 1 ms."""
        quota = self.quota_cores
        return None if quota is None else max(1000, math.floor(quota * self.period_us + 1e-6))


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod's spec."""

    name: str
    request_cores: float | None = None
    limit_cores: float | None = None
    workload: Workload = field(default_factory=Workload)
    container_type: ContainerType = "container"
    exclusive_cpus: frozenset[int] | None = None  # the static CPU manager's; the kubelet then sets no quota (1.33)
    burst_us: int = 0
    finished: bool = False  # has a status and no cgroup any more, as an init container
    container_id: str = ""

    @property
    def requested(self) -> float:
        """Cores that it gets shares for."""
        return (self.limit_cores if self.request_cores is None else self.request_cores) or 0.0


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod; ``limit_cores`` is the pod-level limit and request (KEP-2837)."""

    namespace: str
    name: str
    owner_kind: str
    owner_name: str
    containers: tuple[Container, ...]
    limit_cores: float | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    static: bool = False
    uid: str = ""

    @property
    def running(self) -> tuple[Container, ...]:
        """The containers that have cgroups."""
        return tuple(one for one in self.containers if not one.finished)

    @property
    def qos_class(self) -> QosClass:
        """Kubernetes' rule, on CPU alone."""
        asked = [(one.request_cores, one.limit_cores) for one in self.containers]
        if self.limit_cores is not None or all(limit and request in {None, limit} for request, limit in asked):
            return "Guaranteed"
        return "Burstable" if any(request or limit for request, limit in asked) else "BestEffort"

    def settings(self) -> CpuSettings:
        """Return what the pod's own cgroup gets: a quota if the pod or each of its containers has a limit."""
        limits, request = [one.limit_cores for one in self.running], sum(one.requested for one in self.running)
        if self.limit_cores is not None:
            limits, request = [self.limit_cores], self.limit_cores
        is_pinned = any(one.exclusive_cpus for one in self.running)
        quota = None if is_pinned or None in limits else sum(limit or 0.0 for limit in limits)
        # Without a burst of its own the pod's quota would stop a container that uses what it saved.
        burst = 0 if quota is None else sum(one.burst_us for one in self.running)
        return CpuSettings(quota_cores=quota, burst_us=burst, shares=shares(request))

    def container_settings(self, container: Container, shared_cpus: frozenset[int] | None) -> CpuSettings:
        """Return what one container's cgroup gets; without a limit of its own the pod's (KEP-2837)."""
        quota = self.limit_cores if container.limit_cores is None else container.limit_cores
        return CpuSettings(
            quota_cores=None if container.exclusive_cpus else quota,
            burst_us=container.burst_us,
            shares=shares(container.requested),
            cpus=container.exclusive_cpus or shared_cpus,
        )

    def cgroups(
        self, driver: Driver, shared_cpus: frozenset[int] | None = None
    ) -> Iterator[tuple[str, CpuSettings, Workload]]:
        """Yield path, settings and workload of the pod's own cgroup, its sandbox's, and those of its containers."""
        yield self.cgroup(driver), self.settings(), Workload(workers=0)
        yield self.cgroup(driver, _container_id(self.uid, "")), CpuSettings(shares=2), Workload()
        for one in self.running:
            yield self.cgroup(driver, one.container_id), self.container_settings(one, shared_cpus), one.workload

    def identified(self, node: str) -> Pod:
        """Return the pod with a uid and container ids, which differ from those of another ``node``."""
        made = uuid.uuid5(uuid.NAMESPACE_URL, f"{node}/{self.namespace}/{self.name}")
        uid = made.hex if self.static else str(made)
        containers = tuple(replace(one, container_id=_container_id(uid, one.name)) for one in self.containers)
        return replace(self, uid=uid, containers=containers)

    def cgroup(self, driver: Driver, container_id: str = "") -> str:
        """Return the path of the pod's cgroup, or of a container's or the sandbox's, below the node's root."""
        qos = "" if self.qos_class == "Guaranteed" else self.qos_class.lower()
        if driver == "cgroupfs":
            return "/".join(filter(None, ("kubepods", qos, f"pod{self.uid}", container_id)))
        # A slice's name carries the names above it, and a dash in it would mean a level.
        slices = accumulate(filter(None, ("kubepods", qos, f"pod{self.uid.replace('-', '_')}")), "{}-{}".format)
        scope = [f"cri-containerd-{container_id}.scope"] if container_id else []
        return "/".join([*(f"{name}.slice" for name in slices), *scope])


def _container_id(uid: str, name: str) -> str:
    return hashlib.sha256(f"{uid}/{name}".encode()).hexdigest()


def shares(cores: float) -> int:
    """Return cgroup v1 shares by the kubelet's ``MilliCPUToShares``."""
    return max(2, min(262144, int(cores * 1024 + 1e-6)))


def weight(cpu_shares: int) -> int:
    """Return the v2 weight for v1's shares, as opencontainers/cgroups ``utils.go`` converts since June 2025."""
    exponent = math.log2(max(2, min(cpu_shares, 262144)))
    return math.ceil(10 ** ((exponent * exponent + 125 * exponent) / 612.0 - 7.0 / 34.0))
