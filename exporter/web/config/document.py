"""The web config file as values. Pure: reads no file but the text it is given.

The format is that of https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. What this
server cannot do is refused, because a security setting that is ignored is worse than one that is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from exporter.web.config.ciphers import CURVES, OLD_VERSIONS, SUITES, SUITES_OF_TLS13, VERSIONS

if TYPE_CHECKING:
    from exporter.web.config.nodes import Section

HIGHEST_COST: Final = 14
"""Of bcrypt. 14 takes 0.8 s on a server of 2020, each step doubles it, and a thread that computes cannot be stopped."""
_HASH: Final = re.compile(r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{53}")
_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""The headers that may be set, and to what where that is given."""
_DURATION: Final = re.compile(r"(?P<number>\d{1,6}(?:\.\d{1,6})?)(?P<unit>ms|s|m|h)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Pem:
    """Where a certificate or key is: in a file, or in the web config itself."""

    key: str
    """Of the web config, for messages: ``tls_server_config.cert_file``."""
    path: str | None
    inline: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """``tls_server_config``, in OpenSSL's words."""

    certificate: Pem
    key: Pem
    client_ca: Pem | None
    """Set exactly when client certificates are looked at."""
    client_required: bool
    client_sans: frozenset[str]
    """Names of which a client's certificate must carry one; empty for any."""
    min_version: str
    max_version: str
    ciphers: tuple[str, ...]
    curve: str | None
    prefer_own_ciphers: bool


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: one request every ``interval`` seconds, ``burst`` of them at once."""

    interval: float
    burst: int


@dataclass(frozen=True, slots=True)
class Document:
    """The whole file."""

    tls: Tls | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """bcrypt hash by user."""
    rate: Rate | None = None


def parse(content: bytes, path: str) -> Document:
    """The file at ``path``; raises ``ConfigError`` naming file, line and key."""
    from exporter.web.config.nodes import compose  # noqa: PLC0415 - 1.4 MB of YAML for who has such a file only

    root = compose(content, path)
    root.only({"tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"})
    tls = root.section("tls_server_config")
    return Document(
        # As in the original: an empty section means no TLS, one with any key in it means TLS.
        tls=_tls(tls, os.path.dirname(path)) if list(tls) else None,
        headers=_headers(root.section("http_server_config")),
        users=_users(root.section("basic_auth_users")),
        rate=_rate(root.section("rate_limit")),
    )


def _tls(section: Section, folder: str) -> Tls:
    section.only(
        {"cert", "cert_file", "key", "key_file", "client_auth_type", "client_ca", "client_ca_file"}
        | {"client_allowed_sans", "min_version", "max_version", "cipher_suites", "curve_preferences"}
        | {"prefer_server_cipher_suites"}
    )
    certificate, key = _pem(section, "cert", folder), _pem(section, "key", folder)
    if certificate is None:
        raise section.wrong("cert_file", "must be set")
    if key is None:
        raise section.wrong("key_file", "must be set")
    client_ca = _pem(section, "client_ca", folder)
    required = _client_required(section, client_ca)
    if "client_allowed_sans" in section and not required:
        raise section.wrong("client_allowed_sans", "needs client_auth_type RequireAndVerifyClientCert")
    low, high = (_version(section, name, default) for name, default in (("min_version", "TLS12"), ("max_version", "")))
    high = high or "TLS13"
    if low > high:
        raise section.wrong("min_version", "must not be above max_version")
    return Tls(
        certificate=certificate,
        key=key,
        client_ca=client_ca,
        client_required=required,
        client_sans=frozenset(section.texts("client_allowed_sans")),
        min_version=low,
        max_version=high,
        ciphers=_ciphers(section),
        curve=_curve(section),
        prefer_own_ciphers=section.switch("prefer_server_cipher_suites", default=True),
    )


def _pem(section: Section, name: str, folder: str) -> Pem | None:
    path, inline = section.text(f"{name}_file"), section.text(name)
    if path and inline:
        raise section.wrong(name, f"and {name}_file must not both be set")
    if path:
        return Pem(f"tls_server_config.{name}_file", os.path.join(folder, path))
    return Pem(f"tls_server_config.{name}", None, inline.encode()) if inline else None


def _client_required(section: Section, client_ca: Pem | None) -> bool:
    kind = section.text("client_auth_type") or "NoClientCert"
    verified = {"NoClientCert": None, "VerifyClientCertIfGiven": False, "RequireAndVerifyClientCert": True}
    if kind in {"RequestClientCert", "RequireAnyClientCert", "RequireClientCert"}:
        raise section.wrong(
            "client_auth_type",
            f"{kind} asks for certificates and verifies none, which this server cannot do: use "
            f"{'VerifyClientCertIfGiven' if kind.startswith('Request') else 'RequireAndVerifyClientCert'}",
        )
    if kind not in verified:
        raise section.wrong("client_auth_type", f"must be one of {', '.join(verified)}")
    required = verified[kind]
    if required is None and client_ca is not None:
        raise section.wrong("client_ca_file", f"needs a client_auth_type other than {kind}")
    if required is not None and client_ca is None:
        raise section.wrong("client_ca_file", f"must be set for client_auth_type {kind}")
    return bool(required)


def _version(section: Section, key: str, default: str) -> str:
    version = section.text(key) or default
    if version in OLD_VERSIONS:
        raise section.wrong(key, f"{version} is broken and not offered: use TLS12 or TLS13")
    if version and version not in VERSIONS:
        raise section.wrong(key, f"must be one of {', '.join(VERSIONS)}")
    return version


def _ciphers(section: Section) -> tuple[str, ...]:
    names = section.texts("cipher_suites")
    for name in names:
        if name in SUITES_OF_TLS13:
            raise section.wrong("cipher_suites", f"{name} belongs to TLS 1.3, whose suites cannot be chosen: remove it")
        if name not in SUITES:
            raise section.wrong("cipher_suites", f"must hold names such as {next(iter(SUITES))}")
    return tuple(SUITES[name] for name in names)


def _curve(section: Section) -> str | None:
    names = section.texts("curve_preferences")
    if any(name not in CURVES for name in names):
        raise section.wrong("curve_preferences", f"must hold one of {', '.join(CURVES)}")
    if len(names) > 1:
        raise section.wrong("curve_preferences", "must hold one curve only: this server cannot order several")
    return CURVES[names[0]] if names else None


def _headers(section: Section) -> Mapping[str, str]:
    section.only({"http2", "headers"})
    if section.switch("http2", default=False):
        raise section.wrong("http2", "cannot be true: this server speaks HTTP/1.1 only, as every scraper does")
    headers = section.section("headers")
    headers.only(_HEADERS)
    found = {}
    for name, allowed in _HEADERS.items():
        value = headers.text(name)
        if value is None or not (value or allowed):
            continue  # blank leaves what the exporter sends anyway
        if allowed and value not in allowed:
            raise headers.wrong(name, f"must be {' or '.join(allowed)}")
        if not (value.isascii() and value.isprintable()):
            raise headers.wrong(name, "must be printable ASCII")
        found[name] = value
    return found


def _users(section: Section) -> Mapping[str, bytes]:
    users = {}
    for name in section:
        if not name or ":" in name or not name.isprintable():
            raise section.wrong(name, "cannot be a user: it is empty, or has a colon or a control character in it")
        found = _HASH.fullmatch(section.text(name) or "")
        if found is None:
            raise section.wrong(name, "must be a bcrypt hash, as htpasswd -nBC 10 '' makes it")
        if not 4 <= int(found["cost"]) <= HIGHEST_COST:
            raise section.wrong(name, f"has cost {int(found['cost'])}: must be between 4 and {HIGHEST_COST}")
        users[name] = found[0].encode()
    return users


def _rate(section: Section) -> Rate | None:
    section.only({"interval", "burst"})
    text, burst = section.text("interval") or "0", section.text("burst") or "0"
    seconds = 0.0
    if text != "0":
        parts = list(_DURATION.finditer(text))
        if not parts or "".join(part[0] for part in parts) != text:
            raise section.wrong("interval", "must be a duration such as 1s or 100ms")
        seconds = sum(float(part["number"]) * _SECONDS[part["unit"]] for part in parts)
    if not re.fullmatch(r"\d{1,6}", burst):
        raise section.wrong("burst", "must be a number up to 999999")
    if not seconds:
        return None
    if int(burst) < 1:
        raise section.wrong("burst", "must be 1 or more, or no request would ever be answered")
    return Rate(seconds, int(burst))
