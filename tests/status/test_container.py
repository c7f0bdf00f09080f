"""What a container's page says."""

from __future__ import annotations

import re

import pytest

from exporter.cli.explain import container_lines
from exporter.model import CgroupName
from exporter.report import Report
from exporter.web.status.container_page import MAX_NEIGHBOURS
from tests.status import nodes
from tests.status.html import Element
from tests.status.page import facts_of, name_of, page_of, rows_of
from tests.support import snapshots as make

FIGURE = re.compile(r"(?<![\d.])\d+(?:\.\d+)? (?:CPUs?|%|ms)(?!\w)")


@pytest.fixture
def throttled(reports: dict[str, Report]) -> Element:
    return page_of(reports["demo"], name_of(reports["demo"], "catalog-5c68f7d9c4-q7r2m/api"))


def others(page: Element, title: str) -> tuple[str, list[list[str]]]:
    """The heading and the rows of a table of other containers."""
    [section] = [one for one in page.every("section") if one.every("h2") and one.one("h2").text.startswith(title)]
    return section.one("h2").text, rows_of(section.one("table"))


def test_it_begins_with_who_and_what(throttled: Element) -> None:
    head = throttled.one("section", "verdict")

    assert head.one("p", "namespace").text == "shop"
    assert head.one("h1").text == "catalog-5c68f7d9c4-q7r2m/api"
    assert head.one("p", "worst").text == "Warning: throttled below limit."
    assert "warning" in head.classes
    assert head.one("p", "asof").text.startswith("Burstable, of Deployment catalog · read 2026-01-01")
    assert throttled.one("title").text.startswith("shop/catalog-5c68f7d9c4-q7r2m/api –")


def test_six_hours_are_drawn_and_since_when_is_said(reports: dict[str, Report]) -> None:
    page = page_of(reports["many"], name_of(reports["many"], "app-13-"))

    window, hours = page.every("figure")
    assert hours.one("svg").attributes["viewbox"] == "0 0 360 100"
    assert hours.one("svg").attributes["aria-label"].startswith("Throttled ratio over the last 6 hours")
    assert len(hours.every("path")) == 3
    assert window.one("svg").attributes["viewbox"] == "0 0 60 100"
    assert page.one("p", "worst").text.endswith("Throttled in every minute for 3 h.")


def test_its_window_is_drawn(throttled: Element) -> None:
    drawing = throttled.one("figure").one("svg")
    bars, line = (next(one for one in drawing.every("path") if kind in one.classes) for kind in ("bars", "line"))

    assert drawing.attributes["viewbox"] == "0 0 60 100"
    assert bars.attributes["d"] == "M0 100V50H60V100Z"
    assert line.attributes["d"].startswith("M0.5 73L1.5 73")
    assert drawing.attributes["aria-label"].endswith("at most 50 %, 50 % in the newest.")
    assert [one.text for one in throttled.one("ol", "scale").every("li")] == ["100 %", "50 %", "0"]


def test_its_finding_has_evidence_and_a_page(throttled: Element, reports: dict[str, Report]) -> None:
    document = reports["demo"].container(name_of(reports["demo"], "catalog-5c68f7d9c4-q7r2m/api"))
    assert document is not None
    [found] = document["container"]["findings"]
    section = throttled.by_id("findings").one("section", "finding")
    evidence = facts_of(section.one("details"))

    assert found["summary"] in section.text
    assert found["advice"] in section.text
    assert evidence.keys() == found["evidence"].keys()
    assert evidence["throttled_periods"] == "120"
    assert section.one("p", "more").one("a").attributes["href"].endswith("docs/findings/throttled_below_limit.md")


def test_who_shares_its_cpus_comes_by_use(throttled: Element) -> None:
    title, rows = others(throttled, "On the same CPUs")

    assert title == "On the same CPUs 9"
    assert rows[0][0].startswith("shop/checkout-7d9f8b6c5d-x2k9p/app")
    assert {row[2] for row in rows} == {"0-2"}
    # The trainer's CPU is its own.
    assert not [row for row in rows if "trainer" in row[0]]


