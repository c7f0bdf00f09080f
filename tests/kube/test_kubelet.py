import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from exporter.errors import MappingError
from exporter.identities import KubeletConfig
from exporter.kube.kubelet import KubeletSource, parse_configz
from tests.kube.conftest import Files, failure
from tests.support.fake_kubelet import Authority, FakeKubelet, Reply
from tests.support.pods import pod, pod_list, running

PODS = Reply(pod_list(pod(statuses=[running()])))
SHORT = 0.05
TREES = Path(__file__).parent.parent / "fixtures" / "trees"
MEBIBYTE = 1024 * 1024


@pytest_asyncio.fixture
async def kubelet(authority: Authority) -> AsyncIterator[FakeKubelet]:
    async with FakeKubelet(authority.server("127.0.0.1")) as kubelet:
        kubelet.answer("/pods", PODS)
        yield kubelet


def source_of(files: Files, url: str, *, timeout: float = 20.0, insecure: bool = False) -> KubeletSource:
    """A source as a pod in the cluster would set it up."""
    token, ca = str(files.token), str(files.ca)
    return KubeletSource(url, token_file=token, ca_file=ca, insecure_skip_verify=insecure, timeout_seconds=timeout)


async def test_pods_come_over_verified_tls_with_the_token_of_now(kubelet: FakeKubelet, files: Files) -> None:
    source = source_of(files, kubelet.url)
    kubelet.tokens = {"first-token"}
    assert [pod.name for pod in (await source.pods()).pods.values()] == ["web-1"]
    assert kubelet.requests[0].path == "/pods"
    kubelet.tokens = {"second.token-of_b64/+=="}
    assert "401" in await failure(source, "unauthorized")
    files.token.write_text("second.token-of_b64/+==")
    assert (await source.pods()).pods


async def test_a_replaced_ca_is_used_from_the_next_request_on(kubelet: FakeKubelet, files: Files) -> None:
    source = source_of(files, kubelet.url)
    right = files.ca.read_bytes()
    Authority().write(files.ca)
    message = await failure(source, "tls")
    assert "unable to get local issuer certificate" in message
    assert "--kubelet.ca-file" in message
    files.ca.write_bytes("# Zürich €\n".encode() + right)
    assert (await source.pods()).pods


async def test_the_kubelets_own_certificate_can_be_the_ca(kubelet: FakeKubelet, files: Files) -> None:
    port = int(kubelet.url.rpartition(":")[2])
    pinned = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    files.ca.write_text(pinned)
    assert (await source_of(files, kubelet.url).pods()).pods


async def test_skipping_verification_is_possible_by_name(files: Files) -> None:
    async with FakeKubelet(Authority().server("elsewhere.example")) as kubelet:
        kubelet.answer("/pods", PODS)
        await failure(source_of(files, kubelet.url), "tls")
        assert (await source_of(files, kubelet.url, insecure=True).pods()).pods


async def test_the_read_only_port_needs_no_token_and_is_sent_none(files: Files) -> None:
    async with FakeKubelet() as kubelet:
        kubelet.answer("/pods", PODS)
        files.token.unlink()
        assert (await source_of(files, kubelet.url).pods()).pods
        assert not any("Authorization" in request.headers for request in kubelet.requests)


async def test_a_proxy_of_the_environment_is_ignored(
    kubelet: FakeKubelet, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await source_of(files, kubelet.url).pods()).pods


async def test_settings_come_from_configz_beside_a_request_for_pods(kubelet: FakeKubelet, files: Files) -> None:
    source = source_of(files, kubelet.url)

    async def refusal() -> str:
        with pytest.raises(MappingError) as caught:
            await source.config()
        return caught.value.reason

    assert await refusal() == "not_found"
    kubelet.answer("/configz", Reply.json({"kubeletconfig": {"cpuManagerPolicy": "static"}}))
    pods, config = await asyncio.gather(source.pods(), source.config())
    assert (len(pods.pods), config.cpu_manager_policy) == (1, "static")
    for size, reason in ((MEBIBYTE, "malformed"), (MEBIBYTE + 1, "too_large")):
        kubelet.answer("/configz", Reply(b" " * size))
        assert await refusal() == reason
    kubelet.forbidden = {"/configz"}
    assert await refusal() == "forbidden"
    assert (await source.pods()).pods


async def test_nobody_listens(files: Files) -> None:
    assert await failure(source_of(files, "https://127.0.0.1:1"), "refused") == (
        "kubelet https://127.0.0.1:1/pods: connection refused"
    )
    assert "does not resolve" in await failure(source_of(files, "https://node.invalid:10250"), "unreachable")


async def test_silence_ends_with_the_timeout(kubelet: FakeKubelet, files: Files) -> None:
    kubelet.answer("/pods", Reply(hang=True))
    assert "no answer within 0.05 s" in await failure(source_of(files, kubelet.url, timeout=SHORT), "timeout")
    with socket.create_server(("127.0.0.1", 0)) as never_shakes_hands:
        url = f"https://127.0.0.1:{never_shakes_hands.getsockname()[1]}"
        await failure(source_of(files, url, timeout=SHORT), "timeout")


