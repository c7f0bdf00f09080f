"""The part of the Kubernetes API that lists and watches the pods of one node, and everything that goes wrong with it.

Versions, bookmarks and 410 Gone are as in the API's own description ("Kubernetes API Concepts").
"""

import asyncio
import copy
import json
import ssl
from collections import deque
from collections.abc import Iterable
from functools import cache
from typing import Any
from unittest.mock import MagicMock

import aiohttp
from aiohttp import web
from kubernetes.aio import watch
from typing_extensions import override

from exporter.kube.apiserver import ApiServerSource
from tests.support.fake_kubelet import Served

NODE = "node-a"
_BUFFER_BYTES = 2**21  # as the package sets it


class FakeApiServer(Served):
    """Lists and watches :attr:`pods`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self._changed = asyncio.Condition()
        self._log: list[tuple[int, str, dict[str, Any]]] = []
        self._oldest, self._cuts, self._last_cut = 0, 0, "end"
        self.version = 100
        self.pods: dict[str, dict[str, Any]] = {}
        self.faults: deque[int | str] = deque()
        """For the next requests: a status, ``hang``, ``gone`` (as an event) or ``garbage``."""
        self.token = "first-token"
        self.lists = self.watches = self.watching = 0

    # What happens in the cluster

    async def put(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        await self._event("MODIFIED" if uid in self.pods else "ADDED", pod)
        self.pods[uid] = pod

    async def delete(self, uid: str) -> None:
        await self._event("DELETED", self.pods.pop(uid))

    async def bookmark(self) -> None:
        await self._event("BOOKMARK", {"kind": "Pod", "metadata": {}})

    async def _event(self, kind: str, pod: dict[str, Any]) -> None:
        self.version += 1
        pod["metadata"]["resourceVersion"] = str(self.version)
        async with self._changed:
            self._log.append((self.version, kind, copy.deepcopy(pod)))
            self._changed.notify_all()

    # What happens to connections

    async def cut(self, how: str) -> None:
        """Every watch ends now: ``end`` in good order, ``drop`` at once, ``half`` in the middle of a line."""
        async with self._changed:
            self._cuts += 1
            self._last_cut = how
            self._changed.notify_all()

    def compact(self) -> None:
        """Versions up to now are forgotten: who goes on from an older one gets 410."""
        self._oldest = self.version

    @override
    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await self.cut("end")
        await super().__aexit__()

    @override
    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        if request.query.get("fieldSelector") != f"spec.nodeName={NODE}":
            return web.Response(status=403, text="only its own node's pods")
        fault = self.faults.popleft() if self.faults else 200
        if fault == "hang":
            await self._closing.wait()
        if isinstance(fault, int) and fault != 200:
            return web.Response(status=fault, text="internal details")
        if request.query.get("watch") in {"true", "True"}:
            return await self._watch(request, str(fault))
        if fault == "garbage":
            return web.Response(text="<html>maintenance</html>")
        return self._list()

    def _list(self) -> web.Response:
        self.lists += 1
        metadata, items = {"resourceVersion": str(self.version)}, list(self.pods.values())
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items})

    async def _watch(self, request: web.Request, fault: str) -> web.StreamResponse:
        self.watches += 1
        at = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        if at < self._oldest or fault == "gone":
            await response.write(_line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "old"}))
            return response
        if fault == "garbage":
            await response.write(b"<html>maintenance</html>\n")
            return response
        cuts = self._cuts
        self.watching += 1
        try:
            while cuts == self._cuts:
                for version, kind, pod in [entry for entry in self._log if entry[0] > at]:
                    await response.write(_line(kind, pod))
                    at = version
                async with self._changed:
                    while cuts == self._cuts and self.version <= at:
                        await self._changed.wait()
            return await self._end(request, response, at)
        finally:
            self.watching -= 1

    async def _end(self, request: web.Request, response: web.StreamResponse, at: int) -> web.StreamResponse:
        if self._last_cut == "half":
            pending = [entry for entry in self._log if entry[0] > at][:1]
            line = _line(pending[0][1], pending[0][2]) if pending else b'{"type":"ADDED","object":{"metada'
            await response.write(line[: len(line) // 2])
        if self._last_cut in {"half", "drop"} and request.transport is not None:
            request.transport.close()
        return response


def _line(kind: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def without_server() -> ApiServerSource:
    """A source for :func:`receive`."""
    return ApiServerSource("https://192.0.2.1", node_name=NODE, token_file=None, ca_file=None)


async def receive(source: ApiServerSource, pieces: Iterable[bytes]) -> None:
    """Apply a watch whose bytes come in these pieces, all at once, followed by the end of the answer."""
    content = aiohttp.StreamReader(MagicMock(), _BUFFER_BYTES, loop=asyncio.get_running_loop())
    for piece in pieces:
        content.feed_data(piece)
    content.feed_eof()
    await source.apply_events(_watch(), MagicMock(spec=aiohttp.ClientResponse, content=content))


@cache
def _watch() -> Any:
    untyped: Any = watch
    return untyped.Watch()
