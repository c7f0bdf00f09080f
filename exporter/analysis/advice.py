"""Commands that carry out the advice of a finding, to be pasted as they are, with their numbers rounded alike. Pure."""

from __future__ import annotations

import json
from shlex import quote
from typing import Any

from exporter.analysis.recommend import rounded_up
from exporter.model import CgroupRow

TEMPLATES = {"Deployment": "deploy", "StatefulSet": "sts", "DaemonSet": "ds", "CronJob": "cronjob", "ReplicaSet": "rs"}
"""Owners whose pod template ``kubectl set`` changes."""

_DEFAULT_PERIOD = 0.1
_MIN_QUOTA_US = 1000


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
    amount, is_guaranteed = quantity(cores), row.qos_class == "Guaranteed"
    requests = f" --requests=cpu={amount}" if is_guaranteed else ""
    commands = kubectl_set(row, "resources", f"--limits=cpu={amount}{requests}")
    # A kubelet with in-place resize (KEP-1287, by default since 1.33) reports containerStatuses[].resources.
    if row.pod_identity is not None and row.namespace and row.resizable:
        resources = {"limits": {"cpu": amount}} | ({"requests": {"cpu": amount}} if is_guaranteed else {})
        patch = quote(json.dumps({"spec": {"containers": [{"name": row.container, "resources": resources}]}}))
        where = f"-n {quote(row.namespace)} patch pod {quote(row.pod)}"
        commands.append(f"kubectl {where} --subresource resize --patch {patch}")
    return commands


def restore_limit(row: CgroupRow, cores: float) -> list[str]:
    """Return the command, for the node, that has the runtime write a limit again: the API server sees no change."""
    period = (row.limits.period_seconds if row.limits else None) or _DEFAULT_PERIOD
    quota = max(_MIN_QUOTA_US, round(1e6 * period * cores))
    times = f"--cpu-period {round(1e6 * period)} --cpu-quota {quota}"
    return [f"crictl update {times} {row.ref.container_id}"] if row.ref.container_id else []


def set_pod_limit(row: CgroupRow, cores: float) -> list[str]:
    """Return the command that gives the whole pod another limit (pod-level resources)."""
    owner, pod = _owner(row), row.pod_identity
    if not owner or pod is None:
        return []
    spec = {"resources": {"limits": {"cpu": quantity(cores)}}}
    patch = json.dumps({"spec": in_template(pod.workload_kind, spec)})
    return [f"kubectl -n {quote(row.namespace)} patch {owner} --patch {quote(patch)}"]


def set_request(row: CgroupRow, cores: float) -> list[str]:
    """Return the command that gives the container another CPU request, and a limit that is not below it."""
    limit = row.container_spec and row.container_spec.limit_cores
    raised = f" --limits=cpu={quantity(cores)}" if limit and limit < rounded_up(cores) else ""
    return kubectl_set(row, "resources", f"--requests=cpu={quantity(cores)}{raised}")


def kubectl_set(row: CgroupRow, what: str, values: str) -> list[str]:
    """Return the command that sets resources or environment of the container in its owner's template."""
    owner = _owner(row)
    if not owner or row.container is None:
        return []
    return [f"kubectl -n {quote(row.namespace)} set {what} {owner} -c {quote(row.container)} {values}"]


def _owner(row: CgroupRow) -> str:
    pod = row.pod_identity
    kind = "" if pod is None else TEMPLATES.get(pod.workload_kind, "")
    return f"{kind}/{quote(pod.workload)}" if pod is not None and kind and row.namespace else ""
