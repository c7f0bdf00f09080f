"""From an address to connections: sockets, the choice of a TLS context for each connection, and places for them."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from exporter.errors import ExporterError
from exporter.web.config.failures import WebError
from exporter.web.server.connection import Connection
from exporter.web.server.crowd import Client, Crowd
from exporter.web.server.doorstep import Doorstep
from exporter.web.server.limits import Limits

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 64
"""Taken from the kernel in one round."""
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
        # As many as there are places: fewer would turn people away while places are free.
        self._doorstep = Doorstep[socket.socket](limits.connections, _has_asked)
        self._somebody = asyncio.Event()

    async def run(self) -> None:
        """Accept for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._let_in(), name="letting clients in")
            for sock in self._sockets:
                group.create_task(self._accept(sock), name=f"accepting on {sock.getsockname()}")

    def close(self) -> None:
        """Stop to listen, and give up those that are not connected yet."""
        for sock in (*self._sockets, *self._doorstep):
            sock.close()
        for task in self._arriving:
            task.cancel()

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            await _readable(listening)
            turned_away, last = 0, ""
            try:
                # Not the loop's own accept: whom it took while this task is being cancelled, nobody would close.
                for _ in range(_AT_ONCE):
                    sock, (last, *_) = listening.accept()
                    sock.setblocking(False)
                    turned_away += self._knocks(sock, last)
            except (BlockingIOError, ConnectionAbortedError):
                pass  # nobody else, or somebody who did not wait
            except OSError as error:
                self._on_error(WebError(f"cannot accept a connection: {error.strerror}", reason="accept"))
                await asyncio.sleep(_RETRY_SECONDS)
            if turned_away:
                crowd = WebError(f"{last} and others come faster than they are let in", reason="connection_dropped")
                crowd.number = turned_away
                self._on_error(crowd)
            await asyncio.sleep(0)

    def _knocks(self, sock: socket.socket, address: str) -> int:
        """How many had to go for it."""
        goes = self._doorstep.come(address, sock)
        self._somebody.set()
        if goes is None:
            return 0
        goes.close()
        return 1

    async def _let_in(self) -> None:
        while True:
            while self._doorstep:
                address, sock = self._doorstep.next()
                self._admit(sock, address)
                # However fast they come, one connection for each round of everything else.
                await asyncio.sleep(0)
            self._somebody.clear()
            await self._somebody.wait()

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
                await _readable(sock)
                first = sock.recv(1, socket.MSG_PEEK)
        if first and first != _TLS_HANDSHAKE:
            self._report(client, "plain_http", "speaks plain HTTP to the TLS port")
            _say(sock, _PLAIN_HTTP)
        return first == _TLS_HANDSHAKE

    def _report(self, client: Client, reason: str, what: str) -> None:
        self._on_error(WebError(f"{client.address} {what}", reason=reason))


async def _readable(sock: socket.socket) -> None:
    """Wait for something to be read, or for somebody to be accepted."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock, _wake, readable)
    try:
        await readable
    finally:
        loop.remove_reader(sock)


def _has_asked(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except OSError:
        return False


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
