"""A kubelet's HTTP API that does as it is told: right, late, wrong, endless, or not at all."""

import asyncio
import json
import ssl
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import trustme
from aiohttp import web
from typing_extensions import override

START_SECONDS = 10.0
TOKEN = "let-me-in"
T = TypeVar("T")


class Authority:
    """A certificate authority, and the servers that it vouches for."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def write(self, path: Path) -> str:
        """The CA's certificate as the file that a client is told to trust."""
        self._ca.cert_pem.write_to_path(str(path))
        return str(path)

    def server(self, *hosts: str, expired: bool = False) -> ssl.SSLContext:
        begin, end = [datetime(2020, 1, day, tzinfo=UTC) if expired else None for day in (1, 2)]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*(hosts or ("127.0.0.1",)), not_before=begin, not_after=end).configure_cert(context)
        return context


@dataclass(frozen=True)
class Reply:
    """What one request gets."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    """No byte of an answer until the kubelet is closed."""
    cut_after: int | None = None
    """The connection ends after so many bytes of the body."""
    raw: bytes | None = None
    """These bytes on the socket, instead of HTTP."""

    @classmethod
    def json(cls, value: Any) -> "Reply":
        return cls(json.dumps(value).encode(), headers={"Content-Type": "application/json"})


class Served(ABC):
    """Answers HTTP on a free port of 127.0.0.1 while entered."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._closing = asyncio.Event()
        self.url = ""

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = self._runner = web.AppRunner(
            application, shutdown_timeout=0, access_log=None, handler_cancellation=True
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        host, port = runner.addresses[0][:2]
        self.url = f"{'https' if self._tls else 'http'}://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await self._runner.cleanup()

    @abstractmethod
    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""


class FakeKubelet(Served):
    """Lists pods and settings as it is told."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self._replies: dict[str, deque[Reply]] = {}
        self.tokens: set[str] | None = None
        """Only these bearer tokens are let in; anybody without a set."""
        self.forbidden: set[str] = set()
        """Paths that no token is enough for."""
        self.requests: list[web.Request] = []
        self.options: list[str] = []
        """What makes an exporter ask it."""

    def answer(self, path: str, *replies: Reply) -> None:
        """Each request gets the next reply; the last one stays."""
        self._replies[path] = deque(replies)

    @override
    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if self.tokens is not None and (scheme != "Bearer" or token not in self.tokens):
            return web.Response(status=401, text="Unauthorized")
        if request.path in self.forbidden:
            return web.Response(status=403, text=f"Forbidden (user=system:serviceaccount:x:y, verb=get, token={token})")
        replies = self._replies.get(request.path)
        if not replies:
            return web.Response(status=404, text="404 page not found")
        return await self._send(request, replies.popleft() if len(replies) > 1 else replies[0])

    async def _send(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        if reply.hang:
            await self._closing.wait()
        if reply.raw is not None and request.transport is not None:
            request.transport.write(reply.raw)
            request.transport.close()
            return web.Response()
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        response.content_length = len(reply.body)
        await response.prepare(request)
        await response.write(reply.body[: reply.cut_after])
        if reply.cut_after is not None and request.transport is not None:
            request.transport.close()
        return response


@contextmanager
def looping() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="looping", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()


def run_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, done on a loop of another thread."""
    return asyncio.run_coroutine_threadsafe(work, loop).result(START_SECONDS)


@contextmanager
def in_thread(server: Served) -> Iterator[None]:
    """Serves in a thread, for clients that are other processes."""
    with looping() as loop:
        run_on(loop, server.__aenter__())
        try:
            yield
        finally:
            run_on(loop, server.__aexit__(None, None, None))


@contextmanager
def kubelet(folder: Path, pods: bytes, configz: bytes = b'{"kubeletconfig": {}}') -> Iterator[FakeKubelet]:
    """One in a thread, over TLS, that lets :data:`TOKEN` in; ``ca.crt`` and ``token`` lie in ``folder``."""
    authority = Authority()
    server = FakeKubelet(tls=authority.server("127.0.0.1"))
    server.tokens = {TOKEN}
    server.answer("/pods", Reply(body=pods))
    server.answer("/configz", Reply(body=configz))
    with in_thread(server):
        (folder / "token").write_text(TOKEN)
        server.options = [
            "--pods.sources=kubelet",
            f"--kubelet.url={server.url}",
            f"--kubelet.token-file={folder / 'token'}",
            f"--kubelet.ca-file={authority.write(folder / 'ca.crt')}",
        ]
        yield server
