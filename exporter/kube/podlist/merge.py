"""Many items -> one list: each pod by the uid of its cgroup, each uid once, problems counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from exporter.kube.podlist.identity import Claim, identify
from exporter.kube.podlist.model import read_pod
from exporter.model import PodList


def read_item(item: Any, problems: Counter[str]) -> Claim | None:
    """One item, decoded JSON, of a list; ``None`` for what is left out, with the reason in ``problems``."""
    pod = read_pod(item)
    if pod is None:
        problems["malformed_pod"] += 1
        return None
    if pod.kind not in {None, "Pod"}:
        problems["not_a_pod"] += 1
        return None
    return identify(pod, problems)


def merge(found: Iterable[Claim], problems: Counter[str]) -> PodList:
    """The list of what was found; adds to ``problems`` what only shows between pods."""
    claims: dict[str, Claim] = {}
    for claim in found:
        _settle(claims, claim, problems)
    pods = {uid: claim.pod for uid, claim in claims.items()}
    ids = Counter(container.container_id for pod in pods.values() for container in pod.containers)
    problems["duplicate_container_id"] += sum(count - 1 for container_id, count in ids.items() if container_id)
    return PodList(pods=pods, problems={reason: count for reason, count in problems.items() if count})


def _settle(claims: dict[str, Claim], claim: Claim, problems: Counter[str]) -> None:
    uid = claim.pod.uid
    held = claims.setdefault(uid, claim)
    if (held.pod.namespace, held.pod.name) != (claim.pod.namespace, claim.pod.name):
        problems["duplicate_pod_uid"] += 1  # a static pod beside its own mirror is none
    if claim.right < held.right:
        claims[uid] = claim
