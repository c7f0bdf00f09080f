"""The metrics page: made once a tick whoever asks, in two formats; and the probes."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp.test_utils import TestClient, TestServer

from exporter.metrics.exposition import Format
from exporter.web.pages import Pages, ProbeResult, create_app

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_ASKS = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


class Renderer:
    """Renders pages that say what they are, as slowly as the test wants."""

    def __init__(self) -> None:
        self.tick = 1
        self.rendered: list[tuple[Format, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()
        self.failures = 0
        self.busy = 0

    async def render(self, style: Format) -> bytes:
        assert self.busy == 0, "one page at a time"
        self.busy += 1
        tick = self.tick
        self.rendered.append((style, tick))
        self.started.set()
        try:
            await self.gate.wait()
            if self.failures:
                self.failures -= 1
                raise RuntimeError("no page")
        finally:
            self.busy -= 1
        return f"{style} {tick}\n".encode()

    def pages(self) -> Pages:
        return Pages(lambda: self.tick, self.render)


# ---- Pages ----


async def test_a_page_is_rendered_once_a_tick() -> None:
    renderer = Renderer()
    pages = renderer.pages()
    for _ in range(3):
        assert await pages.get("text", zipped=False) == b"text 1\n"
    renderer.tick = 2
    assert await pages.get("text", zipped=False) == b"text 2\n"
    assert renderer.rendered == [("text", 1), ("text", 2)]


async def test_compressed_and_plain_are_the_same_page() -> None:
    renderer = Renderer()
    pages = renderer.pages()
    zipped = [await pages.get("text", zipped=True) for _ in range(2)]
    assert zipped[0] == zipped[1]
    assert gzip.decompress(zipped[0]) == await pages.get("text", zipped=False) == b"text 1\n"
    assert renderer.rendered == [("text", 1)]
    renderer.tick = 2
    assert gzip.decompress(await pages.get("text", zipped=True)) == b"text 2\n"


async def test_concurrent_requests_wait_for_one_page() -> None:
    renderer = Renderer()
    renderer.gate.clear()
    pages = renderer.pages()
    waiting = [asyncio.create_task(pages.get("text", zipped=bool(number % 2))) for number in range(10)]
    await renderer.started.wait()
    renderer.gate.set()
    found = await asyncio.gather(*waiting)
    assert {page if number % 2 == 0 else gzip.decompress(page) for number, page in enumerate(found)} == {b"text 1\n"}
    assert renderer.rendered == [("text", 1)]


async def test_a_tick_that_passes_while_a_page_is_made_makes_the_next_one_new() -> None:
    renderer = Renderer()
    renderer.gate.clear()
    pages = renderer.pages()
    first = asyncio.create_task(pages.get("text", zipped=False))
    await renderer.started.wait()
    renderer.tick = 2
    second = asyncio.create_task(pages.get("text", zipped=False))
    renderer.gate.set()
    assert await first == b"text 1\n"
    assert await second == b"text 2\n"


# ---- the application ----


@asynccontextmanager
async def serving(
    renderer: Renderer | None = None,
    *,
    healthy: ProbeResult | None = None,
    ready: ProbeResult | None = None,
    telemetry_path: str = "/metrics",
) -> AsyncIterator[TestClient]:  # type: ignore[type-arg] # aiohttp's own parameters say nothing here
    good = ProbeResult(ok=True, text="fine")
    app = create_app(
        telemetry_path=telemetry_path,
        pages=(renderer or Renderer()).pages(),
        healthy=lambda: healthy or good,
        ready=lambda: ready or good,
    )
    async with TestClient(TestServer(app), auto_decompress=False, headers={"Accept-Encoding": "identity"}) as client:
        yield client


async def test_a_page_is_served_again_for_a_second_at_most_however_rare_the_ticks() -> None:
    renderer, now = Renderer(), [100.0]
    pages = Pages(lambda: renderer.tick, renderer.render, lambda: now[0])
    for later in (0.0, 0.9, 0.2, 0.9):
        now[0] += later
        await pages.get("text", zipped=False)
    assert len(renderer.rendered) == 2


@pytest.mark.parametrize(
    ("accept", "style", "content_type"),
    [
        ("", "text", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html,application/xhtml+xml", "text", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4", "text", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text", "openmetrics", OPENMETRICS),
        ("application/openmetrics-text; version=0.0.1", "openmetrics", OPENMETRICS),
        ("application/openmetrics-text; q=0, text/plain", "text", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain, application/openmetrics-text; q=0.5", "text", "text/plain; version=0.0.4; charset=utf-8"),
        (PROMETHEUS_ASKS, "openmetrics", OPENMETRICS),
    ],
)
async def test_format_is_what_the_scraper_accepts(accept: str, style: str, content_type: str) -> None:
    async with serving() as client:
        response = await client.get("/metrics", headers={"Accept": accept})
        assert response.status == 200
        assert response.headers["Content-Type"] == content_type
        assert "Accept" in response.headers["Vary"]
        assert await response.read() == f"{style} 1\n".encode()


@pytest.mark.parametrize(
    ("accepts", "zipped"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("identity", False),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
    ],
)
async def test_the_page_is_compressed_where_gzip_is_accepted(accepts: str, zipped: bool) -> None:
    async with serving() as client:
        response = await client.get("/metrics", headers={"Accept-Encoding": accepts})
        body = await response.read()
        assert (response.headers.get("Content-Encoding") == "gzip") is zipped
        assert (gzip.decompress(body) if zipped else body) == b"text 1\n"
        assert "Accept-Encoding" in response.headers["Vary"]


@pytest.mark.parametrize(("ok", "status"), [(True, 200), (False, 503)])
@pytest.mark.parametrize("probe", ["/healthz", "/readyz"])
async def test_a_probe_answers_with_its_result(probe: str, ok: bool, status: int) -> None:
    result = ProbeResult(ok=ok, text="last sample 0.3 s ago")
    good = ProbeResult(ok=True, text="fine")
    healthy, ready = (result, good) if probe == "/healthz" else (good, result)
    async with serving(healthy=healthy, ready=ready) as client:
        response = await client.get(probe)
        assert response.status == status
        assert await response.text() == "last sample 0.3 s ago\n"
        assert response.headers["Cache-Control"] == "no-store"
        other = "/readyz" if probe == "/healthz" else "/healthz"
        assert (await client.get(other)).status == 200


async def test_probes_answer_while_a_page_is_made() -> None:
    renderer = Renderer()
    renderer.gate.clear()
    async with serving(renderer) as client:
        page = asyncio.create_task(client.get("/metrics"))
        await renderer.started.wait()
        assert (await client.get("/healthz")).status == 200
        renderer.gate.set()
        assert (await page).status == 200


@pytest.mark.parametrize(
    "version",
    [
        "abc",
        "1.x",
        pytest.param("9" * 5000, id="5000 digits"),
        "1",
        "1.0.0.0.0",
        "",
        "-1",
    ],
)
async def test_a_malformed_version_still_gets_a_page(version: str) -> None:
    async with serving() as client:
        for kind in ("application/openmetrics-text", "text/plain"):
            response = await client.get("/metrics", headers={"Accept": f"{kind}; version={version}"})
            assert response.status == 200


async def test_metrics_may_be_at_any_path() -> None:
    async with serving(telemetry_path="/throttle") as client:
        assert await (await client.get("/throttle")).read() == b"text 1\n"
        assert (await client.get("/metrics")).status == 404
    async with serving(telemetry_path="/") as client:
        assert await (await client.get("/")).read() == b"text 1\n"


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/", "/absent"])
async def test_no_answer_may_be_framed_sniffed_or_kept(path: str) -> None:
    async with serving() as client:
        headers = (await client.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in headers["Content-Security-Policy"]


async def test_a_page_that_cannot_be_made_is_a_500_and_the_next_one_is_not() -> None:
    renderer = Renderer()
    renderer.failures = 1
    async with serving(renderer) as client:
        response = await client.get("/metrics")
        assert response.status == 500
        assert "no page" not in await response.text()
        assert (await client.get("/metrics")).status == 200
