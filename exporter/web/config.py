"""The web config in force: reads its files, checks them, makes the TLS context, and follows changes.

The format is Prometheus exporter-toolkit's (https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md).
What this server cannot do is refused: a security setting that is ignored is worse than one that is missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from typing_extensions import override

from exporter.errors import ConfigError, ExporterError, WebError, quoted
from exporter.threads import TimedCall
from exporter.values import parse_duration, yaml_errors

SUITES: Final = {
    f"TLS_ECDHE_{key}_WITH_{go}": f"ECDHE-{key}-{openssl}"
    for key in ("ECDSA", "RSA")
    for go, openssl in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
    )
}
"""OpenSSL's names of TLS 1.2 suites, by Go's: those that Go's ``tls.CipherSuites()`` calls secure."""
CURVES: Final = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1"}
_HASH: Final = re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}")
"""bcrypt's, up to cost 14: 0.8 s on a server of 2020. Each step doubles it, and a running check cannot be stopped."""
_OPTION: Final = "--web.config.file"
_CHECK_SECONDS, _READ_SECONDS = 1.0, 5.0  # between two reads of the files; for one, as a file server may be gone
_LARGEST_FILE: Final = 4 << 20  # bytes; a bundle of all public CAs has 0.2 MB
_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}


def _suite(name: str) -> str:
    if name not in SUITES:
        raise ValueError(f"must hold names of TLS 1.2 suites such as {next(iter(SUITES))}")
    return SUITES[name]


def _curve(names: list[str]) -> list[str]:
    if len(names) > 1 or not CURVES.keys() >= set(names):
        raise ValueError(f"must hold one of {', '.join(CURVES)}: this server cannot order several")
    return [CURVES[name] for name in names]


def _bcrypt_hash(value: object) -> bytes:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError("must be a bcrypt hash of cost 4 to 14, as htpasswd -nBC 10 '' makes it")
    return value.encode()


def _path(path: str, info: ValidationInfo) -> str:
    return os.path.join(os.path.dirname(str(info.context)), path)


Path = Annotated[str, AfterValidator(_path)]
HeaderValue = Annotated[str, Field(pattern="^[ -~]*$")]
Version = Literal["TLS12", "TLS13"]


class _Section(BaseModel):
    """A mapping of the file: an unknown key is refused, one that is null or blank counts as absent."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_blank(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value not in (None, "") or key not in _KEYS}


class TlsConfig(_Section):
    """``tls_server_config``; suites and the curve by OpenSSL's names."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path = ""
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = "NoClientCert"
    client_allowed_sans: frozenset[str] = frozenset()
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: list[Annotated[str, AfterValidator(_suite)]] = []
    curve_preferences: Annotated[list[str], AfterValidator(_curve)] = []
    prefer_server_cipher_suites: bool = True

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        kind = self.client_auth_type
        if bool(self.client_ca_file) is (kind == "NoClientCert"):
            raise ValueError(f"client_ca_file and client_auth_type {kind} do not fit together")
        if self.client_allowed_sans and kind != "RequireAndVerifyClientCert":
            raise ValueError("client_allowed_sans needs client_auth_type RequireAndVerifyClientCert")
        if self.min_version > self.max_version:
            raise ValueError("min_version must not be above max_version")
        return self


class _Headers(_Section):
    csp: HeaderValue = Field("", alias="Content-Security-Policy")
    hsts: HeaderValue = Field("", alias="Strict-Transport-Security")
    type_options: Literal["", "nosniff"] = Field("", alias="X-Content-Type-Options")
    frame_options: Literal["", "deny", "sameorigin"] = Field("", alias="X-Frame-Options")
    xss: HeaderValue = Field("", alias="X-XSS-Protection")


class _HttpConfig(_Section):
    http2: Literal[False] = False
    headers: _Headers = _Headers()


class RateLimit(_Section):
    """``rate_limit``: a bucket gets one token every ``interval`` seconds (0: no limit) and holds ``burst`` of them."""

    interval: Annotated[float, BeforeValidator(lambda value: parse_duration(str(value)))] = 0.0
    burst: int = Field(1, ge=1, le=999_999)


