import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.aio.client import CoreV1Api  # noqa: F401 - half a second that no test is to be charged with

from exporter.errors import ConfigError, MappingError
from exporter.identities import PodList
from exporter.kube.apiserver import ApiServerSource, WatchTiming, in_cluster_url
from exporter.kube.podlist import parse_pod_list
from tests.kube.conftest import Files, failure
from tests.kube.fake_apiserver import NODE, FakeApiServer, receive, without_server
from tests.support.fake_kubelet import Authority
from tests.support.pods import pod, pod_list, running

FAST = WatchTiming(answer_seconds=20.0, first_retry=0.001, last_retry=0.004)
TIME_LIMIT = 30.0
Connect = Callable[..., ApiServerSource]
FAULTS: list[int | str] = [500, 410, "gone", "garbage"]


@pytest_asyncio.fixture
async def api(authority: Authority) -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer(authority.server("127.0.0.1")) as api:
        yield api


@pytest_asyncio.fixture
async def connect(files: Files) -> AsyncIterator[Connect]:
    opened = list[ApiServerSource]()

    def source(url: str, timing: WatchTiming = FAST) -> ApiServerSource:
        token, ca = str(files.token), str(files.ca)
        opened.append(ApiServerSource(url, node_name=NODE, token_file=token, ca_file=ca, timing=timing))
        return opened[-1]

    yield source
    for one in opened:
        await one.aclose()


def there(api: FakeApiServer) -> PodList:
    """What whoever asks this server for everything right now would know."""
    return parse_pod_list(pod_list(*api.pods.values()), "model")


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIME_LIMIT):
        while not holds():  # noqa: ASYNC110 - what is waited for is on the other side of a socket
            await asyncio.sleep(0.001)


async def follows(source: ApiServerSource, api: FakeApiServer, *, forgiving: bool = False) -> None:
    """The copy becomes what the server has; unless ``forgiving``, no failure is seen on the way."""
    async with asyncio.timeout(TIME_LIMIT):
        while True:
            try:
                if await source.pods() == there(api):
                    return
            except MappingError:
                if not forgiving:
                    raise
            await asyncio.sleep(0.001)


async def test_what_comes_changes_and_goes_is_followed_without_another_list(
    api: FakeApiServer, connect: Connect
) -> None:
    await api.put(pod("uid-1", "web-1"))
    source = connect(api.url)
    await follows(source, api)
    await api.put(pod("uid-2", "web-2"))
    await api.put(pod("uid-1", "web-1", statuses=[running()]))
    await follows(source, api)
    await api.delete("uid-1")
    await follows(source, api)
    assert (api.lists, api.watches) == (1, 1)


@pytest.mark.parametrize("how", ["end", "drop", "half"])
async def test_a_watch_that_ends_goes_on_where_it_was(api: FakeApiServer, connect: Connect, how: str) -> None:
    await api.put(pod("uid-1", "web-1"))
    source = connect(api.url)
    await follows(source, api)
    for number in range(5):
        await eventually(lambda: api.watching == 1)
        await api.put(pod(f"uid-{number}", "web", namespace=f"n{number}"))
        await follows(source, api)
        await api.cut(how)
        await api.put(pod(f"uid-{number}", "web-2", namespace=f"n{number}"))
        await follows(source, api)
    assert api.lists == 1
    assert api.watches >= 5


async def test_a_watch_that_ends_at_once_means_a_new_list(api: FakeApiServer, connect: Connect) -> None:
    source = connect(api.url)
    await source.pods()
    await eventually(lambda: api.watching == 1)
    await api.cut("drop")
    await eventually(lambda: api.lists == 2)


@pytest.mark.parametrize("fault", [410, "gone"])
async def test_gone_as_a_status_or_as_an_event_means_a_new_list(
    api: FakeApiServer, connect: Connect, fault: int | str
) -> None:
    await api.put(pod("uid-1", "web-1"))
    api.faults.extend([200, fault])  # a list, then a watch
    source = connect(api.url)
    await follows(source, api)
    await eventually(lambda: api.lists == 2)
    await follows(source, api)


