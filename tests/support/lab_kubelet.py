"""The lab's kubelet API in a thread: what it lists may change, and it may be away, silent or out of its mind."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiohttp import web

from exporter.lab import kubelet_api
from exporter.lab.spec import Pod

_ANSWER_SECONDS = 10.0
T = TypeVar("T")


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
        self.url = self._await(self._open.enter_async_context(server))

    def stop(self) -> None:
        """Close the server."""
        self._await(self._open.aclose())

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

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_SECONDS)


@contextmanager
def kubelet(node_name: str) -> Iterator[Kubelet]:
    """One that listens, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="kubelet", daemon=True)
    thread.start()
    served = Kubelet(loop, node_name)
    try:
        served.start()
        yield served
    finally:
        served.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_ANSWER_SECONDS)
        loop.close()
