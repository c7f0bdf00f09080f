"""Commands that carry out an advice, to be pasted as they are; one rounding rule for their numbers. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import floor
from shlex import quote
from typing import Any, Final, NamedTuple

from exporter.analysis.recommend import rounded_up
from exporter.model import CgroupRow

_TEMPLATES: Final = {
    "Deployment": "deploy",
    "StatefulSet": "sts",
    "DaemonSet": "ds",
    "CronJob": "cronjob",
    "ReplicaSet": "rs",
}
"""Owners whose pod template ``kubectl set`` changes."""


class Advice(NamedTuple):
    """What to do."""

    text: str
    """One sentence, or a few."""
    commands: Sequence[str] = ()
    """Alternatives that carry it out."""


def quantity(cores: float) -> str:
    """Return cores as Kubernetes spells them: ``2100m``, ``3``."""
    milli = round(1000 * rounded_up(cores))
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def threads_within(cores: float) -> int:
    """Return the number of threads that may run at once under a limit without using it up."""
    return max(1, floor(cores))


def in_template(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's spec as the part of its owner's spec that holds the pod template."""
    template = {"template": {"spec": spec}}
    return {"jobTemplate": {"spec": template}} if kind == "CronJob" else template


def set_limit(row: CgroupRow, cores: float) -> list[str]:
    """Return the commands that give the container another limit: its owner's template, and the pod as it runs."""
    if row.pod_identity is None or not row.namespace or row.container is None:
        return []
    namespace, owner, amount = quote(row.namespace), _owner(row), quantity(cores)
    commands = []
    if owner:
        commands.append(f"kubectl -n {namespace} set resources {owner} -c {quote(row.container)} --limits=cpu={amount}")
    resources: dict[str, Any] = {"limits": {"cpu": amount}}
    if row.qos_class == "Guaranteed":
        resources["requests"] = {"cpu": amount}
        commands = [f"{command} --requests=cpu={amount}" for command in commands]
    patch = json.dumps({"spec": {"containers": [{"name": row.container, "resources": resources}]}})
    commands.append(f"kubectl -n {namespace} patch pod {quote(row.pod)} --subresource resize --patch {quote(patch)}")
    return commands


def set_pod_limit(row: CgroupRow, cores: float) -> list[str]:
    """Return the command that gives the whole pod another limit (pod-level resources)."""
    owner = _owner(row)
    if not owner:
        return []
    spec = {"resources": {"limits": {"cpu": quantity(cores)}}}
    patch = json.dumps({"spec": in_template(row.pod_identity.workload_kind if row.pod_identity else "", spec)})
    return [f"kubectl -n {quote(row.namespace)} patch {owner} --patch {quote(patch)}"]


def set_request(row: CgroupRow, cores: float) -> list[str]:
    """Return the command that gives the container another CPU request."""
    owner = _owner(row)
    if not owner or row.container is None:
        return []
    where = f"-n {quote(row.namespace)} set resources {owner} -c {quote(row.container)}"
    return [f"kubectl {where} --requests=cpu={quantity(cores)}"]


def set_threads(row: CgroupRow, threads: int) -> list[str]:
    """Return the command that limits the threads of runtimes which size themselves by the node."""
    owner = _owner(row)
    if not owner or row.container is None:
        return []
    where = f"-n {quote(row.namespace)} set env {owner} -c {quote(row.container)}"
    return [f"kubectl {where} OMP_NUM_THREADS={threads} GOMAXPROCS={threads}"]


def _owner(row: CgroupRow) -> str:
    pod = row.pod_identity
    kind = "" if pod is None else _TEMPLATES.get(pod.workload_kind, "")
    return f"{kind}/{quote(pod.workload)}" if pod is not None and kind and row.namespace else ""
