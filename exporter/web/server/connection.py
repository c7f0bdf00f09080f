"""One connection: aiohttp's, with an eye on the clock and on the number of bytes."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from typing_extensions import override

from exporter.errors import ExporterError
from exporter.web.config.failures import WebError
from exporter.web.server.crowd import Client, Crowd, State
from exporter.web.server.limits import Limits

logger = logging.getLogger(__name__)

_UNSENT_BYTES: Final = 128 << 10
"""Of one connection in the kernel: its memory counts as the exporter's."""
_LINGER_SECONDS: Final = 1.0
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_WHAT: Final = {
    "connection_dropped": "made way for another connection",
    "slow_reader": "did not read its answer in time",
    "slow_request": "did not send its request in time",
}

CertificateCheck = Callable[[Mapping[str, Any]], bool]
"""Whether a client's certificate, as ``ssl.SSLSocket.getpeercert`` gives it, carries an allowed name."""


class Connection(web.RequestHandler):
    """Speaks HTTP with one client; ends when the client takes too long or sends too much."""

    __slots__ = (
        "_accepts",
        "_crowd",
        "_deadline",
        "_headers",
        "_limits",
        "_on_error",
        "_received",
        "_timer",
        "_wire",
        "client",
    )

    def __init__(
        self,
        manager: web.Server,
        client: Client,
        *,
        crowd: Crowd,
        limits: Limits,
        accepts: CertificateCheck,
        headers: Mapping[str, str],
        on_error: Callable[[ExporterError], None],
    ) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle_seconds,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own runner passes None for "no access log"
            max_line_size=limits.request_line,
            max_field_size=limits.header_field,
            max_headers=limits.header_fields,
            lingering_time=_LINGER_SECONDS,
            auto_decompress=False,
        )
        self.client = client
        self._crowd, self._limits = crowd, limits
        self._accepts, self._headers, self._on_error = accepts, headers, on_error
        self._wire: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._received = 0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a connection is a stream")
        self._wire = transport
        self.client.drop = self._drop
        certificate = transport.get_extra_info("peercert")
        if certificate and not self._accepts(certificate):
            self._report("client_certificate", "shows a certificate with none of the names in client_allowed_sans")
            transport.abort()
            return
        if (sock := transport.get_extra_info("socket")) is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        self._state(State.REQUESTING)
        self._expire_in(self._limits.request_seconds, "slow_request")
        super().connection_made(transport)

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        self._crowd.leave(self.client)
        self._state(State.IDLE)
        self._stop_timer()
        self._wire = None
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self.transport is None:
            return
        if data and self.client.state is State.IDLE:
            self._state(State.REQUESTING)
            self._expire_in(self._limits.request_seconds, "slow_request")
        if self.client.state is State.REQUESTING:
            self._received += len(data)
            if self._received > self._limits.request_bytes:
                self._report("bad_request", "sends more than a request may have")
                self.transport.write(_TOO_LARGE)
                self.force_close()
                return
        super().data_received(data)

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request, or to one whose handler failed; says nothing of why."""
        if isinstance(exc, ConnectionError) or request.writer.output_size:
            raise ConnectionError("nobody reads the answer any more") from exc
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("a request failed", exc_info=exc)
            self._report("internal", "got no answer")
        else:
            self._report("bad_request", f"does not speak HTTP ({type(exc).__name__})")
        known = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if isinstance(exc, LineTooLong) else HTTPStatus(status)
        response = web.Response(status=known, text=f"{known.phrase}\n", headers=self._headers)
        response.force_close()
        return response

    def waiting(self) -> None:
        """A request has come whole."""
        self._received = 0
        self._deadline = asyncio.get_running_loop().time() + self._limits.answer_seconds
        self._state(State.WAITING)
        self._expire_in(self._limits.answer_seconds, "slow_reader")

    def reading(self, body: bytes) -> None:
        """It is being sent an answer of more than one chunk, and took some of it."""
        now = asyncio.get_running_loop().time()
        if self.client.body is not body:
            self._crowd.hold(body)
            self.client.becomes(State.READING, now, body)
        self.client.since = now
        self._expire_in(min(self._limits.stall_seconds, self._deadline - now), "slow_reader")

    def idle(self) -> None:
        """The answer is handed over."""
        self._state(State.IDLE)
        # A little after aiohttp's own time: what that closes waits for ever for a client that does not read.
        self._expire_in(self._limits.idle_seconds + self._limits.stall_seconds, None)

    def _state(self, state: State) -> None:
        self.client.becomes(state, asyncio.get_running_loop().time())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire_in(self, seconds: float, reason: str | None) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._drop, reason)

    def _drop(self, reason: str | None) -> None:
        if self._wire is None:
            return
        if reason is not None:
            self._report(reason, _WHAT[reason])
        self._stop_timer()
        self._wire.abort()

    def _report(self, reason: str, what: str) -> None:
        self._on_error(WebError(f"{self.client.address} {what}", reason=reason))
