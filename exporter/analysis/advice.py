"""Commands that carry out an advice, to be pasted as they are; one rounding rule for their numbers. Pure."""

from __future__ import annotations

import json
from shlex import quote
from typing import Any

from exporter.analysis.recommend import rounded_up
from exporter.model import CgroupRow

_TEMPLATES = {"Deployment": "deploy", "StatefulSet": "sts", "DaemonSet": "ds", "CronJob": "cronjob", "ReplicaSet": "rs"}
"""Owners whose pod template ``kubectl set`` changes."""


def quantity(cores: float) -> str:
    """Return cores as Kubernetes spells them: ``2100m``, ``3``."""
    milli = round(1000 * rounded_up(cores))
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def in_template(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's spec as the part of its owner's spec that holds the pod template."""
    template = {"template": {"spec": spec}}
    return {"jobTemplate": {"spec": template}} if kind == "CronJob" else template


def set_limit(row: CgroupRow, cores: float) -> list[str]:
    """Return the commands that give the container another limit: its owner's template, and the pod as it runs."""
    amount = quantity(cores)
    requests = f" --requests=cpu={amount}" if row.qos_class == "Guaranteed" else ""
    return [*_kubectl_set(row, "resources", f"--limits=cpu={amount}{requests}"), *resize(row, cores)]


def resize(row: CgroupRow, cores: float) -> list[str]:
    """Return the command that resizes the running pod; none where its status does not show that the kubelet can.

    A kubelet with in-place resize (KEP-1287, on by default since 1.33) reports ``containerStatuses[].resources``.
    """
    spec = row.container_spec
    if row.pod_identity is None or not row.namespace or spec is None or spec.allocated_limit_cores is None:
        return []
    amount = {"cpu": quantity(cores)}
    resources = {"limits": amount} | ({"requests": amount} if row.qos_class == "Guaranteed" else {})
    patch = json.dumps({"spec": {"containers": [{"name": row.container, "resources": resources}]}})
    return [f"kubectl -n {quote(row.namespace)} patch pod {quote(row.pod)} --subresource resize --patch {quote(patch)}"]


def set_pod_limit(row: CgroupRow, cores: float) -> list[str]:
    """Return the command that gives the whole pod another limit (pod-level resources)."""
    owner, pod = _owner(row), row.pod_identity
    if not owner or pod is None:
        return []
    spec = {"resources": {"limits": {"cpu": quantity(cores)}}}
    patch = json.dumps({"spec": in_template(pod.workload_kind, spec)})
    return [f"kubectl -n {quote(row.namespace)} patch {owner} --patch {quote(patch)}"]


def set_request(row: CgroupRow, cores: float) -> list[str]:
    """Return the command that gives the container another CPU request."""
    return _kubectl_set(row, "resources", f"--requests=cpu={quantity(cores)}")


def set_threads(row: CgroupRow, threads: int) -> list[str]:
    """Return the command that limits the threads of runtimes which size themselves by the node."""
    return _kubectl_set(row, "env", f"OMP_NUM_THREADS={threads} GOMAXPROCS={threads}")


def _kubectl_set(row: CgroupRow, what: str, values: str) -> list[str]:
    owner = _owner(row)
    if not owner or row.container is None:
        return []
    return [f"kubectl -n {quote(row.namespace)} set {what} {owner} -c {quote(row.container)} {values}"]


def _owner(row: CgroupRow) -> str:
    pod = row.pod_identity
    kind = "" if pod is None else _TEMPLATES.get(pod.workload_kind, "")
    return f"{kind}/{quote(pod.workload)}" if pod is not None and kind and row.namespace else ""
