"""Asks a running exporter for its containers: one plain request, as a command that must answer at once can afford.

No aiohttp here: its import alone takes as long as all the rest of such a command.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar, Final
from urllib.parse import urlsplit

from exporter.cli.terminal.credentials import ANONYMOUS, Credentials, is_loopback, tls_context
from exporter.errors import ExporterError
from exporter.report.schema import SCHEMA, ContainersDocument
from exporter.report.validate import SchemaError, containers_document
from exporter.values import ListenAddress

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 5.0
"""From the request to the last byte; an exporter that is itself throttled needs a while."""
MOST_BYTES: Final = 64 << 20
_CHUNK: Final = 1 << 16
_PLAIN_HTTP: Final = b"Client sent an HTTP request to an HTTPS server"
"""What our server says at its TLS port, in the words of every server written in Go."""
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


class NoAnswerError(ExporterError):
    """The exporter did not give its containers; the message is one line that says why."""

    stage: ClassVar[str] = "exporter"


def url_of(address: ListenAddress, *, tls: bool = False) -> str:
    """The base URL under which an exporter that listens on ``address`` answers on its own node."""
    host = _EVERYWHERE.get(address.host, address.host)
    return f"{'https' if tls else 'http'}://{ListenAddress(host, address.port)}"


def fetch_containers(
    url: str,
    credentials: Credentials = ANONYMOUS,
    *,
    with_series: bool = False,
    answer_seconds: float = ANSWER_SECONDS,
) -> ContainersDocument:
    """``GET {url}/api/v1/containers``, checked; raises :class:`NoAnswerError`.

    A password goes over TLS or to this machine itself, else it is kept back.
    """
    path = f"/api/{SCHEMA}/containers" + ("" if with_series else "?series=false")
    status, body = _answer(url, credentials, path, answer_seconds)
    if status == HTTPStatus.BAD_REQUEST and body.startswith(_PLAIN_HTTP):
        raise NoAnswerError(f"{url} speaks TLS only: --url {_other_scheme(url)}", reason="tls")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        problem = _unauthorized(url, credentials, status)
        raise NoAnswerError(f"{url} refuses to answer {problem}", reason="unauthorized")
    return _document(url, status, body)


def _keeps_secrets(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def _answer(url: str, credentials: Credentials, path: str, answer_seconds: float) -> tuple[int, bytes]:
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    headers = {"Accept": "application/json"}
    if credentials.user and _keeps_secrets(url):
        headers["Authorization"] = credentials.basic
    try:
        context = tls_context(credentials, loopback=is_loopback(host)) if is_tls else None
        connection = http.client.HTTPConnection(host, parts.port or (443 if is_tls else 80), timeout=CONNECT_SECONDS)
        return _get(connection, context, f"{parts.path.rstrip('/')}{path}", headers, answer_seconds)
    except TimeoutError as error:
        raise NoAnswerError(f"{url} did not answer in time", reason="timeout") from error
    except ConnectionRefusedError as error:
        raise NoAnswerError(f"nothing answers at {url}", reason="refused") from error
    except (ConnectionError, ssl.SSLEOFError) as error:
        # A server refuses a certificate, or the lack of one, after the client took the handshake for done.
        advice = "; it may ask for a client certificate: --cert and --key" if is_tls and not credentials.cert else ""
        raise NoAnswerError(f"{url} ended the connection without an answer{advice}", reason="unreachable") from error
    except ssl.SSLError as error:
        raise NoAnswerError(f"{url}: TLS: {_tls_problem(url, error)}", reason="tls") from error
    except OSError as error:
        raise NoAnswerError(f"{url}: {error.strerror or 'unreachable'}", reason="unreachable") from error
    except (http.client.HTTPException, ValueError) as error:
        raise NoAnswerError(f"{url} does not speak HTTP ({type(error).__name__})", reason="malformed") from error


def _tls_problem(url: str, error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message.rstrip('.')}): --tls.ca names the CA to trust"
    if error.reason == "WRONG_VERSION_NUMBER":
        return f"there is none: --url {_other_scheme(url)}"
    if error.reason and "CERTIFICATE" in error.reason:  # an alert of the server's about ours
        return f"it does not accept the client's certificate ({error.reason}): --cert and --key"
    return error.reason or "failed"


def _other_scheme(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{'http' if scheme == 'https' else 'https'}{separator}{rest}"


def _unauthorized(url: str, credentials: Credentials, status: int) -> str:
    if not credentials.user:
        return f"without a password (HTTP {status}): --user and --password-file"
    if not _keeps_secrets(url):
        return f"without a password (HTTP {status}), which goes over TLS or to a loopback address only"
    return f"to this user with this password (HTTP {status})"


def _get(
    connection: http.client.HTTPConnection,
    context: ssl.SSLContext | None,
    path: str,
    headers: Mapping[str, str],
    answer_seconds: float,
) -> tuple[int, bytes]:
    try:
        connection.connect()
        deadline = time.monotonic() + answer_seconds
        connection.sock.settimeout(answer_seconds)
        if context is not None:
            connection.sock = context.wrap_socket(connection.sock, server_hostname=connection.host)
        connection.request("GET", path, headers=headers)
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
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise NoAnswerError(f"{url} is asked too often (HTTP {status}): try again", reason="rate_limited")
    if status != HTTPStatus.OK:
        raise NoAnswerError(f"{url} answers HTTP {status}: not this exporter, or an older one", reason="http_status")
    try:
        return containers_document(json.loads(body))
    except SchemaError as error:
        raise NoAnswerError(f"{url} does not speak as this exporter does: {error}", reason="malformed") from error
    except (ValueError, RecursionError) as error:
        raise NoAnswerError(f"{url} does not answer in JSON: not this exporter", reason="malformed") from error
