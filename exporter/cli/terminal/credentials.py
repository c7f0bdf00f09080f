"""Who ``explain`` and ``top`` say they are, and whom they believe: their options for an exporter with TLS or passwords.

A password is only ever read from a file: arguments and environments are for everybody on the machine to see.
"""

from __future__ import annotations

import base64
import functools
import ipaddress
import os
import ssl
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from exporter.errors import ConfigError, quoted
from exporter.settings_sources import CLIENT_VARIABLES
from exporter.values import NotQuotedError, parse_ca_file, parse_file

_LARGEST: Final = 4096
"""Bytes of a password file."""
_HELP: Final[Mapping[str, tuple[str, str]]] = {
    "user": ("NAME", "user of an exporter that asks for a password"),
    "password-file": ("FILE", "file with that user's password in it"),
    "tls.ca": ("FILE", "CA of the exporter's certificate, PEM (that of the system; none on this node itself)"),
    "cert": ("FILE", "certificate to show an exporter that asks for one, PEM"),
    "key": ("FILE", "key of that certificate, PEM (in the certificate's file)"),
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is shown to an exporter, and what it is checked by."""

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


def is_loopback(host: str) -> bool:
    """Whether ``host`` is an address, not a name, that never leaves this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@functools.lru_cache(maxsize=2)
def tls_context(credentials: Credentials, *, loopback: bool) -> ssl.SSLContext:
    """How to speak to an exporter; raises :class:`ConfigError`.

    Elsewhere everything is verified. On a loopback address, for which no CA gives certificates, the name is not, and
    the certificate only by a CA that was named.
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


def add_credential_arguments(parser: ArgumentParser) -> None:
    """One option each; where one is not given its variable of :data:`CLIENT_VARIABLES` holds."""
    for name, (metavar, text) in _HELP.items():
        parser.add_argument(f"--{name}", dest=_field(name), metavar=metavar, help=f"{text}; {CLIENT_VARIABLES[name]}")


def credentials_of(args: Namespace, environ: Mapping[str, str] = os.environ) -> Credentials:
    """From options, else from the environment; raises :class:`ConfigError`, which never repeats a secret."""
    given = {name: _given(name, args, environ) for name in _HELP}
    user, password_file = given["user"], given["password-file"]
    if bool(user) != bool(password_file):
        missing, there = ("--password-file", "--user") if user else ("--user", "--password-file")
        raise ConfigError(f"{missing}: must be set with {there}")
    if ":" in user or not user.isprintable():
        raise ConfigError("--user: must be a name without a colon or control characters")
    if given["key"] and not given["cert"]:
        raise ConfigError("--cert: must be set with --key")
    credentials = Credentials(
        user,
        _password(password_file) if user else b"",
        ca=_file("tls.ca", given),
        cert=_file("cert", given),
        key=_file("key", given),
    )
    if credentials.cert is not None:
        tls_context(credentials, loopback=True)
    return credentials


def _field(name: str) -> str:
    return f"client_{name.replace('.', '_').replace('-', '_')}"


def _given(name: str, args: Namespace, environ: Mapping[str, str]) -> str:
    value: str | None = getattr(args, _field(name))
    return environ.get(CLIENT_VARIABLES[name], "") if value is None else value


def _file(name: str, given: Mapping[str, str]) -> str | None:
    parse = parse_ca_file if name == "tls.ca" else parse_file
    try:
        return parse(given[name])
    except ValueError as error:
        shown = "" if isinstance(error, NotQuotedError) else f", not {quoted(given[name])}"
        raise ConfigError(f"--{name}: {error}{shown}") from error


def _password(path: str) -> bytes:
    _file("password-file", {"password-file": path})
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"--password-file: must be a readable file ({error.strerror})") from error
    password = content.rstrip(b"\r\n")
    if not password or len(content) > _LARGEST:
        raise ConfigError(f"--password-file: must hold a password of 1 to {_LARGEST} bytes")
    return password
