"""The lab's kubelet API in a thread: what it lists may change, and it may be down, silent or answer nonsense."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from exporter.lab import kubelet_api
from exporter.lab.spec import Pod
from tests.support.fake_kubelet import looping, run_on


class Kubelet:
    """Lists the pods that were set."""

    def __init__(self, loop: asyncio.AbstractEventLoop, node_name: str) -> None:
        self._loop, self._node_name = loop, node_name
        self._open = AsyncExitStack()
        self.pods: Sequence[Pod] = ()
        """Replaced, never changed: the answer is made in another thread."""
        self.static_cpus = False
        self.url = ""
        self._nonsense: str | None = None

    def start(self) -> None:
        """Listen, at the address of the last time if there was one."""
        server = kubelet_api.serve(self._pod_list, self._configz, port=urlsplit(self.url).port or 0)
        self.url = run_on(self._loop, self._open.enter_async_context(server))

    def stop(self) -> None:
        """Close the server."""
        run_on(self._loop, self._open.aclose())

    @contextmanager
    def down(self) -> Iterator[None]:
        """Connections are refused."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Connections are taken, and nothing is ever said."""
        with self.down(), socket.create_server(("127.0.0.1", urlsplit(self.url).port or 0)):
            yield

    @contextmanager
    def nonsense(self, text: str) -> Iterator[None]:
        """Every pod list is this text."""
        self._nonsense = text
        try:
            yield
        finally:
            self._nonsense = None

    def _pod_list(self) -> dict[str, Any]:
        if self._nonsense is not None:
            # aiohttp's way to answer something else from inside of a handler.
            raise web.HTTPOk(text=self._nonsense, content_type="application/json")
        return kubelet_api.pod_list(self.pods, node_name=self._node_name)

    def _configz(self) -> dict[str, Any]:
        return kubelet_api.configz(driver="cgroupfs", static_cpus=self.static_cpus, reserved_cpus="", reconcile="1s")


@contextmanager
def kubelet(node_name: str) -> Iterator[Kubelet]:
    """One that listens, in a thread of its own."""
    with looping() as loop:
        served = Kubelet(loop, node_name)
        served.start()
        try:
            yield served
        finally:
            served.stop()
