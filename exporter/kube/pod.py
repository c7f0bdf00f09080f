"""One decoded v1 Pod -> :class:`exporter.identities.PodIdentity`, with a count of what could not be understood. Pure.

The pydantic models name the few fields of ``k8s.io/api/core/v1`` that are read, by their paths. Unknown keys and
explicit nulls are fine anywhere; a malformed container or status is dropped and counted, and its pod is kept.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_UP, Decimal
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import AliasPath, BaseModel, Field, GetPydanticSchema, ValidationError
from pydantic_core import core_schema

from exporter.identities import ContainerIdentity, ContainerSpec, ContainerType, PodIdentity, PodSpec, QosClass

THRESHOLD_ANNOTATION = "kube-throttle-exporter/alert-threshold"
ALERT_ANNOTATION = "kube-throttle-exporter/alert"

_MIRROR = "kubernetes.io/config.mirror"
_SOURCE = "kubernetes.io/config.source"
_RATIO = re.compile(r"[0-9]*\.?[0-9]+")
_CRONJOB_RUN = re.compile(r"(?P<cronjob>.+)-(?P<stamp>[0-9]{8}|[0-9]{10})")
# The controller appends minutes since 1970, from 2017 to 2160, before 1.21 seconds, until 2033. A date (20261121) lies
# below, one with its hour (2026112112) above.
_MINUTES, _SECONDS = range(25_000_000, 100_000_000), range(1_400_000_000, 2_000_000_000)

# One sign, digits around at most one dot, then either one exponent or one suffix: "2e3m" is neither.
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3}(?!\w))?)(?P<suffix>[num]|[kMGTPE]|[KMGTPE]i)?"
)
_LONGEST_QUANTITY = 64
_LARGEST_QUANTITY = Decimal(2**63 - 1)
_NANO = Decimal("1e-9")
_SUFFIXES: dict[str | None, Decimal] = {
    None: Decimal(1),
    **{letter: Decimal(1000) ** -power for power, letter in enumerate("mun", start=1)},
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}

T = TypeVar("T")


def _at(*path: str) -> Any:
    return Field(default=None, validation_alias=AliasPath(*path))


# With a length pydantic also refuses half a surrogate pair, which JSON can spell and no page could show.
Text = Annotated[str, Field(max_length=2**20)]
OrNone = Annotated[
    T | None,
    GetPydanticSchema(
        lambda source, handler: core_schema.with_default_schema(handler(source), default=None, on_error="default")
    ),
]
"""``None`` in place of what does not validate."""

Resources = dict[str, dict[str, Any] | list[Any] | None]
"""Of another shape it makes its owner malformed: what cannot be read is not a spec that sets nothing."""


class _Named(BaseModel):
    """What spec and status of a container share. Amounts stay as they came: a bad one costs that amount only."""

    name: Text
    image: Text | None = None
    resources: Resources | None = None
    request: Any = _at("resources", "requests", "cpu")
    limit: Any = _at("resources", "limits", "cpu")


class _Container(_Named):
    restart_policy: Text | None = _at("restartPolicy")


class _ContainerStatus(_Named):
    container_id: Text | None = _at("containerID")
    restart_count: Annotated[int, Field(ge=0, lt=2**31)] | None = _at("restartCount")
    running: Any = _at("state", "running")
    terminated_id: Text | None = _at("state", "terminated", "containerID")
    last_terminated_id: Text | None = _at("lastState", "terminated", "containerID")
    allocated: Any = _at("allocatedResources", "cpu")


class _Owner(BaseModel):
    kind: Text
    name: Text
    controller: bool | None = None


class _Metadata(BaseModel):
    name: Text
    namespace: Text
    uid: Text | None = None
    labels: dict[Text, Text] | None = None
    annotations: dict[Text, Text] | None = None
    owners: list[_Owner] | None = _at("ownerReferences")


class _Pod(BaseModel):
    kind: Text | None = None
    metadata: _Metadata
    spec: dict[str, Any]
    node: Text | None = _at("spec", "nodeName")
    resources: Resources | None = _at("spec", "resources")
    request: Any = _at("spec", "resources", "requests", "cpu")
    limit: Any = _at("spec", "resources", "limits", "cpu")
    init: list[OrNone[_Container]] | None = _at("spec", "initContainers")
    containers: list[OrNone[_Container]] | None = _at("spec", "containers")
    ephemeral: list[OrNone[_Container]] | None = _at("spec", "ephemeralContainers")
    status: dict[str, Any] | None = None
    qos_class: OrNone[QosClass] = _at("status", "qosClass")
    init_statuses: list[OrNone[_ContainerStatus]] | None = _at("status", "initContainerStatuses")
    statuses: list[OrNone[_ContainerStatus]] | None = _at("status", "containerStatuses")
    ephemeral_statuses: list[OrNone[_ContainerStatus]] | None = _at("status", "ephemeralContainerStatuses")


def read_pod(item: Any, problems: Counter[str]) -> tuple[PodIdentity, bool] | None:
    """Return the pod of ``item``, decoded JSON, and whether its uid is from an annotation; ``None`` when it is no pod.

    The API server's mirror of a static pod has a uid of its own, and that of the cgroup in an annotation.
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
    mirrored = annotations.get(_MIRROR)
    static = mirrored is not None or annotations.get(_SOURCE, "api") != "api"
    uid = mirrored or metadata.uid
    if not uid:
        problems["pod_without_uid"] += 1
        return None
    problems["pod_without_status"] += pod.status is None
    kind, workload = _workload(metadata)
    if static:  # the kubelet appends the node's name in lower case to the name in the manifest
        kind, workload = "StaticPod", metadata.name.removesuffix(f"-{pod.node.lower()}" if pod.node else "")
    identity = PodIdentity(
        uid=uid,
        namespace=metadata.namespace,
        name=metadata.name,
        spec=PodSpec(pod.qos_class, _cores(pod.request, problems), _cores(pod.limit, problems)),
        workload_kind=kind,
        workload=workload,
        alert_threshold_ratio=_alert_threshold(annotations, problems),
        containers=tuple(_containers(pod, problems)),
    )
    return identity, bool(mirrored)


