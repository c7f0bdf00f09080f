"""The web config file: what is read, what is refused, and that no message shows a secret."""

from __future__ import annotations

import re
import ssl
from dataclasses import fields

import pytest

from exporter.errors import ConfigError
from exporter.web.config import CURVES, SUITES, RateLimit, TlsConfig, WebConfig, parse
from exporter.web.server import Limits
from tests.support.process import ROOT
from tests.support.reasons import WEB_REASONS, unknown_to
from tests.web.serving import HASH

PATH = "/etc/exporter/web.yml"
TLS = "tls_server_config: {cert_file: tls.crt, key_file: tls.key, "


def read(text: str) -> WebConfig:
    return parse(text.encode(), PATH)


def test_everything_at_once() -> None:
    document = read(f"""
tls_server_config:
  cert_file: tls.crt
  key_file: /keys/tls.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ../ca.crt
  client_allowed_sans: [prometheus.example, 10.0.0.7]
  min_version: TLS12
  max_version: TLS12
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]
  prefer_server_cipher_suites: off
  curve_preferences: [CurveP384]
http_server_config:
  http2: false
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Frame-Options: sameorigin
    Content-Security-Policy: ""
basic_auth_users:
  alice: {HASH}
  123: {HASH.replace("2b", "2y", 1)}
rate_limit: {{interval: 1m30s, burst: 20}}
""")
    tls = document.tls_server_config
    assert tls is not None
    assert (tls.cert_file, tls.key_file) == ("/etc/exporter/tls.crt", "/keys/tls.key")
    assert tls.client_ca_file == "/etc/exporter/../ca.crt"
    assert tls.client_auth_type == "RequireAndVerifyClientCert"
    assert tls.client_allowed_sans == {"prometheus.example", "10.0.0.7"}
    assert (tls.min_version, tls.max_version, tls.curve_preferences) == ("TLS12", "TLS12", ["secp384r1"])
    assert tls.cipher_suites == ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
    assert not tls.prefer_server_cipher_suites
    assert document.headers == {"Strict-Transport-Security": "max-age=31536000", "X-Frame-Options": "sameorigin"}
    assert set(document.basic_auth_users) == {"alice", "123"}
    assert document.rate_limit == RateLimit(interval="1m30s", burst=20)  # type: ignore[arg-type] # as the file has it
    assert document.rate_limit.interval == 90.0


@pytest.mark.parametrize("text", ["", "# nothing\n", "~", "tls_server_config:\nbasic_auth_users: {}\n"])
def test_an_empty_file_means_plain_http_for_everybody(text: str) -> None:
    assert read(text) == WebConfig()


WRONG = {
    "[1]": "the file: must be a valid dictionary",
    "1: 2": "the file: Keys should be strings",
    "tls_config: {}": "tls_config: unknown key; did you mean tls_server_config?",
    TLS + "cert_fil: x}": "tls_server_config.cert_fil: unknown key; did you mean cert_file?",
    "tls_server_config: {min_version: TLS13}": "tls_server_config.cert_file: Field required",
    "tls_server_config: {cert_file: a}": "tls_server_config.key_file: Field required",
    TLS + "key: x}": "tls_server_config.key: unknown key; did you mean key_file?",
    TLS + "min_version: TLS11}": "tls_server_config.min_version: must be 'TLS12' or 'TLS13'",
    TLS + "max_version: SSL3}": "tls_server_config.max_version: must be 'TLS12' or 'TLS13'",
    TLS + "min_version: TLS13, max_version: TLS12}": "tls_server_config: min_version must not be above max_version",
    TLS
    + "client_auth_type: RequestClientCert}": "client_auth_type: must be 'NoClientCert', 'VerifyClientCertIfGiven' or",
    TLS + "client_auth_type: RequireAndVerifyClientCert}": "client_ca_file and client_auth_type RequireAndVerify",
    TLS + "client_ca_file: x}": "client_ca_file and client_auth_type NoClientCert do not fit together",
    TLS + "client_ca_file: x, client_auth_type: VerifyClientCertIfGiven, client_allowed_sans: [a]}": (
        "client_allowed_sans needs client_auth_type RequireAndVerifyClientCert"
    ),
    TLS
    + "cipher_suites: [TLS_AES_128_GCM_SHA256]}": "cipher_suites: must hold names of TLS 1.2 suites such as TLS_ECDHE_",
    TLS + "cipher_suites: TLS_AES_128_GCM_SHA256}": "tls_server_config.cipher_suites: must be a valid list",
    TLS + "curve_preferences: [CurveP384, CurveP256]}": "curve_preferences: must hold one of CurveP256, CurveP384",
    TLS + "prefer_server_cipher_suites: 7}": "prefer_server_cipher_suites: must be a valid boolean",
    "http_server_config: {http2: true}": "http_server_config.http2: must be False",
    "http_server_config: {headers: {Server: x}}": "http_server_config.headers.Server: unknown key",
    "http_server_config: {headers: {X-Frame-Options: never}}": "X-Frame-Options: must be '', 'deny' or",
    'http_server_config: {headers: {X-XSS-Protection: "0\\r\\nSet-Cookie: a"}}': "X-XSS-Protection: must match pattern",
    "basic_auth_users: [alice]": "basic_auth_users: must be a valid dictionary",
    "basic_auth_users: {alice: secret}": "basic_auth_users.alice: must be a bcrypt hash of cost 4 to 14",
    "basic_auth_users: {alice: }": "basic_auth_users.alice: must be a bcrypt hash",
    "basic_auth_users: {a:b: x}": "basic_auth_users.(not shown): must match pattern",
    f"basic_auth_users: {{alice: {HASH[:-1]}}}": "basic_auth_users.alice: must be a bcrypt hash",
    f"basic_auth_users: {{alice: {HASH.replace('$04$', '$31$')}}}": "alice: must be a bcrypt hash of cost 4 to 14",
    f"basic_auth_users: {{alice: {HASH}, alice: {HASH}}}": "line 1: not YAML: alice is set a second time",
    "rate_limit: {interval: 1s, burst: 0}": "rate_limit.burst: must be greater than or equal to 1",
    "rate_limit: {interval: soon, burst: 1}": "rate_limit.interval: must be a duration",
    "rate_limit: {interval: 5, burst: 1}": "rate_limit.interval: must be a duration",
    "rate_limit: {interval: 1s, burst: many}": "rate_limit.burst: must be a valid integer",
    "a: [": "line 1: not YAML: ",
    "a: *b": "line 1: not YAML: ",
    "? [a]\n: b": "line 1: not YAML: ",
    "\0": "not YAML",
    "{" * 500: "not YAML (RecursionError)",
}


