"""Where ``explain`` and ``top`` get their numbers: a running exporter over HTTP, else samples taken in this process.

The standard library's client: the import of aiohttp alone takes as long as all the rest of such a command.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import os
import ssl
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, cast
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from exporter.cli import argument
from exporter.errors import ConfigError, ExporterError, quoted
from exporter.report import SCHEMA
from exporter.report.schema import ContainersDocument
from exporter.settings import Settings
from exporter.settings_sources import CLIENT_VARIABLES
from exporter.values import ListenAddress, duration, format_duration, parse_ca_file, parse_file, parse_url

if TYPE_CHECKING:  # with aiohttp and all the rest, for which a command that asks an exporter must not wait
    from exporter.app import Exporter

ANSWER_SECONDS: Final = 5.0  # from the request to the last byte; an exporter that is itself throttled needs a while
MAX_BYTES: Final = 64 << 20
MAX_PASSWORD_FILE_BYTES: Final = 4096
SCAN_SECONDS: Final = 1.0  # a short look needs its readings close together
_PLAIN_HTTP: Final = b"Client sent an HTTP request to an HTTPS server"
"""The exporter's answer at its TLS port, in the words of every server written in Go."""
_ANY_ADDRESS: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_CREDENTIALS: Final[Mapping[str, tuple[str, Callable[[str], str | None], str]]] = {
    "user": ("NAME", str, "user of an exporter that asks for a password"),
    "password-file": ("FILE", parse_file, "file with that user's password in it"),
    "tls.ca": ("FILE", parse_ca_file, "CA of its certificate, PEM (that of the system; none on this node itself)"),
    "cert": ("FILE", parse_file, "certificate to show an exporter that asks for one, PEM"),
    "key": ("FILE", parse_file, "key of that certificate, PEM (in the certificate's file)"),
}
_adapter: Final = cache(TypeAdapter[ContainersDocument])


class NoAnswerError(ExporterError):
    """The exporter did not give its containers; the message is one line that says why."""

    stage: ClassVar[str] = "exporter"

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="no_answer")


@dataclass(frozen=True)
class Client:
    """A running exporter's base URL, what is shown to it, and the CA that verifies it."""

    url: str
    user: str = ""
    password: bytes = field(default=b"", repr=False)
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def containers(self, *, with_series: bool = False) -> ContainersDocument:
        """``GET /api/v1/containers``, checked; raises :class:`NoAnswerError`."""
        path, url = f"/api/{SCHEMA}/containers" + ("" if with_series else "?series=false"), self.url
        status, body = self._get(path)
        if status == HTTPStatus.BAD_REQUEST and body.startswith(_PLAIN_HTTP):
            raise NoAnswerError(f"{url} speaks TLS only: --url {url.replace('http', 'https', 1)}")
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise NoAnswerError(f"{url} refuses to answer {self._refused(status)}")
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise NoAnswerError(f"{url} is asked too often (HTTP {status}): try again")
        if status != HTTPStatus.OK:
            raise NoAnswerError(f"{url} answers HTTP {status}: not this exporter, or an older one")
        try:
            return containers_document(json.loads(body))
        except (ValueError, RecursionError) as error:
            raise NoAnswerError(f"{url} does not speak as this exporter does: {error}") from error

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """How to speak to it; raises ``ConfigError``."""
        context = ssl.create_default_context(cafile=self.ca)
        if self._is_loopback:  # for which no CA gives certificates
            context.check_hostname = False
            if self.ca is None:
                context.verify_mode = ssl.CERT_NONE
        if self.cert is not None:
            try:
                # Without a password of its own OpenSSL would ask for one on the terminal.
                context.load_cert_chain(self.cert, self.key, password=lambda: "")
            except (OSError, ValueError) as error:  # SSLError is an OSError
                text = "must be a certificate in PEM and the key that belongs to it, not encrypted"
                raise ConfigError(f"--cert, --key: {text}") from error
        return context

    @property
    def _is_loopback(self) -> bool:
        """Whether its host is an address, not a name, that never leaves this machine."""
        with suppress(ValueError):
            return ipaddress.ip_address(urlsplit(self.url).hostname or "").is_loopback
        return False

    @property
    def _may_send_password(self) -> bool:
        return self.url.startswith("https:") or self._is_loopback

    def _refused(self, status: int) -> str:
        if not self.user:
            return f"without a password (HTTP {status}): --user and --password-file"
        if not self._may_send_password:
            return f"without a password (HTTP {status}), which goes over TLS or to a loopback address only"
        return f"to this user with this password (HTTP {status})"

    def _get(self, path: str) -> tuple[int, bytes]:
        url, parts, deadline = self.url, urlsplit(self.url), time.monotonic() + ANSWER_SECONDS
        host, headers = parts.hostname or "", {"Accept": "application/json"}
        if self.user and self._may_send_password:
            pair = b":".join((self.user.encode(), self.password))
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        connection = http.client.HTTPConnection(host, parts.port, timeout=ANSWER_SECONDS)
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, parts.port, timeout=ANSWER_SECONDS, context=self.tls)
        try:
            with closing(connection):
                connection.request("GET", f"{parts.path.rstrip('/')}{path}", headers=headers)
                response = connection.getresponse()
                return response.status, _body(response, deadline)
        except TimeoutError as error:
            raise NoAnswerError(f"{url} did not answer in time") from error
        except ConnectionRefusedError as error:
            raise NoAnswerError(f"nothing answers at {url}") from error
        except (ConnectionError, ssl.SSLEOFError) as error:
            # A server refuses a certificate, or the lack of one, after the client took the handshake for done.
            is_asked = parts.scheme == "https" and not self.cert
            advice = "; it may ask for a client certificate: --cert and --key" if is_asked else ""
            raise NoAnswerError(f"{url} ended the connection without an answer{advice}") from error
        except ssl.SSLError as error:
            raise NoAnswerError(f"{url}: TLS: {_tls_problem(url, error)}") from error
        except OSError as error:
            raise NoAnswerError(f"{url}: {error.strerror or 'unreachable'}") from error
        except (http.client.HTTPException, ValueError) as error:
            raise NoAnswerError(f"{url} does not speak HTTP ({type(error).__name__})") from error


