"""The pod sources of the fault matrix, on servers and a folder that fail as they are told."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from typing import Any, Literal, Self

from aiohttp import web
from typing_extensions import override

from exporter.kube.apiserver import ApiServerSource, WatchTiming
from exporter.kube.kubelet import KubeletSource
from exporter.kube.logdir import LogDirSource
from tests.faults.node import Place
from tests.kube.fake_apiserver import NODE, FakeApiServer
from tests.support.fake_kubelet import FakeKubelet, Reply, Served
from tests.support.trees import pod_list

State = Literal["right", "shut", "silent", "nonsense"]
TIMEOUT = 0.5
QUICK = WatchTiming(answer_seconds=TIMEOUT, silent_seconds=1.0, first_retry=0.1, last_retry=0.5)


class Failing(Served):
    """A server in one state for all requests from now on."""

    state: State = "right"

    @override
    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.state == "silent":
            await asyncio.sleep(60.0)
        if self.state == "shut" and request.transport is not None:
            request.transport.abort()
        if self.state == "nonsense":
            return web.Response(text="<html>back soon</html>")
        return await super()._handle(request)  # type: ignore[safe-super] # of the server that it is mixed into

    async def turn(self, state: State) -> None:
        self.state = state


class Kubelet(Failing, FakeKubelet):
    def source(self, place: Place) -> KubeletSource:
        self.answer("/pods", Reply.json(pod_list(place.tree)))
        return KubeletSource(self.url, timeout_seconds=TIMEOUT)


class ApiServer(Failing, FakeApiServer):
    def source(self, place: Place) -> ApiServerSource:
        place.write("token", self.token)
        self.pods = {item["metadata"]["uid"]: item for item in pod_list(place.tree)["items"]}
        token = str(place.folder / "token")
        return ApiServerSource(self.url, node_name=NODE, token_file=token, ca_file=None, timing=QUICK)

    @override
    async def turn(self, state: State) -> None:
        await super().turn(state)
        await self.cut("drop")


class LogDirectory:
    """``pods`` and ``containers``, with the links that the kubelet makes."""

    def __init__(self) -> None:
        self.state: State = "right"
        self._go_on = threading.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._go_on.set()

    async def turn(self, state: State) -> None:
        self.state = state
        (self._go_on.clear if state == "silent" else self._go_on.set)()

    def _list(self, path: str) -> list[str]:
        self._go_on.wait()
        if self.state == "shut":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return ["\udcff"] * 5 if self.state == "nonsense" else os.listdir(path)

    def source(self, place: Place) -> LogDirSource:
        items: list[dict[str, Any]] = pod_list(place.tree)["items"]
        for item in items:
            about = item["metadata"]
            folder = f"logs/pods/{about['namespace']}_{about['name']}_{about['uid']}"
            for status in item["status"]["containerStatuses"]:
                name, cid = status["name"], status["containerID"].partition("://")[2]
                place.write(f"{folder}/{name}/0.log", "")
                link = place.folder / "logs/containers" / f"{about['name']}_{about['namespace']}_{name}-{cid}.log"
                link.parent.mkdir(exist_ok=True)
                link.symlink_to(place.folder / folder / name / "0.log")
        return LogDirSource(str(place.folder / "logs"), timeout_seconds=TIMEOUT, list_names=self._list)


SOURCES = {"kubelet": Kubelet, "API server": ApiServer, "log directory": LogDirectory}
REASONS: dict[State, set[str]] = {
    "shut": {"unreachable", "not_found"},
    "silent": {"timeout"},
    "nonsense": {"malformed", "malformed_name"},
}
"""What each state is counted as."""
