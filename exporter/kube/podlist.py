"""Bytes of a v1 PodList, or the events of a watch -> :class:`exporter.identities.PodList`. Pure.

Unknown keys and explicit nulls are fine anywhere; a malformed container, status or amount is dropped and counted, and
its pod is kept. Checked by hand: pydantic would be 10 MB and a fifth of the start for these few fields. Items are
decoded one at a time: 14 MB of 1,000 pods, parsed whole, cost 52 MB more by pydantic and 94 MB more by :mod:`json`.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from decimal import ROUND_UP, Decimal
from functools import lru_cache
from operator import itemgetter
from typing import Any, get_args

from exporter.errors import MappingError
from exporter.identities import ContainerIdentity, ContainerSpec, ContainerType, PodIdentity, PodList, PodSpec, QosClass

THRESHOLD_ANNOTATION = "kube-throttle-exporter/alert-threshold"
ALERT_ANNOTATION = "kube-throttle-exporter/alert"

_MIRROR, _SOURCE = "kubernetes.io/config.mirror", "kubernetes.io/config.source"
_WINDOW_BYTES = 256 * 1024
_MAX_PODS = 10_000  # a node runs some hundreds; a watch without its field selector would bring the whole cluster
_BLANKS = re.compile(r"[ \t\r\n]*")
_RATIO = re.compile(r"[0-9]*\.?[0-9]+")
# The controller appends minutes since 1970, here from 2017 to 2160; a date (20261121) lies below.
_CRONJOB_RUN = re.compile(r"(?P<cronjob>.+)-(?:2[5-9]|[3-9][0-9])[0-9]{6}")

# One sign, digits around at most one dot, then either one exponent or one suffix: "2e3m" is neither.
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3}(?!\w))?)(?P<suffix>[num]|[kMGTPE]|[KMGTPE]i)?"
)
_LONGEST_QUANTITY, _LARGEST_QUANTITY, _NANO = 64, Decimal(2**63 - 1), Decimal("1e-9")
_SUFFIXES: dict[str | None, Decimal] = {
    **{letter: Decimal(1000) ** power for power, letter in enumerate(("n", "u", "m", None, *"kMGTPE"), start=-3)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}

_Found = tuple[PodIdentity, bool] | None
"""A pod, and whether its uid is from an annotation: the API server's mirror of a static pod has a uid of its own."""
_LISTS: tuple[tuple[ContainerType, str, str], ...] = (
    ("init", "initContainers", "initContainerStatuses"),
    ("container", "containers", "containerStatuses"),
    ("ephemeral", "ephemeralContainers", "ephemeralContainerStatuses"),
)
_ENDED = (("state", "terminated", "containerID"), ("lastState", "terminated", "containerID"))
_ALLOCATED = ("allocatedResources", "cpu")
_CONTAINER_TEXTS = (("image",), ("restartPolicy",), ("containerID",), *_ENDED)
_LONGEST_TEXT = 2**20


def _at(value: Any, *path: str) -> Any:
    for key in path:
        value = _typed(value, dict).get(key)
    return value


def _text(value: Any) -> str:
    """Return a text; raises ``ValueError`` for what is none, or holds half a surrogate pair, which no page can show."""
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise ValueError("no text")
    value.encode()
    return value


def _text_at(value: Any, *path: str) -> str | None:
    found = _at(value, *path)
    return None if found is None else _text(found)


def _typed(value: Any, kind: type[Any]) -> Any:
    """Return ``value``, for ``None`` an empty one; raises ``ValueError`` for one of another kind."""
    if value is not None and type(value) is not kind:  # true is no number
        raise ValueError(f"no {kind.__name__}")
    return kind() if value is None else value


def _texts_at(value: Any, key: str) -> dict[str, str]:
    return {_text(name): _text(text) for name, text in _typed(_at(value, key), dict).items()}


