"""Asks a running exporter for its containers: one request of the standard library, with TLS and passwords.

No aiohttp here: its import alone takes as long as all the rest of such a command. A password is only ever read from a
file: everybody on a machine may read arguments and environments.
"""

from __future__ import annotations

import base64
import functools
import http.client
import ipaddress
import json
import os
import ssl
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import ClassVar, Final
from urllib.parse import urlsplit

from exporter.errors import ConfigError, ExporterError, quoted
from exporter.report.schema import SCHEMA, ContainersDocument
from exporter.report.validate import SchemaError, containers_document
from exporter.settings_sources import CLIENT_VARIABLES
from exporter.values import ListenAddress, NotQuotedError, parse_ca_file, parse_file

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 5.0
"""From the request to the last byte; an exporter that is itself throttled needs a while."""
MAX_BYTES: Final = 64 << 20
MAX_PASSWORD_FILE_BYTES: Final = 4096
_CHUNK: Final = 1 << 16
_PLAIN_HTTP: Final = b"Client sent an HTTP request to an HTTPS server"
"""The exporter's answer at its TLS port, in the words of every server written in Go."""
_ANY_ADDRESS: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_OPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "user": ("NAME", "user of an exporter that asks for a password"),
    "password-file": ("FILE", "file with that user's password in it"),
    "tls.ca": ("FILE", "CA of the exporter's certificate, PEM (that of the system; none on this node itself)"),
    "cert": ("FILE", "certificate to show an exporter that asks for one, PEM"),
    "key": ("FILE", "key of that certificate, PEM (in the certificate's file)"),
}


class NoAnswerError(ExporterError):
    """The exporter did not give its containers; the message is one line that says why."""

    stage: ClassVar[str] = "exporter"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is shown to an exporter, and the CA that verifies it."""

    user: str = ""
    password: bytes = field(default=b"", repr=False)
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @property
    def basic(self) -> str:
        """The value of the header ``Authorization``; empty without a user."""
        pair = base64.b64encode(b":".join((self.user.encode(), self.password))).decode()
        return f"Basic {pair}" if self.user else ""


ANONYMOUS: Final = Credentials()


def add_credential_arguments(parser: ArgumentParser) -> None:
    """Add an option each; one that is not given is taken from its variable of :data:`CLIENT_VARIABLES`."""
    for name, (metavar, text) in _OPTIONS.items():
        parser.add_argument(f"--{name}", dest=_field(name), metavar=metavar, help=f"{text}; {CLIENT_VARIABLES[name]}")


def credentials_of(args: Namespace, environ: Mapping[str, str] = os.environ) -> Credentials:
    """Return them from options, else from the environment; raises ``ConfigError``, which never repeats a secret."""
    given = {name: getattr(args, _field(name)) for name in _OPTIONS}
    given = {name: environ.get(CLIENT_VARIABLES[name], "") if text is None else text for name, text in given.items()}
    user, password_file = given["user"], given["password-file"]
    if bool(user) != bool(password_file):
        missing, present = ("--password-file", "--user") if user else ("--user", "--password-file")
        raise ConfigError(f"{missing}: must be set with {present}")
    if ":" in user or not user.isprintable():
        raise ConfigError("--user: must be a name without a colon or control characters")
    if given["key"] and not given["cert"]:
        raise ConfigError("--cert: must be set with --key")
    credentials = Credentials(
        user,
        _password(password_file) if user else b"",
        ca=_file("tls.ca", given["tls.ca"]),
        cert=_file("cert", given["cert"]),
        key=_file("key", given["key"]),
    )
    if credentials.cert is not None:
        _tls_context(credentials, loopback=True)
    return credentials


def url_of(address: ListenAddress, *, tls: bool = False) -> str:
    """Return the base URL under which an exporter that listens on ``address`` answers on its own node."""
    host = _ANY_ADDRESS.get(address.host, address.host)
    return f"{'https' if tls else 'http'}://{ListenAddress(host, address.port)}"


def fetch_containers(
    url: str,
    credentials: Credentials = ANONYMOUS,
    *,
    with_series: bool = False,
    answer_seconds: float = ANSWER_SECONDS,
) -> ContainersDocument:
    """``GET {url}/api/v1/containers``, checked; raises :class:`NoAnswerError`.

    A password is sent over TLS or to this machine itself only.
    """
    path = f"/api/{SCHEMA}/containers" + ("" if with_series else "?series=false")
    status, body = _answer(url, credentials, path, answer_seconds)
    if status == HTTPStatus.BAD_REQUEST and body.startswith(_PLAIN_HTTP):
        raise NoAnswerError(f"{url} speaks TLS only: --url {_other_scheme(url)}", reason="tls")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise NoAnswerError(f"{url} refuses to answer {_unauthorized(url, credentials, status)}", reason="unauthorized")
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


def _answer(url: str, credentials: Credentials, path: str, answer_seconds: float) -> tuple[int, bytes]:
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    headers = {"Accept": "application/json"}
    if credentials.user and _may_send_password(url):
        headers["Authorization"] = credentials.basic
    try:
        context = _tls_context(credentials, loopback=_is_loopback(host)) if is_tls else None
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
            if len(body) > MAX_BYTES:
                raise ValueError("too large")
            if time.monotonic() > deadline:
                raise TimeoutError
        return response.status, bytes(body)
    finally:
        connection.close()


def _tls_problem(url: str, error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message.rstrip('.')}): --tls.ca names the CA to trust"
    if error.reason == "WRONG_VERSION_NUMBER":
        return f"there is none: --url {_other_scheme(url)}"
    if error.reason and "CERTIFICATE" in error.reason:  # an alert of the server's about ours
        return f"it does not accept the client's certificate ({error.reason}): --cert and --key"
    return error.reason or "failed"


def _unauthorized(url: str, credentials: Credentials, status: int) -> str:
    if not credentials.user:
        return f"without a password (HTTP {status}): --user and --password-file"
    if not _may_send_password(url):
        return f"without a password (HTTP {status}), which goes over TLS or to a loopback address only"
    return f"to this user with this password (HTTP {status})"


def _may_send_password(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or _is_loopback(parts.hostname or "")


def _other_scheme(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{'http' if scheme == 'https' else 'https'}{separator}{rest}"


def _is_loopback(host: str) -> bool:
    """Whether ``host`` is an address, not a name, that never leaves this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@functools.lru_cache(maxsize=2)
