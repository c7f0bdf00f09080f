"""TLS as clients meet it: certificates that rotate, that are asked for, that are wrong; and HTTP on the TLS port."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from exporter.errors import ConfigError
from exporter.web.config import ReloadingConfig
from exporter.web.server import Limits
from tests.web.serving import HASH, HOST, Authority, served, write_config

PLAIN = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
MUTUAL = PLAIN + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path)
    authority.issue("server")
    return authority


async def test_a_rotated_certificate_is_used_and_a_wrong_one_is_not(authority: Authority) -> None:
    tls = authority.client()
    async with served(write_config(authority.folder, PLAIN)) as server:
        serials = [await server.serial(tls)]
        for wrong in (False, True):
            authority.issue("server")
            if wrong:
                (authority.folder / "server.crt").write_text("no certificate")
            await server.check()
            await server.check()
            serials.append(await server.serial(tls))
        assert serials[0] != serials[1] == serials[2]
        assert server.reasons == {"bad_certificate": 2}
        assert "cert_file" in str(server.errors[0])
        assert str(server.errors[0]).endswith("holds no usable certificate in PEM form; the last one stays in use")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tls_config: {}", "tls_config: unknown key"),
        (PLAIN + "  min_version: TLS14\n", "min_version: must be 'TLS12' or 'TLS13'"),
        ("basic_auth_users: {}", "TLS cannot be turned on or off without a restart"),
    ],
)
async def test_a_wrong_new_web_config_leaves_the_old_one_in_use(authority: Authority, text: str, why: str) -> None:
    path = write_config(authority.folder, PLAIN)
    async with served(path) as server:
        path.write_text(text)
        await server.check()
        assert (await server.get(tls=authority.client())).status == 200
        assert server.reasons == {"bad_config": 1}
        assert why in str(server.errors[0])


async def test_users_change_without_a_restart(tmp_path: Path) -> None:
    path = write_config(tmp_path, "")
    async with served(path) as server:
        assert (await server.get()).status == 200
        path.write_text(f"basic_auth_users: {{alice: {HASH}}}")
        await server.check()
        assert (await server.get()).status == 401


# ---- Client certificates ----


@pytest.mark.parametrize("kind", ["RequireAndVerifyClientCert", "VerifyClientCertIfGiven"])
@pytest.mark.parametrize(
    ("shown", "refusal"),
    [
        ("client", ""),
        ("", "peer did not return a certificate"),
        ("other/client", "certificate verify failed: unable to get local issuer certificate"),
        ("expired", "certificate verify failed: certificate has expired"),
    ],
)
async def test_a_client_certificate(authority: Authority, kind: str, shown: str, refusal: str) -> None:
    (authority.folder / "other").mkdir()
    Authority(authority.folder / "other").issue("client")
    authority.issue("client", "prometheus.example")
    authority.issue("expired", expired=True)
    text = MUTUAL.replace("RequireAndVerifyClientCert", kind)
    async with served(write_config(authority.folder, text)) as server:
        answer = await server.get(tls=authority.client(shown or None))
        if refusal and (shown or kind == "RequireAndVerifyClientCert"):
            assert answer.raw == b""
            assert await server.reason("tls_handshake") == f"{HOST} TLS handshake failed: {refusal}"
        else:
            assert answer.status == 200


@pytest.mark.parametrize("allowed", ["prometheus.example", "10.0.0.7", "2001:db8::7", "ops@example.org"])
async def test_a_client_certificate_needs_one_of_the_allowed_names(authority: Authority, allowed: str) -> None:
    authority.issue("client", allowed, "also.example")
    authority.issue("stranger", "other.example")
    text = f"{MUTUAL}  client_allowed_sans: ['{allowed}', unused.example]\n"
    async with served(write_config(authority.folder, text)) as server:
        assert (await server.get(tls=authority.client("client"))).status == 200
        assert (await server.get(tls=authority.client("stranger"))).raw == b""
        assert "none of the names in client_allowed_sans" in await server.reason("client_certificate")


# ---- Clients that do not fit ----


async def test_plain_http_to_the_tls_port(authority: Authority) -> None:
    async with served(write_config(authority.folder, PLAIN)) as server:
        answer = await server.get()
        assert (answer.status, answer.body) == (400, b"Client sent an HTTP request to an HTTPS server.\n")
        assert await server.reason("plain_http") == f"{HOST} speaks plain HTTP to the TLS port"
        assert server.reasons == {"plain_http": 1}


async def test_the_chosen_cipher_and_curve(authority: Authority) -> None:
    text = PLAIN + (
        "  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n  curve_preferences: [CurveP384]\n"
    )
    authority.issue("server", rsa=True)  # the key of the other kind would have to lie on the chosen curve
    client = authority.client()
    client.set_ecdh_curve("secp384r1")
    async with served(write_config(authority.folder, text)) as server:
        _, stream = await server.connect(tls=client)
        assert stream.get_extra_info("cipher")[0].endswith("AES256-GCM-SHA384")
        stream.transport.abort()
        client.set_ecdh_curve("prime256v1")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await server.get(tls=client)


@pytest.mark.parametrize("first", [b"", b"\x16", b"\x16\x03\x01\x00\xff"])
async def test_a_client_that_never_finishes_its_handshake(authority: Authority, first: bytes) -> None:
    limits = Limits(request_seconds=0.2)
    async with served(write_config(authority.folder, PLAIN), limits) as server:
        answer = await server.ask(first)
        assert answer.raw == b""
        assert (await server.get(tls=authority.client())).status == 200
        assert server.reasons == {"slow_request": 1}


# ---- What the start refuses ----


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("server.key", None, "key_file .*: No such file or directory"),
        ("server.crt", "", "cert_file .*: holds no usable certificate in PEM form"),
        ("server.key", "nonsense", "key_file .*: cannot be used with the certificate: no key in it"),
        ("server.key", "other", "key_file .*: cannot be used with the certificate: key values mismatch"),
        ("server.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----", "key_file .*: cannot be used"),
        ("ca.crt", "nonsense", "client_ca_file .*: holds no usable certificate in PEM form"),
    ],
)
async def test_a_file_that_cannot_be_used(authority: Authority, file: str, content: str | None, why: str) -> None:
    path = authority.folder / file
    if content is None:
        path.unlink()
    elif content == "other":
        authority.issue("other")
        path.write_bytes((authority.folder / "other.key").read_bytes())
    else:
        path.write_text(content)
    config = ReloadingConfig(str(write_config(authority.folder, MUTUAL)), lambda _: None)
    with pytest.raises(ConfigError, match=rf"^--web.config.file: tls_server_config\.{why}") as caught:
        await config.load()
    assert str(path) in str(caught.value)
