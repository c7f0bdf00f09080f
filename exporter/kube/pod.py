"""One decoded v1 Pod -> :class:`exporter.identities.PodIdentity`, with a count of what could not be understood. Pure.

The pydantic models hold the few fields that are read, under the API's own names (``k8s.io/api/core/v1``). Unknown keys
and explicit nulls are fine anywhere; a malformed container or status is dropped and counted, and its pod is kept.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Annotated, Any, NamedTuple, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, Field, GetPydanticSchema, ValidationError
from pydantic_core import core_schema

from exporter.identities import ContainerIdentity, ContainerSpec, ContainerType, PodIdentity, PodSpec, QosClass
from exporter.kube.quantity import parse_cores

THRESHOLD_ANNOTATION = "kube-throttle-exporter/alert-threshold"
ALERT_ANNOTATION = "kube-throttle-exporter/alert"

_MIRROR = "kubernetes.io/config.mirror"
_HASH = "kubernetes.io/config.hash"
_SOURCE = "kubernetes.io/config.source"
_RATIO = re.compile(r"[0-9]*\.?[0-9]+")
_CRONJOB_RUN = re.compile(r"(?P<cronjob>.+)-(?P<stamp>[0-9]{8}|[0-9]{10})")
# Minutes since 1970, as the controller of 1.21+ appends them, from 2017 to 2160. A date (20261121) lies below.
_MINUTES = range(25_000_000, 100_000_000)
# Seconds since 1970, before 1.21: until 2033. A date with its hour (2026112112) lies above.
_SECONDS = range(1_400_000_000, 2_000_000_000)

T = TypeVar("T")


def _encodable(text: str) -> str:
    """JSON can spell half a surrogate pair, which no page could show."""
    text.encode()
    return text


Text = Annotated[str, AfterValidator(_encodable)]
OrNone = Annotated[
    T | None,
    GetPydanticSchema(
        lambda source, handler: core_schema.with_default_schema(handler(source), default=None, on_error="default")
    ),
]
"""``None`` in place of what does not validate."""


class _Amounts(BaseModel):
    """``ResourceList``; the value stays as it came, so that a bad quantity costs that quantity only."""

    cpu: Any = None


class _Resources(BaseModel):
    requests: _Amounts | None = None
    limits: _Amounts | None = None


class _Container(BaseModel):
    """``Container`` and ``EphemeralContainer``."""

    name: Text
    resources: _Resources | None = None
    restartPolicy: Text | None = None
    image: Text | None = None


class _Terminated(BaseModel):
    containerID: Text | None = None


class _State(BaseModel):
    running: Any = None
    terminated: _Terminated | None = None


class _ContainerStatus(BaseModel):
    name: Text
    containerID: Text | None = None
    restartCount: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    image: Text | None = None
    state: _State | None = None
    lastState: _State | None = None
    resources: _Resources | None = None
    allocatedResources: _Amounts | None = None


class _OwnerReference(BaseModel):
    kind: Text
    name: Text
    controller: bool | None = None


class _Metadata(BaseModel):
    name: Text
    namespace: Text
    uid: Text | None = None
    labels: dict[Text, Text] | None = None
    annotations: dict[Text, Text] | None = None
    ownerReferences: list[_OwnerReference] | None = None


class _Spec(BaseModel):
    nodeName: Text | None = None
    containers: list[OrNone[_Container]] | None = None
    initContainers: list[OrNone[_Container]] | None = None
    ephemeralContainers: list[OrNone[_Container]] | None = None
    resources: _Resources | None = None


class _Status(BaseModel):
    qosClass: Text | None = None
    containerStatuses: list[OrNone[_ContainerStatus]] | None = None
    initContainerStatuses: list[OrNone[_ContainerStatus]] | None = None
    ephemeralContainerStatuses: list[OrNone[_ContainerStatus]] | None = None


class _Pod(BaseModel):
    kind: Text | None = None
    metadata: _Metadata
    spec: _Spec
    status: _Status | None = None


class UidPrecedence(IntEnum):
    """Where a pod has its uid from; of two pods with one uid the lower value keeps it."""

    OWN = 0
    """``metadata.uid``: an ordinary pod, or a static pod as its own kubelet lists it."""
    MIRROR = 1
    """``config.mirror``: the API server's mirror of the static pod with that hash."""
    HASH = 2
    """``config.hash`` alone, which anybody may write on a pod."""


class UidClaim(NamedTuple):
    """A pod and the precedence of its claim to the uid that it goes by."""

    precedence: UidPrecedence
    pod: PodIdentity


def read_pod(item: Any, problems: Counter[str]) -> UidClaim | None:
    """Return the pod of ``item``, decoded JSON, under the uid of its cgroup; ``None`` when it is no such pod.

    ``problems`` counts by the reasons of :data:`exporter.kube.source.PROBLEMS`.
    """
    try:
        pod = _Pod.model_validate(item)
    except ValidationError:
        problems["malformed_pod"] += 1
        return None
    if pod.kind not in {None, "Pod"}:
        problems["not_a_pod"] += 1
        return None
    metadata, annotations = pod.metadata, pod.metadata.annotations or {}
    static = _MIRROR in annotations or annotations.get(_SOURCE, "api") != "api"
    precedence, uid = _cgroup_uid(metadata.uid or "", annotations, static=static)
    if not uid:
        problems["pod_without_uid"] += 1
        return None
    if pod.status is None:
        problems["pod_without_status"] += 1
    told = pod.status.qosClass if pod.status else None
    resources = pod.spec.resources or _Resources()
    kind, workload = _static_workload(pod) if static else _workload(metadata)
    identity = PodIdentity(
        uid=uid,
        namespace=metadata.namespace,
        name=metadata.name,
        spec=PodSpec(
            qos_class=next((known for known in get_args(QosClass) if known == told), None),
            request_cores=_cores(resources.requests, problems),
            limit_cores=_cores(resources.limits, problems),
        ),
        workload_kind=kind,
        workload=workload,
        alert_threshold_ratio=_alert_threshold(annotations, problems),
        containers=tuple(_containers(pod.spec, pod.status or _Status(), problems)),
    )
    return UidClaim(precedence, identity)


