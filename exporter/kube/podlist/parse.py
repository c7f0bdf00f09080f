"""The whole list: item by item, one uid one pod, problems counted."""

from __future__ import annotations

from collections import Counter

from exporter.errors import MappingError
from exporter.kube.podlist.identity import Claim, identify
from exporter.kube.podlist.items import ListReader
from exporter.kube.podlist.model import read_pod
from exporter.readings import PodList


def parse_pod_list(body: bytes | memoryview, source: str) -> PodList:
    """The pods of ``body`` by the uid that their cgroups carry; ``source`` names its origin in a message.

    ``body`` is what ``GET /pods`` of a kubelet or a list request to the API server answers, or a file of such a list. A
    pod, container or amount that cannot be understood is left out and counted. Raises :class:`MappingError`, reason
    ``malformed``, when it is no PodList at all.
    """
    problems: Counter[str] = Counter()
    claims: dict[str, Claim] = {}
    reader = ListReader(body)
    try:
        for item in reader:
            pod = read_pod(item)
            if pod is None:
                problems["malformed_pod"] += 1
            elif pod.kind not in {None, "Pod"}:
                problems["not_a_pod"] += 1
            elif (claim := identify(pod, problems)) is not None:
                _settle(claims, claim, problems)
    except (ValueError, RecursionError) as error:
        raise MappingError(f"{source}: no PodList: {_why(body, error)}", reason="malformed") from error
    # kubectl writes "List" where the API says "PodList".
    if reader.fields.get("kind") not in ("PodList", "List") or not reader.has_items:
        raise MappingError(f"{source}: no PodList: JSON of another kind", reason="malformed")
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
