"""The kubelet's API for the lab's pods: what the exporter reads of kubelet 1.36's answers, and a server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from exporter.lab.spec import Pod
from exporter.model import Driver

Json = dict[str, Any]


@asynccontextmanager
async def serve(pods: Callable[[], Json], configz: Callable[[], Json], *, port: int = 0) -> AsyncIterator[str]:
    """Serve ``/pods`` and ``/configz`` over plain HTTP and yield the URL; the functions are called for each request."""

    async def handler(request: web.Request) -> web.Response:
        return web.json_response(pods() if request.path == "/pods" else configz())

    application = web.Application()
    application.router.add_get("/{name:pods|configz}", handler)
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def configz(*, driver: Driver, static_cpus: bool, reserved_cpus: str, reconcile: str = "10s") -> Json:
    """Return the answer to ``GET /configz``."""
    kubelet: Json = {
        "cgroupDriver": driver, "cpuCFSQuota": True, "cpuCFSQuotaPeriod": "100ms",
        "cpuManagerPolicy": "static" if static_cpus else "none", "cpuManagerReconcilePeriod": reconcile,
        "topologyManagerPolicy": "none", "topologyManagerScope": "container",
    }  # fmt: skip
    return {"kubeletconfig": kubelet | ({"reservedSystemCPUs": reserved_cpus} if static_cpus else {})}


def pod_list(pods: Iterable[Pod], *, node_name: str) -> Json:
    """Return the answer to ``GET /pods`` for identified pods."""
    return {"kind": "PodList", "apiVersion": "v1", "items": [_item(pod, node_name) for pod in pods]}


def _item(pod: Pod, node_name: str) -> Json:
    metadata: Json = {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid, "annotations": pod.annotations}
    if pod.static:
        # A static pod's uid is the hash of its manifest.
        origin = {"kubernetes.io/config.hash": pod.uid, "kubernetes.io/config.source": "file"}
        metadata |= {"name": f"{pod.name}-{node_name}", "annotations": pod.annotations | origin}
    elif pod.owner_kind == "ReplicaSet":
        # checkout-7d9f8b6c5d-x2k9p is a pod of the ReplicaSet checkout-7d9f8b6c5d, of the Deployment checkout.
        replica_set = pod.name.rpartition("-")[0]
        metadata["labels"] = {"pod-template-hash": replica_set.rpartition("-")[2]}
        metadata["ownerReferences"] = [{"kind": "ReplicaSet", "name": replica_set, "controller": True}]
    elif pod.owner_kind:
        metadata["ownerReferences"] = [{"kind": pod.owner_kind, "name": pod.owner_name, "controller": True}]
    spec: Json = {"nodeName": node_name, "resources": _resources(pod.limit_cores, pod.limit_cores)}
    status: Json = {"phase": "Running", "qosClass": pod.qos_class}
    for one in pod.containers:
        kind = "container" if one.container_type == "container" else "initContainer"
        resources = _resources(one.request_cores, one.limit_cores)
        again = "Always" if one.container_type == "sidecar" else None
        spec.setdefault(f"{kind}s", []).append({"name": one.name, "resources": resources, "restartPolicy": again})
        state: Json = {"terminated": {"exitCode": 0}} if one.finished else {"running": {}}
        found = {"containerID": f"containerd://{one.container_id}", "restartCount": 0, "resources": resources}
        status.setdefault(f"{kind}Statuses", []).append({"name": one.name, "state": state} | found)
    return {"metadata": metadata, "spec": spec, "status": status}


def _resources(request: float | None, limit: float | None) -> Json:
    amounts = {"limits": limit, "requests": request}
    return {key: {"cpu": f"{cores * 1000:.0f}m"} for key, cores in amounts.items() if cores is not None}
