"""The kubelet's API for the lab's pods: answers shaped after kubelet 1.36, and a server on loopback.

The reference: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Self

from aiohttp import web

from exporter.lab.hierarchy import LabError
from exporter.lab.spec import Container, Pod
from exporter.model import Driver

Json = dict[str, Any]
_LISTS = {"container": "container", "ephemeral": "ephemeralContainer"}
"""Prefix of the list that holds a container type; all others are in ``initContainers``."""


class KubeletApi:
    """Serve ``/pods``, ``/configz`` and ``/healthz`` over plain HTTP; an async context manager that sets :attr:`url`.

    The two functions are called for each request.
    """

    def __init__(
        self, pods: Callable[[], Json], configz: Callable[[], Json], *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._host, self._port = host, port
        self.url = ""
        application = web.Application()
        for path, answer in (("/pods", pods), ("/configz", configz), ("/healthz", dict)):
            application.router.add_get(path, _handler(answer))
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise LabError.from_os_error(f"the kubelet API on {self._host}:{self._port}", error) from error
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


def _handler(answer: Callable[[], Json]) -> Callable[[web.Request], Any]:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(answer())

    return handler


def configz(*, driver: Driver, static_cpus: bool, reserved_cpus: str, reconcile: str = "10s") -> Json:
    """Return the answer to ``GET /configz``."""
    kubelet: Json = {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "cgroupsPerQOS": True,
        "cgroupDriver": driver,
        "cpuManagerPolicy": "static" if static_cpus else "none",
        "cpuManagerReconcilePeriod": reconcile,
        "topologyManagerPolicy": "none",
        "topologyManagerScope": "container",
        "cpuCFSQuota": True,
        "cpuCFSQuotaPeriod": "100ms",
    }
    return {"kubeletconfig": kubelet | ({"reservedSystemCPUs": reserved_cpus} if static_cpus else {})}


def pod_list(pods: Sequence[Pod], *, node_name: str, started: datetime) -> Json:
    """Return the answer to ``GET /pods`` for identified pods, all of which began at ``started`` (UTC)."""
    moment = started.strftime("%Y-%m-%dT%H:%M:%SZ")
    items = []
    for pod in pods:
        spec: Json = {"restartPolicy": "OnFailure" if pod.owner_kind == "Job" else "Always", "nodeName": node_name}
        status: Json = {"phase": "Running", "startTime": moment, "qosClass": pod.qos_class}
        if pod.limit_cores is not None:
            spec["resources"] = _resources(pod.limit_cores, pod.limit_cores)
        for one in pod.containers:
            name = _LISTS.get(one.container_type, "initContainer")
            spec.setdefault(f"{name}s", []).append(_container(one))
            status.setdefault(f"{name}Statuses", []).append(_status(one, moment))
        items.append({"metadata": _metadata(pod, node_name, moment), "spec": spec, "status": status})
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}


def quantity(cores: float) -> str:
    """Return CPU cores as Kubernetes writes them.

    >>> quantity(0.25), quantity(2.0)
    ('250m', '2')
    """
    milli = round(cores * 1000)
    return f"{milli}m" if milli % 1000 else str(milli // 1000)


def _resources(request: float | None, limit: float | None) -> Json:
    amounts = {"limits": limit, "requests": request}
    memory = {} if limit is None else {"memory": "64Mi"}
    return {key: {"cpu": quantity(cores), **memory} for key, cores in amounts.items() if cores is not None}


def _metadata(pod: Pod, node_name: str, moment: str) -> Json:
    labels = {"app": pod.owner_name or pod.name, **pod.labels}
    metadata: Json = {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid, "labels": labels}
    annotations = dict(pod.annotations)
    if pod.static:
        # A static pod's uid is the hash of its manifest, and it has no creation time.
        metadata["name"] = f"{pod.name}-{node_name}"
        annotations |= {"kubernetes.io/config.hash": pod.uid, "kubernetes.io/config.source": "file"}
    else:
        metadata["creationTimestamp"] = moment
    if annotations:
        metadata["annotations"] = annotations
    if pod.owner_kind:
        owner_name = pod.owner_name
        if pod.owner_kind == "ReplicaSet":
            # checkout-7d9f8b6c5d-x2k9p is a pod of the ReplicaSet checkout-7d9f8b6c5d, of the Deployment checkout.
            owner_name = pod.name.rpartition("-")[0]
            labels["pod-template-hash"] = owner_name.rpartition("-")[2]
        version = "batch/v1" if pod.owner_kind == "Job" else "apps/v1"
        owner = {"apiVersion": version, "kind": pod.owner_kind, "name": owner_name, "uid": pod.uid, "controller": True}
        metadata["ownerReferences"] = [owner]
    return metadata


def _container(container: Container) -> Json:
    resources = _resources(container.request_cores, container.limit_cores)
    spec: Json = {"name": container.name, "image": f"registry.example/{container.name}:1", "resources": resources}
    return spec | ({"restartPolicy": "Always"} if container.container_type == "sidecar" else {})


def _status(container: Container, moment: str) -> Json:
    container_id = f"containerd://{container.container_id}"
    state: Json = {"running": {"startedAt": moment}}
    if container.finished:
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": moment, "finishedAt": moment}
        state = {"terminated": {**ended, "containerID": container_id}}
    return {
        "name": container.name,
        "state": state,
        "lastState": {},
        "ready": True,
        "restartCount": 0,
        "image": f"registry.example/{container.name}:1",
        "imageID": f"sha256:{hashlib.sha256(container.name.encode()).hexdigest()}",
        "containerID": container_id,
        "started": not container.finished,
        "resources": _resources(container.request_cores, container.limit_cores),
    }
