"""The web config file as values, in the format of Prometheus exporter-toolkit. Reads no file but the text it is given.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. What this server cannot do is
refused: a security setting that is ignored is worse than one that is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable
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
"""OpenSSL's names of curves, by Go's."""
_HASH: Final = re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}")
"""bcrypt's, up to cost 14: 0.8 s on a server of 2020. Each step doubles it, and a running check cannot be stopped."""


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
User = Annotated[str, Field(pattern="^[^:]+$")]
Hash = Annotated[bytes, BeforeValidator(_bcrypt_hash)]
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
    """``tls_server_config``."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path = ""
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = "NoClientCert"
    client_allowed_sans: frozenset[str] = frozenset()
    """Names of which a client's certificate must carry one; empty for any."""
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: list[Annotated[str, AfterValidator(_suite)]] = []
    """OpenSSL's names."""
    curve_preferences: Annotated[list[str], AfterValidator(_curve)] = []
    """OpenSSL's name of one."""
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
    """``rate_limit``: a token bucket that gets one token every ``interval`` seconds and holds ``burst`` of them."""

    interval: Annotated[float, BeforeValidator(lambda value: parse_duration(str(value)))] = 0.0
    """0 for no limit."""
    burst: int = Field(1, ge=1, le=999_999)


class WebConfig(_Section):
    """The whole file."""

    tls_server_config: TlsConfig | None = None
    http_server_config: _HttpConfig = _HttpConfig()
    basic_auth_users: dict[User, Hash] = Field(default_factory=dict, repr=False)
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
