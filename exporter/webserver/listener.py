"""From an address to connections: sockets, the choice of a TLS context for each connection, and places for them."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from exporter.errors import ExporterError
from exporter.webconfig.failures import WebError
from exporter.webserver.connection import Connection
from exporter.webserver.crowd import Client, Crowd
from exporter.webserver.limits import Limits

logger = logging.getLogger(__name__)

_BACKLOG: Final = 1024
"""Who comes when it is full is tried again by its kernel after a second: a crowd must not cost a scraper that."""
_RETRY_SECONDS: Final = 0.2
_TLS_HANDSHAKE: Final = b"\x16"
_SHUTDOWN_SECONDS: Final = 2.0
_PLAIN_HTTP: Final = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 48\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server.\n"
)
_REFUSED: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
)
_WORDS: Final = {
    "CERTIFICATE_VERIFY_FAILED": "the client's certificate is not accepted",
    "NO_SHARED_CIPHER": "no cipher suite in common",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client shows no certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the client does not accept the certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the client says that the certificate has expired",
    "TLSV1_ALERT_UNKNOWN_CA": "the client does not trust the certificate's CA",
    "UNSUPPORTED_PROTOCOL": "no TLS version in common",
}
"""OpenSSL's reasons that users meet, in their words."""


async def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of ``host``, of all interfaces without one; raises ``OSError``."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    problem: OSError | None = None
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            # Port 0 is one port, not one for each address.
            chosen = sockets[0].getsockname()[1] if sockets else port
            try:
                sockets.append(_listening(family, kind, protocol, (address[0], chosen, *address[2:])))
            except OSError as error:
                if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                    raise
                problem = error  # a node without IPv6 still resolves to it
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise problem or OSError(errno.EADDRNOTAVAIL, "Address not available")
    return sockets


def _listening(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


class Listener:
    """Accepts on ``sockets`` and hands each connection over, as long as there are places."""

    def __init__(
        self,
        sockets: list[socket.socket],
        connect: Callable[[Client], Connection],
        *,
        tls: Callable[[], ssl.SSLContext | None],
        crowd: Crowd,
        limits: Limits,
        on_error: Callable[[ExporterError], None],
    ) -> None:
        """``tls`` is asked for each connection, so that a new certificate counts from the next one on."""
        self._sockets, self._connect, self._tls = sockets, connect, tls
        self._crowd, self._limits, self._on_error = crowd, limits, on_error
        self._arriving: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Accept for ever."""
        async with asyncio.TaskGroup() as group:
            for sock in self._sockets:
                group.create_task(self._accept(sock), name=f"accepting on {sock.getsockname()}")

    def close(self) -> None:
        """Stop to listen, and give up those that are not connected yet."""
        for sock in self._sockets:
            sock.close()
        for task in self._arriving:
            task.cancel()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, peer = await loop.sock_accept(listening)
            except OSError as error:
                self._on_error(WebError(f"cannot accept a connection: {error.strerror}", reason="accept"))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._admit(sock, str(peer[0]))
            # However fast they come, one connection for each round of everything else.
            await asyncio.sleep(0)

    def _admit(self, sock: socket.socket, address: str) -> None:
        def drop(reason: str) -> None:
            self._report(client, reason, "made way for another connection")
            task.cancel()

        client = Client(address, asyncio.get_running_loop().time(), drop)
        context = self._tls()
        if not self._crowd.admit(client):
            self._report(client, "connection_refused", "comes while all connections are being answered")
            _say(sock, _REFUSED if context is None else b"")
            return
        task = asyncio.create_task(self._welcome(sock, client, context), name=f"connection from {address}")
        self._arriving.add(task)

        def arrived(_: asyncio.Task[None]) -> None:
            self._arriving.discard(task)
            if task.cancelled():
                sock.close()  # it may never have run
            elif (error := task.exception()) is not None:
                logger.error("a connection failed", exc_info=error)
                self._report(client, "internal", "got no connection")

        task.add_done_callback(arrived)

    async def _welcome(self, sock: socket.socket, client: Client, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        made: Connection | None = None

        def connection() -> Connection:
            nonlocal made
            made = self._connect(client)
            return made

        try:
            if context is None:
                await loop.connect_accepted_socket(connection, sock)
            elif await self._begins_tls(sock, client):
                await loop.connect_accepted_socket(
                    connection,
                    sock,
                    ssl=context,
                    ssl_handshake_timeout=self._limits.handshake_seconds,
                    ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
                )
        except ssl.SSLError as error:
            self._report(client, "tls_handshake", _WORDS.get(error.reason or "", error.reason or "no TLS"))
        except ConnectionAbortedError:  # how asyncio says it
            self._report(client, "slow_request", "did not finish its TLS handshake in time")
        except OSError:
            pass  # it is gone: a port scan, a probe that only connects
        finally:
            if made is None:
                sock.close()
            if made is None or made.transport is None:
                self._crowd.leave(client)

    async def _begins_tls(self, sock: socket.socket, client: Client) -> bool:
        first = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.request_seconds):
                first = await _peek(sock)
        if first and first != _TLS_HANDSHAKE:
            self._report(client, "plain_http", "speaks plain HTTP to the TLS port")
            _say(sock, _PLAIN_HTTP)
        return first == _TLS_HANDSHAKE

    def _report(self, client: Client, reason: str, what: str) -> None:
        self._on_error(WebError(f"{client.address} {what}", reason=reason))


async def _peek(sock: socket.socket) -> bytes:
    """The first byte that comes, which stays where it is."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock, _wake, readable)
    try:
        await readable
    finally:
        loop.remove_reader(sock)
    return sock.recv(1, socket.MSG_PEEK)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _say(sock: socket.socket, answer: bytes) -> None:
    """As much as fits, and the end of the connection."""
    with sock, suppress(OSError):
        sock.send(answer)
        sock.shutdown(socket.SHUT_WR)
        # What is left unread would turn the end into a reset, and the answer would be lost.
        sock.recv(1 << 16)
