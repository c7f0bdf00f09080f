"""What the node's page says."""

from __future__ import annotations

import pytest

from exporter.analysis.findings import Finding, Severity
from exporter.model import CgroupName, Snapshot
from exporter.report.documents import DOCS, Report
from exporter.report.schema import Exporter, Source
from exporter.web.status import PageRequest
from exporter.web.status.rendering import MAX_FULL, MAX_NAMED, MAX_WORKLOADS
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


def finding(
    subject: CgroupName | None, name: str = "throttled", severity: Severity = "warning", advice: str = "a"
) -> Finding:
    return make.finding(name, subject, severity, summary="why", advice=advice)


def with_findings(snapshot: Snapshot, *found: Finding) -> Report:
    return Report(snapshot, found, {**nodes.HEALTHY, "cgroups": dict(snapshot.cgroups)})


@pytest.mark.parametrize(
    ("found", "headline", "colour"),
    [
        ([], "No problems in 3 containers", "ok"),
        ([finding(make.named("c0"), severity="info")], "No problems in 3 containers", "ok"),
        ([finding(make.named("c0"))], "1 of 3 containers has problems (1 warning)", "warning"),
        ([finding(None, "cpu_steal", "critical")], "No problems in 3 containers; the node has 1 problem", "critical"),
    ],
)
def test_the_headline_has_the_colour_of_the_worst(found: list[Finding], headline: str, colour: str) -> None:
    snapshot = make.snapshot(*(make.container(f"c{number}") for number in range(3)))

    head = overview_of(with_findings(snapshot, *found)).one("section", "verdict")

    assert (head.one("h1").text, head.classes) == (headline, {"verdict", colour})


@pytest.mark.parametrize(
    ("count", "full", "named"),
    [(MAX_FULL + 1, MAX_FULL + 1, 0), (MAX_FULL + MAX_NAMED + 10, MAX_FULL, MAX_NAMED)],
)
def test_many_findings_of_one_name_are_one_group(count: int, full: int, named: int) -> None:
    snapshot = make.snapshot(*(make.container(f"c{number}") for number in range(count)))
    found = [finding(make.named(f"c{number}")) for number in range(count)]
    group = overview_of(with_findings(snapshot, *found)).one("details", "finding")

    assert group.every("summary")[0].text == f"Throttled warning {count} containers"
    assert len(group.one("ul", "subjects").every("li")) == full
    assert len(group.every("p", "advice")) == 1
    assert len(group.every("details")) == (named > 0)
    for names in group.every("ul", "names"):
        assert group.every("summary")[1].text == f"{count - full} more with the same finding"
        assert len(names.every("a")) == named
        assert names.every("li")[-1].text == f"and {count - full - named} more, in the table above"


def test_each_container_has_its_own_advice_where_it_differs() -> None:
    snapshot = make.snapshot(make.container("a"), make.container("b"))
    found = [finding(make.named("a"), advice="one"), finding(make.named("b"), advice="two")]

    group = overview_of(with_findings(snapshot, *found)).one("details", "finding")

    assert [one.text for one in group.every("p", "advice")] == ["Do: one", "Do: two"]


def test_what_asks_for_nothing_is_folded_away() -> None:
    found = [finding(make.named("a"), name, "info") for name in ("no_quota", "numa_spread")]
    page = overview_of(with_findings(make.snapshot(make.container("a")), *found))

    notes = page.one("details", "notes")
    assert notes.every("summary")[0].text == "Explanations, nothing to do: no quota, NUMA spread"
    assert len(notes.every("details", "finding")) == 2
    assert "open" not in notes.attributes


def test_the_node_s_own_findings_are_shown_as_the_node_s() -> None:
    page = overview_of(with_findings(make.snapshot(make.container("a")), finding(None, "kernel_bug")))

    assert page.one("p", "worst").text == "Worst: the node. why"
    assert page.one("details", "finding").one("ul", "subjects").text.startswith("The node: why")


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


def test_a_container_that_is_gone_has_no_problem() -> None:
    gone = make.container("a", live=False, limits=None, window=None, deltas=None)
    page = overview_of(with_findings(make.snapshot(gone, make.container("b")), finding(make.named("a"))))

    assert page.one("h1").text.startswith("No problems in 2 containers")
    row = next(one for one in page.by_id("containers").every("tr") if "gone" in one.classes)
    assert row.one("th").text == "a/app ended"


def test_a_source_that_another_replaces_is_no_warning_and_says_why() -> None:
    failing = Source(name="kubelet", up=False, active=False, last_success=None, last_error="certificate: self-signed")
    serving = Source(name="apiserver", up=True, active=True, last_success=1_799_999_990.0, last_error="")
    health: Exporter = {**nodes.HEALTHY, "sources": [failing, serving]}
    section = overview_of(Report(make.snapshot(), (), health)).by_id("exporter")
    assert [row[:2] + row[3:] for row in rows_of(section.every("table")[0])] == [
        ["kubelet", "fails, another serves", "certificate: self-signed"],
        ["apiserver", "in use", "none"],
    ]


def test_the_documentation_is_where_the_alerts_say_it_is() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "rules" / "kube-throttle-exporter.yaml").read_text()

    assert f"runbook_url: {DOCS}docs/runbooks/" in rules
