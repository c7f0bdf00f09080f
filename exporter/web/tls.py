"""The web config in force: reads its files, makes the TLS context, and follows changes."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

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
_READS: Final = 3
_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
PemName = Literal["cert", "key", "client_ca"]


class PemError(ConfigError):
    """A certificate, key or CA cannot be used; the message names file and key and holds nothing of the content."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One state of all files."""

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None
    """None for plain HTTP."""
    contents: tuple[bytes, ...] = field(default=(), repr=False)


class ReloadingConfig:
    """Holds the web config in :attr:`current`: the last good state of its files, plain HTTP without a file."""

    def __init__(
        self, path: str | None, on_error: Callable[[ExporterError], None], *, seconds: float = _READ_SECONDS
    ) -> None:
        self.current = Loaded()
        self._path, self._on_error = path, on_error
        self._load = TimedCall(lambda: _load(path or "", self.current), seconds)

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


def allowed(certificate: Mapping[str, Any], names: frozenset[str]) -> bool:
    """Whether a client's certificate, as ``ssl.SSLSocket.getpeercert`` gives it, carries one of ``names``, if any."""
    return not names or any(_san(*san) in names for san in certificate.get("subjectAltName", ()))


def _san(kind: str, value: str) -> str:
    """An alternative name as Go writes it: OpenSSL writes an IPv6 address in full."""
    if kind == "IP Address":
        with suppress(ValueError):
            return str(ipaddress.ip_address(value.strip()))
    return value


def _load(path: str, last: Loaded) -> Loaded:
    """Return the state of the files now; ``last`` itself when nothing changed."""
    config, contents = _read(path)
    for _ in range(_READS):
        if contents == last.contents:
            return last
        # A certificate and its key that are replaced at this moment may not belong together yet.
        before, (config, contents) = contents, _read(path)
        if contents == before:
            break
    tls = config.tls_server_config
    if last.contents and (tls is None) is not (last.context is None):
        raise ConfigError(f"{_OPTION}: TLS cannot be turned on or off without a restart")
    return Loaded(config, None if tls is None else server_context(tls, *contents[1:]), contents)


def _read(path: str) -> tuple[WebConfig, tuple[bytes, ...]]:
    try:
        content = _content(path)
    except ValueError as error:
        raise ConfigError(f"{_OPTION}: {quoted(path, 200)}: {error}") from error
    config = parse(content, path)
    tls = config.tls_server_config
    return config, (content,) if tls is None else (content, _pem(tls, "cert"), _pem(tls, "key"), _pem(tls, "client_ca"))


def _pem(tls: TlsConfig, name: PemName) -> bytes:
    path = getattr(tls, f"{name}_file")
    try:
        return _content(path) if path else str(getattr(tls, name)).encode()
    except ValueError as error:
        raise _wrong(tls, name, str(error)) from error


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise ValueError(error.strerror) from error
    if len(content) > _LARGEST_FILE:
        raise ValueError(f"has more than {_LARGEST_FILE} bytes")
    return content


def server_context(tls: TlsConfig, certificate: bytes, key: bytes, client_ca: bytes) -> ssl.SSLContext:
    """Return the context of the server's side; raises :class:`PemError` naming what cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.options |= ssl.OP_NO_RENEGOTIATION  # it costs a server more than the client that asks for it
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if tls.cipher_suites:
        context.set_ciphers(":".join(tls.cipher_suites))
    for curve in tls.curve_preferences:
        try:
            context.set_ecdh_curve(curve)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"{_OPTION}: curve_preferences: this build of Python cannot set {curve}") from error
    context.set_alpn_protocols(["http/1.1"])
    _load_chain(context, tls, certificate, key)
    if tls.client_auth_type != "NoClientCert":
        required = tls.client_auth_type == "RequireAndVerifyClientCert"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as Go does: any certificate of the file may be the root
        _load_ca(context, tls, "client_ca", client_ca)
    return context


def _load_chain(context: ssl.SSLContext, tls: TlsConfig, certificate: bytes, key: bytes) -> None:
    # OpenSSL does not say which of the two it could not read: try the certificate alone first.
    _load_ca(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls, "cert", certificate)
    if b"ENCRYPTED" in key:
        raise _wrong(tls, "key", "is encrypted, and there is nobody to ask for its passphrase")
    try:
        # The bytes that were compared with the last ones, not what the files hold by now; ssl reads files only.
        with _memory_file(certificate) as certificate_path, _memory_file(key) as key_path:
            context.load_cert_chain(certificate_path, key_path, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _wrong(tls, "key", "does not belong to the certificate") from error
        if error.reason in {"EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"}:
            raise _wrong(tls, "cert", f"is too weak for OpenSSL ({error.reason})") from error
        raise _wrong(tls, "key", "holds no usable private key in PEM form") from error


def _load_ca(context: ssl.SSLContext, tls: TlsConfig, name: PemName, content: bytes) -> None:
    try:
        context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise _wrong(tls, name, "holds no usable certificate in PEM form") from error


@contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    with open(os.memfd_create("pem"), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _wrong(tls: TlsConfig, name: PemName, problem: str) -> PemError:
    path = getattr(tls, f"{name}_file")
    return PemError(f"{_OPTION}: tls_server_config.{f'{name}_file {quoted(path, 200)}' if path else name}: {problem}")
