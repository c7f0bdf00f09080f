"""Bytes of a v1 PodList, or the events of a watch -> :class:`exporter.identities.PodList`. Pure.

Items are decoded one at a time. Parsed whole, 14 MB of 1,000 pods cost 52 MB more by pydantic (38 MB of it stay as
holes in the heap) and 94 MB more by :mod:`json`; item by item they cost the window below.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from exporter.errors import MappingError
from exporter.identities import PodIdentity, PodList
from exporter.kube.pod import read_pod

_WINDOW_BYTES = 256 * 1024
_BLANKS = re.compile(r"[ \t\r\n]*")
_MAX_PODS = 10_000
"""A node runs some hundreds; a watch without its field selector would bring the whole cluster."""


def parse_pod_list(body: bytes | memoryview, source: str) -> PodList:
    """Return the pods of ``body`` by the uid that their cgroups carry; ``source`` names its origin in a message.

    What cannot be understood is left out and counted. Raises :class:`MappingError`, ``malformed``, for no PodList.
    """
    problems: Counter[str] = Counter()
    found: list[tuple[PodIdentity, bool] | None] = []
    read_list(body, source, lambda item: found.append(read_pod(item, problems)))
    return _merge(found, problems)


def read_list(body: bytes | memoryview, source: str, take: Callable[[Any], None]) -> Mapping[str, Any]:
    """Hand the decoded items to ``take`` one by one; return the list's other members. Raises as the one above."""
    reader = ListReader(body)
    try:
        for item in reader:
            take(item)
    except (ValueError, RecursionError) as error:
        # In our own words: a decoder's message may quote the body.
        is_html = bytes(body[:64]).lstrip().startswith(b"<")
        cause = "HTML or XML" if is_html else f"broken or incomplete JSON ({len(body)} bytes)"
        raise MappingError(f"{source}: no PodList: {cause}", reason="malformed") from error
    # kubectl writes "List" where the API says "PodList".
    if reader.fields.get("kind") not in ("PodList", "List") or not reader.has_items:
        raise MappingError(f"{source}: no PodList: JSON of another kind", reason="malformed")
    return reader.fields


class PodStore:
    """Pods that come and go one by one, by the API's own uid, which a mirror pod has besides that of its cgroup."""

    def __init__(self) -> None:
        self._pods: dict[str, tuple[tuple[PodIdentity, bool] | None, Counter[str]]] = {}

    def put(self, item: Any) -> None:
        """Add or change a pod; raises :class:`MappingError`, reason ``too_large``."""
        problems: Counter[str] = Counter()
        found = read_pod(item, problems)
        self._pods[_api_uid(item)] = (found, problems)
        if len(self._pods) > _MAX_PODS:
            raise MappingError(f"more than {_MAX_PODS} pods on one node", reason="too_large")

    def remove(self, item: Any) -> None:
        """Delete a pod."""
        self._pods.pop(_api_uid(item), None)

    def snapshot(self) -> PodList:
        """Return the list as of now."""
        problems = sum((problems for _, problems in self._pods.values()), Counter[str]())
        return _merge((found for found, _ in self._pods.values()), problems)


def _api_uid(item: Any) -> str:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    uid = metadata.get("uid") if isinstance(metadata, dict) else None
    return uid if isinstance(uid, str) else ""


def _merge(found: Iterable[tuple[PodIdentity, bool] | None], problems: Counter[str]) -> PodList:
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
    """Iterates over the items of one list object; :attr:`fields` then holds its other members (``kind``, ...).

    Reads a window of the text: the end of a member or item that is a number could not be told. Raises
    :class:`ValueError` or :class:`RecursionError` for what is not one JSON object with ``items`` an array or null.
    """

    def __init__(self, body: bytes | memoryview, window_bytes: int = _WINDOW_BYTES) -> None:
        self.fields: dict[str, Any] = {}
        self.has_items = False
        self._body, self._read, self._step = memoryview(body), 0, window_bytes
        self._text, self._at = "", 0
        self._utf8, self._json = codecs.getincrementaldecoder("utf-8")(), json.JSONDecoder()

    def __iter__(self) -> Iterator[Any]:
        for _ in self._elements("{", "}"):
            key = self._value()
            self._expect(":")
            if key == "items":
                self.has_items = True
                yield from self._items()
            elif isinstance(key, str):
                self.fields[key] = self._value()
            else:
                raise ValueError("a key is no string")
        self._skip_blanks()
        if self._at < len(self._text):
            raise ValueError("data after the end")

    def _items(self) -> Iterator[Any]:
        self._skip_blanks()
        if self._text.startswith("[", self._at):
            for _ in self._elements("[", "]"):
                yield self._value()
        elif self._value() is not None:  # a nil slice of Go is null
            raise ValueError("items is no array")

    def _elements(self, first: str, last: str) -> Iterator[None]:
        """Yield where each element of an object or array begins; read what is around them."""
        self._expect(first)
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