def _asked(owner: Any) -> list[Any]:
    """Return request and limit; raises ``ValueError`` for another shape: that is not a spec that sets nothing."""
    return [_at(owner, "resources", key, "cpu") for key in ("requests", "limits")]


def _container_name(item: Any) -> str:
    """Return the name in a container's spec or status; raises ``ValueError`` where a text or a count in it is none."""
    _asked(item)
    _at(item, *_ALLOCATED)
    for path in _CONTAINER_TEXTS:
        _text_at(item, *path)
    if not 0 <= _typed(_at(item, "restartCount"), int) < 2**31:
        raise ValueError("no number of restarts")
    return _text(_at(item, "name"))


def parse_pod_list(body: bytes | memoryview, source: str) -> PodList:
    """Return the pods of ``body``; raises :class:`MappingError`, ``malformed``, for no PodList from ``source``."""
    problems, found = Counter[str](), list[_Found]()
    read_list(body, source, lambda item: found.append(read_pod(item, problems)))
    return _merge(found, problems)


def read_list(body: bytes | memoryview, source: str, take: Callable[[Any], None]) -> Mapping[str, Any]:
    """Hand the decoded items to ``take`` one by one; return the list's other members. Raises as above."""
    reader = ListReader(body)
    try:
        for item in reader:
            take(item)
    except (ValueError, RecursionError) as error:  # in our own words: a decoder's message may quote the body
        is_html = bytes(body[:64]).lstrip().startswith(b"<")
        cause = "HTML or XML" if is_html else f"broken or incomplete JSON ({len(body)} bytes)"
        raise MappingError(f"{source}: no PodList: {cause}", reason="malformed") from error
    # kubectl writes "List" where the API says "PodList".
    if reader.fields.get("kind") not in ("PodList", "List") or "items" not in reader.fields:
        raise MappingError(f"{source}: no PodList: JSON of another kind", reason="malformed")
    return reader.fields


class PodStore:
    """Pods that come and go one by one, by the API's own uid, which a mirror pod has besides that of its cgroup."""

    def __init__(self) -> None:
        self._pods: dict[str, tuple[_Found, Counter[str]]] = {}

    def put(self, item: Any) -> None:
        """Add or change a pod; raises :class:`MappingError`, reason ``too_large``."""
        problems = Counter[str]()
        self._pods[_store_key(item)] = read_pod(item, problems), problems
        if len(self._pods) > _MAX_PODS:
            raise MappingError(f"more than {_MAX_PODS} pods on one node", reason="too_large")

    def remove(self, item: Any) -> None:
        """Delete a pod."""
        self._pods.pop(_store_key(item), None)

    def snapshot(self) -> PodList:
        """Return the list as of now."""
        problems = sum((problems for _, problems in self._pods.values()), Counter[str]())
        return _merge((found for found, _ in self._pods.values()), problems)


def _store_key(item: Any) -> str:
    with suppress(ValueError):
        return str(_at(item, "metadata", "uid"))
    return ""


def _merge(found: Iterable[_Found], problems: Counter[str]) -> PodList:
    """Return each uid once; adds to ``problems`` what only shows between pods."""
    pods: dict[str, PodIdentity] = {}
    # A pod's own uid counts more than an annotation, which anybody may write.
    for pod, _ in sorted(filter(None, found), key=itemgetter(1)):
        first = pods.setdefault(pod.uid, pod)
        if (first.namespace, first.name) != (pod.namespace, pod.name):
            problems["duplicate_pod_uid"] += 1  # a static pod beside its own mirror is none
    ids = Counter(container.container_id for pod in pods.values() for container in pod.containers)
    problems["duplicate_container_id"] += sum(count - 1 for container_id, count in ids.items() if container_id)
    return PodList(pods=pods, problems={reason: count for reason, count in problems.items() if count})


