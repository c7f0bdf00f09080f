"""HTTP answers: failures as one line and one reason, bodies never larger than allowed, compressed or not."""

from __future__ import annotations

import contextlib
import mmap
import os
import zlib
from collections.abc import AsyncIterator
from http import HTTPStatus

import aiohttp

from exporter.errors import MappingError

_CHUNK_BYTES = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS


def http_error(where: str, status: int, forbidden_advice: str) -> MappingError:
    """Return the error for any status but 200. The body is not read: it may name users and resources."""
    match status:
        case HTTPStatus.UNAUTHORIZED:
            advice = "the token is not accepted (audience, expiry, or the kubelet's webhook authentication is off)"
            return MappingError(f"{where}: 401 unauthorized: {advice}", reason="unauthorized")
        case HTTPStatus.FORBIDDEN:
            return MappingError(f"{where}: 403 forbidden: {forbidden_advice}", reason="forbidden")
        case HTTPStatus.NOT_FOUND:
            return MappingError(f"{where}: 404 not found: is this the right port?", reason="not_found")
        case _ if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return MappingError(f"{where}: status {status}: redirects are not followed", reason="http_status")
        case _:
            return MappingError(f"{where}: status {status}", reason="http_status")


@contextlib.asynccontextmanager
async def mapping_errors(where: str, timeout_seconds: float, ca_advice: str) -> AsyncIterator[None]:
    """Raise what a connection may raise as a :class:`MappingError` of one line."""
    try:
        yield
    except TimeoutError as error:
        raise MappingError(f"{where}: no answer within {timeout_seconds:g} s", reason="timeout") from error
    except aiohttp.ClientConnectorCertificateError as error:
        cause = getattr(error.certificate_error, "verify_message", "") or "not valid"
        raise MappingError(f"{where}: certificate: {cause} ({ca_advice})", reason="tls") from error
    except aiohttp.ClientSSLError as error:
        cause = getattr(error.os_error, "reason", None) or "no handshake"
        raise MappingError(f"{where}: TLS failed: {cause}", reason="tls") from error
    except aiohttp.ClientConnectorDNSError as error:
        raise MappingError(f"{where}: the host name does not resolve", reason="unreachable") from error
    except OSError as error:
        refused = isinstance(getattr(error, "os_error", error), ConnectionRefusedError)
        cause = "connection refused" if refused else os.strerror(error.errno) if error.errno else "connection lost"
        raise MappingError(f"{where}: {cause}", reason="refused" if refused else "unreachable") from error
    except aiohttp.ClientResponseError as error:
        raise MappingError(f"{where}: the answer is not HTTP", reason="malformed") from error
    except aiohttp.ClientError as error:
        raise MappingError(f"{where}: the connection broke off", reason="unreachable") from error


async def read_body(response: aiohttp.ClientResponse, limit: int, where: str) -> memoryview:
    """Return the body, gzip or identity; at most ``limit`` bytes after decompression.

    Needs a session with ``auto_decompress=False``: aiohttp inflates a whole chunk at once, a thousandfold at worst.
    Raises :class:`MappingError`, ``too_large`` or ``malformed``, and what aiohttp raises while it reads.
    """
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"identity", "gzip"}:
        raise MappingError(f"{where}: an encoding that was not asked for", reason="malformed")
    body = _Bounded(limit, where)
    inflate = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        if inflate is None:
            body.append(chunk)
        else:
            _inflate(inflate, chunk, body, where)
    if inflate is not None and not inflate.eof:
        raise MappingError(f"{where}: gzip data that ends early", reason="malformed")
    return body.view()


class _Bounded:
    """A buffer outside the heap: glibc would keep a freed block of some megabytes mapped for good."""

    def __init__(self, limit: int, where: str) -> None:
        self._limit = limit
        self._where = where
        self._size = 0
        # Pages that are never written cost nothing.
        self._map = mmap.mmap(-1, limit, flags=mmap.MAP_PRIVATE)

    @property
    def room(self) -> int:
        return self._limit - self._size

    def append(self, chunk: bytes) -> None:
        if len(chunk) > self.room:
            raise MappingError(f"{self._where}: more than {self._limit} bytes", reason="too_large")
        self._map.write(chunk)
        self._size += len(chunk)

    def view(self) -> memoryview:
        return memoryview(self._map)[: self._size]


def _inflate(inflate: zlib._Decompress, chunk: bytes, body: _Bounded, where: str) -> None:
    pending = chunk
    try:
        while pending and not inflate.eof:
            body.append(inflate.decompress(pending, _CHUNK_BYTES))
            pending = inflate.unconsumed_tail
    except zlib.error as error:
        raise MappingError(f"{where}: broken gzip data", reason="malformed") from error
    if inflate.unused_data:
        raise MappingError(f"{where}: data after the end of the gzip stream", reason="malformed")