def _cgroup_uid(uid: str, annotations: Mapping[str, str], *, static: bool) -> tuple[UidPrecedence, str]:
    """A static pod's cgroup carries the hash of its manifest; its mirror in the API server has a uid of its own."""
    if annotations.get(_MIRROR):
        return UidPrecedence.MIRROR, annotations[_MIRROR]
    if static and annotations.get(_HASH, uid) != uid:
        return UidPrecedence.HASH, annotations[_HASH]
    return UidPrecedence.OWN, uid


def _static_workload(pod: _Pod) -> tuple[str, str]:
    """The kubelet appends the node's name in lower case to the name in a static pod's manifest."""
    name, node = pod.metadata.name, pod.spec.nodeName
    return "StaticPod", name.removesuffix(f"-{node.lower()}") if node else name


def _workload(metadata: _Metadata) -> tuple[str, str]:
    """Return kind and name of the object that a human edits, as far as the names of what it creates tell."""
    owners = metadata.ownerReferences or ()
    owner = next((owner for owner in owners if owner.controller), owners[0] if owners else None)
    if owner is None:
        return "Pod", metadata.name
    suffix = "-" + (metadata.labels or {}).get("pod-template-hash", "")
    if owner.kind == "ReplicaSet" and suffix != "-" and owner.name.endswith(suffix):
        return "Deployment", owner.name.removesuffix(suffix)
    if owner.kind == "Job" and (run := _CRONJOB_RUN.fullmatch(owner.name)):
        stamp = run["stamp"]
        if int(stamp) in (_MINUTES if len(stamp) == 8 else _SECONDS):
            return "CronJob", run["cronjob"]
    return owner.kind, owner.name


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


def _containers(spec: _Spec, status: _Status, problems: Counter[str]) -> Iterator[ContainerIdentity]:
    kinds: tuple[ContainerType, ...] = ("init", "container", "ephemeral")
    lists = (
        (spec.initContainers, status.initContainerStatuses),
        (spec.containers, status.containerStatuses),
        (spec.ephemeralContainers, status.ephemeralContainerStatuses),
    )
    for container_type, (containers, statuses) in zip(kinds, lists, strict=True):
        specs = _by_name(containers or (), "malformed_container", problems)
        known = _by_name(statuses or (), "malformed_status", problems)
        # A status without a spec still names a container that runs.
        for name in dict.fromkeys((*specs, *known)):
            yield _container(container_type, specs.get(name), known.get(name) or _ContainerStatus(name=name), problems)


_Named = TypeVar("_Named", _Container, _ContainerStatus)


def _by_name(items: Sequence[_Named | None], reason: str, problems: Counter[str]) -> dict[str, _Named]:
    named: dict[str, _Named] = {}
    for item in items:
        if item is None:
            problems[reason] += 1
        elif named.setdefault(item.name, item) is not item:
            problems["duplicate_container_name"] += 1
    return named


def _container(
    container_type: ContainerType, spec: _Container | None, status: _ContainerStatus, problems: Counter[str]
) -> ContainerIdentity:
    state, last_state = status.state or _State(), status.lastState or _State()
    runtime, container_id = _split_id(status.containerID)
    ended = (_split_id(past.terminated.containerID)[1] for past in (state, last_state) if past.terminated)
    if container_type == "init" and spec is not None and spec.restartPolicy == "Always":
        container_type = "sidecar"
    return ContainerIdentity(
        container_id=container_id,
        name=status.name,
        container_type=container_type,
        runtime=runtime,
        running=state.running is not None,
        spec=None if spec is None else _container_spec(spec, status, problems),
        restart_count=status.restartCount or 0,
        image=status.image or (spec and spec.image) or "",
        previous_container_ids=tuple(dict.fromkeys(past for past in ended if past and past != container_id)),
    )


def _container_spec(spec: _Container, status: _ContainerStatus, problems: Counter[str]) -> ContainerSpec:
    wanted, applied = spec.resources or _Resources(), status.resources or _Resources()
    return ContainerSpec(
        request_cores=_cores(wanted.requests, problems),
        limit_cores=_cores(wanted.limits, problems),
        allocated_request_cores=_cores(applied.requests or status.allocatedResources, problems),
        allocated_limit_cores=_cores(applied.limits, problems),
    )


def _split_id(text: str | None) -> tuple[str, str]:
    """Return runtime and id of ``containerd://ID``."""
    runtime, separator, container_id = (text or "").partition("://")
    return (runtime, container_id) if separator else ("", runtime)


def _cores(amounts: _Amounts | None, problems: Counter[str]) -> float | None:
    value: Any = None if amounts is None else amounts.cpu
    if value is None:
        return None
    try:
        return parse_cores(str(value) if isinstance(value, str | int | float) else "")  # Go reads JSON numbers too
    except ValueError:
        problems["bad_quantity"] += 1
        return None
