"""Pods that come and go one by one, as a watch tells them. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from exporter.errors import MappingError
from exporter.kube.podlist.identity import Claim
from exporter.kube.podlist.merge import merge, read_item
from exporter.model import PodList

_MOST_PODS = 10_000
"""A node runs some hundreds; a watch without its field selector would bring the whole cluster."""


class PodStore:
    """By the API's own uid, which a mirror pod has besides that of its cgroup."""

    def __init__(self) -> None:
        self._pods: dict[str, tuple[Claim | None, Counter[str]]] = {}

    def adopt(self, fresh: PodStore) -> None:
        """What ``fresh`` holds from now on, and nothing else."""
        self._pods = fresh._pods

    def put(self, item: Any) -> None:
        """Added or changed; raises :class:`MappingError`, reason ``too_large``."""
        problems: Counter[str] = Counter()
        claim = read_item(item, problems)
        uid = _own_uid(item)
        if uid not in self._pods and len(self._pods) >= _MOST_PODS:
            raise MappingError(f"more than {_MOST_PODS} pods on one node", reason="too_large")
        self._pods[uid] = (claim, problems)

    def remove(self, item: Any) -> None:
        """Deleted."""
        self._pods.pop(_own_uid(item), None)

    def snapshot(self) -> PodList:
        """The list as of now."""
        problems: Counter[str] = Counter()
        for _, found in self._pods.values():
            problems += found
        return merge([claim for claim, _ in self._pods.values() if claim], problems)


def _own_uid(item: Any) -> str:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    uid = metadata.get("uid") if isinstance(metadata, dict) else None
    return uid if isinstance(uid, str) else ""
