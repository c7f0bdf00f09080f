"""The metrics page, made once a tick whoever asks, in two formats; the probes and the API."""

from __future__ import annotations

import asyncio
import gzip
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from exporter.metrics.exposition import Format
from exporter.model import CgroupName
from exporter.report.documents import Report
from exporter.web.pages import CONTENT_TYPES, ProbeResult, StateCache, add_api, create_app
from tests.report.node import minute

PROMETHEUS_ASKS = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


class Maker:
    """Makes values that say what they are, as slowly as the test wants."""

    def __init__(self) -> None:
        self.tick, self.now = 1, 100.0
        self.made: list[str] = []
        self.failures = 0
        self.gate, self.started = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def make(self, key: str) -> bytes:
        tick = self.tick
        self.started.set()
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise RuntimeError("no page")
        self.made.append(f"{key} {tick}")
        return f"{key} {tick}\n".encode()

    def cache(self, oldest_seconds: float = 1.0) -> StateCache[str, bytes]:
        return StateCache(lambda: self.tick, self.make, most=3, oldest_seconds=oldest_seconds, clock=lambda: self.now)


# ---- the cache ----


async def test_a_value_is_made_once_a_state() -> None:
    maker = Maker()
    cache = maker.cache()
    for _ in range(3):
        assert [await cache.get(key) for key in "ab"] == [b"a 1\n", b"b 1\n"]
    maker.tick = 2
    assert await cache.get("a") == b"a 2\n"
    assert maker.made == ["a 1", "b 1", "a 2"]


async def test_concurrent_requests_wait_for_one_value_and_a_state_that_passes_meanwhile_makes_the_next_new() -> None:
    maker = Maker()
    maker.gate.clear()
    cache = maker.cache()
    first = [asyncio.create_task(cache.get("a")) for _ in range(10)]
    await maker.started.wait()
    maker.gate.set()
    assert await asyncio.gather(*first) == [b"a 1\n"] * 10
    assert maker.made == ["a 1"]
    maker.gate.clear()
    maker.started.clear()
    early = asyncio.create_task(cache.get("b"))
    await maker.started.wait()
    maker.tick = 2
    late = asyncio.create_task(cache.get("b"))
    maker.gate.set()
    assert (await early, await late) == (b"b 1\n", b"b 2\n")


@pytest.mark.parametrize(("oldest_seconds", "made"), [(1.0, 2), (math.inf, 1)])
async def test_a_value_is_served_again_for_a_second_at_most_however_rare_the_ticks(
    oldest_seconds: float, made: int
) -> None:
    maker = Maker()
    cache = maker.cache(oldest_seconds)
    for later in (0.0, 0.9, 0.2, 0.9):
        maker.now += later
        await cache.get("a")
    assert len(maker.made) == made


async def test_what_is_kept_has_a_bound_and_is_freed_when_it_is_old() -> None:
    cache = Maker().cache(oldest_seconds=0.01)
    for key in "abcdefg":
        await cache.get(key)
        assert len(cache._values) <= 3  # noqa: SLF001 - what grows is inside
    async with asyncio.timeout(5):
        while cache._values:  # noqa: SLF001, ASYNC110 - nobody is told
            await asyncio.sleep(0)


async def test_a_failure_is_not_kept() -> None:
    maker = Maker()
    maker.failures = 1
    cache = maker.cache()
    with pytest.raises(RuntimeError, match="no page"):
        await cache.get("a")
    assert await cache.get("a") == b"a 1\n"


# ---- the application ----


FINE = ProbeResult(ok=True, text="fine")


@asynccontextmanager
async def serving(
    maker: Maker | None = None, *, healthy: ProbeResult = FINE, ready: ProbeResult = FINE, path: str = "/metrics"
) -> AsyncIterator[TestClient]:  # type: ignore[type-arg] # aiohttp's own parameters say nothing here
    made_by = maker or Maker()

    async def render(wanted: tuple[Format, bool]) -> bytes:
        page = await made_by.make(wanted[0])
        return gzip.compress(page) if wanted[1] else page

    app = create_app(lambda: 1, render, lambda: healthy, lambda: ready, telemetry_path=path)
    async with TestClient(TestServer(app), auto_decompress=False, headers={"Accept-Encoding": "identity"}) as client:
        yield client