class WebConfig(_Section):
    """The whole file."""

    tls_server_config: TlsConfig | None = None
    http_server_config: _HttpConfig = _HttpConfig()
    basic_auth_users: dict[
        Annotated[str, Field(pattern="^[^:]+$")], Annotated[bytes, BeforeValidator(_bcrypt_hash)]
    ] = Field(default_factory=dict, repr=False)
    rate_limit: RateLimit = RateLimit()

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every answer, in place of those that are sent without them."""
        return self.http_server_config.headers.model_dump(by_alias=True, exclude_unset=True)


_KEYS: Final = [
    one.alias or key
    for model in (WebConfig, TlsConfig, _HttpConfig, _Headers, RateLimit)
    for key, one in model.model_fields.items()
]


def parse(content: bytes, path: str) -> WebConfig:
    """Return the web config of a file; raises ``ConfigError`` in one line that names file and key."""
    import yaml  # noqa: PLC0415 - 1.4 MB, for those who have such a file only

    class Loader(yaml.SafeLoader):
        @override
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            seen = set[str]()
            for key, _ in node.value:
                if str(key.value) in seen:
                    problem = f"{_shown(str(key.value))} is set a second time"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(str(key.value))
            return super().construct_mapping(node, deep)

    where = f"--web.config.file: {quoted(path, 200)}"
    with yaml_errors(where):
        values = yaml.load(content, Loader)  # noqa: S506 - a safe one
    values = {} if values is None else values
    if isinstance(values, dict) and not values.get("tls_server_config"):
        values.pop("tls_server_config", None)  # as in the toolkit: an empty section is plain HTTP
    try:
        return WebConfig.model_validate(values, context=path)
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False, include_input=False)
    keys = [key for key in first["loc"] if isinstance(key, str) and key != "[key]"]
    text = re.sub("^(Input|String) should", "must", re.sub("^Value error, | or instance of .*", "", first["msg"]))
    if first["type"] == "extra_forbidden":
        text = f"unknown key{''.join(f'; did you mean {near}?' for near in get_close_matches(keys[-1], _KEYS, 1, 0.5))}"
    raise ConfigError(f"{where}: {'.'.join(map(_shown, keys)) or 'the file'}: {text}")


def _shown(key: str) -> str:
    """``key``, unless it could be a secret in the wrong place: a hash has a ``$``, a private key is longer."""
    return key if re.fullmatch(r"[A-Za-z0-9_.@-]{1,40}", key) else "(not shown)"


class PemError(ConfigError):
    """A certificate, key or CA cannot be used; the message holds nothing of it."""

    def __init__(self, key: str, path: str, problem: str) -> None:
        super().__init__(f"{_OPTION}: tls_server_config.{key} {quoted(path, 200)}: {problem}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """One state of all files."""

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None  # None for plain HTTP
    digests: tuple[bytes, ...] = ()  # of the contents: a mounted Secret changes through symlinks


class ReloadingConfig:
    """Holds the web config in :attr:`current`: the last good state of its files."""

    def __init__(self, path: str, on_error: Callable[[ExporterError], None], *, seconds: float = _READ_SECONDS) -> None:
        self.current = Loaded()
        self._path, self._on_error = path, on_error
        self._load = TimedCall(lambda: _load(path, self.current), seconds)

    def accepts(self, certificate: Mapping[str, Any]) -> bool:
        """Whether a client's certificate, as ``ssl.SSLSocket.getpeercert`` gives it, carries an allowed name."""
        tls = self.current.config.tls_server_config
        names = tls.client_allowed_sans if tls else ()
        return not names or any(_san(*san) in names for san in certificate.get("subjectAltName", ()))

    async def load(self) -> None:
        """Take over what changed; raises ``ConfigError`` with one line that names file and key."""
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
    content = _content(path, lambda problem: ConfigError(f"{_OPTION}: {quoted(path, 200)}: {problem}"))
    config = parse(content, path)
    tls = config.tls_server_config
    pems = {key: pem for key in ("cert_file", "key_file", "client_ca_file") if (pem := getattr(tls, key, ""))}
    contents = [content, *(_content(pem, partial(PemError, key, pem)) for key, pem in pems.items())]
    digests = tuple(hashlib.sha256(content).digest() for content in contents)
    if digests == last.digests:
        return last
    if last.digests and (tls is None) is not (last.context is None):
        raise ConfigError(f"{_OPTION}: TLS cannot be turned on or off without a restart")
    return Loaded(config, None if tls is None else _server_context(tls), digests)


def _content(path: str, error: Callable[[str], ConfigError]) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as cause:
        raise error(cause.strerror or type(cause).__name__) from cause
    if len(content) > _LARGEST_FILE:
        raise error(f"has more than {_LARGEST_FILE} bytes")
    return content


def _server_context(tls: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[tls.min_version], _VERSIONS[tls.max_version]
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
