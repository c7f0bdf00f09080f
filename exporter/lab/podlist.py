"""Pods of the lab as the kubelet lists them. Pure; shaped after the answers of kubelet 1.36.

The reference: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from exporter.lab.spec import Container, Pod
from exporter.model import Driver

Json = dict[str, Any]


def pod_list(pods: Sequence[Pod], *, node_name: str, started: datetime) -> Json:
    """``GET /pods``: a PodList of identified pods that all began at ``started`` (UTC)."""
    items = [_pod(pod, node_name, started) for pod in pods]
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}


def configz(*, driver: Driver, static_cpus: bool, reserved_cpus: str, reconcile: str = "10s") -> Json:
    """``GET /configz``: the keys that have to do with CPUs, and some that have not."""
    kubelet: Json = {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "enableServer": True,
        "syncFrequency": "10s",
        "maxPods": 110,
        "cgroupsPerQOS": True,
        "cgroupDriver": driver,
        "cpuManagerPolicy": "static" if static_cpus else "none",
        "cpuManagerReconcilePeriod": reconcile,
        "memoryManagerPolicy": "None",
        "topologyManagerPolicy": "none",
        "topologyManagerScope": "container",
        "cpuCFSQuota": True,
        "cpuCFSQuotaPeriod": "100ms",
        "logging": {"format": "text", "flushFrequency": "5s", "verbosity": 2},
    }
    if static_cpus:
        kubelet["reservedSystemCPUs"] = reserved_cpus
    return {"kubeletconfig": kubelet}


def quantity(cores: float) -> str:
    """CPU cores as Kubernetes writes them.

    >>> quantity(0.25), quantity(2.0)
    ('250m', '2')
    """
    milli = round(cores * 1000)
    return f"{milli}m" if milli % 1000 else str(milli // 1000)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _resources(request: float | None, limit: float | None) -> Json:
    resources: Json = {}
    if limit is not None:
        resources["limits"] = {"cpu": quantity(limit), "memory": "64Mi"}
    if request is not None:
        memory = {"memory": "64Mi"} if limit is not None else {}
        resources["requests"] = {"cpu": quantity(request), **memory}
    return resources


def _pod(pod: Pod, node_name: str, started: datetime) -> Json:
    lists: dict[str, list[Json]] = {}
    for container in pod.containers:
        kind = {"container": "containers", "ephemeral": "ephemeralContainers"}.get(
            container.container_type, "initContainers"
        )
        lists.setdefault(kind, []).append(_container_spec(container))
    spec: Json = {
        **lists,
        "restartPolicy": "OnFailure" if pod.owner_kind == "Job" else "Always",
        "nodeName": node_name,
        "schedulerName": "default-scheduler",
    }
    if pod.limit_cores is not None:
        spec["resources"] = _resources(pod.limit_cores, pod.limit_cores)
    return {"metadata": _metadata(pod, node_name, started), "spec": spec, "status": _status(pod, started)}


def _metadata(pod: Pod, node_name: str, started: datetime) -> Json:
    labels = {"app": pod.owner_name or pod.name, **pod.labels}
    annotations = dict(pod.annotations)
    metadata: Json = {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}
    if pod.static:
        # A static pod has no creation time, and its uid is the hash of its manifest.
        metadata["name"] = f"{pod.name}-{node_name}"
        annotations |= {"kubernetes.io/config.hash": pod.uid, "kubernetes.io/config.source": "file"}
        annotations["kubernetes.io/config.seen"] = started.strftime("%Y-%m-%dT%H:%M:%S.000000000Z")
    else:
        metadata["creationTimestamp"] = _time(started)
    owner_kind, owner_name = pod.owner_kind, pod.owner_name
    if owner_kind == "ReplicaSet":
        # checkout-7d9f8b6c5d-x2k9p: a pod of the ReplicaSet checkout-7d9f8b6c5d, of the Deployment checkout.
        owner_name = pod.name.rpartition("-")[0]
        labels["pod-template-hash"] = owner_name.rpartition("-")[2]
    if owner_kind:
        api_group = {"Job": "batch/v1"}.get(owner_kind, "apps/v1")
        metadata["ownerReferences"] = [
            {"apiVersion": api_group, "kind": owner_kind, "name": owner_name, "uid": pod.uid, "controller": True}
        ]
    metadata["labels"] = labels
    if annotations:
        metadata["annotations"] = annotations
    return metadata


def _container_spec(container: Container) -> Json:
    spec: Json = {
        "name": container.name,
        "image": f"registry.example/{container.name}:1",
        "resources": _resources(container.request_cores, container.limit_cores),
    }
    if container.container_type == "sidecar":
        spec["restartPolicy"] = "Always"
    return spec


def _status(pod: Pod, started: datetime) -> Json:
    statuses: dict[str, list[Json]] = {}
    for container in pod.containers:
        kind = {"container": "containerStatuses", "ephemeral": "ephemeralContainerStatuses"}.get(
            container.container_type, "initContainerStatuses"
        )
        statuses.setdefault(kind, []).append(_container_status(container, started))
    return {"phase": "Running", "startTime": _time(started), "qosClass": pod.qos_class, **statuses}


def _container_status(container: Container, started: datetime) -> Json:
    container_id = f"containerd://{container.container_id}"
    moment = _time(started)
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