@pytest.mark.parametrize("text", WRONG)
def test_each_mistake_gives_one_line_that_names_the_key(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    message = str(caught.value)
    assert message.startswith(f"--web.config.file: '{PATH}'")
    assert WRONG[text] in message
    assert message.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        f"basic_auth_users: {{{HASH}: alice}}",
        f"{HASH}: alice",
        f"basic_auth_users: {{alice: {HASH}x}}",
        f"basic_auth_users: {{alice: [{HASH}]}}",
        f'basic_auth_users:\n  alice: "{HASH}\n',
        f"basic_auth_users:\n  alice: *{HASH}\n",
        f"basic_auth_users:\n  alice: &{HASH[7:29].replace('.', 'a').replace('/', 'b')} x\n  b: {HASH}\n",
        f"tls_server_config: {{key: {HASH}, cert: x, cert_file: y}}",
        f"tls_server_config:\n  key: |\n    x\n {HASH}\n",
        f"http_server_config: {{headers: {{X-Frame-Options: {HASH}}}}}",
    ],
)
def test_no_message_shows_a_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert HASH[7:] not in str(caught.value)
    assert HASH[7:29] not in str(caught.value)


def test_every_name_that_is_accepted_is_one_that_openssl_has() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(":".join(SUITES.values()))
    assert {cipher["name"] for cipher in context.get_ciphers()} >= set(SUITES.values())
    for curve in CURVES.values():
        context.set_ecdh_curve(curve)


# ---- docs/web-config.md shows what is read, and nothing else ----

TEXT = (ROOT / "docs" / "web-config.md").read_text()


def column(heading: str) -> set[str]:
    """What stands in backticks in the first column of the table under this heading."""
    rows = TEXT.partition(f"| {heading} |")[2].partition("\n\n")[0].split("\n")[2:]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_the_example_is_a_web_config() -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    config = parse(example.encode(), "/etc/web.yml")
    assert config.tls_server_config is not None
    assert set(config.basic_auth_users) == {"prometheus"}
    assert config.headers


def test_every_key_of_tls_and_every_reason_is_explained() -> None:
    assert column("key of `tls_server_config`") == TlsConfig.model_fields.keys()
    assert column("reason") == WEB_REASONS
    assert unknown_to("web", WEB_REASONS) == set()


@pytest.mark.parametrize("key", sorted(column("other keys")))
def test_every_other_key_is_one(key: str) -> None:
    text = "".join(f"{'  ' * depth}{part}:\n" for depth, part in enumerate(key.split(".")))
    parse(text.encode(), "/etc/web.yml")


def test_the_limits_are_the_ones_in_force() -> None:
    limits = Limits()
    table = TEXT.partition("| limit |")[2].partition("\n\n")[0]
    for shown in (
        f"| {limits.connections} |",
        f"| {limits.request_seconds:.0f} s each |",
        f"| {limits.request_bytes >> 10} KiB; line and each header {limits.header_bytes} bytes, ",
        f" bytes, {limits.headers} headers |",
        f"| {limits.idle_seconds:.0f} s |",
        f"| {limits.answer_seconds:.0f} s to make it, and some of it read every {limits.stall_seconds:.0f} s |",
        f"| {limits.held_bytes >> 20} MiB |",
    ):
        assert shown in table
    assert len(fields(limits)) == 9, "a new limit belongs into the table"
    assert all(name in TEXT for name in CURVES)
