"""The page says what the other ways to ask say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from exporter.cli.explain import container_lines
from exporter.model import CgroupName
from exporter.report import Report, escaped_path
from tests.e2e.conftest import FAST
from tests.status.html import parsed
from tests.status.page import page_of
from tests.support.process import Exporter, started, tree_options
from tests.support.recordings import RECORDINGS, copied

FIGURE = re.compile(r"(?<![\d.])\d+(?:\.\d+)? (?:CPUs?|%|ms)(?!\w)")


def test_every_figure_of_explain_is_on_the_page(reports: dict[str, Report]) -> None:
    compared = 0
    for one in reports["demo"].containers()["containers"]:
        page = page_of(reports["demo"], CgroupName(one["namespace"], one["pod"], one["container"])).text
        figures = set(FIGURE.findall(" ".join(line.plain for line in container_lines(one, 1000))))
        assert figures <= set(FIGURE.findall(page))
        compared += len(figures)
    assert compared > 50


@pytest.fixture(scope="module", params=RECORDINGS, ids=lambda recording: recording.name)
def exporter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    tree = copied(request.param, tmp_path_factory.mktemp("status") / "tree")
    with started([*tree_options(tree), *FAST, f"--pods.sources=file:{request.param.pods}"]) as running:
        running.page_after_ticks(2)
        yield running


def test_the_running_exporter_shows_what_its_api_says(exporter: Exporter) -> None:
    """Each recorded node, through the real process: its containers by name, each with a page."""
    containers = json.loads(exporter.get("/api/v1/containers").body)["containers"]
    home = exporter.get("/")
    links = {one.attributes["href"] for one in parsed(home.text).by_id("containers").every("a", "name")}

    assert containers
    assert "sha256-" in home.headers["content-security-policy"]
    assert links == {f"/container/{escaped_path(one['namespace'], one['pod'], one['container'])}" for one in containers}
    for link in links:
        answer = exporter.get(link)
        assert answer.status == 200
        assert parsed(answer.text).one("h1").text