@pytest.mark.parametrize(
    ("host", "expired", "cause"),
    [
        ("127.0.0.1", True, "certificate has expired"),
        ("10.1.2.3", False, "IP address mismatch"),
        ("node.example", False, "IP address mismatch"),
    ],
)
async def test_a_certificate_for_another_time_or_place(
    authority: Authority, files: Files, host: str, expired: bool, cause: str
) -> None:
    async with FakeKubelet(authority.server(host, expired=expired)) as kubelet:
        kubelet.answer("/pods", PODS)
        assert cause in await failure(source_of(files, kubelet.url), "tls")
        assert kubelet.requests == []


async def test_tls_and_plain_http_mixed_up(kubelet: FakeKubelet, files: Files) -> None:
    async with FakeKubelet() as plain:
        assert "TLS failed" in await failure(source_of(files, plain.url.replace("http:", "https:")), "tls")
    # Go's server answers 400 in plain text, others close.
    await failure(source_of(files, kubelet.url.replace("https:", "http:")), "unreachable")


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff\x00"])
async def test_a_ca_file_that_cannot_be_used(kubelet: FakeKubelet, files: Files, content: bytes | None) -> None:
    files.ca.unlink()
    if content is not None:
        files.ca.write_bytes(content)
    assert str(files.ca) in await failure(source_of(files, kubelet.url), "tls")


@pytest.mark.parametrize("content", [None, b"", b" \n", b"other words", b"line\nbreak", "t\u00f6ken".encode(), b"\x00"])
async def test_no_usable_token(kubelet: FakeKubelet, files: Files, content: bytes | None) -> None:
    files.token.unlink()
    if content is not None:
        files.token.write_bytes(content)
    message = await failure(source_of(files, kubelet.url), "no_token")
    assert str(files.token) in message
    assert "other" not in message.replace(str(files.token), "")
    assert kubelet.requests == []


async def test_forbidden_names_the_rule_to_add(kubelet: FakeKubelet, files: Files) -> None:
    kubelet.forbidden = {"/pods"}
    message = await failure(source_of(files, kubelet.url), "forbidden")
    assert "get on nodes/pods" in message
    assert "rbac.legacyNodesProxy" in message
    assert "serviceaccount" not in message


BODY = PODS.body


@pytest.mark.parametrize(
    ("reply", "reason", "message"),
    [
        *((Reply(b"secret", status), "http_status", f"status {status}") for status in (400, 429, 500, 503)),
        (Reply(status=204), "http_status", "status 204"),
        (Reply(b"secret", 404), "not_found", "404"),
        *(
            (Reply(status=status, headers={"Location": "/elsewhere"}), "http_status", "redirects")
            for status in (301, 302, 307, 308)
        ),
        (Reply(raw=b"\x16\x03\x01garbage\r\n\r\n"), "malformed", "not HTTP"),
        (Reply(raw=b"220 mail.example ESMTP\r\n"), "malformed", "not HTTP"),
        (Reply(raw=b"HTTP/1.1 two OK\r\n\r\n"), "malformed", "not HTTP"),
        (Reply(raw=b""), "unreachable", "connection"),
        (Reply(BODY, cut_after=20), "unreachable", "connection"),
        *((Reply(body), "malformed", "no PodList") for body in (b"<html>Sign in</html>", BODY[:-30], b"{}", b"")),
        (Reply(BODY, headers={"Content-Encoding": "gzip"}), "malformed", "encoding"),
    ],
)
async def test_an_answer_that_is_of_no_use(
    kubelet: FakeKubelet, files: Files, reply: Reply, reason: str, message: str
) -> None:
    kubelet.answer("/pods", reply)
    assert message in await failure(source_of(files, kubelet.url), reason)
    assert {request.path for request in kubelet.requests} == {"/pods"}, "a redirect does not carry the token away"


def configz(**settings: Any) -> KubeletConfig:
    return parse_configz(json.dumps({"kubeletconfig": settings}).encode())


def test_recorded_settings() -> None:
    config = parse_configz((TREES / "kubelet-1.36-cgroup-v1-systemd" / "configz.json").read_bytes())
    assert config == KubeletConfig(
        cpu_manager_policy="static",
        cpu_manager_reconcile_seconds=5.0,
        topology_manager_policy="none",
        topology_manager_scope="container",
        cpu_cfs_quota=True,
        cpu_cfs_quota_period_seconds=0.1,
    )


def test_what_the_kubelet_may_say_beyond_that() -> None:
    options = {"full-pcpus-only": "true", "odd": 1}
    assert configz(
        cpuManagerPolicyOptions=options, reservedSystemCPUs="0-1", cpuCFSQuota=False, cpuCFSQuotaPeriod="1m30s"
    ) == KubeletConfig(
        cpu_manager_policy_options={"full-pcpus-only": "true"},
        reserved_system_cpus="0-1",
        cpu_cfs_quota=False,
        cpu_cfs_quota_period_seconds=90.0,
    )


def test_what_is_not_said_or_not_understood_is_absent() -> None:
    odd: dict[str, Any] = {"cpuManagerPolicy": ["static"], "cpuManagerPolicyOptions": [], "reservedSystemCPUs": ""}
    odd |= {"cpuCFSQuota": "true", "cpuCFSQuotaPeriod": 100, "cpuManagerReconcilePeriod": "soon"}
    assert configz() == configz(**odd) == KubeletConfig()


@pytest.mark.parametrize(
    "body", [b"", b"404 page not found", b"[]", b"{}", b'{"kubeletconfig": null}', b"[" * 200_000, b"\xff"]
)
def test_anything_else_is_our_error(body: bytes) -> None:
    with pytest.raises(MappingError) as caught:
        parse_configz(body)
    assert caught.value.reason == "malformed"
