"""One pod of a list -> :class:`exporter.model.PodIdentity`, with a count of what could not be understood."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar

from exporter.kube.podlist import model
from exporter.kube.podlist.qos import qos_class
from exporter.kube.podlist.workload import Owner, Workload, static_workload, workload_of
from exporter.kube.quantity import parse_cores
from exporter.model import ContainerIdentity, ContainerType, PodIdentity

THRESHOLD_ANNOTATION = "kube-throttle-exporter/alert-threshold"
ALERT_ANNOTATION = "kube-throttle-exporter/alert"

_MIRROR = "kubernetes.io/config.mirror"
_HASH = "kubernetes.io/config.hash"
_SOURCE = "kubernetes.io/config.source"
_QOS_CLASSES = ("Guaranteed", "Burstable", "BestEffort")
_RATIO = re.compile(r"[0-9]*\.?[0-9]+")

Named = TypeVar("Named", model.Container, model.ContainerStatus)


class Right(IntEnum):
    """By what right a pod has its uid; of two pods with one uid the lower value keeps it."""

    OWN = 0
    """``metadata.uid``: an ordinary pod, or a static pod as its own kubelet lists it."""
    MIRROR = 1
    """``config.mirror``: the API server's mirror of the static pod with that hash."""
    HASH = 2
    """``config.hash`` alone, which anybody may write on a pod."""


class Claim(NamedTuple):
    """A pod and its right to the uid that it goes by."""

    right: Right
    pod: PodIdentity


def identify(pod: model.Pod, problems: Counter[str]) -> Claim | None:
    """The pod under the uid of its cgroup, ``None`` when it has none; what is wrong with it goes into ``problems``."""
    annotations = pod.metadata.annotations or {}
    static = _MIRROR in annotations or annotations.get(_SOURCE, "api") != "api"
    right, uid = _cgroup_uid(pod.metadata.uid or "", annotations, static=static)
    if not uid:
        problems["pod_without_uid"] += 1
        return None
    if pod.status is None:
        problems["pod_without_status"] += 1
    kind, workload = _workload(pod, static=static)
    told_qos = pod.status.qos_class if pod.status else None
    resources = pod.spec.resources or model.Resources()
    identity = PodIdentity(
        uid=uid,
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        qos_class=told_qos if told_qos in _QOS_CLASSES else qos_class(pod),
        workload_kind=kind,
        workload=workload,
        request_cores=_cores(resources.requests, problems),
        limit_cores=_cores(resources.limits, problems),
        alert_threshold_ratio=_alert_threshold(annotations, problems),
        containers=tuple(_containers(pod, problems)),
    )
    return Claim(right, identity)


def _cgroup_uid(uid: str, annotations: Mapping[str, str], *, static: bool) -> tuple[Right, str]:
    """A static pod's cgroup carries the hash of its manifest; its mirror in the API server has a uid of its own."""
    if annotations.get(_MIRROR):
        return Right.MIRROR, annotations[_MIRROR]
    if static and annotations.get(_HASH, uid) != uid:
        return Right.HASH, annotations[_HASH]
    return Right.OWN, uid


def _workload(pod: model.Pod, *, static: bool) -> Workload:
    if static:
        return static_workload(pod.metadata.name, pod.spec.node_name or "")
    owners = tuple(Owner(ref.kind, ref.name, bool(ref.controller)) for ref in pod.metadata.owner_references or ())
    return workload_of(pod.metadata.name, owners, pod.metadata.labels or {})


def _alert_threshold(annotations: Mapping[str, str], problems: Counter[str]) -> float | None:
    alert = annotations.get(ALERT_ANNOTATION)
    if alert == "off":
        return math.inf
    if alert not in {None, "on"}:
        problems["bad_annotation"] += 1
    text = annotations.get(THRESHOLD_ANNOTATION)
    if text is None:
        return None
    ratio = float(text) if _RATIO.fullmatch(text) else math.nan
    if 0 < ratio <= 1:
        return ratio
    problems["bad_annotation"] += 1
    return None


def _containers(pod: model.Pod, problems: Counter[str]) -> Iterator[ContainerIdentity]:
    spec, status = pod.spec, pod.status or model.Status()
    lists: tuple[
        tuple[ContainerType, list[model.Container | None] | None, list[model.ContainerStatus | None] | None], ...
    ] = (
        ("init", spec.init_containers, status.init_container_statuses),
        ("container", spec.containers, status.container_statuses),
        ("ephemeral", spec.ephemeral_containers, status.ephemeral_container_statuses),
    )
    for container_type, containers, statuses in lists:
        specs = _by_name(containers, "malformed_container", problems)
        known = _by_name(statuses, "malformed_status", problems)
        # A status without a spec still names a container that runs.
        for name in dict.fromkeys((*specs, *known)):
            yield _container(
                container_type,
                specs.get(name) or model.Container(name=name),
                known.get(name) or model.ContainerStatus(name=name),
                problems,
            )


def _by_name(items: Iterable[Named | None] | None, reason: str, problems: Counter[str]) -> dict[str, Named]:
    named: dict[str, Named] = {}
    for item in items or ():
        if item is None:
            problems[reason] += 1
        elif item.name in named:
            problems["duplicate_container_name"] += 1
        else:
            named[item.name] = item
    return named


def _container(
    container_type: ContainerType,
    spec: model.Container,
    status: model.ContainerStatus,
    problems: Counter[str],
) -> ContainerIdentity:
    state, last_state = status.state or model.State(), status.last_state or model.State()
    wanted, applied = spec.resources or model.Resources(), status.resources or model.Resources()
    runtime, container_id = _split_id(status.container_id)
    ended = (_split_id(past.terminated.container_id)[1] for past in (state, last_state) if past.terminated)
    return ContainerIdentity(
        container_id=container_id,
        name=spec.name,
        container_type="sidecar" if container_type == "init" and spec.restart_policy == "Always" else container_type,
        runtime=runtime,
        running=state.running is not None,
        request_cores=_cores(wanted.requests, problems),
        limit_cores=_cores(wanted.limits, problems),
        allocated_request_cores=_cores(applied.requests or status.allocated_resources, problems),
        allocated_limit_cores=_cores(applied.limits, problems),
        restart_count=status.restart_count or 0,
        image=status.image or spec.image or "",
        previous_container_ids=tuple(dict.fromkeys(past for past in ended if past and past != container_id)),
    )


def _split_id(text: str | None) -> tuple[str, str]:
    """``containerd://ID`` as runtime and id."""
    runtime, separator, container_id = (text or "").partition("://")
    return (runtime, container_id) if separator else ("", runtime)


def _cores(amounts: model.Amounts | None, problems: Counter[str]) -> float | None:
    value: Any = None if amounts is None else amounts.cpu
    if value is None:
        return None
    try:
        # A JSON number is as good as a string: Go reads both.
        if isinstance(value, str | int | float):
            return parse_cores(str(value))
    except ValueError:
        pass
    problems["bad_quantity"] += 1
    return None
