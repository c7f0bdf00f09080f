"""The web server: aiohttp's, with a limit on connections, limits on time and bytes of each, TLS and passwords."""

from __future__ import annotations

import asyncio
import enum
import logging
import socket
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import TYPE_CHECKING, Final, cast

from aiohttp import BasicAuth, HttpVersion10, hdrs, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.typedefs import Handler
from typing_extensions import override

from exporter.errors import ExporterError, WebError
from exporter.web.auth import PasswordChecker, TokenBucket, TooManyChecks
from exporter.web.pages import HEADERS, PROBES

if TYPE_CHECKING:
    from exporter.web.config import ReloadingConfig

logger = logging.getLogger(__name__)

_NAME: Final = "kube-throttle-exporter"  # the Server header, without a version
_BACKLOG: Final = 1024  # connections that the kernel holds; beyond it a client's kernel tries again after a second
_ACCEPTED_AT_ONCE: Final = 16  # in one round of the loop: none must be evicted in the few until its request is read
_UNSENT_BYTES: Final = 128 << 10  # of one connection in the kernel: its memory counts as the exporter's
_SHUTDOWN_SECONDS: Final = 2.0  # in which a TLS client has to answer the end of its connection
_PIECE_BYTES: Final = 64 << 10
_STALLED_SECONDS: Final = 1.0  # after which a client that does not read its answer may be evicted
_PLAIN_HTTP: Final = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 48\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one client. Prometheus needs one connection, 10 s and a few hundred bytes of headers."""

    connections: int = 128  # of all clients, handshakes included
    request_seconds: float = 10.0  # of a TLS handshake, and from a request's first byte to the end of its headers
    idle_seconds: float = 75.0  # longer than the longest usual scrape interval, so that TLS is negotiated once
    answer_seconds: float = 30.0  # to make an answer
    stall_seconds: float = 5.0  # in which a client that is being sent its answer has to take some of it
    header_bytes: int = 8190  # of the request line, and of each header
    headers: int = 64
    request_bytes: int = 32 << 10  # all that is sent before it is answered
    held_bytes: int = 16 << 20  # distinct pages that are kept only because clients have not read them yet


class ConnectionState(enum.IntEnum):
    """What a connection does. At the limit, the lowest state is evicted first."""

    REQUESTING = 0  # in its TLS handshake, or sending a request
    IDLE = 1  # between two requests
    STALLED = 2  # does not read its answer as fast as it is sent
    HANDLING = 3  # its answer is being made or sent


class Connection(web.RequestHandler):
    """Speaks HTTP with one client; ends when the client takes too long or sends too much."""

    def __init__(self, manager: web.Server, server: WebServer) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=server.limits.idle_seconds,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own runner passes None for "no access log"
            max_line_size=server.limits.header_bytes,
            max_field_size=server.limits.header_bytes,
            max_headers=server.limits.headers,
            lingering_time=1.0,
            auto_decompress=False,
        )
        self._server = server
        self._socket: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._received = 0
        self.address, self.state, self.since = "", ConnectionState.REQUESTING, 0.0
        self.body: bytes | None = None  # the answer it is being sent

    def open(self, transport: asyncio.BaseTransport) -> None:
        """Take a place; ``transport`` is the socket's, below TLS."""
        self._socket = cast("asyncio.Transport", transport)
        self.address = str((transport.get_extra_info("peername") or ("?",))[0]).removeprefix("::ffff:")
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        self._server.admit(self)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._socket is None:
            self.open(transport)
        config = self._server.config
        if config is not None and not config.accepts(transport.get_extra_info("peercert") or {}):
            self.abort("client_certificate", "shows a certificate with none of the names in client_allowed_sans")
        if self._socket is not None:
            self.set_state(ConnectionState.REQUESTING)
            super().connection_made(transport)

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        self.closed()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if data and self.state is ConnectionState.IDLE:
            self.set_state(ConnectionState.REQUESTING)
        self._received += len(data)
        if self.state is ConnectionState.REQUESTING and self._received > self._server.limits.request_bytes:
            self.abort("bad_request", "sends more than a request may have")
        else:
            super().data_received(data)

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self.set_state(ConnectionState.STALLED)
        self._server.free_pages(self.body)

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self.set_state(ConnectionState.HANDLING)

    @override
    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        finished = await super().finish_response(request, resp, start_time)
        self.body = None
        self.set_state(ConnectionState.IDLE)
        return finished

    @override
    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what is no request, or to one whose handler failed; says nothing of why."""
        if isinstance(exc, ConnectionError) or request.writer.output_size:
            raise ConnectionError("nobody reads the answer any more") from exc
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("a request failed", exc_info=exc)
            self.report("internal", "got no answer")
        else:
            self.report("bad_request", f"does not speak HTTP ({type(exc).__name__})")
        known = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if isinstance(exc, LineTooLong) else HTTPStatus(status)
        return _plain(known, {**HEADERS, hdrs.SERVER: _NAME}, close=True)

    def set_state(self, state: ConnectionState) -> None:
        """Enter ``state``; the connection ends when it stays there for too long."""
        loop, limits = asyncio.get_running_loop(), self._server.limits
        self.state, self.since, self._received = state, loop.time(), 0
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is None:
            return
        seconds, reason, text = {
            ConnectionState.REQUESTING: (limits.request_seconds, "slow_request", "did not send its request in time"),
            # A little after aiohttp's own time: what that closes waits for ever for a client that does not read.
            ConnectionState.IDLE: (limits.idle_seconds + limits.stall_seconds, "", ""),
            ConnectionState.STALLED: (limits.stall_seconds, "slow_reader", "did not read its answer in time"),
            ConnectionState.HANDLING: (limits.answer_seconds, "slow_reader", "got no answer in time"),
        }[state]
        self._timer = loop.call_later(seconds, self.abort, reason, text)

    def abort(self, reason: str = "", text: str = "", answer: bytes = b"") -> None:
        """End it without sending what is left."""
        if self._socket is not None:
            if reason:
                self.report(reason, text)
            if answer:
                self._socket.write(answer)
            (self._socket.close if answer else self._socket.abort)()
            self.closed()

    def closed(self) -> None:
        """Free its place."""
        self._server.connections.discard(self)
        self._socket = self.body = None
        if self._timer is not None:
            self._timer.cancel()

    def report(self, reason: str, text: str) -> None:
        """Count and log what the client did."""
        self._server.on_error(WebError(f"{self.address} {text}", reason=reason))


class TlsProtocol(SSLProtocol):
    """asyncio's TLS, whose connection is counted before its handshake, and whose failures are reported."""

    def __init__(self, connection: Connection, context: SSLContext, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        done.add_done_callback(self._handshake_done)
        super().__init__(
            loop,
            connection,
            context,
            done,
            server_side=True,
            ssl_handshake_timeout=seconds,  # type: ignore[arg-type] # typeshed has int, asyncio takes both
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        self._connection, self._begun = connection, False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connection.open(transport)

    @override
    def buffer_updated(self, nbytes: int) -> None:
        if not self._begun and bytes(self.get_buffer(nbytes)[:1]).isalpha():
            self._connection.abort("plain_http", "speaks plain HTTP to the TLS port", _PLAIN_HTTP)
        else:
            self._begun = True
            super().buffer_updated(nbytes)

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._connection.closed()

    def _handshake_done(self, done: asyncio.Future[None]) -> None:
        error = done.exception()
        if isinstance(error, SSLError):
            reason = (error.reason or "no TLS").replace("_", " ").lower()
            if isinstance(error, SSLCertVerificationError):
                reason += f": {error.verify_message}"
            self._connection.report("tls_handshake", f"TLS handshake failed: {reason}")
        elif isinstance(error, ConnectionAbortedError):  # how asyncio says that time is up
            self._connection.report("slow_request", "did not finish its TLS handshake in time")


class WebServer:
    """Serves ``application`` on one address, between :meth:`start` and :meth:`close`."""

    def __init__(
        self,
        application: web.Application,
        config: ReloadingConfig | None,
        *,
        on_error: Callable[[ExporterError], None],
        limits: Limits | None = None,
        shutdown_seconds: float = 2.0,
    ) -> None:
        self.limits, self.config, self.on_error = limits or Limits(), config, on_error
        self.connections = set[Connection]()
        self._bucket, self._passwords = TokenBucket(), PasswordChecker()
        application.middlewares.append(self._middleware)
        application.on_response_prepare.append(self._add_headers)
        self._runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=shutdown_seconds)
        self._shutdown_seconds = shutdown_seconds
        self._listening: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen on ``host``, on all interfaces without one; return address and port. Raises ``OSError``."""
        sock = await _listening_socket(host, port)
        await self._runner.setup()
        self._listening = await asyncio.get_running_loop().create_server(
            self._connect, sock=sock, backlog=_ACCEPTED_AT_ONCE
        )
        sock.listen(_BACKLOG)  # asyncio's backlog is both: the kernel's, and how many are accepted in one round
        bound, number = sock.getsockname()[:2]
        return str(bound), int(number)

    async def close(self) -> None:
        """End all connections; those being answered get a little time."""
        if self._listening is not None:
            # asyncio leaks a connection that it has accepted and not handed over yet when its server closes.
            asyncio.get_running_loop().remove_reader(self._listening.sockets[0].fileno())
            await asyncio.sleep(0)
            self._listening.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._runner.cleanup(), self._shutdown_seconds + 1)
        for connection in tuple(self.connections):
            connection.abort()
        self._passwords.close()

    def admit(self, connection: Connection) -> None:
        """Give ``connection`` a place, the idlest one's if need be, or end it."""
        connection.since = asyncio.get_running_loop().time()
        self.connections.add(connection)
        if self._listening is None or not self._listening.is_serving():
            connection.abort()
        elif len(self.connections) > self.limits.connections:
            candidate = min(self._evictable() - {connection}, key=lambda one: (one.state, one.since), default=None)
            if candidate is None:
                connection.abort("connection_refused", "comes while all connections are being answered")
            else:
                candidate.abort("connection_dropped", "was the idlest at the connection limit")

    def _connect(self) -> asyncio.BaseProtocol:
        connection = Connection(cast("web.Server", self._runner.server), self)
        context = None if self.config is None else self.config.current.context
        return connection if context is None else TlsProtocol(connection, context, self.limits.request_seconds)

    def _evictable(self) -> set[Connection]:
        before = asyncio.get_running_loop().time() - _STALLED_SECONDS
        last = {ConnectionState.STALLED: before, ConnectionState.HANDLING: float("-inf")}
        return {one for one in self.connections if one.since < last.get(one.state, float("inf"))}

    def free_pages(self, body: bytes | None) -> None:
        """Beyond the limit of held pages, end the connections that hold another than ``body`` and do not read it."""
        held = {id(one.body): len(one.body) for one in self.connections if one.body is not None}
        if sum(held.values()) > self.limits.held_bytes:
            for one in self._evictable():
                if one.state is ConnectionState.STALLED and one.body is not body:
                    one.abort("slow_reader", "did not read its answer while too many pages were held")

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = cast("Connection", request.protocol)
        connection.set_state(ConnectionState.HANDLING)
        response = await self._refusal(request, connection) or await handler(request)
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            connection.body = response.body
            response.headers[hdrs.CONTENT_LENGTH] = str(len(response.body))
            response.body = _pieces(response.body)
        return response

    async def _refusal(self, request: web.Request, connection: Connection) -> web.Response | None:
        if request.version < HttpVersion10:
            return _plain(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, close=True)
        if request.method not in {hdrs.METH_GET, hdrs.METH_HEAD}:
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, {hdrs.ALLOW: "GET, HEAD"}, close=True)
        if request.body_exists:
            # Where two servers disagree on a body's length, the second half of one request becomes another.
            return _plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, close=True)
        resource = request.match_info.route.resource
        if resource is not None and resource.canonical in PROBES:
            return None
        if self.config is None:
            return None
        config = self.config.current.config
        if not self._bucket.take(config.rate_limit):
            connection.report("rate_limited", "asks while the rate of rate_limit is reached")
            return _plain(HTTPStatus.TOO_MANY_REQUESTS, {hdrs.RETRY_AFTER: "1"})
        if not config.basic_auth_users:
            return None
        given = None
        with suppress(ValueError):
            given = BasicAuth.decode(request.headers.get(hdrs.AUTHORIZATION, ""), "utf-8")
        try:
            if given and await self._passwords.verify(config.basic_auth_users, given.login, given.password.encode()):
                return None
        except TooManyChecks:
            connection.report("password_queue_full", "gives a password while too many are being checked")
            return _plain(HTTPStatus.TOO_MANY_REQUESTS, {hdrs.RETRY_AFTER: "1"})
        connection.report("unauthorized", "gives a wrong user or password" if given else "gives no password")
        return _plain(HTTPStatus.UNAUTHORIZED, {hdrs.WWW_AUTHENTICATE: f'Basic realm="{_NAME}", charset="UTF-8"'})

    async def _add_headers(self, _: web.Request, response: web.StreamResponse) -> None:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        headers = {} if self.config is None else self.config.current.config.headers
        response.headers.update({hdrs.SERVER: _NAME, **headers})


async def _listening_socket(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    return socket.create_server((str(address[0]), port), family=family)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """Hand ``body`` to the kernel bit by bit: a client that does not read keeps a bit and not a copy of all."""
    for start in range(0, len(body), _PIECE_BYTES):
        yield body[start : start + _PIECE_BYTES]


def _plain(status: HTTPStatus, headers: Mapping[str, str] | None = None, *, close: bool = False) -> web.Response:
    response = web.Response(status=status, text=f"{status.phrase}\n", headers=headers)
    if close:
        response.force_close()
    return response
