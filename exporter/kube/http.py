"""HTTP answers: failures as one line and one reason, bodies never larger than allowed."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from http import HTTPStatus

import aiohttp

from exporter.errors import MappingError

_CHUNK_BYTES = 64 * 1024


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
        case _:
            redirect = ": redirects are not followed" if 300 <= status < 400 else ""
            return MappingError(f"{where}: status {status}{redirect}", reason="http_status")


@contextlib.contextmanager
def mapping_errors(where: str, timeout_seconds: float, ca_advice: str) -> Iterator[None]:
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
    """Return the body of a request for ``identity``, at most ``limit`` bytes.

    Needs a session with ``auto_decompress=False``: aiohttp inflates a whole chunk at once, a thousandfold at worst.
    Raises :class:`MappingError`, ``too_large`` or ``malformed``, and what aiohttp raises while it reads.
    """
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise MappingError(f"{where}: an encoding that was not asked for", reason="malformed")
    # Outside the heap, where glibc would keep a freed block of some megabytes for good. Untouched pages cost nothing.
    body = mmap.mmap(-1, limit, flags=mmap.MAP_PRIVATE)
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        if body.tell() + len(chunk) > limit:
            raise MappingError(f"{where}: more than {limit} bytes", reason="too_large")
        body.write(chunk)
    return memoryview(body)[: body.tell()]
