"""A web server with pages of its own, certificates for it, and clients that may misbehave; all on 127.0.0.1."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import trustme
from aiohttp import web

from exporter.errors import ExporterError, WebError
from exporter.web.config import ReloadingConfig
from exporter.web.server import Limits, WebServer
from tests.support.reasons import WEB_REASONS

HOST = "127.0.0.1"
SECRET = "correct horse"
HASH = "$2b$04$A6OFlmHwyexVy1DGsHAmhudTk6ZiO98OBErRejUCaSxDbrBolJH9C"
"""bcrypt of :data:`SECRET`, at the lowest cost there is."""
TIMEOUT = 10.0
"""Seconds after which a client of these tests gives up; nothing here takes one on an idle machine."""


@dataclass
class Served:
    """A running server."""

    config: ReloadingConfig | None = None
    port: int = 0
    page: bytes = b"a_metric 1\n"
    errors: list[ExporterError] = field(default_factory=list)
    delay: float = 0.0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def count(self, error: ExporterError) -> None:
        self.errors.append(error)
        self._changed.set()

    async def check(self) -> None:
        """Look at the files of the web config now."""
        assert self.config is not None
        await self.config.check()

    @property
    def reasons(self) -> Counter[str]:
        assert all(isinstance(error, WebError) and error.reason in WEB_REASONS for error in self.errors)
        assert not any("\n" in str(error) for error in self.errors)
        return Counter(error.reason for error in self.errors)

    async def reason(self, reason: str, number: int = 1) -> str:
        """The last message of this reason, as soon as there are so many."""
        async with asyncio.timeout(TIMEOUT):
            while self.reasons[reason] < number:
                self._changed.clear()
                await self._changed.wait()
        return next(str(error) for error in reversed(self.errors) if error.reason == reason)

    async def ask(self, request: bytes, *, tls: ssl.SSLContext | None = None) -> Answer:
        """All that comes back for these bytes, until the server closes; it may close before it took them all."""
        reader, writer = await self.connect(tls=tls)
        answer = b""
        try:
            async with asyncio.timeout(TIMEOUT):
                with suppress(ConnectionError):
                    writer.write(request)
                    await writer.drain()
                with suppress(ConnectionError):
                    while part := await reader.read(1 << 16):
                        answer += part
        finally:
            writer.transport.abort()
        return Answer(answer)

    async def get(self, path: str = "/metrics", *headers: str, tls: ssl.SSLContext | None = None) -> Answer:
        """One request on a connection of its own."""
        lines = (f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", "")
        return await self.ask("\r\n".join(lines).encode(), tls=tls)

    async def serial(self, tls: ssl.SSLContext) -> str:
        """The number of the certificate that a new connection is shown."""
        _, writer = await self.connect(tls=tls)
        writer.transport.abort()
        return str(writer.get_extra_info("peercert")["serialNumber"])

    async def connect(
        self, *, tls: ssl.SSLContext | None = None, limit: int = 1 << 16
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = HOST if tls else None
        return await asyncio.open_connection(HOST, self.port, ssl=tls, server_hostname=name, limit=limit)


@dataclass(frozen=True)
class Answer:
    """Everything that came back on one connection."""

    raw: bytes

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1]) if self.raw else 0

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name."""
        lines = self.raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def statuses(self) -> list[int]:
        """Of all the answers on it."""
        return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", self.raw)]


@asynccontextmanager
async def served(
    web_config: Path | None = None, limits: Limits | None = None, *, host: str = HOST, port: int = 0
) -> AsyncIterator[Served]:
    """A server, on a free port unless one is named."""
    running = Served()
    if web_config is not None:
        running.config = ReloadingConfig(str(web_config), running.count)
        await running.config.load()

    async def metrics(_: web.Request) -> web.Response:
        await asyncio.sleep(running.delay)
        return web.Response(body=running.page, content_type="text/plain")

    async def probe(_: web.Request) -> web.Response:
        return web.Response(text="fine\n")

    async def broken(_: web.Request) -> web.Response:
        raise RuntimeError("a defect of a handler")

    application = web.Application()
    application.add_routes([web.get("/metrics", metrics), web.get("/healthz", probe), web.get("/broken", broken)])
    server = WebServer(application, running.config, on_error=running.count, limits=limits, shutdown_seconds=0.1)
    _, running.port = await server.start(host, port)
    try:
        yield running
    finally:
        await server.close()


class Authority:
    """Certificates of one CA, and a web config that uses them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(str(folder / "ca.crt"))

    def issue(self, name: str, *identities: str, expired: bool = False, rsa: bool = False) -> None:
        """``name.crt`` and ``name.key`` in the folder."""
        cert = self._ca.issue_cert(
            *(identities or (HOST,)),
            not_before=datetime(2020, 1, 1, tzinfo=UTC) if expired else None,
            not_after=datetime(2020, 1, 2, tzinfo=UTC) if expired else None,
            key_type=trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA,
        )
        chain = b"".join(part.bytes() for part in cert.cert_chain_pems)
        (self.folder / f"{name}.crt").write_bytes(chain)
        (self.folder / f"{name}.key").write_bytes(cert.private_key_pem.bytes())

    def client(self, name: str | None = None) -> ssl.SSLContext:
        """A client that trusts this CA and may show a certificate of the folder."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        if name is not None:
            context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        return context


def write_config(folder: Path, text: str) -> Path:
    """``web.yml`` in the folder."""
    path = folder / "web.yml"
    path.write_text(text)
    return path