@pytest.mark.parametrize(
    ("accept", "style"),
    [
        ("", "text"),
        ("*/*", "text"),
        ("text/html,application/xhtml+xml", "text"),
        ("text/plain;version=0.0.4", "text"),
        ("application/openmetrics-text", "openmetrics"),
        ("application/openmetrics-text; q=0, text/plain", "text"),
        ("text/plain, application/openmetrics-text; q=0.5", "text"),
        (PROMETHEUS_ASKS, "openmetrics"),
        *(
            (f"application/openmetrics-text; version={version}", "openmetrics")
            for version in ("abc", "9" * 5000, "", "-1")
        ),
    ],
    ids=lambda text: text[:60],
)
async def test_format_is_what_the_scraper_accepts(accept: str, style: Format) -> None:
    async with serving() as client:
        response = await client.get("/metrics", headers={"Accept": accept})
        assert response.status == 200
        assert response.headers["Content-Type"] == CONTENT_TYPES[style]
        assert response.headers["Vary"] == "Accept, Accept-Encoding"
        assert await response.read() == f"{style} 1\n".encode()


@pytest.mark.parametrize(
    ("accepts", "zipped"),
    [
        ("gzip", True), ("br, gzip;q=0.5", True), ("GZIP, deflate", True), ("gzip;q=1.0,*;q=0", True),
        ("identity", False), ("", False), ("br", False), ("gzip;q=0", False), ("gzip; q=0.000, br", False),
        ("xgzip", False),
    ],
)  # fmt: skip
async def test_the_page_is_compressed_where_gzip_is_accepted(accepts: str, zipped: bool) -> None:
    async with serving() as client:
        response = await client.get("/metrics", headers={"Accept-Encoding": accepts})
        body = await response.read()
        assert (response.headers.get("Content-Encoding") == "gzip") is zipped
        assert (gzip.decompress(body) if zipped else body) == b"text 1\n"


@pytest.mark.parametrize(("probe", "other"), [("/healthz", "/readyz"), ("/readyz", "/healthz")])
async def test_a_probe_answers_with_its_result_while_a_page_is_made(probe: str, other: str) -> None:
    maker, bad = Maker(), ProbeResult(ok=False, text="last sample 90 s ago")
    maker.gate.clear()
    healthy, ready = (bad, FINE) if probe == "/healthz" else (FINE, bad)
    async with serving(maker, healthy=healthy, ready=ready) as client:
        page = asyncio.create_task(client.get("/metrics"))
        await maker.started.wait()
        for path, status, text in ((probe, 503, "last sample 90 s ago\n"), (other, 200, "fine\n")):
            response = await client.get(path)
            assert (response.status, await response.text()) == (status, text)
        maker.gate.set()
        assert (await page).status == 200


async def test_metrics_may_be_at_any_path() -> None:
    async with serving(path="/throttle") as client:
        assert await (await client.get("/throttle")).read() == b"text 1\n"
        assert (await client.get("/metrics")).status == 404
    async with serving(path="/") as client:
        assert await (await client.get("/")).read() == b"text 1\n"


# ---- the API ----


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return minute(tmp_path_factory.mktemp("minute"))


@pytest_asyncio.fixture
async def client(report: Report) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    async def make() -> Report:
        return report

    app = web.Application()
    add_api(app, lambda: 1, make)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_every_document_is_served(client: Any, report: Report) -> None:
    served: dict[str, object] = {
        "containers": report.containers(),
        "containers?series=false": report.containers(with_series=False),
        "node": report.node(),
    }
    for one in report.containers()["containers"]:
        name = CgroupName(one["namespace"], one["pod"], one["container"])
        served["containers/" + "/".join(part or "-" for part in name)] = report.container(name)
    assert len(served) > 10
    for path, document in served.items():
        answer = await client.get(f"/api/v1/{path}")
        assert (answer.status, answer.content_type, await answer.json()) == (200, "application/json", document)


@pytest.mark.parametrize("path", ["shop/none/app", "-/x/y", "%00/%1b/..%2f", "a/b/" + "c" * 4000])
async def test_a_container_that_is_not_there(client: Any, path: str) -> None:
    answer = await client.get(f"/api/v1/containers/{path}")
    assert (answer.status, await answer.json()) == (404, {"schema": "v1", "error": "no such container on this node"})
