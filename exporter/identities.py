"""Pods, containers and the kubelet's configuration, immutable. Amounts are in cores; ``None``: unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

QosClass = Literal["Guaranteed", "Burstable", "BestEffort"]
ContainerType = Literal["container", "init", "sidecar", "ephemeral"]


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """CPU amounts of one container; ``None`` where the spec sets none."""

    request_cores: float | None = None
    limit_cores: float | None = None
    allocated_request_cores: float | None = None  # what the kubelet last applied (in-place resize)
    allocated_limit_cores: float | None = None


@dataclass(frozen=True, slots=True)
class ContainerIdentity:
    """One container as the pod's spec and status name it."""

    container_id: str  # without the scheme; empty while the status has none. From a cut log name, its first digits
    name: str
    container_type: ContainerType
    runtime: str  # the scheme: containerd, cri-o, docker
    running: bool
    spec: ContainerSpec | None  # None where the source does not know it (log file names)
    restart_count: int = 0
    image: str = ""  # as the status names it, else the spec; empty where neither does
    previous_container_ids: tuple[str, ...] = ()  # they label the last sample of one that just died


@dataclass(frozen=True, slots=True)
class PodSpec:
    """QoS class and pod-level CPU amounts (KEP-2837); ``None`` where the spec sets none."""

    qos_class: QosClass | None  # status.qosClass; None while there is no status
    request_cores: float | None = None
    limit_cores: float | None = None


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """One pod on this node."""

    uid: str  # the uid in cgroup paths: for a static pod the config hash, never the mirror pod's own uid
    namespace: str
    name: str
    spec: PodSpec | None  # None where the source does not know the spec, as ContainerIdentity.spec
    workload_kind: str  # Deployment, StatefulSet, DaemonSet, CronJob, StaticPod, ..., Pod without owner
    workload: str
    alert_threshold_ratio: float | None = None  # from the pod's annotations; inf when alerting is off
    containers: tuple[ContainerIdentity, ...] = ()


@dataclass(frozen=True, slots=True)
class PodList:
    """One complete answer of a pod source."""

    pods: Mapping[str, PodIdentity]  # by uid
    problems: Mapping[str, int] = field(default_factory=dict)  # pods or containers left out or doubtful, by reason


@dataclass(frozen=True, slots=True)
class KubeletConfig:
    """What ``GET /configz`` says of CPU management; every field ``None`` when the kubelet does not say."""

    cpu_manager_policy: str | None = None
    cpu_manager_policy_options: Mapping[str, str] | None = None
    cpu_manager_reconcile_seconds: float | None = None
    topology_manager_policy: str | None = None
    topology_manager_scope: str | None = None
    cpu_cfs_quota: bool | None = None
    cpu_cfs_quota_period_seconds: float | None = None
    reserved_system_cpus: str | None = None  # a cpu list as the kubelet spells it, "0-1"