@pytest.mark.parametrize(
    ("fault", "reason"), [(500, "http_status"), (429, "http_status"), (403, "forbidden"), ("garbage", "malformed")]
)
async def test_a_failing_server_is_named_and_asked_again(
    api: FakeApiServer, connect: Connect, fault: int | str, reason: str
) -> None:
    await api.put(pod("uid-1", "web-1"))
    api.faults.extend([fault] * 3)
    source = connect(api.url, replace(FAST, first_retry=0.03, last_retry=0.03))
    await failure(source, reason)
    await follows(source, api, forgiving=True)


async def test_a_watch_that_fails_after_a_good_list_is_a_failure(api: FakeApiServer, connect: Connect) -> None:
    api.faults.extend([200, *[403] * 1000])
    assert "list and watch on pods" in await failure(connect(api.url), "forbidden")


async def test_an_answer_that_never_comes(api: FakeApiServer, connect: Connect) -> None:
    api.faults.append("hang")
    assert "no answer within 0.3 s" in await failure(connect(api.url, WatchTiming(answer_seconds=0.3)), "timeout")


async def test_a_silent_watch_is_given_up_and_another_begun(api: FakeApiServer, connect: Connect) -> None:
    source = connect(api.url, replace(FAST, silent_seconds=0.02))
    await source.pods()
    await eventually(lambda: api.watches >= 3)


async def test_a_server_that_is_not_there_or_of_another_authority(connect: Connect) -> None:
    await failure(connect("https://127.0.0.1:1"), "refused")
    async with FakeApiServer(Authority().server("127.0.0.1")) as api:
        await failure(connect(api.url), "tls")


async def test_a_token_and_a_ca_that_rotate_are_followed(api: FakeApiServer, files: Files, connect: Connect) -> None:
    right = files.ca.read_bytes()
    files.ca.write_text("no certificate")
    source = connect(api.url)
    assert "no usable certificate" in await failure(source, "tls")
    files.ca.write_bytes(right)
    api.token = "second-token"
    reasons = set[str]()
    async with asyncio.timeout(TIME_LIMIT):
        while "unauthorized" not in reasons:
            try:
                await source.pods()
            except MappingError as error:
                reasons.add(error.reason)
            await asyncio.sleep(0.001)
    files.token.write_text("second-token")
    await follows(source, api, forgiving=True)


async def test_a_watch_that_nobody_asks_for_ends_and_asking_begins_it_again(
    api: FakeApiServer, connect: Connect
) -> None:
    await api.put(pod("uid-1", "web-1"))
    source = connect(api.url, replace(FAST, idle_seconds=0.02))
    assert await source.pods() == there(api)
    await eventually(lambda: api.watching == 1)
    await asyncio.sleep(0.02)  # nothing happens that could be waited for
    await api.cut("end")
    await eventually(lambda: "apiserver-watch" not in {task.get_name() for task in asyncio.all_tasks()})
    await api.put(pod("uid-2", "web-2"))
    assert await source.pods() == there(api)
    assert api.lists == 2


async def test_closing_ends_the_watch(api: FakeApiServer, connect: Connect) -> None:
    source = connect(api.url)
    await source.pods()
    await eventually(lambda: api.watching == 1)
    await source.aclose()
    await eventually(lambda: api.watching == 0)
    await source.aclose()