def _workload(metadata: _Metadata) -> tuple[str, str]:
    """Return kind and name of the object that a human edits, as far as the names of what it creates tell."""
    if not metadata.owners:
        return "Pod", metadata.name
    owner = next((owner for owner in metadata.owners if owner.controller), metadata.owners[0])
    suffix = "-" + (metadata.labels or {}).get("pod-template-hash", "")
    if owner.kind == "ReplicaSet" and suffix != "-" and owner.name.endswith(suffix):
        return "Deployment", owner.name.removesuffix(suffix)
    if owner.kind == "Job" and (run := _CRONJOB_RUN.fullmatch(owner.name)):
        stamp = run["stamp"]
        if int(stamp) in (_MINUTES if len(stamp) == 8 else _SECONDS):
            return "CronJob", run["cronjob"]
    return owner.kind, owner.name


def _alert_threshold(annotations: Mapping[str, str], problems: Counter[str]) -> float | None:
    alert, text = annotations.get(ALERT_ANNOTATION), annotations.get(THRESHOLD_ANNOTATION)
    if alert == "off":
        return math.inf
    problems["bad_annotation"] += alert not in {None, "on"}
    if text is None:
        return None
    ratio = float(text) if _RATIO.fullmatch(text) else 0.0
    is_good = 0 < ratio <= 1
    problems["bad_annotation"] += not is_good
    return ratio if is_good else None


def _containers(pod: _Pod, problems: Counter[str]) -> Iterator[ContainerIdentity]:
    lists: tuple[tuple[ContainerType, Any, Any], ...] = (
        ("init", pod.init, pod.init_statuses),
        ("container", pod.containers, pod.statuses),
        ("ephemeral", pod.ephemeral, pod.ephemeral_statuses),
    )
    for container_type, containers, statuses in lists:
        specs: dict[str, _Container] = _by_name(containers, "malformed_container", problems)
        known: dict[str, _ContainerStatus] = _by_name(statuses, "malformed_status", problems)
        # A status without a spec still names a container that runs.
        for name in dict.fromkeys((*specs, *known)):
            yield _container(container_type, specs.get(name), known.get(name) or _ContainerStatus(name=name), problems)


def _by_name(items: Sequence[Any] | None, reason: str, problems: Counter[str]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for item in items or ():
        if item is None:
            problems[reason] += 1
        elif named.setdefault(item.name, item) is not item:
            problems["duplicate_container_name"] += 1
    return named


def _container(
    container_type: ContainerType, spec: _Container | None, status: _ContainerStatus, problems: Counter[str]
) -> ContainerIdentity:
    runtime, _, container_id = (status.container_id or "").rpartition("://")
    applied_request = status.allocated if status.request is None else status.request
    amounts = (spec.request, spec.limit, applied_request, status.limit) if spec else ()
    ended = ((past or "").rpartition("://")[2] for past in (status.terminated_id, status.last_terminated_id))
    if container_type == "init" and spec is not None and spec.restart_policy == "Always":
        container_type = "sidecar"
    return ContainerIdentity(
        container_id=container_id,
        name=status.name,
        container_type=container_type,
        runtime=runtime,
        running=status.running is not None,
        spec=None if spec is None else ContainerSpec(*(_cores(amount, problems) for amount in amounts)),
        restart_count=status.restart_count or 0,
        image=status.image or (spec and spec.image) or "",
        previous_container_ids=tuple(dict.fromkeys(past for past in ended if past and past != container_id)),
    )


def _cores(amount: Any, problems: Counter[str]) -> float | None:
    if amount is None:
        return None
    try:
        return parse_cores(str(amount) if isinstance(amount, str | int | float) else "")  # Go reads JSON numbers too
    except ValueError:
        problems["bad_quantity"] += 1
        return None


@lru_cache(maxsize=1024)  # a node's containers share few distinct amounts
def parse_cores(text: str) -> float:
    """Return the cores of a quantity (``100m``, ``0.5``, ``1Ki``, ``2e3``); raises :class:`ValueError`.

    As in Go (``apimachinery/pkg/api/resource``) at most 2^63-1, rounded up to a billionth; never negative.
    """
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST_QUANTITY else None
    if match is None:
        raise ValueError("not a quantity")
    value = Decimal(match["number"]) * _SUFFIXES[match["suffix"]]
    if value < 0:
        raise ValueError("a negative amount of CPU")
    return float(min(value, _LARGEST_QUANTITY).quantize(_NANO, ROUND_UP))
