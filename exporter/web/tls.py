"""The web config in force: reads its files, makes the TLS context, and follows changes."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from exporter.errors import ConfigError, ExporterError, quoted
from exporter.threads import TimedCall
from exporter.web import WebError
from exporter.web.config import TlsConfig, WebConfig, parse

_OPTION: Final = "--web.config.file"
_CHECK_SECONDS: Final = 1.0
"""Between two reads of the files: compared by content, since a mounted Secret changes through symlinks."""
_READ_SECONDS: Final = 5.0
"""How long the files may take: a file server may be gone."""
_LARGEST_FILE: Final = 4 << 20
"""Bytes; a bundle of all public CAs has 0.2 MB."""
_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}


class PemError(ConfigError):
    """A certificate, key or CA cannot be used; the message names file and key and holds nothing of the content."""

    def __init__(self, key: str, path: str, problem: str) -> None:
        super().__init__(f"{_OPTION}: tls_server_config.{key} {quoted(path, 200)}: {problem}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """One state of all files."""

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None
    """None for plain HTTP."""
    digests: tuple[bytes, ...] = ()
    """Of the contents; empty without a file."""


class ReloadingConfig:
    """Holds the web config in :attr:`current`: the last good state of its files, plain HTTP without a file."""

    def __init__(
        self, path: str | None, on_error: Callable[[ExporterError], None], *, seconds: float = _READ_SECONDS
    ) -> None:
        self.current = Loaded()
        self._path, self._on_error = path, on_error
        self._load = TimedCall(lambda: _load(path or "", self.current), seconds)

    def accepts(self, certificate: Mapping[str, Any]) -> bool:
        """Whether a client's certificate, as ``ssl.SSLSocket.getpeercert`` gives it, carries an allowed name."""
        tls = self.current.config.tls_server_config
        names = tls.client_allowed_sans if tls else ()
        return not names or any(_san(*san) in names for san in certificate.get("subjectAltName", ()))

    async def load(self) -> None:
        """Take over what changed; raises ``ConfigError`` with one line that names file and key."""
        if self._path is None:
            return
        try:
            self.current = await self._load.awaited()
        except TimeoutError as error:
            late = f"{quoted(self._path, 200)} and its files: not read within {self._load.seconds:g} s"
            raise ConfigError(f"{_OPTION}: {late}") from error

    async def check(self) -> None:
        """Take over what changed, or report why the last state stays in use."""
        try:
            await self.load()
        except ConfigError as error:
            reason = "bad_certificate" if isinstance(error, PemError) else "bad_config"
            self._on_error(WebError(f"{error}; the last one stays in use", reason=reason))

    async def run(self) -> None:
        """Check the files for ever."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            await self.check()


def _san(kind: str, value: str) -> str:
    """An alternative name as Go writes it: OpenSSL writes an IPv6 address in full."""
    if kind == "IP Address":
        with suppress(ValueError):
            return str(ipaddress.ip_address(value.strip()))
    return value


def _load(path: str, last: Loaded) -> Loaded:
    """Return the state of the files now; ``last`` itself when nothing changed."""
    config, digests = _read(path)
    if digests == last.digests:
        return last
    tls = config.tls_server_config
    if last.digests and (tls is None) is not (last.context is None):
        raise ConfigError(f"{_OPTION}: TLS cannot be turned on or off without a restart")
    return Loaded(config, None if tls is None else server_context(tls), digests)


def _read(path: str) -> tuple[WebConfig, tuple[bytes, ...]]:
    content = _content(path, lambda problem: ConfigError(f"{_OPTION}: {quoted(path, 200)}: {problem}"))
    config = parse(content, path)
    keys = ("cert_file", "key_file", "client_ca_file")
    pems = {key: pem for key in keys if (pem := getattr(config.tls_server_config, key, ""))}
    contents = [content, *(_content(pem, partial(PemError, key, pem)) for key, pem in pems.items())]
    return config, tuple(hashlib.sha256(content).digest() for content in contents)


def _content(path: str, error: Callable[[str], ConfigError]) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as cause:
        raise error(cause.strerror or type(cause).__name__) from cause
    if len(content) > _LARGEST_FILE:
        raise error(f"has more than {_LARGEST_FILE} bytes")
    return content


def server_context(tls: TlsConfig) -> ssl.SSLContext:
    """Return the context of the server's side; raises :class:`PemError` naming the file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.options |= ssl.OP_NO_RENEGOTIATION  # it costs a server more than the client that asks for it
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if tls.cipher_suites:
        context.set_ciphers(":".join(tls.cipher_suites))
    for curve in tls.curve_preferences:
        context.set_ecdh_curve(curve)
    context.set_alpn_protocols(["http/1.1"])
    # OpenSSL does not say which of the two it could not read: try the certificate alone first.
    _load_ca(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "cert_file", tls.cert_file)
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")  # never ask on a terminal
    except (OSError, ValueError) as error:
        reason = (getattr(error, "reason", None) or "no key in it").replace("_", " ").lower()
        raise PemError("key_file", tls.key_file, f"cannot be used with the certificate: {reason}") from error
    if tls.client_ca_file:
        required = tls.client_auth_type == "RequireAndVerifyClientCert"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as Go does: any certificate of the file may be the root
        _load_ca(context, "client_ca_file", tls.client_ca_file)
    return context


def _load_ca(context: ssl.SSLContext, key: str, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except (OSError, ValueError) as error:
        raise PemError(key, path, "holds no usable certificate in PEM form") from error
