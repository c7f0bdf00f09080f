"""What the node's page says."""

from __future__ import annotations

import pytest

from exporter.analysis.findings import Finding
from exporter.report.documents import DOCS, Report
from exporter.web.status import PageRequest
from exporter.web.status.rendering import MAX_WORKLOADS
from tests.status import nodes
from tests.status.html import Element
from tests.status.page import overview_of, rows_of
from tests.support import snapshots as make
from tests.support.process import ROOT


def rows(page: Element) -> dict[str, list[str]]:
    """The containers by ``pod/container``, in the order of the page."""
    return {row[0]: row[1:] for table in page.every("table", "list") for row in rows_of(table)}


def workloads(page: Element) -> list[Element]:
    """What is seen of each workload without opening it."""
    return [one.one("summary", "grid") for one in page.every("details", "workload")]


@pytest.mark.parametrize(
    ("found", "colour"),
    [
        ([], "ok"),
        ([nodes.finding(make.named("c0"), severity="info")], "ok"),
        ([nodes.finding(make.named("c0"))], "warning"),
        ([nodes.finding(None, "cpu_steal", "critical")], "critical"),
    ],
)
def test_the_headline_has_the_colour_of_the_worst(found: list[Finding], colour: str) -> None:
    report = Report(make.snapshot(make.container("c0")), found, nodes.HEALTHY)

    assert overview_of(report).one("section", "verdict").classes == {"verdict", colour}


def test_of_many_workloads_the_worst_are_in_the_table(reports: dict[str, Report]) -> None:
    page = overview_of(reports["many"], PageRequest(refresh=10))

    assert len(workloads(page)) == nodes.WORKLOADS
    assert len(page.one("details", "rest").every("details", "workload")) == nodes.WORKLOADS - MAX_WORKLOADS
    assert page.one("details", "rest").every("summary")[0].text.startswith("20 more workloads, ")
    more = next(one for one in page.every("a") if one.text == "7 more containers of Deployment service-42")
    assert more.attributes["href"] == "?namespace=team-02&q=service-42&refresh=10"
    # All with problems are in the page, opened or not.
    affected = sum(one["severity"] in {"critical", "warning"} for one in reports["many"].containers()["containers"])
    assert sum("critical" in row[0] or "warning" in row[0] for row in rows(page).values()) == affected


def test_everything_is_open_when_asked(reports: dict[str, Report]) -> None:
    page = overview_of(reports["many"], PageRequest(all=True))

    assert len(rows(page)) == nodes.MANY
    assert all("open" in one.attributes for one in page.every("details", "workload"))
    assert page.every("details", "rest") == []


@pytest.mark.parametrize("sort", ["throttled", "lost", "use", "waiting"])
def test_workloads_are_sorted_by_the_query(reports: dict[str, Report], sort: str) -> None:
    page = overview_of(reports["many"], PageRequest(sort=sort, all=True))
    column = {"throttled": 0, "lost": 1, "use": 2, "waiting": 3}[sort]
    shown = [one.every("span", "n")[column].text.split()[0] for one in workloads(page)]
    values = [-1.0 if text == "–" else float(text) for text in shown]

    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 1
    heads = page.one("p", "heads")
    assert len(heads.every("a")) == 5
    assert heads.one("strong").text.endswith("▾")


def test_a_filter_leaves_what_it_names(reports: dict[str, Report]) -> None:
    page = overview_of(reports["demo"], PageRequest(namespace="shop", text="CATALOG"))

    assert list(rows(page)) == ["catalog-5c68f7d9c4-q7r2m/api", "catalog-5c68f7d9c4-q7r2m/cache"]
    assert "2 of 11 containers, namespace shop, with “CATALOG”: show all" in page.by_id("containers").text
    assert page.one("h1").text.startswith("4 of 11")  # of the node, whatever is asked for
    none = overview_of(reports["demo"], PageRequest(text="nothing like it"))
    assert "No container of this node fits the filter." in none.by_id("containers").text
    assert [one.attributes.get("value") for one in page.every("input")] == ["CATALOG", "shop"]


def test_the_documentation_is_where_the_alerts_say_it_is() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "rules" / "kube-throttle-exporter.yaml").read_text()

    assert f"runbook_url: {DOCS}docs/runbooks/" in rules
