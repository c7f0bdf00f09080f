"""The page as it is served: its policy, its cache, its paths."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from exporter.report.documents import Report
from tests.status.conftest import Served, application
from tests.status.html import parsed
from tests.status.page import rows_of


@asynccontextmanager
async def client_of(
    report: Report, telemetry_path: str = "/metrics", *, unzips: bool = True
) -> AsyncIterator[TestClient]:  # type: ignore[type-arg] # aiohttp's own parameters say nothing here
    app = application(Served("", report), telemetry_path)
    async with TestClient(TestServer(app), auto_decompress=unzips) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/?all", "/container/shop/checkout-7d9f8b6c5d-x2k9p/app", "/container/a/b/c"])
async def test_the_policy_allows_just_what_the_page_has(reports: dict[str, Report], path: str) -> None:
    async with client_of(reports["demo"]) as client:
        answer = await client.get(path)
        text = await answer.text()

    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert answer.headers["Content-Security-Policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


async def test_a_container_that_is_not_there_is_not_found(reports: dict[str, Report]) -> None:
    async with client_of(reports["demo"]) as client:
        answer = await client.get("/container/shop/checkout-gone/app?refresh=10")
        page = parsed(await answer.text())

    assert answer.status == HTTPStatus.NOT_FOUND
    assert page.one("h1").text == "No such container on this node"
    assert [one.attributes["href"] for one in page.one("main").every("a")] == ["/?refresh=10"]


async def test_every_link_of_every_container_is_answered(reports: dict[str, Report]) -> None:
    for report in (reports["demo"], reports["unmapped"], reports["hostile"]):
        async with client_of(report) as client:
            home = parsed(await (await client.get("/")).text())
            links = [one.attributes["href"] for one in home.by_id("containers").every("a", "name")]
            assert links
            for link in links:
                answer = await client.get(URL(link, encoded=True))
                assert answer.status == HTTPStatus.OK, link


async def test_page_and_api_say_the_same_of_one_snapshot(reports: dict[str, Report]) -> None:
    served = Served("", reports["demo"])
    async with TestClient(TestServer(application(served))) as client:
        for name in ("demo", "findings"):
            served.report = reports[name]
            document = await (await client.get("/api/v1/containers")).json()
            page = parsed(await (await client.get("/?all=1")).text())
            rows = {row[0].split()[0]: row for table in page.every("table", "list") for row in rows_of(table)}
            assert len(rows) == len(document["containers"]) > 10
            for one in document["containers"]:
                _, _, throttled, *_, usage, _, _ = rows[f"{one['pod']}/{one['container']}"]
                for shown, value in ((throttled, one["throttling"]["ratio"]), (usage, one["usage_cores"])):
                    number = value and value * (100 if shown is throttled else 1)
                    assert (None if shown[0] == "–" else float(shown.split()[0])) == pytest.approx(number, abs=0.005)


async def test_where_the_metrics_are_at_the_root_the_page_is_at_status(reports: dict[str, Report]) -> None:
    async with client_of(reports["demo"], "/") as client:
        assert await (await client.get("/")).read() == b"# EOF\n"
        page = parsed(await (await client.get("/status")).text())

    assert page.one("header").every("a")[0].attributes["href"] == "/status"
    assert page.one("footer").every("a")[0].attributes["href"] == "/"


async def test_it_is_compressed_for_clients_that_accept_it(reports: dict[str, Report]) -> None:
    async with client_of(reports["demo"], unzips=False) as client:
        for accepted in ("gzip", "br"):
            answer = await client.get("/", headers={"Accept-Encoding": accepted})
            body = await answer.read()
            assert answer.headers.get("Content-Encoding", "") == ("gzip" if accepted == "gzip" else "")
            assert answer.headers["Vary"] == "Accept-Encoding"
            assert (gzip.decompress(body) if accepted == "gzip" else body).startswith(b"<!doctype html>")


def test_an_exporter_that_is_only_scraped_loads_no_templates() -> None:
    program = "import sys, exporter.app; print(sorted({'jinja2', 'exporter.web.status.rendering'} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
