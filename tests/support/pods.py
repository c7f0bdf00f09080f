"""Pods as the Kubernetes API spells them, short enough to read in a test."""

import json
from typing import Any


def pod(
    uid: str = "0b7c9a52-0000-4000-8000-000000000001",
    name: str = "web-1",
    *,
    namespace: str = "default",
    containers: list[dict[str, Any]] | None = None,
    statuses: list[dict[str, Any]] | None = None,
    metadata: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "metadata": {"uid": uid, "name": name, "namespace": namespace, **(metadata or {})},
        "spec": {
            "nodeName": "node-a",
            "containers": [{"name": "app"}] if containers is None else containers,
            **(spec or {}),
        },
        "status": {"phase": "Running", "containerStatuses": statuses or [], **(status or {})},
    }


def running(name: str = "app", container_id: str = "containerd://" + "a" * 64, **more: Any) -> dict[str, Any]:
    return {"name": name, "containerID": container_id, "state": {"running": {"startedAt": None}}, **more}


def cpu(requests: Any = None, limits: Any = None) -> dict[str, Any]:
    """Resources of a container or pod."""
    named = {"requests": requests, "limits": limits}
    return {"resources": {kind: {"cpu": amount} for kind, amount in named.items() if amount is not None}}


def pod_list(*pods: Any) -> bytes:
    return json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(pods)}).encode()
