"""``/api/v1``: the documents of a report, as JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from exporter.model import CgroupName
from exporter.report.documents import Report
from exporter.web import pages
from tests.report.node import minute


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return minute(tmp_path_factory.mktemp("minute"))


@pytest_asyncio.fixture
async def client(report: Report) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    async def make() -> Report:
        return report

    app = web.Application()
    pages.add_api(app, lambda: 1, make)
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