def _tls_context(credentials: Credentials, *, loopback: bool) -> ssl.SSLContext:
    """Return how to speak to an exporter; raises :class:`ConfigError`.

    On a loopback address, for which no CA gives certificates, the name is not verified, and the certificate only by a
    CA that was named. Elsewhere both are.
    """
    context = ssl.create_default_context(cafile=credentials.ca)
    if loopback:
        context.check_hostname = False
        if credentials.ca is None:
            context.verify_mode = ssl.CERT_NONE
    if credentials.cert is not None:
        try:
            # Without a password of its own OpenSSL would ask for one on the terminal.
            context.load_cert_chain(credentials.cert, credentials.key, password=lambda: "")
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise ConfigError(
                "--cert, --key: must be a certificate in PEM and the key that belongs to it, not encrypted"
            ) from error
    return context


def _field(name: str) -> str:
    return f"client_{name.replace('.', '_').replace('-', '_')}"


def _file(name: str, path: str) -> str | None:
    try:
        return (parse_ca_file if name == "tls.ca" else parse_file)(path)
    except ValueError as error:
        shown = "" if isinstance(error, NotQuotedError) else f", not {quoted(path)}"
        raise ConfigError(f"--{name}: {error}{shown}") from error


def _password(path: str) -> bytes:
    _file("password-file", path)
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_PASSWORD_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"--password-file: must be a readable file ({error.strerror})") from error
    password = content.rstrip(b"\r\n")
    if not password or len(content) > MAX_PASSWORD_FILE_BYTES:
        raise ConfigError(f"--password-file: must hold a password of 1 to {MAX_PASSWORD_FILE_BYTES} bytes")
    return password