async def test_no_pod_is_lost_or_doubled_by_random_events(api: FakeApiServer, connect: Connect) -> None:
    chance = random.Random(7)
    source = connect(api.url)
    await source.pods()
    for event in range(200):
        uids = sorted(api.pods)
        kind = chance.choices(["put", "change", "delete", "bookmark", "cut", "other"], [40, 20, 25, 3, 6, 4])[0]
        if kind == "put" or not uids:
            await api.put(random_pod(chance))
        elif kind == "change":
            await api.put(random_pod(chance, chance.choice(uids)))
        elif kind == "delete":
            await api.delete(chance.choice(uids))
        elif kind == "bookmark":
            await api.bookmark()
        elif kind == "cut":
            await api.cut(chance.choice(["end", "drop", "half"]))
        elif chance.random() < 0.5:
            api.compact()
        else:
            api.faults.append(chance.choice(FAULTS))
        if event % 10 == 0:
            await asyncio.sleep(0)
        if event % 50 == 49:
            await follows(source, api, forgiving=True)
    assert len(api.pods) > 20
    assert api.lists > 1


def random_pod(chance: random.Random, uid: str = "") -> dict[str, Any]:
    number = chance.randrange(10**6)
    status = running(container_id=f"containerd://{number:064x}", restartCount=number % 3)
    return pod(uid or f"uid-{number}", f"web-{number}", statuses=[status])


PODS = [pod("uid-1", "w\u00e9b-1"), pod("uid-2", "gone"), pod("uid-2", "gone")]
EVENTS = [
    *zip(("ADDED", "MODIFIED", "DELETED"), PODS, strict=True),
    ("BOOKMARK", {"metadata": {"resourceVersion": "8"}}),
]
TEXT = b"".join(json.dumps({"type": e[0], "object": e[1]}, ensure_ascii=False).encode() + b"\n" for e in EVENTS)


@given(cuts=st.lists(st.integers(min_value=0, max_value=len(TEXT)), max_size=8))
def test_events_are_applied_however_the_bytes_come_in(cuts: list[int]) -> None:
    source, edges = without_server(), [0, *sorted(cuts), len(TEXT)]
    asyncio.run(receive(source, (TEXT[start:end] for start, end in pairwise(edges) if end > start)))
    assert (source.store.snapshot(), source.version) == (parse_pod_list(pod_list(PODS[0]), "model"), "8")


async def test_blank_lines_mean_nothing_and_a_version_that_is_none_is_passed_over() -> None:
    source, odd = without_server(), pod("uid-3", "odd", metadata={"resourceVersion": 7})
    await receive(source, [b"\n \n" + TEXT + b"\r\n", json.dumps({"type": "ADDED", "object": odd}).encode()])
    assert source.version == "8"
    assert source.store.snapshot().pods.keys() == {"uid-1", "uid-3"}


@pytest.mark.parametrize(
    "line",
    [
        *(b"<html>", b"[]", b"{}", b"7", b"[" * 100_000, b"\xff", b'{"type": "ADDED"}', TEXT[:50]),
        *(b'{"type": 1, "object": {}}', b'{"type": "A", "object": []}', b'{"type": "ERROR", "object": {}}'),
        b"x" * 5 * 1024 * 1024,
    ],
)
async def test_a_line_that_is_no_event(line: bytes) -> None:
    with pytest.raises(MappingError, match=r"^apiserver \S+: what a watch brought is no event$") as caught:
        await receive(without_server(), [line + b"\n"])
    assert caught.value.reason == "malformed"


async def test_an_error_is_named_by_its_status_and_not_quoted() -> None:
    status = {"kind": "Status", "code": 500, "reason": "InternalError", "message": "internal details"}
    with pytest.raises(MappingError, match=r"status 500$") as caught:
        await receive(without_server(), [json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"])
    assert caught.value.reason == "http_status"


def test_the_server_is_found_as_a_pod_finds_it() -> None:
    names = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
    for host, url in (("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")):
        assert in_cluster_url(dict(zip(names, (host, "443"), strict=True))) == url
    for incomplete in ({}, {names[0]: "10.0.0.1", names[1]: ""}, {names[1]: "443"}):
        with pytest.raises(ConfigError, match="not in a cluster"):
            in_cluster_url(incomplete)