class Answer(NamedTuple):
    """A running exporter's containers, or why there are none; without a client no exporter was asked."""

    document: ContainersDocument | None
    client: Client | None = None
    reason: str = ""


def add_source_arguments(parser: ArgumentParser) -> None:
    """Add the options that choose the exporter; credentials that are not given are those of the environment."""
    add, seconds = parser.add_argument, argument(duration(1.0, 600.0).parse)
    text = "base URL of the exporter to ask (the one of this node, by --web.listen-address)"
    add("--url", type=argument(parse_url), help=text)
    for name, (metavar, parse, text) in _CREDENTIALS.items():
        variable = CLIENT_VARIABLES[name]
        add(f"--{name}", metavar=metavar, type=argument(parse), default=os.environ.get(variable, ""),
            help=f"{text}; {variable}")  # fmt: skip
    text = "ask no exporter: read what /api/v1/containers answered, from this file or /dev/stdin"
    add("--file", metavar="FILE", type=argument(parse_file), help=text)
    add("--local", action="store_true", help="ask no exporter: sample here and now")
    text = "how long to sample where no exporter answers, at most 10m (5s)"
    add("--for", dest="watch", type=seconds, default="5s", metavar="DURATION", help=text)


def ask(settings: Settings, args: Namespace, *, with_series: bool = False) -> Answer:
    """Return the running exporter's containers. One that ``--url`` names must answer: else ``NoAnswerError``."""
    given = [f"--{name}" for name in ("url", "file", "local") if vars(args)[name]]
    if len(given) > 1:
        raise ConfigError(f"{given[0]}: contradicts {given[1]}")
    if args.file:
        return Answer(_saved(args.file))
    if args.local or (args.url is None and settings.web_listen_address.port == 0):
        return Answer(None)
    client = _client(args.url or _own_url(settings), args)
    try:
        return Answer(client.containers(with_series=with_series), client)
    except NoAnswerError as error:
        if args.url is not None:
            raise
        return Answer(None, client, str(error))


