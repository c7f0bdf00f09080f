"""A kubelet's API that may be away, silent or out of its mind, on one port."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from exporter.lab import kubelet_api
from exporter.lab.kubelet_api import KubeletApi
from exporter.lab.spec import Pod

NODE_NAME = "hour-node"
_PATIENCE_SECONDS = 10.0


class Kubelet:
    """Lists the pods it is told of. Its faults are context managers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._started = datetime.now(UTC)
        self._settings = kubelet_api.configz(driver="cgroupfs", static_cpus=False, reserved_cpus="")
        self._api: KubeletApi | None = None
        self._port = 0
        self.pods: Sequence[Pod] = ()
        """Replaced, never changed: the answer is made in another thread."""
        self.garbage: str | None = None
        self.url = ""

    def open(self) -> None:
        """Listen, the second time on the port of the first."""
        api = KubeletApi(self._pods, lambda: self._settings, port=self._port)
        self._await(api.__aenter__())
        self._api, self.url = api, api.url
        self._port = int(api.url.rpartition(":")[2])

    def close(self) -> None:
        """Nobody listens any more."""
        if self._api is not None:
            self._await(self._api.__aexit__())
            self._api = None

    @contextmanager
    def down(self) -> Iterator[None]:
        """Connections are refused."""
        self.close()
        try:
            yield
        finally:
            self.open()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Connections are taken, and nothing is ever said."""
        self.close()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", self._port))
            sock.listen(64)
            yield
        self.open()

    @contextmanager
    def nonsense(self, text: str) -> Iterator[None]:
        """Every pod list is this text."""
        self.garbage = text
        try:
            yield
        finally:
            self.garbage = None

    def _pods(self) -> dict[str, Any]:
        if self.garbage is not None:
            # aiohttp's way to answer something else from inside of a handler.
            raise web.HTTPOk(text=self.garbage, content_type="application/json")
        return kubelet_api.pod_list(self.pods, node_name=NODE_NAME, started=self._started)

    def _await(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_SECONDS)


@contextmanager
def kubelet() -> Iterator[Kubelet]:
    """One that listens, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="kubelet", daemon=True)
    thread.start()
    served = Kubelet(loop)
    try:
        served.open()
        yield served
        served.close()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