def test_who_shares_its_pod(throttled: Element) -> None:
    assert others(throttled, "In the same pod")[1] == [["shop/catalog-5c68f7d9c4-q7r2m/cache", "0 CPUs", "–"]]


def test_only_the_greatest_neighbours_are_listed(reports: dict[str, Report]) -> None:
    report = reports["many"]
    title, rows = others(page_of(report, name_of(report, "app-13-")), "On the same CPUs")

    count = nodes.MANY - nodes.OWNERS - 1
    assert title == f"On the same CPUs {count}, the {MAX_NEIGHBOURS} that use most"
    assert len(rows) == MAX_NEIGHBOURS


def test_an_owner_has_no_neighbours(reports: dict[str, Report]) -> None:
    page = page_of(reports["demo"], name_of(reports["demo"], "trainer-0/worker"))

    assert "No other container may run on CPU 3." in page.text
    assert facts_of(page.by_id("numbers"))["CPUs"] == "3 (1 CPU), exclusive"
    assert (
        page.one("section", "verdict")
        .one("p", "worst")
        .text.startswith("No problems: no CPU limit, so its own quota cannot throttle it")
    )
    assert "ok" in page.one("section", "verdict").classes


def test_without_a_quota_nothing_is_drawn_and_it_says_why(reports: dict[str, Report]) -> None:
    page = page_of(reports["demo"], name_of(reports["demo"], "indexer-7f4b9/scan"))

    assert page.every("svg") == []
    assert "It has no CPU limit, so there is no throttling to draw." in page.text
    assert facts_of(page.by_id("numbers"))["Limit"].startswith("no CPU limit")


def test_what_is_not_known_says_so() -> None:
    bare = make.container(
        "new", limits=None, window=None, deltas=None, cpuset=None, isolation=None, exclusive=None, limit_drift=None,
        threads=None, effective_limit_cores=None, numa_nodes=None, identity=None, pod_identity=None, intervals=(),
    )  # fmt: skip
    page = page_of(nodes.of(make.snapshot(bare, pods=())), make.named("new"))

    assert page.one("section", "verdict").one("p", "worst").text.startswith("Unknown: ")
    shown = facts_of(page.by_id("numbers"))
    assert {shown[key] for key in ("Throttled", "CPU use", "Limit", "Waiting", "CPUs", "Pod")} == {"unknown"}
    assert page.one("section", "verdict").classes == {"verdict"}
    assert "On the same CPUs" not in page.text


def test_use_above_the_limit_is_drawn_above_it() -> None:
    bursting = make.container("a", limit=1.0, intervals=make.intervals(1.6, 0.0))

    page = page_of(nodes.of(make.snapshot(bursting)), make.named("a"))

    assert [one.text for one in page.one("ol", "scale").every("li")] == ["175 %", "88 %", "0"]
    assert "M0.5 9L" in next(one for one in page.every("path") if "line" in one.classes).attributes["d"]


def test_the_node_s_findings_concern_every_container() -> None:
    affected = make.node(kernel_release="4.19.0", cfs_quota_bug="affected")
    report = nodes.of(make.snapshot(make.container("a", limit=1.0), on=affected))

    page = page_of(report, make.named("a"))

    assert "The node:" in page.by_id("findings").text


def test_every_figure_of_explain_is_on_the_page(reports: dict[str, Report]) -> None:
    compared = 0
    for one in reports["demo"].containers()["containers"]:
        page = page_of(reports["demo"], CgroupName(one["namespace"], one["pod"], one["container"])).text
        figures = set(FIGURE.findall(" ".join(line.plain for line in container_lines(one, 1000))))
        assert figures <= set(FIGURE.findall(page))
        assert one["cgroup"] in page
        compared += len(figures)
    assert compared > 50