class ListReader:
    """Iterates over the items of a JSON list object; :attr:`fields` then holds its members, ``items`` as ``None``.

    Raises :class:`ValueError` or :class:`RecursionError`. A bare number at the end of a window could be cut.
    """

    def __init__(self, body: bytes | memoryview, window_bytes: int = _WINDOW_BYTES) -> None:
        self.fields: dict[str, Any] = {}
        self._body, self._read, self._step = memoryview(body), 0, window_bytes
        self._text, self._at = "", 0
        self._utf8, self._json = codecs.getincrementaldecoder("utf-8")(), json.JSONDecoder()

    def __iter__(self) -> Iterator[Any]:
        self._expect("{")
        for _ in self._elements("}"):
            key = self._value()
            self._expect(":")
            if not isinstance(key, str):
                raise ValueError("a key is no string")  # noqa: TRY004 - as for any other malformed text
            if key == "items" and self._accept("["):
                for _ in self._elements("]"):
                    yield self._value()
                self.fields[key] = None
            else:
                self.fields[key] = self._value()
        self._skip_blanks()
        if self._at < len(self._text) or self.fields.get("items") is not None:
            raise ValueError("data after the end, or items that are no array")

    def _elements(self, last: str) -> Iterator[None]:
        """Yield where each element of an opened object or array begins; read the separators and the end."""
        if not self._accept(last):
            yield
            while self._accept(","):
                yield
            self._expect(last)

    def _value(self) -> Any:
        self._skip_blanks()
        step = self._step
        while True:
            try:
                value, self._at = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._grow(step):
                    raise
            else:
                return value
            step *= 2  # so that one huge value is not read again and again

    def _accept(self, character: str) -> bool:
        self._skip_blanks()
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def _expect(self, character: str) -> None:
        if not self._accept(character):
            raise ValueError(f"no {character!r} where one belongs")

    def _skip_blanks(self) -> None:
        while match := _BLANKS.match(self._text, self._at):
            self._at = match.end()
            if self._at < len(self._text) or not self._grow(self._step):
                return

    def _grow(self, size: int) -> bool:
        """Forget what was read and append ``size`` bytes; return False at the end of the body."""
        if self._read >= len(self._body):
            return False
        chunk = self._body[self._read : self._read + size]
        self._read += len(chunk)
        text = self._utf8.decode(chunk, final=self._read >= len(self._body))
        self._text, self._at = self._text[self._at :] + text, 0
        return True


def read_pod(item: Any, problems: Counter[str]) -> _Found:
    """Return the pod of ``item``, decoded JSON."""
    try:
        metadata, spec, status = (_at(item, key) for key in ("metadata", "spec", "status"))
        kind, api_uid, node = _text_at(item, "kind"), _text_at(metadata, "uid"), _text_at(spec, "nodeName")
        namespace, name = _text(_at(metadata, "namespace")), _text(_at(metadata, "name"))
        annotations, workload = _texts_at(metadata, "annotations"), _workload(metadata, name)
        if not isinstance(spec, dict):
            raise ValueError("no spec")  # noqa: TRY004, TRY301 - as for anything else that is malformed
        asked, told = _asked(spec), _text_at(status, "qosClass")
        lists = [
            (kind_of, _typed(_at(spec, one), list), _typed(_at(status, two), list)) for kind_of, one, two in _LISTS
        ]
    except ValueError:
        problems["malformed_pod"] += 1
        return None
    mirrored = annotations.get(_MIRROR)
    static = mirrored is not None or annotations.get(_SOURCE, "api") != "api"
    uid = mirrored or api_uid
    if kind not in {None, "Pod"} or not uid:
        problems["pod_without_uid" if kind in {None, "Pod"} else "not_a_pod"] += 1
        return None
    problems["pod_without_status"] += status is None
    if static:  # the kubelet appends the node's name in lower case to the name in the manifest
        workload = "StaticPod", name.removesuffix(f"-{node.lower()}" if node else "")
    identity = PodIdentity(
        uid=uid,
        namespace=namespace,
        name=name,
        spec=PodSpec(
            next((one for one in get_args(QosClass) if one == told), None),
            *(_cores(amount, problems) for amount in asked),
        ),
        workload_kind=workload[0],
        workload=workload[1],
        alert_threshold_ratio=_alert_threshold(annotations, problems),
        containers=tuple(_containers(lists, problems)),
    )
    return identity, bool(mirrored)


