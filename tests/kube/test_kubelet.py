import asyncio
import socket
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from exporter.errors import MappingError
from exporter.kube.kubelet import KubeletSource
from exporter.kube.source import REASONS
from tests.support.fake_kubelet import Authority, FakeKubelet, Reply
from tests.support.pods import pod, pod_list, running

PODS = Reply(pod_list(pod(statuses=[running()])))
SHORT = 0.05
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest_asyncio.fixture
async def kubelet(authority: Authority) -> AsyncIterator[FakeKubelet]:
    async with FakeKubelet(authority.server("127.0.0.1")) as kubelet:
        kubelet.answer("/pods", PODS)
        yield kubelet


class Client:
    """A source of this kubelet, as a pod in the cluster would set it up; closed at the end."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.token_file = folder / "token"
        self.token_file.write_text("first-token\n")
        self.ca_file = folder / "ca.crt"
        authority.write(self.ca_file)
        self.opened: list[KubeletSource] = []

    def source(
        self, url: str, *, max_bytes: int = MEBIBYTE, timeout: float = 20.0, insecure: bool = False
    ) -> KubeletSource:
        source = KubeletSource(
            url,
            token_file=str(self.token_file),
            ca_file=str(self.ca_file),
            insecure_skip_verify=insecure,
            timeout_seconds=timeout,
            max_bytes=max_bytes,
        )
        self.opened.append(source)
        return source


@pytest_asyncio.fixture
async def client(tmp_path: Path, authority: Authority) -> AsyncIterator[Client]:
    client = Client(tmp_path, authority)
    yield client
    for source in client.opened:
        await source.aclose()


async def failure(source: KubeletSource, reason: str) -> str:
    """The one line that the failure of this source says."""
    with pytest.raises(MappingError) as caught:
        await source.pods()
    message = str(caught.value)
    assert caught.value.reason == reason, message
    assert reason in REASONS
    assert "\n" not in message
    assert "first-token" not in message
    return message


# What works


async def test_pods_come_over_verified_tls_with_the_token(kubelet: FakeKubelet, client: Client) -> None:
    kubelet.tokens = {"first-token"}
    pods = await client.source(kubelet.url).pods()
    assert [pod.name for pod in pods.pods.values()] == ["web-1"]
    assert kubelet.requests[0].path == "/pods"


async def test_a_rotated_token_is_used_from_the_next_request_on(kubelet: FakeKubelet, client: Client) -> None:
    source = client.source(kubelet.url)
    kubelet.tokens = {"first-token"}
    await source.pods()
    kubelet.tokens = {"second.token-of_b64/+=="}
    await failure(source, "unauthorized")
    client.token_file.write_text("second.token-of_b64/+==")
    assert (await source.pods()).pods


async def test_a_replaced_ca_is_used_from_the_next_request_on(kubelet: FakeKubelet, client: Client) -> None:
    source = client.source(kubelet.url)
    right = client.ca_file.read_bytes()
    Authority().write(client.ca_file)
    await failure(source, "tls")
    client.ca_file.write_bytes(right)
    assert (await source.pods()).pods


async def test_a_ca_file_may_hold_comments_in_any_language(kubelet: FakeKubelet, client: Client) -> None:
    client.ca_file.write_bytes("# Zürich €\n".encode() + client.ca_file.read_bytes())
    assert (await client.source(kubelet.url).pods()).pods


async def test_the_kubelets_own_certificate_can_be_the_ca(kubelet: FakeKubelet, client: Client) -> None:
    port = int(kubelet.url.rpartition(":")[2])
    pinned = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    client.ca_file.write_text(pinned)
    assert (await client.source(kubelet.url).pods()).pods


async def test_skipping_verification_is_possible_by_name(client: Client) -> None:
    async with FakeKubelet(Authority().server("elsewhere.example")) as kubelet:
        kubelet.answer("/pods", PODS)
        await failure(client.source(kubelet.url), "tls")
        assert (await client.source(kubelet.url, insecure=True).pods()).pods


async def test_the_read_only_port_needs_no_token_and_is_sent_none(client: Client) -> None:
    async with FakeKubelet() as kubelet:
        kubelet.answer("/pods", PODS)
        assert (await client.source(kubelet.url).pods()).pods
        client.token_file.unlink()
        assert (await client.source(kubelet.url).pods()).pods
        assert not any("Authorization" in request.headers for request in kubelet.requests)


async def test_a_compressed_answer_is_read_too(kubelet: FakeKubelet, client: Client) -> None:
    kubelet.answer("/pods", Reply.gzipped(PODS.body))
    assert (await client.source(kubelet.url).pods()).pods


async def test_a_proxy_of_the_environment_is_ignored(
    kubelet: FakeKubelet, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await client.source(kubelet.url).pods()).pods


async def test_settings_come_from_configz(kubelet: FakeKubelet, client: Client) -> None:
    kubelet.answer("/configz", Reply.json({"kubeletconfig": {"cpuManagerPolicy": "static"}}))
    config = await client.source(kubelet.url).config()
    assert config.cpu_manager_policy == "static"


@pytest.mark.parametrize("forbidden", [True, False])
async def test_no_settings_do_no_harm_to_pods(kubelet: FakeKubelet, client: Client, forbidden: bool) -> None:
    source = client.source(kubelet.url)
    kubelet.forbidden = {"/configz"} if forbidden else set()
    with pytest.raises(MappingError) as caught:
        await source.config()
    assert caught.value.reason == ("forbidden" if forbidden else "not_found")
    assert (await source.pods()).pods


async def test_two_requests_at_once(kubelet: FakeKubelet, client: Client) -> None:
    source = client.source(kubelet.url)
    kubelet.answer("/configz", Reply.json({"kubeletconfig": {}}))
    pods, _ = await asyncio.gather(source.pods(), source.config())
    assert pods.pods


# What does not


async def test_nobody_listens(client: Client) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets this port meanwhile
        url = f"https://127.0.0.1:{held.getsockname()[1]}"
        assert await failure(client.source(url), "refused") == f"kubelet {url}/pods: connection refused"


async def test_a_host_name_that_does_not_resolve(client: Client) -> None:
    assert "does not resolve" in await failure(client.source("https://node.invalid:10250"), "unreachable")


async def test_silence_ends_with_the_timeout(kubelet: FakeKubelet, client: Client) -> None:
    kubelet.answer("/pods", Reply(hang=True))
    assert "no answer within 0.05 s" in await failure(client.source(kubelet.url, timeout=SHORT), "timeout")


async def test_a_server_that_never_shakes_hands(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        await failure(client.source(url, timeout=SHORT), "timeout")


@pytest.mark.parametrize(
    ("hosts", "expired", "cause"),
    [
        (("127.0.0.1",), True, "certificate has expired"),
        (("10.1.2.3",), False, "IP address mismatch"),
        (("node.example",), False, "IP address mismatch"),
    ],
)
async def test_a_certificate_for_another_time_or_place(
    authority: Authority, client: Client, hosts: tuple[str, ...], expired: bool, cause: str
) -> None:
    async with FakeKubelet(authority.server(*hosts, expired=expired)) as kubelet:
        kubelet.answer("/pods", PODS)
        message = await failure(client.source(kubelet.url), "tls")
        assert cause in message
        assert kubelet.requests == []


async def test_a_certificate_of_another_ca_tells_the_options(client: Client) -> None:
    async with FakeKubelet(Authority().server("127.0.0.1")) as kubelet:
        message = await failure(client.source(kubelet.url), "tls")
        assert "unable to get local issuer certificate" in message
        assert "--kubelet.ca-file" in message


async def test_tls_to_a_server_that_speaks_plain_http(client: Client) -> None:
    async with FakeKubelet() as kubelet:
        assert "TLS failed" in await failure(client.source(kubelet.url.replace("http:", "https:")), "tls")


async def test_plain_http_to_a_server_that_speaks_tls(kubelet: FakeKubelet, client: Client) -> None:
    # Go's server answers 400 in plain text, others close.
    await failure(client.source(kubelet.url.replace("https:", "http:")), "unreachable")


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff\x00"])
async def test_a_ca_file_that_cannot_be_used(kubelet: FakeKubelet, client: Client, content: bytes | None) -> None:
    if content is None:
        client.ca_file.unlink()
    else:
        client.ca_file.write_bytes(content)
    assert str(client.ca_file) in await failure(client.source(kubelet.url), "tls")


@pytest.mark.parametrize(
    "content", [None, b"", b" \n", b"other secret", b"line\nbreak", "t\u00f6ken".encode(), b"\x00"]
)
async def test_no_usable_token(kubelet: FakeKubelet, client: Client, content: bytes | None) -> None:
    if content is None:
        client.token_file.unlink()
    else:
        client.token_file.write_bytes(content)
    message = await failure(client.source(kubelet.url), "no_token")
    assert str(client.token_file) in message
    assert "other" not in message.replace(str(client.token_file), "")
    assert kubelet.requests == []


async def test_unauthorized(kubelet: FakeKubelet, client: Client) -> None:
    kubelet.tokens = {"another"}
    assert "401" in await failure(client.source(kubelet.url), "unauthorized")


async def test_forbidden_names_the_rule_to_add(kubelet: FakeKubelet, client: Client) -> None:
    kubelet.forbidden = {"/pods"}
    message = await failure(client.source(kubelet.url), "forbidden")
    assert "get on nodes/pods" in message
    assert "rbac.legacyNodesProxy" in message
    assert "serviceaccount" not in message


async def test_not_found(kubelet: FakeKubelet, client: Client) -> None:
    assert "404" in await failure(client.source(kubelet.url + "/elsewhere"), "not_found")


@pytest.mark.parametrize("status", [204, 400, 429, 500, 503])
async def test_any_other_status(kubelet: FakeKubelet, client: Client, status: int) -> None:
    kubelet.answer("/pods", Reply(b"" if status == 204 else b"secret details", status))
    message = await failure(client.source(kubelet.url), "http_status")
    assert f"status {status}" in message
    assert "secret" not in message


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_does_not_carry_the_token_away(kubelet: FakeKubelet, client: Client, status: int) -> None:
    kubelet.answer("/pods", Reply(status=status, headers={"Location": "/elsewhere"}))
    assert "redirects" in await failure(client.source(kubelet.url), "http_status")
    assert [request.path for request in kubelet.requests] == ["/pods"]


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01garbage\r\n\r\n", b"220 mail.example ESMTP\r\n", b"HTTP/1.1 two OK\r\n\r\n"]
)
async def test_what_is_not_http(kubelet: FakeKubelet, client: Client, raw: bytes) -> None:
    kubelet.answer("/pods", Reply(raw=raw))
    await failure(client.source(kubelet.url), "malformed")


async def test_a_connection_closed_without_a_word(kubelet: FakeKubelet, client: Client) -> None:
    kubelet.answer("/pods", Reply(raw=b""))
    await failure(client.source(kubelet.url), "unreachable")


async def test_a_connection_that_breaks_in_the_middle_of_the_body(kubelet: FakeKubelet, client: Client) -> None:
    kubelet.answer("/pods", Reply(PODS.body, cut_after=20))
    await failure(client.source(kubelet.url), "unreachable")


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", PODS.body[:-30], b'{"kind":"Status"}', b""])
async def test_a_body_that_is_no_pod_list(kubelet: FakeKubelet, client: Client, body: bytes) -> None:
    kubelet.answer("/pods", Reply(body))
    message = await failure(client.source(kubelet.url), "malformed")
    assert "no PodList" in message


async def test_more_than_allowed_is_not_read(kubelet: FakeKubelet, client: Client) -> None:
    kubelet.answer("/pods", Reply(b"[" + b" " * (50 * MEBIBYTE)))
    assert "more than 1048576 bytes" in await failure(client.source(kubelet.url), "too_large")


async def test_exactly_what_is_allowed_is_read(kubelet: FakeKubelet, client: Client) -> None:
    for reply in (PODS, Reply.gzipped(PODS.body)):
        kubelet.answer("/pods", reply)
        assert (await client.source(kubelet.url, max_bytes=len(PODS.body)).pods()).pods
        await failure(client.source(kubelet.url, max_bytes=len(PODS.body) - 1), "too_large")


async def test_a_gzip_bomb_is_measured_after_inflation(kubelet: FakeKubelet, client: Client) -> None:
    bomb = Reply.gzipped(bytes(32 * MEBIBYTE))
    assert len(bomb.body) < MEBIBYTE
    kubelet.answer("/pods", bomb)
    source = client.source(kubelet.url)
    await failure(source, "too_large")
    tracemalloc.start()
    try:
        await failure(source, "too_large")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * MEBIBYTE  # 4 of them are TLS and sockets, server and client


@pytest.mark.parametrize("cut", [1, 12, -1])
async def test_half_a_gzip_stream(kubelet: FakeKubelet, client: Client, cut: int) -> None:
    kubelet.answer("/pods", Reply(Reply.gzipped(PODS.body).body[:cut], headers={"Content-Encoding": "gzip"}))
    assert "gzip" in await failure(client.source(kubelet.url), "malformed")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(PODS.body, headers={"Content-Encoding": "gzip"}),
        Reply(Reply.gzipped(PODS.body).body + b"more", headers={"Content-Encoding": "gzip"}),
        Reply(zlib.compress(PODS.body), headers={"Content-Encoding": "deflate"}),
    ],
)
async def test_an_encoding_that_is_wrong(kubelet: FakeKubelet, client: Client, reply: Reply) -> None:
    kubelet.answer("/pods", reply)
    await failure(client.source(kubelet.url), "malformed")
