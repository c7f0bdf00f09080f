"""The part of a cluster's API that ``kubectl throttle`` uses: discovery, lists of pods, workloads, ``pods/proxy``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession, web
from typing_extensions import override

from tests.support.fake_kubelet import Served, in_thread
from tests.support.pods import pod, pod_list


def _group(version: str, name: str, kind: str, *short: str) -> dict[str, Any]:
    """A list of one resource."""
    one = {"name": name, "singularName": kind.lower(), "kind": kind, "shortNames": short, "namespaced": True}
    return {"kind": "APIResourceList", "groupVersion": version, "resources": [{**one, "verbs": ["get", "list"]}]}


_APPS: Final = {"groupVersion": "apps/v1", "version": "v1"}
_RESOURCES: Final = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.4"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [{"name": "apps", "versions": [_APPS], "preferredVersion": _APPS}],
    },
    "/api/v1": _group("v1", "pods", "Pod"),
    "/apis/apps/v1": _group("apps/v1", "deployments", "Deployment", "deploy"),
}


class ClusterApi(Served):
    """Serves pods, and what the exporters among them answer."""

    def __init__(
        self, pods: Sequence[Mapping[str, Any]], deployments: Mapping[str, Mapping[str, str]], ports: Mapping[str, int]
    ) -> None:
        """``pods``: node, namespace, name and labels; ``deployments``: labels by name, in every namespace.

        ``ports``: of exporters by pod; a request to any other pod gets no answer.
        """
        super().__init__()
        self._pods, self._deployments, self._ports = pods, deployments, ports

    @override
    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path in _RESOURCES:
            return web.json_response(_RESOURCES[request.path])
        match request.path.strip("/").split("/"):
            case ["api", "v1", "pods"]:
                return self._listed("", request.query.get("labelSelector", ""))
            case ["api", "v1", "namespaces", namespace, "pods"]:
                return self._listed(namespace, request.query.get("labelSelector", ""))
            case ["api", "v1", "namespaces", _, "pods", name, "proxy", *path]:
                return await self._proxied(name, "/".join(path), request.query_string)
            case ["apis", "apps", "v1", "namespaces", namespace, "deployments", name] if name in self._deployments:
                found = {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "metadata": {"name": name, "namespace": namespace},
                }
                return web.json_response(found | {"spec": {"selector": {"matchLabels": self._deployments[name]}}})
            case _:
                status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
                return web.json_response({**status, "message": "not found"}, status=404)

    def _listed(self, namespace: str, selector: str) -> web.Response:
        labels = dict(part.split("=") for part in selector.split(",") if part)
        items = [
            pod(namespace=one["namespace"], metadata={**one}, spec={"nodeName": one["node"]})
            for one in self._pods
            if namespace in {"", one["namespace"]} and labels.items() <= one["labels"].items()
        ]
        return web.Response(body=pod_list(*items), content_type="application/json")

    async def _proxied(self, pod: str, path: str, query: str) -> web.Response:
        if pod not in self._ports:
            await self._closing.wait()
            return web.Response(status=503)
        url = f"http://127.0.0.1:{self._ports[pod]}/{path}?{query}"
        async with ClientSession() as session, session.get(url) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)


@contextmanager
def serving(api: ClusterApi, folder: Path) -> Iterator[Path]:
    """The server in a thread; gives a kubeconfig that leads to it and whose namespace is ``shop``."""
    with in_thread(api):
        context = {"cluster": "test", "user": "test", "namespace": "shop"}
        text = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": api.url}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": context}],
        }
        config = folder / "kubeconfig"
        config.write_text(json.dumps(text))
        yield config
