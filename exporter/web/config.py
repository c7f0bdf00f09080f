"""The web config file as values, in the format of Prometheus exporter-toolkit. Reads no file but the text it is given.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. What this server cannot do is
refused: a security setting that is ignored is worse than one that is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Mapping
from difflib import get_close_matches
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

from exporter.errors import ConfigError, quoted
from exporter.values import parse_duration

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
CURVES: Final = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
"""OpenSSL's names of curves, by Go's."""
_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""Headers that may be set, and their values where those are given."""
_HASH: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_COSTS: Final = range(4, 15)
"""Of bcrypt. 14 takes 0.8 s on a server of 2020, each step doubles it, and a thread that computes cannot be stopped."""


def _suite(name: str) -> str:
    if name not in SUITES:
        raise ValueError(f"must hold names of TLS 1.2 suites such as {next(iter(SUITES))}")
    return SUITES[name]


def _curve(names: list[str]) -> list[str]:
    if len(names) > 1 or not CURVES.keys() >= set(names):
        raise ValueError(f"must hold one of {', '.join(CURVES)}: this server cannot order several")
    return [CURVES[name] for name in names]


def _http1(value: bool) -> bool:  # noqa: FBT001 - called by pydantic
    if value:
        raise ValueError("cannot be true: this server speaks HTTP/1.1 only, as every scraper does")
    return value


def _header_values(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if name not in _HEADERS:
            raise ValueError(f"must be among {', '.join(_HEADERS)}")
        if value not in (_HEADERS[name] or (value,)):
            raise ValueError(f"must set {name} to {' or '.join(_HEADERS[name])}")
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"must set {name} to printable ASCII")
    return headers


def _without_blank(values: object) -> object:
    return (
        {key: value for key, value in values.items() if value not in (None, "")} if isinstance(values, dict) else values
    )


def _user_name(name: str) -> str:
    if not name or ":" in name or not name.isprintable():
        raise ValueError("cannot be a user: it is empty, or has a colon or a control character in it")
    return name


def _bcrypt_hash(value: object) -> bytes:
    found = _HASH.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[1]) not in _COSTS:
        raise ValueError(f"must be a bcrypt hash of cost {_COSTS[0]} to {_COSTS[-1]}, as htpasswd -nBC 10 '' makes it")
    return found[0].encode()


def _absolute(path: str, info: ValidationInfo) -> str:
    return os.path.join(os.path.dirname(str(info.context)), path)


File = Annotated[str, AfterValidator(_absolute)]


class _Section(BaseModel):
    """A mapping of the file: an unknown key is refused, one that is null or blank counts as absent."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_blank(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value not in (None, "") or key not in cls.model_fields}


class TlsConfig(_Section):
    """``tls_server_config``."""

    cert: str = ""
    cert_file: File = ""
    key: str = Field("", repr=False)
    key_file: File = ""
    client_ca: str = ""
    client_ca_file: File = ""
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = "NoClientCert"
    client_allowed_sans: frozenset[str] = frozenset()
    """Names of which a client's certificate must carry one; empty for any."""
    min_version: Literal["TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS12", "TLS13"] = "TLS13"
    cipher_suites: list[Annotated[str, AfterValidator(_suite)]] = []
    """OpenSSL's names."""
    curve_preferences: Annotated[list[str], AfterValidator(_curve)] = []
    """OpenSSL's name of one."""
    prefer_server_cipher_suites: bool = True

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        kind = self.client_auth_type
        given = {
            name: bool(getattr(self, name) or getattr(self, f"{name}_file")) for name in ("cert", "key", "client_ca")
        }
        for wrong, problem in (
            (self.cert and self.cert_file, "cert and cert_file must not both be set"),
            (self.key and self.key_file, "key and key_file must not both be set"),
            (self.client_ca and self.client_ca_file, "client_ca and client_ca_file must not both be set"),
            (not given["cert"], "cert_file must be set"),
            (not given["key"], "key_file must be set"),
            (
                given["client_ca"] and kind == "NoClientCert",
                "client_ca_file needs another client_auth_type than NoClientCert",
            ),
            (
                not given["client_ca"] and kind != "NoClientCert",
                f"client_ca_file must be set for client_auth_type {kind}",
            ),
            (
                self.client_allowed_sans and kind != "RequireAndVerifyClientCert",
                "client_allowed_sans needs client_auth_type RequireAndVerifyClientCert",
            ),
            (self.min_version > self.max_version, "min_version must not be above max_version"),
        ):
            if wrong:
                raise ValueError(problem)
        return self


class _HttpConfig(_Section):
    http2: Annotated[bool, AfterValidator(_http1)] = False
    headers: Annotated[dict[str, str], BeforeValidator(_without_blank), AfterValidator(_header_values)] = {}
    """A blank one removes none, as in the toolkit."""


class RateLimit(_Section):
    """``rate_limit``: a token bucket that gets one token every ``interval`` seconds and holds ``burst`` of them."""

    interval: Annotated[float, BeforeValidator(lambda value: parse_duration(str(value)))] = 0.0
    """0 for no limit."""
    burst: int = Field(0, ge=0, le=999_999)

    @model_validator(mode="after")
    def _has_burst(self) -> Self:
        if self.interval and not self.burst:
            raise ValueError("burst must be 1 or more, or no request would ever be answered")
        return self


class WebConfig(_Section):
    """The whole file."""

    tls_server_config: TlsConfig | None = None
    http_server_config: _HttpConfig = _HttpConfig()
    basic_auth_users: dict[
        Annotated[str, AfterValidator(_user_name)], Annotated[bytes, BeforeValidator(_bcrypt_hash)]
    ] = Field(default_factory=dict, repr=False)
    rate_limit: RateLimit = RateLimit()


_KEYS: Final = [key for model in (WebConfig, TlsConfig, _HttpConfig, RateLimit) for key in model.model_fields]


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
    try:
        values = yaml.load(content, Loader)  # noqa: S506 - a safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # PyYAML quotes what it could not read.
        problem = re.sub(r"'[^']*'?", "...", ", ".join(filter(None, (error.context, error.problem))))
        raise ConfigError(f"{where}{f' line {mark.line + 1}' if mark else ''}: not YAML: {problem[:100]}") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{where}: not YAML ({type(error).__name__})") from None
    values = {} if values is None else values
    if isinstance(values, dict) and not values.get("tls_server_config"):
        values.pop("tls_server_config", None)  # as in the toolkit: an empty section is plain HTTP
    try:
        return WebConfig.model_validate(values, context=path)
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False, include_input=False)
    keys = [key for key in first["loc"] if isinstance(key, str) and key != "[key]"]
    text = (
        first["msg"]
        .removeprefix("Value error, ")
        .replace("Input should be", "must be")
        .replace("dictionary", "mapping")
    )
    if first["type"] == "extra_forbidden":
        text = f"unknown key{''.join(f'; did you mean {near}?' for near in get_close_matches(keys[-1], _KEYS, 1))}"
    raise ConfigError(f"{where}: {'.'.join(map(_shown, keys)) or 'the file'}: {text.partition(' or instance of')[0]}")


def _shown(key: str) -> str:
    """``key``, unless it could be a secret in the wrong place: a hash has a ``$``, a private key is longer."""
    return key if re.fullmatch(r"[A-Za-z0-9_.@-]{1,40}", key) else "(not shown)"