def _workload(metadata: Any, pod: str) -> tuple[str, str]:
    """Return kind and name of the object that a human edits, as far as the names of what it creates tell."""
    suffix = "-" + _texts_at(metadata, "labels").get("pod-template-hash", "")
    owners = [
        (bool(_typed(_at(owner, "controller"), bool)), _text(_at(owner, "kind")), _text(_at(owner, "name")))
        for owner in _typed(_at(metadata, "ownerReferences"), list)
    ]
    if not owners:
        return "Pod", pod
    _, kind, name = next((owner for owner in owners if owner[0]), owners[0])
    if kind == "ReplicaSet" and suffix != "-" and name.endswith(suffix):
        return "Deployment", name.removesuffix(suffix)
    if kind == "Job" and (run := _CRONJOB_RUN.fullmatch(name)):
        return "CronJob", run["cronjob"]
    return kind, name


def _alert_threshold(annotations: Mapping[str, str], problems: Counter[str]) -> float | None:
    alert, text = annotations.get(ALERT_ANNOTATION), annotations.get(THRESHOLD_ANNOTATION)
    if alert == "off":
        return math.inf
    ratio = float(text) if text and _RATIO.fullmatch(text) else None
    is_good = ratio is not None and 0 < ratio <= 1
    problems["bad_annotation"] += (alert not in {None, "on"}) + (text is not None and not is_good)
    return ratio if is_good else None


def _containers(
    lists: Iterable[tuple[ContainerType, list[Any], list[Any]]], problems: Counter[str]
) -> Iterator[ContainerIdentity]:
    for container_type, containers, statuses in lists:
        specs = _by_name(containers, "malformed_container", problems)
        known = _by_name(statuses, "malformed_status", problems)
        # A status without a spec still names a container that runs.
        for name in dict.fromkeys((*specs, *known)):
            yield _container(container_type, name, specs.get(name), known.get(name), problems)


def _by_name(items: Iterable[Any], reason: str, problems: Counter[str]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for item in items:
        try:
            problems["duplicate_container_name"] += named.setdefault(_container_name(item), item) is not item
        except ValueError:
            problems[reason] += 1
    return named


def _container(
    container_type: ContainerType, name: str, spec: Any, status: Any, problems: Counter[str]
) -> ContainerIdentity:
    runtime, _, container_id = (_at(status, "containerID") or "").rpartition("://")
    allocated, asked, applied = _at(status, *_ALLOCATED), _asked(spec), _asked(status)
    applied[0] = allocated if applied[0] is None else applied[0]
    ended = ((_at(status, *path) or "").rpartition("://")[2] for path in _ENDED)
    if container_type == "init" and _at(spec, "restartPolicy") == "Always":
        container_type = "sidecar"
    return ContainerIdentity(
        container_id=container_id,
        name=name,
        container_type=container_type,
        runtime=runtime,
        running=_at(status, "state", "running") is not None,
        spec=None if spec is None else ContainerSpec(*(_cores(amount, problems) for amount in (*asked, *applied))),
        restart_count=_at(status, "restartCount") or 0,
        image=_at(status, "image") or _at(spec, "image") or "",
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
    """Return the cores of a quantity (``100m``, ``0.5``, ``2e3``); raises :class:`ValueError`, also below 0."""
    # As Go reads it (apimachinery/pkg/api/resource): at most 2^63-1, rounded up to a billionth.
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST_QUANTITY else None
    if match is None:
        raise ValueError("not a quantity")
    value = Decimal(match["number"]) * _SUFFIXES[match["suffix"]]
    if value < 0:
        raise ValueError("a negative amount of CPU")
    return float(min(value, _LARGEST_QUANTITY).quantize(_NANO, ROUND_UP))
