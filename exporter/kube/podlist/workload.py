"""Which workload a pod belongs to: the object a human edits, not the one that stamps out pods."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_CRONJOB_RUN = re.compile(r"(?P<cronjob>.+)-(?P<stamp>[0-9]{8}|[0-9]{10})")
# Minutes since 1970, as the controller of 1.21+ appends them, from 2017 to 2160. A date (20261121) lies below.
_MINUTES = range(25_000_000, 100_000_000)
# Seconds since 1970, before 1.21: until 2033. A date with its hour (2026112112) lies above.
_SECONDS = range(1_400_000_000, 2_000_000_000)


class Owner(NamedTuple):
    """One entry of ``metadata.ownerReferences``."""

    kind: str
    name: str
    controller: bool


class Workload(NamedTuple):
    """Kind and name, ``("Deployment", "web")``."""

    kind: str
    name: str


def static_workload(pod_name: str, node_name: str) -> Workload:
    """The kubelet appends the node's name in lower case to the name in a static pod's manifest."""
    return Workload("StaticPod", pod_name.removesuffix(f"-{node_name.lower()}") if node_name else pod_name)


def workload_of(pod_name: str, owners: tuple[Owner, ...], labels: Mapping[str, str]) -> Workload:
    """Climbs from the owner to its owner where the names alone tell it: ReplicaSet to Deployment, Job to CronJob."""
    if not owners:
        return Workload("Pod", pod_name)
    owner = next((owner for owner in owners if owner.controller), owners[0])
    template_hash = labels.get("pod-template-hash", "")
    if owner.kind == "ReplicaSet" and template_hash and owner.name.endswith(f"-{template_hash}"):
        return Workload("Deployment", owner.name.removesuffix(f"-{template_hash}"))
    if owner.kind == "Job" and (run := _CRONJOB_RUN.fullmatch(owner.name)):
        stamp = run["stamp"]
        if int(stamp) in (_MINUTES if len(stamp) == 8 else _SECONDS):
            return Workload("CronJob", run["cronjob"])
    return Workload(owner.kind, owner.name)
