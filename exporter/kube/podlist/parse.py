"""The whole list, or half a list that is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from exporter.errors import MappingError
from exporter.kube.podlist.identity import Claim
from exporter.kube.podlist.items import ListReader
from exporter.kube.podlist.merge import merge, read_item
from exporter.model import PodList


def parse_pod_list(body: bytes | memoryview, source: str) -> PodList:
    """The pods of ``body`` by the uid that their cgroups carry; ``source`` names its origin in a message.

    ``body`` is what ``GET /pods`` of a kubelet or a list request to the API server answers, or a file of such a list. A
    pod, container or amount that cannot be understood is left out and counted. Raises :class:`MappingError`, reason
    ``malformed``, when it is no PodList at all.
    """
    problems: Counter[str] = Counter()
    found: list[Claim] = []

    def take(item: Any) -> None:
        if (claim := read_item(item, problems)) is not None:
            found.append(claim)

    read_list(body, source, take)
    return merge(found, problems)


def read_list(body: bytes | memoryview, source: str, take: Callable[[Any], None]) -> Mapping[str, Any]:
    """Hands the decoded items to ``take`` one by one; the list's other members (``metadata``).

    Raises :class:`MappingError`, reason ``malformed``, possibly only at the end.
    """
    reader = ListReader(body)
    try:
        for item in reader:
            take(item)
    except (ValueError, RecursionError) as error:
        raise MappingError(f"{source}: no PodList: {_why(body, error)}", reason="malformed") from error
    # kubectl writes "List" where the API says "PodList".
    if reader.fields.get("kind") not in ("PodList", "List") or not reader.has_items:
        raise MappingError(f"{source}: no PodList: JSON of another kind", reason="malformed")
    return reader.fields


def _why(body: bytes | memoryview, error: Exception) -> str:
    """The cause in our own words: a decoder's message may quote the body."""
    start = bytes(body[:64]).lstrip()
    if not start:
        return "the answer is empty"
    if start.startswith(b"<"):
        return "the answer is HTML or XML"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return f"broken or incomplete JSON ({len(body)} bytes)"
