"""The nodes that the page is about, and a server with the page on it that another process can ask."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from aiohttp import web

from exporter.report.documents import Report
from exporter.web import status
from exporter.web.pages import ProbeResult, add_api, create_app
from tests.report.node import minute
from tests.status import nodes
from tests.support.fake_kubelet import looping, run_on


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """Every node, by name: ``demo`` is a minute of the demo's."""
    builders = (nodes.empty, nodes.starting, nodes.unmapped, nodes.findings, nodes.hostile, nodes.many)
    return {"demo": minute(tmp_path_factory.mktemp("minute")), **{build.__name__: build() for build in builders}}


@dataclass
class Served:
    """The page of :attr:`report`, at :attr:`url`."""

    url: str
    report: Report

    def state(self) -> int:
        return id(self.report)

    async def get(self) -> Report:
        return self.report


def application(served: Served, telemetry_path: str = "/metrics") -> web.Application:
    """The exporter's application with the page on it, as ``serve`` puts them together."""

    async def metrics(wanted: tuple[str, bool]) -> bytes:
        return gzip.compress(b"# EOF\n") if wanted[1] else b"# EOF\n"

    fine = ProbeResult(ok=True, text="ready")
    app = create_app(served.state, metrics, lambda: fine, lambda: fine, telemetry_path=telemetry_path)
    add_api(app, served.state, served.get)
    status.add_routes(app, served.state, served.get, telemetry_path=telemetry_path)
    return app


@pytest.fixture(scope="session")
def served(reports: dict[str, Report]) -> Iterator[Served]:
    """A server in a thread of its own; a test says which report it shows."""
    one = Served("", reports["demo"])
    runner = web.AppRunner(application(one))

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port: int = runner.addresses[0][1]
        return port

    with looping() as loop:
        try:
            one.url = f"http://127.0.0.1:{run_on(loop, start())}"
            yield one
        finally:
            run_on(loop, runner.cleanup())
