"""What an HTTP connection may raise, and what it may answer instead of an answer, as one line and one reason."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from http import HTTPStatus

import aiohttp

from exporter.errors import MappingError


def refusal(where: str, status: int, forbidden_advice: str) -> MappingError:
    """For any status but 200. The body is not looked at: it may name users and resources."""
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
async def named_failures(where: str, timeout_seconds: float, ca_advice: str) -> AsyncIterator[None]:
    """Turns what a connection may raise into a :class:`MappingError` of one line."""
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
