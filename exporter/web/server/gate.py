"""What every request passes on its way to a handler, and every answer on its way back."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import HttpVersion10, hdrs, web

from exporter.errors import ExporterError
from exporter.web.config import Busy, LiveConfig, Passwords, WebError
from exporter.web.server.connection import Connection
from exporter.web.server.limits import Limits

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_METHODS: Final = "GET, HEAD"
_CHALLENGE: Final = 'Basic realm="kube-throttle-exporter", charset="UTF-8"'


class Bucket:
    """Tokens of ``rate_limit``: refilled with time, one taken by each request."""

    def __init__(self, config: LiveConfig, clock: Callable[[], float]) -> None:
        self._config, self._clock = config, clock
        self._tokens, self._filled_at = float("inf"), clock()

    def take(self) -> bool:
        """Whether there was one."""
        rate = self._config.current.document.rate
        if rate is None:
            return True
        now = self._clock()
        self._tokens = min(rate.burst, self._tokens + (now - self._filled_at) / rate.interval)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Gate:
    """Method, size, rate and password of a request; headers and pace of its answer."""

    def __init__(
        self,
        config: LiveConfig,
        passwords: Passwords,
        *,
        limits: Limits,
        name: str,
        open_paths: Collection[str],
        on_error: Callable[[ExporterError], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``name`` is all that an answer says of its server.

        ``open_paths`` ask for no password and know no rate: whoever probes them has no password either.
        """
        self._config, self._passwords = config, passwords
        self._limits, self._name, self._on_error = limits, name, on_error
        self._open_paths = frozenset(open_paths)
        self._bucket = Bucket(config, clock)

    def install(self, application: web.Application) -> None:
        """Put it in front of all handlers of ``application``."""
        application.middlewares.append(self._pass)
        application.on_response_prepare.append(self._add_headers)

    @web.middleware
    async def _pass(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = request.protocol
        if not isinstance(connection, Connection):
            raise TypeError("served by something else than WebServer")
        connection.waiting()
        refusal = await self._refusal(request, connection.client.address)
        response = await _answer(request, handler) if refusal is None else refusal
        return await self._send(request, response, connection)

    async def _refusal(self, request: web.Request, address: str) -> web.Response | None:
        if request.version < HttpVersion10:
            return _closing(_plain(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED))
        if request.method not in {hdrs.METH_GET, hdrs.METH_HEAD}:
            return _closing(_plain(HTTPStatus.METHOD_NOT_ALLOWED, {hdrs.ALLOW: _METHODS}))
        if request.body_exists:
            # Where two servers disagree on a body's length, the second half of one request becomes another.
            return _closing(_plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE))
        resource = request.match_info.route.resource
        if resource is not None and resource.canonical in self._open_paths:
            return None
        if not self._bucket.take():
            self._report(address, "rate_limited", "asks while the rate of rate_limit is reached")
            return _plain(HTTPStatus.TOO_MANY_REQUESTS, {hdrs.RETRY_AFTER: "1"})
        return await self._password_refusal(request.headers.get(hdrs.AUTHORIZATION), address)

    async def _password_refusal(self, authorization: str | None, address: str) -> web.Response | None:
        if not self._passwords.needed:
            return None
        given = _credentials(authorization or "")
        try:
            if given is not None and await self._passwords.are_right(*given, address):
                return None
        except Busy:
            self._report(address, "password_queue_full", "gives a password while too many are being checked")
            return _plain(HTTPStatus.TOO_MANY_REQUESTS, {hdrs.RETRY_AFTER: "1"})
        self._report(address, "unauthorized", "gives a wrong user or password" if given else "gives no password")
        return _plain(HTTPStatus.UNAUTHORIZED, {hdrs.WWW_AUTHENTICATE: _CHALLENGE})

    async def _send(
        self, request: web.Request, response: web.StreamResponse, connection: Connection
    ) -> web.StreamResponse:
        body = response.body if isinstance(response, web.Response) else None
        if request.method == hdrs.METH_HEAD or not isinstance(body, bytes) or len(body) <= self._limits.chunk:
            await response.prepare(request)
            await response.write_eof()
            connection.idle()
            return response
        stream = web.StreamResponse(status=response.status, reason=response.reason, headers=response.headers)
        stream.content_length = len(body)
        connection.reading(body)
        await stream.prepare(request)
        view = memoryview(body)
        for start in range(0, len(body), self._limits.chunk):
            await stream.write(view[start : start + self._limits.chunk])
            connection.reading(body)
        await stream.write_eof()
        connection.idle()
        return stream

    async def _add_headers(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers[hdrs.SERVER] = self._name
        response.headers.update(self._config.current.document.headers)

    def _report(self, address: str, reason: str, what: str) -> None:
        self._on_error(WebError(f"{address} {what}", reason=reason))


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _plain(
            HTTPStatus(error.status), {name: error.headers[name] for name in error.headers if name == hdrs.ALLOW}
        )


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    """User and password of RFC 7617, or ``None``."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user.decode("utf-8", "surrogateescape"), password) if colon else None


def _plain(status: HTTPStatus, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{status.phrase}\n", headers=headers)


def _closing(response: web.Response) -> web.Response:
    response.force_close()
    return response
