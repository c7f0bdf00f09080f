"""What the node's page says."""

from __future__ import annotations

import re

import pytest

from exporter.analysis import text as words
from exporter.analysis.findings import Finding, Severity
from exporter.model import CgroupName, Snapshot
from exporter.report import DOCS, Exporter, Report, Source
from exporter.report.summary import headline
from exporter.web.status import PageRequest
from exporter.web.status.node_page import MAX_FULL, MAX_NAMED, MAX_WORKLOADS
from tests.status import nodes
from tests.status.html import Element
from tests.status.page import facts_of, overview_of, rows_of
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


def test_the_headline_ends_with_the_worst_problem_and_its_advice(reports: dict[str, Report]) -> None:
    page = overview_of(reports["demo"])
    head = page.one("section", "verdict")

    assert head.one("h1").text == headline(reports["demo"].containers())
    assert head.one("h1").text == "4 of 11 containers have problems (3 critical, 1 warning)"
    assert "critical" in head.classes
    assert head.one("p", "worst").text.startswith(
        "Worst: shop/checkout-7d9f8b6c5d-x2k9p/app. It uses up its limit of 0.2"
    )
    assert head.one("p", "advice").text.startswith("Do: ")
    assert head.one("p", "command").text == "kubectl -n shop set resources deploy/checkout -c app --limits=cpu=400m"
    assert "All of it: kubectl throttle explain shop/checkout-7d9f8b6c5d-x2k9p/app" in head.text
    assert re.search(r"node node-1", page.one("header").text)
    assert head.one("time").attributes["datetime"] == "2026-01-01T00:01:01+00:00"
    assert "Kernel 6.12.48-generic" in head.one("p", "asof").text


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


def test_figures_that_are_old_are_not_called_good(reports: dict[str, Report]) -> None:
    page = overview_of(reports["unmapped"])

    assert page.one("section", "verdict").classes == {"verdict"}
    assert page.one("h1").text == "Samples are late, the last is 34 s old: the state of 2 containers is unknown"
    notes = [one.text for one in page.one("ul", "notices").every("li")]
    assert notes == [
        "Samples are late: these numbers are 34 s old. The node may be overloaded.",
        "No pod source answers, so names may be missing or old (kubelet: 401 Unauthorized).",
        "2 containers are shown by pod uid and container id: no source knows the name.",
    ]


def test_workloads_come_worst_first_with_the_numbers_of_the_api(reports: dict[str, Report]) -> None:
    containers = reports["demo"].containers()["containers"]
    page = overview_of(reports["demo"])
    table = rows(page)

    assert workloads(page)[0].text.startswith("shop/checkout Deployment, 1 pod, 2 containers critical Throttled")
    assert [row.one("span", "who").text.split()[0] for row in workloads(page)][:3] == [
        "shop/checkout", "data/report", "shop/catalog",
    ]  # fmt: skip
    for one in containers:
        row = table[f"{one['pod']}/{one['container']}"]
        ratio, usage = one["throttling"]["ratio"], one["usage_cores"]
        assert row[1].startswith("–" if ratio is None else words.percent(ratio))
        assert usage is not None
        assert row[5].startswith(words.cpus(usage))


def test_a_workload_that_its_pod_s_quota_stops_has_its_pod_s_ratio(reports: dict[str, Report]) -> None:
    report = workloads(overview_of(reports["demo"]))[1]
    assert report.text.startswith(
        "data/report CronJob, 1 pod, 2 containers critical Ancestor throttled, 2 of 2 100 % of its pod"
    )


def test_a_row_says_what_its_ratio_alone_would_hide(reports: dict[str, Report]) -> None:
    table = rows(overview_of(reports["demo"]))

    assert table["report-28766160-l4x8c/query"][1] == "0 % its pod 100 %"
    assert table["node-agent-node-1/agent"][1].endswith("peak 20 %")
    assert table["checkout-7d9f8b6c5d-x2k9p/app"][1] == "100 %"


def test_a_container_without_a_quota_has_a_dash_and_no_drawing(reports: dict[str, Report]) -> None:
    row = rows(overview_of(reports["demo"]))["indexer-7f4b9/scan"]

    assert row[0] == "no problems"
    assert row[1:4] == ["–", "–", "–"]
    assert row[5].endswith("no limit")


def test_findings_are_shown_with_their_advice_and_page(reports: dict[str, Report]) -> None:
    report = reports["demo"]
    section = overview_of(report).by_id("findings")
    shown = section.text

    for one in report.containers()["containers"]:
        for found in one["findings"]:
            assert found["summary"] in shown
            assert found["advice"] in shown
            links = [link.attributes["href"] for link in section.every("a")]
            assert f"{DOCS}docs/findings/{found['name']}.md" in links


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
    more = next(one for one in page.every("a") if one.text.endswith("more containers of Deployment service-42"))
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


def test_an_empty_node_looks_as_it_should(reports: dict[str, Report]) -> None:
    page = overview_of(reports["empty"])

    assert page.every("table", "list") == []
    assert "--path.cgroup" in page.one("section", "verdict").text
    assert page.by_id("cpus").text.startswith("CPUs 8 CPUs online, 8 shared.")
    assert page.by_id("exporter").text.endswith("No errors since the start.")
    assert page.every("ul", "notices") == []


def test_before_the_first_sample_it_says_so(reports: dict[str, Report]) -> None:
    page = overview_of(reports["starting"])

    assert page.one("h1").text == "No sample has been taken yet"
    assert "--path.cgroup" not in page.one("section", "verdict").text
    assert page.one("ul", "notices").every("li")[0].text.startswith("The exporter has just started")
    assert facts_of(page)["Last sample"] == "none yet"
    assert "sysfs" in page.by_id("cpus").text


def test_unmapped_containers_go_by_their_ids(reports: dict[str, Report]) -> None:
    page = overview_of(reports["unmapped"])

    assert list(rows(page)) == [
        "5c3e1b09-7a1d-4c0e-9d56-b9ff23590001/9d56b9ff0001",
        "5c3e1b09-7a1d-4c0e-9d56-b9ff23590002/9d56b9ff0002",
    ]
    [link, _] = page.by_id("containers").every("a", "name")
    assert link.attributes["href"] == "/container/-/5c3e1b09-7a1d-4c0e-9d56-b9ff23590001/9d56b9ff0001"


def test_a_container_that_is_gone_has_no_problem() -> None:
    gone = make.container("a", live=False, limits=None, window=None, deltas=None)
    page = overview_of(with_findings(make.snapshot(gone, make.container("b")), finding(make.named("a"))))

    assert page.one("h1").text.startswith("No problems in 2 containers")
    row = next(one for one in page.by_id("containers").every("tr") if "gone" in one.classes)
    assert row.one("th").text == "a/app ended"


def test_the_exporter_s_health(reports: dict[str, Report]) -> None:
    section = overview_of(reports["unmapped"]).by_id("exporter")
    sources, errors = section.every("table")

    assert facts_of(section) == {
        "Last sample": "34 s old, late",
        "Samples": "4711, every 1 s",
        "Window": "60 s",
        "Containers with a known name": "0",
        "Containers without a known name": "2",
        "Pod sandboxes, not shown": "2",
    }
    assert rows_of(sources) == [["kubelet", "fails", "3 h before this page", "401 Unauthorized"]]
    assert rows_of(errors) == [["pods", "unauthorized", "17"]]


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
