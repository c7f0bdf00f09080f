"""Asks a running exporter for its containers: one plain request, as a command that must answer at once can afford.

No aiohttp here: its import alone takes as long as all the rest of such a command.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from http import HTTPStatus
from typing import ClassVar, Final
from urllib.parse import urlsplit

from exporter.errors import ExporterError
from exporter.report.check import SchemaError, containers_document
from exporter.report.schema import SCHEMA, ContainersDocument
from exporter.settings import ListenAddress

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 5.0
"""From the request to the last byte; an exporter that is itself throttled needs a while."""
MOST_BYTES: Final = 64 << 20
_CHUNK: Final = 1 << 16
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


class NoAnswerError(ExporterError):
    """The exporter did not give its containers; the message is one line that says why."""

    stage: ClassVar[str] = "exporter"


def url_of(address: ListenAddress) -> str:
    """The base URL under which an exporter that listens on ``address`` answers on its own node."""
    host = _EVERYWHERE.get(address.host, address.host)
    return f"http://{ListenAddress(host, address.port)}"


def fetch_containers(
    url: str, *, with_series: bool = False, answer_seconds: float = ANSWER_SECONDS
) -> ContainersDocument:
    """``GET {url}/api/v1/containers``, checked; raises :class:`NoAnswerError`."""
    parts = urlsplit(url)
    path = f"{parts.path.rstrip('/')}/api/{SCHEMA}/containers" + ("" if with_series else "?series=false")
    try:
        connection = _connection(parts.scheme, parts.hostname or "", parts.port)
        status, body = _get(connection, path, answer_seconds)
    except TimeoutError as error:
        raise NoAnswerError(f"{url} did not answer in time", reason="timeout") from error
    except ConnectionRefusedError as error:
        raise NoAnswerError(f"nothing answers at {url}", reason="refused") from error
    except ssl.SSLError as error:
        raise NoAnswerError(f"{url}: TLS: {error.reason or 'failed'}", reason="tls") from error
    except OSError as error:
        raise NoAnswerError(f"{url}: {error.strerror or 'unreachable'}", reason="unreachable") from error
    except (http.client.HTTPException, ValueError) as error:
        raise NoAnswerError(f"{url} does not speak HTTP ({type(error).__name__})", reason="malformed") from error
    return _document(url, status, body)


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS)
    return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)


def _get(connection: http.client.HTTPConnection, path: str, answer_seconds: float) -> tuple[int, bytes]:
    try:
        connection.connect()
        deadline = time.monotonic() + answer_seconds
        connection.sock.settimeout(answer_seconds)
        connection.request("GET", path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        body = bytearray()
        while chunk := response.read1(_CHUNK):
            body += chunk
            if len(body) > MOST_BYTES:
                raise ValueError("too large")
            if time.monotonic() > deadline:
                raise TimeoutError
        return response.status, bytes(body)
    finally:
        connection.close()


def _document(url: str, status: int, body: bytes) -> ContainersDocument:
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise NoAnswerError(f"{url} refuses to answer without a password (HTTP {status})", reason="unauthorized")
    if status != HTTPStatus.OK:
        raise NoAnswerError(f"{url} answers HTTP {status}: not this exporter, or an older one", reason="http_status")
    try:
        return containers_document(json.loads(body))
    except SchemaError as error:
        raise NoAnswerError(f"{url} does not speak as this exporter does: {error}", reason="malformed") from error
    except (ValueError, RecursionError) as error:
        raise NoAnswerError(f"{url} does not answer in JSON: not this exporter", reason="malformed") from error
