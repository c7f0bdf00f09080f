"""The patch that carries out a container's recommendation: what ``explain --output patch`` prints. Pure."""

from __future__ import annotations

from typing import Any, Final

from exporter.analysis.advice import in_template, quantity
from exporter.report.schema import Container

_API_VERSIONS: Final = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "CronJob": "batch/v1",
}


def limit_patch(container: Container) -> dict[str, Any] | None:
    """Return a strategic merge patch of the container's owner, or of its pod without one (``--subresource resize``).

    ``None`` without a recommendation, or while its name is unknown.
    """
    recommended = container["recommended"]
    if recommended is None or not container["mapped"]:
        return None
    amount = quantity(recommended["next_cores"])
    resources = {"limits": {"cpu": amount}}
    if container["qos_class"] == "Guaranteed":
        resources["requests"] = {"cpu": amount}
    spec: dict[str, Any] = {"containers": [{"name": container["container"], "resources": resources}]}
    kind, name = container["workload_kind"] or "", container["workload"] or ""
    if kind not in _API_VERSIONS:
        return _document("v1", "Pod", container["pod"], container["namespace"], spec)
    return _document(_API_VERSIONS[kind], kind, name, container["namespace"], in_template(kind, spec))


def _document(version: str, kind: str, name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
