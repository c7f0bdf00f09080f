"""A web server with pages of its own, certificates for it, and clients that may misbehave; all on 127.0.0.1."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import trustme
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from exporter.errors import ExporterError
from exporter.web import REASONS, WebError
from exporter.web.server import Limits, WebServer
from exporter.web.tls import ReloadingConfig

HOST = "127.0.0.1"
SECRET = "correct horse"
HASH = "$2b$04$A6OFlmHwyexVy1DGsHAmhudTk6ZiO98OBErRejUCaSxDbrBolJH9C"
"""bcrypt of :data:`SECRET`, at the lowest cost there is."""
HEADERS = {"X-Content-Type-Options": "nosniff"}
TIMEOUT = 10.0
"""Seconds after which a client of these tests gives up; nothing here takes one on an idle machine."""


@dataclass
class Served:
    """A running server."""

    config: ReloadingConfig
    port: int = 0
    page: bytes = b"a_metric 1\n"
    errors: list[ExporterError] = field(default_factory=list)
    delay: float = 0.0
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, error: ExporterError) -> None:
        self.errors.append(error)
        self._told.set()

    @property
    def reasons(self) -> Counter[str]:
        assert all(isinstance(error, WebError) and error.reason in REASONS for error in self.errors)
        assert not any("\n" in str(error) for error in self.errors)
        return Counter(error.reason for error in self.errors)

    async def reason(self, reason: str, number: int = 1) -> str:
        """The last message of this reason, as soon as there are so many."""
        async with asyncio.timeout(TIMEOUT):
            while self.reasons[reason] < number:
                self._told.clear()
                await self._told.wait()
        return next(str(error) for error in reversed(self.errors) if error.reason == reason)

    async def ask(self, request: bytes, *, tls: ssl.SSLContext | None = None, address: str = HOST) -> Answer:
        """All that comes back for these bytes, until the server closes; it may close before it took them all."""
        reader, writer = await self.connect(tls=tls, address=address)
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

    async def get(
        self, path: str = "/metrics", *headers: str, tls: ssl.SSLContext | None = None, address: str = HOST
    ) -> Answer:
        """One request on a connection of its own."""
        lines = (f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", "")
        return await self.ask("\r\n".join(lines).encode(), tls=tls, address=address)

    def handshake(self, tls: ssl.SSLContext) -> None:
        """In a thread, with alerts: asyncio closes the connection without one."""
        with socket.create_connection((HOST, self.port), TIMEOUT) as plain:
            tls.wrap_socket(plain, server_hostname=HOST).close()

    async def connect(
        self, *, tls: ssl.SSLContext | None = None, address: str = HOST, limit: int = 1 << 16
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            HOST, self.port, ssl=tls, server_hostname=HOST if tls else None, local_addr=(address, 0), limit=limit
        )


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
    config = ReloadingConfig(None if web_config is None else str(web_config), lambda error: running.tell(error))  # noqa: PLW0108 - it does not exist yet
    running = Served(config)
    await config.load()

    async def metrics(_: web.Request) -> web.Response:
        await asyncio.sleep(running.delay)
        return web.Response(body=running.page, content_type="text/plain")

    async def probe(_: web.Request) -> web.Response:
        return web.Response(text="fine\n")

    async def broken(_: web.Request) -> web.Response:
        raise RuntimeError("a defect of a handler")

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/healthz", probe)
    application.router.add_get("/broken", broken)
    server = WebServer(
        application,
        config,
        headers=HEADERS,
        open_paths=("/healthz",),
        on_error=running.tell,
        limits=limits,
        shutdown_seconds=0.1,
    )
    _, running.port = await server.start(host, port)
    following = asyncio.create_task(config.run())
    try:
        yield running
    finally:
        following.cancel()
        [end] = await asyncio.gather(following, return_exceptions=True)
        await server.close()
    assert isinstance(end, asyncio.CancelledError)


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

    def issue_for_any_usage(self, name: str) -> None:
        """The same with the extended key usage ``anyExtendedKeyUsage`` and no other."""
        key = ec.generate_private_key(ec.SECP256R1())
        ca_key = serialization.load_pem_private_key(self._ca.private_key_pem.bytes(), None)
        ca = x509.load_pem_x509_certificate(self._ca.cert_pem.bytes())
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        cert = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
            .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        (self.folder / f"{name}.crt").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        (self.folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

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


def measured(what: str, number: float, unit: str) -> None:
    """A number to read with ``pytest -rP``: what a bound that holds on any machine cannot say."""
    sys.stdout.write(f"{what}: {number:.3f} {unit}\n")
