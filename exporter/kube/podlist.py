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
from typing import Any

from exporter.errors import MappingError
from exporter.identities import PodList
from exporter.kube.pod import UidClaim, read_pod

_WINDOW_BYTES = 256 * 1024
_BLANKS = re.compile(r"[ \t\r\n]*")
_MORE_OF_A_NUMBER = re.compile(r"[-+.0-9eE]*")
_MAX_PODS = 10_000
"""A node runs some hundreds; a watch without its field selector would bring the whole cluster."""


def parse_pod_list(body: bytes | memoryview, source: str) -> PodList:
    """Return the pods of ``body`` by the uid that their cgroups carry; ``source`` names its origin in a message.

    ``body`` is what ``GET /pods`` of a kubelet or a list request to the API server answers, or a file of such a list. A
    pod, container or amount that cannot be understood is left out and counted. Raises :class:`MappingError`, reason
    ``malformed``, when it is no PodList at all.
    """
    problems: Counter[str] = Counter()
    claims: list[UidClaim | None] = []
    read_list(body, source, lambda item: claims.append(read_pod(item, problems)))
    return _merge(claims, problems)


def read_list(body: bytes | memoryview, source: str, take: Callable[[Any], None]) -> Mapping[str, Any]:
    """Hand the decoded items to ``take`` one by one; return the list's other members (``metadata``).

    Raises :class:`MappingError`, reason ``malformed``, possibly only at the end.
    """
    reader = ListReader(body)
    try:
        for item in reader:
            take(item)
    except (ValueError, RecursionError) as error:
        raise MappingError(f"{source}: no PodList: {_cause(body, error)}", reason="malformed") from error
    # kubectl writes "List" where the API says "PodList".
    if reader.fields.get("kind") not in ("PodList", "List") or not reader.has_items:
        raise MappingError(f"{source}: no PodList: JSON of another kind", reason="malformed")
    return reader.fields


def _cause(body: bytes | memoryview, error: Exception) -> str:
    """Return the cause in our own words: a decoder's message may quote the body."""
    start = bytes(body[:64]).lstrip()
    if not start:
        return "the answer is empty"
    if start.startswith(b"<"):
        return "the answer is HTML or XML"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return f"broken or incomplete JSON ({len(body)} bytes)"


class PodStore:
    """Pods that come and go one by one, by the API's own uid, which a mirror pod has besides that of its cgroup."""

    def __init__(self) -> None:
        self._pods: dict[str, tuple[UidClaim | None, Counter[str]]] = {}

    def replace(self, other: PodStore) -> None:
        """Hold what ``other`` holds, and nothing else."""
        self._pods = other._pods

    def put(self, item: Any) -> None:
        """Add or change a pod; raises :class:`MappingError`, reason ``too_large``."""
        problems: Counter[str] = Counter()
        claim = read_pod(item, problems)
        uid = _api_uid(item)
        if uid not in self._pods and len(self._pods) >= _MAX_PODS:
            raise MappingError(f"more than {_MAX_PODS} pods on one node", reason="too_large")
        self._pods[uid] = (claim, problems)

    def remove(self, item: Any) -> None:
        """Delete a pod."""
        self._pods.pop(_api_uid(item), None)

    def snapshot(self) -> PodList:
        """Return the list as of now."""
        problems = sum((found for _, found in self._pods.values()), Counter[str]())
        return _merge((claim for claim, _ in self._pods.values()), problems)


def _api_uid(item: Any) -> str:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    uid = metadata.get("uid") if isinstance(metadata, dict) else None
    return uid if isinstance(uid, str) else ""


def _merge(claims: Iterable[UidClaim | None], problems: Counter[str]) -> PodList:
    """Return each uid once; adds to ``problems`` what only shows between pods."""
    held: dict[str, UidClaim] = {}
    for claim in filter(None, claims):
        uid = claim.pod.uid
        first = held.setdefault(uid, claim)
        if (first.pod.namespace, first.pod.name) != (claim.pod.namespace, claim.pod.name):
            problems["duplicate_pod_uid"] += 1  # a static pod beside its own mirror is none
        if claim.precedence < first.precedence:
            held[uid] = claim
    pods = {uid: claim.pod for uid, claim in held.items()}
    ids = Counter(container.container_id for pod in pods.values() for container in pod.containers)
    problems["duplicate_container_id"] += sum(count - 1 for container_id, count in ids.items() if container_id)
    return PodList(pods=pods, problems={reason: count for reason, count in problems.items() if count})


class ListReader:
    """Iterates over the items of one list object; :attr:`fields` then holds its other members (``kind``, ...).

    Reads a window of the text that grows at its end when a value does not fit and forgets what was read. Raises
    :class:`ValueError` for anything that is not one JSON object with ``items`` an array or null, and
    :class:`RecursionError` for one nested deeper than Python's stack.
    """

    def __init__(self, body: bytes | memoryview, window_bytes: int = _WINDOW_BYTES) -> None:
        self.fields: dict[str, Any] = {}
        self.has_items = False
        self._body = memoryview(body)
        self._read = 0
        self._step = window_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._text = ""
        self._at = 0

    def __iter__(self) -> Iterator[Any]:
        self._expect("{")
        if not self._accept("}"):
            while True:
                key = self._value()
                self._expect(":")
                if key == "items":
                    self.has_items = True
                    yield from self._items()
                elif isinstance(key, str):
                    self.fields[key] = self._value()
                else:
                    raise ValueError("a key is no string")
                if not self._accept(","):
                    break
            self._expect("}")
        self._skip_blanks()
        if self._at < len(self._text):
            raise ValueError("data after the end")

    def _items(self) -> Iterator[Any]:
        if not self._accept("["):
            if self._value() is not None:  # a nil slice of Go is null
                raise ValueError("items is no array")
            return
        if self._accept("]"):
            return
        yield self._value()
        while self._accept(","):
            yield self._value()
        self._expect("]")

    def _value(self) -> Any:
        """Return the next JSON value, whole."""
        self._skip_blanks()
        step = self._step
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._grow(step):
                    raise
            else:
                # 12 at the end of the window may be the start of 123, and 12. of 12.3.
                more = _MORE_OF_A_NUMBER.match(self._text, end)
                if more is None or more.end() < len(self._text) or not self._grow(step):
                    self._at = end
                    return value
            step *= 2  # so that one huge value is not read again and again

    def _accept(self, character: str) -> bool:
        """Read ``character`` if it comes next; return whether it did."""
        self._skip_blanks()
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def _expect(self, character: str) -> None:
        if not self._accept(character):
            raise ValueError(f"no {character!r} where one belongs")

    def _skip_blanks(self) -> None:
        while True:
            match = _BLANKS.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text) or not self._grow(self._step):
                return

    def _grow(self, size: int) -> bool:
        """Forget what was read and append ``size`` bytes; return False at the end of the body."""
        if self._read >= len(self._body):
            return False
        chunk = self._body[self._read : self._read + size]
        self._read += len(chunk)
        text = self._utf8.decode(chunk, final=self._read >= len(self._body))
        self._text = self._text[self._at :] + text
        self._at = 0
        return True
