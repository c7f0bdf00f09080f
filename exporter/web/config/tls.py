"""From certificate, key and CA to what a connection is accepted with. Blocks; for a thread."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from exporter.errors import ConfigError, quoted
from exporter.web.config.ciphers import VERSIONS
from exporter.web.config.document import Pem, Tls

_LARGEST: Final = 4 << 20
"""Bytes of a PEM file; a bundle of all public CAs has 0.2 MB."""


class PemError(ConfigError):
    """A certificate, key or CA cannot be used; the message names file and key and holds nothing of the content."""


def read_pem(pem: Pem) -> bytes:
    """The content; raises :class:`PemError`."""
    if pem.path is None:
        return pem.inline or b""
    try:
        with open(pem.path, "rb") as file:
            content = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        raise _wrong(pem, getattr(error, "strerror", None) or "not a path") from error
    if len(content) > _LARGEST:
        raise _wrong(pem, f"has more than {_LARGEST} bytes")
    return content


def server_context(tls: Tls, certificate: bytes, key: bytes, client_ca: bytes | None) -> ssl.SSLContext:
    """For the server's side of a connection; raises :class:`PemError` naming what cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[tls.min_version]
    context.maximum_version = VERSIONS[tls.max_version]
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client that renegotiates costs a server more than itself
    if not tls.prefer_own_ciphers:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if tls.ciphers:
        context.set_ciphers(":".join(tls.ciphers))
    if tls.curve is not None:
        try:
            context.set_ecdh_curve(tls.curve)
        except (ssl.SSLError, ValueError) as error:
            raise PemError(f"curve_preferences: this build of Python cannot set {tls.curve}") from error
    context.set_alpn_protocols(["http/1.1"])
    _load_chain(context, tls, certificate, key)
    if tls.client_ca is not None and client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED if tls.client_required else ssl.CERT_OPTIONAL
        # As Go does: any certificate of the file may end the chain.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        _load_ca(context, tls.client_ca, client_ca)
    return context


def _load_chain(context: ssl.SSLContext, tls: Tls, certificate: bytes, key: bytes) -> None:
    # OpenSSL does not say which of the two it could not read: look at the certificate alone first.
    _load_ca(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls.certificate, certificate)
    if b"ENCRYPTED" in key:
        raise _wrong(tls.key, "is encrypted, and there is nobody to ask for its passphrase")
    try:
        # The very bytes that were compared with the last ones, not what the files hold by now; without a file system
        # to write to, and the ssl module reads from files only.
        with _as_file(certificate) as certificate_path, _as_file(key) as key_path:
            context.load_cert_chain(certificate_path, key_path, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _wrong(tls.key, f"does not belong to the certificate of {tls.certificate.key}") from error
        if error.reason in {"EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"}:
            raise _wrong(tls.certificate, f"is too weak for OpenSSL ({error.reason})") from error
        raise _wrong(tls.key, "holds no usable private key in PEM form") from error


def _load_ca(context: ssl.SSLContext, pem: Pem, content: bytes) -> None:
    try:
        context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise _wrong(pem, "holds no usable certificate in PEM form") from error


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    with open(os.memfd_create("pem"), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _wrong(pem: Pem, problem: str) -> PemError:
    where = f" {quoted(pem.path, 200)}" if pem.path is not None else ""
    return PemError(f"--web.config.file: {pem.key}{where}: {problem}")