def _client(url: str, args: Namespace) -> Client:
    user, password_file, ca, cert, key = (vars(args)[name.replace("-", "_")] or None for name in _CREDENTIALS)
    if bool(user) != bool(password_file):
        missing, present = ("--password-file", "--user") if user else ("--user", "--password-file")
        raise ConfigError(f"{missing}: must be set with {present}")
    if user and (":" in user or not user.isprintable()):
        raise ConfigError("--user: must be a name without a colon or control characters")
    if key and not cert:
        raise ConfigError("--cert: must be set with --key")
    password = b""
    if password_file:
        with open(password_file, "rb") as file:
            content = file.read(MAX_PASSWORD_FILE_BYTES + 1)
        password = content.rstrip(b"\r\n")
        if not password or len(content) > MAX_PASSWORD_FILE_BYTES:
            raise ConfigError(f"--password-file: must hold a password of 1 to {MAX_PASSWORD_FILE_BYTES} bytes")
    client = Client(url, user or "", password, ca, cert, key)
    if cert:
        client.tls  # noqa: B018 - raises for a certificate that cannot be used
    return client


def containers_document(value: object) -> ContainersDocument:
    """Return foreign JSON itself; raises ``ValueError``, one line, for the first field that is missing or wrong."""
    version = value.get("schema") if isinstance(value, dict) else None
    if version != SCHEMA:
        raise ValueError(f"its schema is {quoted(str(version), 20)}, not {SCHEMA}")
    try:
        _adapter(ContainersDocument).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise ValueError(f"{quoted('.'.join(map(str, first['loc'])), 100)}: {first['msg']}") from None
    return cast("ContainersDocument", value)


def sample_here(settings: Settings, args: Namespace, reason: str, *, with_series: bool = False) -> ContainersDocument:
    """Return the containers after a while of sampling, announced on standard error with the ``reason`` for it."""
    import asyncio  # noqa: PLC0415 - see TYPE_CHECKING

    why = f"{reason}: " if reason else ""
    print(f"throttle-exporter: {why}sampling here for {format_duration(args.watch)}", file=sys.stderr, flush=True)

    async def sample() -> ContainersDocument:
        async with sampling(settings) as exporter:
            await asyncio.gather(asyncio.sleep(args.watch), exporter.directory.first_result.wait())
            exporter.sampler.stop_waiting()
            return (await exporter.report()).containers(with_series=with_series)

    return asyncio.run(sample())


@asynccontextmanager
async def sampling(settings: Settings) -> AsyncIterator[Exporter]:
    """Run an exporter without its pages, sampling and resolving names, until the end of the block."""
    import asyncio  # noqa: PLC0415 - see TYPE_CHECKING

    from exporter.app import Exporter  # noqa: PLC0415 - see TYPE_CHECKING

    if "scan_interval" not in settings.given:
        settings = replace(settings, scan_interval=SCAN_SECONDS)
    exporter = Exporter(settings)
    tasks = [asyncio.create_task(run(), name=run.__qualname__) for run in (exporter.loop.run, exporter.directory.run)]
    try:
        yield exporter
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await exporter.close()


def _saved(path: str) -> ContainersDocument:
    try:
        with open(path, "rb") as file:
            return containers_document(json.loads(file.read(MAX_BYTES)))
    except OSError as error:
        raise NoAnswerError(f"{quoted(path)}: {error.strerror or 'not readable'}") from error
    except (ValueError, RecursionError) as error:
        raise NoAnswerError(f"{quoted(path)} holds no answer of /api/v1/containers: {error}") from error


def _own_url(settings: Settings) -> str:
    (host, port), scheme = settings.web_listen_address, "http"
    if settings.web_config_file is not None:
        from exporter.web.config import parse  # noqa: PLC0415 - with YAML, only where there is such a file

        with suppress(ConfigError, OSError), open(settings.web_config_file, "rb") as file:
            if parse(file.read(1 << 20), settings.web_config_file).tls_server_config is not None:
                scheme = "https"
    return f"{scheme}://{ListenAddress(_ANY_ADDRESS.get(host, host), port)}"


def _body(response: http.client.HTTPResponse, deadline: float) -> bytes:
    body = bytearray()
    while chunk := response.read1(1 << 16):
        body += chunk
        if len(body) > MAX_BYTES:
            raise ValueError("too large")
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(body)


def _tls_problem(url: str, error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message.rstrip('.')}): --tls.ca names the CA to trust"
    if error.reason == "WRONG_VERSION_NUMBER":
        return f"there is none: --url {url.replace('https', 'http', 1)}"
    if error.reason and "CERTIFICATE" in error.reason:  # an alert of the server's about ours
        return f"it does not accept the client's certificate ({error.reason}): --cert and --key"
    return error.reason or "failed"
