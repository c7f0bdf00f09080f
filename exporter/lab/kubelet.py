"""A kubelet's API on loopback, for the pods of the lab: ``/pods``, ``/configz``, ``/healthz``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

from exporter.lab.hierarchy import LabError

Answer = Callable[[], dict[str, Any]]


class KubeletApi:
    """Serves what the two functions give at the moment of a request; plain HTTP, no authentication.

    An async context manager. :attr:`url` is known once it is entered.
    """

    def __init__(self, pods: Answer, configz: Answer, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host, self._port = host, port
        self.url = ""
        application = web.Application()
        application.router.add_get("/pods", _answer_with(pods))
        application.router.add_get("/configz", _answer_with(configz))
        application.router.add_get("/healthz", _healthy)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise LabError.from_os_error(f"the kubelet API on {self._host}:{self._port}", error) from error
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


def _answer_with(answer: Answer) -> Callable[[web.Request], Any]:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(answer())

    return handler


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok")
