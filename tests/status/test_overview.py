"""What the node's page says."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from exporter.analysis import text as words
from exporter.analysis.findings import Finding, Severity
from exporter.analysis.findings import finding as make_finding
from exporter.model import CgroupName, Snapshot
from exporter.report import DOCS, Report, SourceHealth
from exporter.web.status import verdict
from exporter.web.status.advice import FULL, NAMED
from exporter.web.status.overview import WORST
from exporter.web.status.wanted import Wanted
from tests.status import nodes
from tests.status.html import Element
from tests.status.page import facts_of, overview_of, rows_of, text_of
from tests.support import snapshots as make
from tests.support.process import ROOT


def rows(page: Element) -> dict[str, list[str]]:
    """The table of containers, by name."""
    return {row[0]: row[1:] for row in rows_of(page.one("table", "list"))}


def finding(
    subject: CgroupName | None, name: str = "throttled", severity: Severity = "warning", advice: str = "a"
) -> Finding:
    return make_finding(name, subject, severity=severity, summary="why", advice=advice, evidence={})


def with_findings(snapshot: Snapshot, *found: Finding) -> Report:
    return Report(snapshot, found, nodes.HEALTHY)


def test_the_headline_counts_who_suffers_and_names_the_worst(reports: dict[str, Report]) -> None:
    page = overview_of(reports["demo"])
    head = page.one("section", "verdict")
    containers = reports["demo"].containers()["containers"]
    suffering = [one for one in containers if verdict.suffers(one)]

    assert head.one("h1").text == f"{len(suffering)} of 11 containers suffer"
    assert "critical" in head.classes
    assert head.one("p", "worst").text.startswith(
        "Worst: shop/checkout-7d9f8b6c5d-x2k9p/app. It uses up its limit of 0.2 CPUs"
    )
    assert suffering[0]["findings"][0]["summary"] in head.one("p", "worst").text
    assert re.search(r"node node-1", page.one("header").text)
    assert head.one("time").attributes["datetime"] == "2026-01-01T00:01:01+00:00"
    assert "Kernel 6.12.48-generic" in head.one("p", "asof").text


@pytest.mark.parametrize(
    ("containers", "found", "headline", "colour"),
    [
        (0, [], "No container runs on this node", ""),
        (1, [], "The container is well", "ok"),
        (2, [], "Both containers are well", "ok"),
        (3, [], "All 3 containers are well", "ok"),
        (3, [finding(make.named("c0"))], "1 of 3 containers suffers", "warning"),
        (3, [finding(make.named("c0"), severity="info")], "All 3 containers are well", "ok"),
        (3, [finding(None, "cpu_steal", "critical")], "All 3 containers are well, the node is not", "critical"),
        (
            3,
            [finding(make.named("c0")), finding(make.named("c2"), severity="critical")],
            "2 of 3 containers suffer",
            "critical",
        ),
    ],
)
def test_every_state_of_the_node_has_its_headline(
    containers: int, found: list[Finding], headline: str, colour: str
) -> None:
    snapshot = make.snapshot(*(make.container(f"c{number}") for number in range(containers)))

    head = overview_of(with_findings(snapshot, *found)).one("section", "verdict")

    assert head.one("h1").text == headline
    assert head.classes == {"verdict", colour} - {""}


def test_figures_that_are_old_are_not_called_good(reports: dict[str, Report]) -> None:
    page = overview_of(reports["unmapped"])

    assert page.one("section", "verdict").classes == {"verdict"}
    notes = [one.text for one in page.one("ul", "notices").every("li")]
    assert notes == [
        "Sampling is late: these figures are 34 s old. The node may be overloaded.",
        "No pod source answers, so names may be missing or old (kubelet: 401 Unauthorized).",
        "2 containers are shown by pod uid and container id: no source knows the name.",
    ]


def test_containers_come_in_the_order_of_the_api_with_its_numbers(reports: dict[str, Report]) -> None:
    containers = reports["demo"].containers()["containers"]
    table = rows_of(overview_of(reports["demo"]).one("table", "list"))

    assert [row[0] for row in table] == [f"{one['namespace']} {one['pod']}/{one['container']}" for one in containers]
    for row, one in zip(table, containers, strict=True):
        ratio, usage = one["throttling"]["ratio"], one["usage_cores"]
        assert row[2].startswith("–" if ratio is None else words.percent(ratio))
        assert usage is not None
        assert row[5].startswith(words.cpus(usage))


def test_a_row_says_what_its_ratio_alone_would_hide(reports: dict[str, Report]) -> None:
    table = rows(overview_of(reports["demo"]))

    assert table["data report-28766160-l4x8c/query"][1] == "0 % its pod 100 %"
    assert table["kube-system node-agent-node-1/agent"][1].endswith("peak 33 %")
    assert table["shop checkout-7d9f8b6c5d-x2k9p/app"][1] == "100 %"


def test_a_container_without_a_quota_has_a_dash_and_no_drawing(reports: dict[str, Report]) -> None:
    row = rows(overview_of(reports["demo"]))["data indexer-7f4b9/scan"]

    assert row[0] == "well"
    assert row[1:3] == ["–", "no limit"]
    assert row[4].endswith("no limit")


def test_findings_are_told_with_their_advice_and_page(reports: dict[str, Report]) -> None:
    report = reports["demo"]
    section = overview_of(report).by_id("findings")
    told = section.text

    for one in report.containers()["containers"]:
        for found in one["findings"]:
            assert found["summary"] in told
            assert found["advice"] in told
            links = [link.attributes["href"] for link in section.every("a")]
            assert f"{DOCS}docs/findings/{found['name']}.md" in links


def test_many_findings_of_one_name_are_one_group() -> None:
    count = FULL + NAMED + 10
    snapshot = make.snapshot(*(make.container(f"c{number}") for number in range(count)))
    found = [finding(make.named(f"c{number}")) for number in range(count)]
    group = overview_of(with_findings(snapshot, *found)).one("section", "finding")

    assert group.one("h3").text == f"Throttled warning {count} containers"
    assert len(group.one("ul", "told").every("li")) == FULL
    assert group.one("details").one("summary").text == f"{NAMED + 10} more with the same finding"
    assert len(group.one("ul", "names").every("a")) == NAMED
    assert group.one("ul", "names").every("li")[-1].text == "and 10 more, in the table above"
    assert len(group.every("p", "advice")) == 1


def test_one_finding_more_than_are_told_is_told_too() -> None:
    names = [f"c{number}" for number in range(FULL + 1)]
    snapshot = make.snapshot(*map(make.container, names))

    group = overview_of(with_findings(snapshot, *(finding(make.named(name)) for name in names)))

    assert len(group.one("ul", "told").every("li")) == FULL + 1
    assert group.by_id("findings").every("details") == []


def test_each_container_has_its_own_advice_where_it_differs() -> None:
    snapshot = make.snapshot(make.container("a"), make.container("b"))
    found = [finding(make.named("a"), advice="one"), finding(make.named("b"), advice="two")]

    group = overview_of(with_findings(snapshot, *found)).one("section", "finding")

    assert [one.text for one in group.every("p", "advice")] == ["Do: one", "Do: two"]


def test_what_asks_for_nothing_is_folded_away() -> None:
    page = overview_of(
        with_findings(
            make.snapshot(make.container("a")),
            finding(make.named("a"), "no_quota", "info"),
            finding(make.named("a"), "numa_spread", "info"),
        )
    )

    notes = page.one("details", "notes")
    assert notes.one("summary").text == "Worth knowing, nothing to do: no quota, NUMA spread"
    assert len(notes.every("section", "finding")) == 2
    assert "open" not in notes.attributes


def test_settings_in_advice_stay_in_one_piece() -> None:
    advised = finding(make.named("a"), advice="Run 2 at once (OMP_NUM_THREADS=2, -XX:ActiveProcessorCount=2).")
    page = overview_of(with_findings(make.snapshot(make.container("a")), advised))
    codes = {one.text for one in page.by_id("findings").every("code")}

    assert codes >= {"OMP_NUM_THREADS=2", "-XX:ActiveProcessorCount=2"}


def test_the_node_s_own_findings_are_told_as_the_node_s() -> None:
    page = overview_of(with_findings(make.snapshot(make.container("a")), finding(None, "kernel_bug")))

    assert page.one("p", "worst").text == "Worst: the node. why"
    assert page.one("section", "finding").one("ul", "told").text.startswith("The node: why")


def test_of_a_crowd_the_worst_are_shown_in_full(reports: dict[str, Report]) -> None:
    page = overview_of(reports["crowded"], Wanted(refresh=10))
    containers = reports["crowded"].containers()["containers"]

    assert len(rows(page)) == WORST
    briefs = page.one("ul", "briefs").every("li")
    assert len(briefs) == nodes.CROWD - WORST
    assert [one.one("a").text for one in briefs[:3]] == [
        f"{one['namespace']}/{one['pod']}/{one['container']}" for one in containers[WORST : WORST + 3]
    ]
    assert briefs[0].one("small").text == words.cpus(containers[WORST]["usage_cores"] or 0.0)
    [link] = [one for one in page.every("a") if one.text == f"Show all {nodes.CROWD} in full"]
    assert link.attributes["href"] == "?all&refresh=10"


def test_all_of_a_crowd_is_shown_when_asked(reports: dict[str, Report]) -> None:
    page = overview_of(reports["crowded"], Wanted(everything=True))

    assert len(rows(page)) == nodes.CROWD
    assert page.every("ul", "briefs") == []
    [back] = [one for one in page.every("a") if one.text.startswith("Show the worst")]
    assert back.attributes["href"] == "?"


def test_a_few_are_not_called_a_crowd(reports: dict[str, Report]) -> None:
    for everything in (False, True):
        text = text_of(reports["demo"], Wanted(everything=everything))
        assert "in full" not in text


def test_an_empty_node_looks_as_it_should(reports: dict[str, Report]) -> None:
    page = overview_of(reports["empty"])

    assert page.every("table", "list") == []
    assert "--path.cgroup" in page.one("section", "verdict").text
    assert page.by_id("cpus").text.startswith("CPUs 8 CPUs online, 8 shared.")
    assert page.by_id("exporter").text.endswith("No failure since the start.")
    assert page.every("ul", "notices") == []


def test_before_the_first_sample_it_says_so(reports: dict[str, Report]) -> None:
    page = overview_of(reports["starting"])

    assert page.one("h1").text == "No sample has been taken yet"
    assert "--path.cgroup" not in page.one("section", "verdict").text
    assert page.one("ul", "notices").every("li")[0].text.startswith("The exporter has just started")
    assert facts_of(page)["Last sample"] == "not known"
    assert "sysfs" in page.by_id("cpus").text


def test_containers_that_wait_for_their_names_are_not_missed() -> None:
    waiting = replace(make.snapshot(), cgroups={"pending": 12})

    assert overview_of(with_findings(waiting)).one("h1").text == "12 containers found, waiting for the pods’ names"


def test_unmapped_containers_go_by_their_ids(reports: dict[str, Report]) -> None:
    page = overview_of(reports["unmapped"])

    assert list(rows(page)) == [
        "name not known 5c3e1b09-7a1d-4c0e-9d56-b9ff23590001/9d56b9ff0001",
        "name not known 5c3e1b09-7a1d-4c0e-9d56-b9ff23590002/9d56b9ff0002",
    ]
    [link, _] = page.one("table", "list").every("a")
    assert link.attributes["href"] == "/container/-/5c3e1b09-7a1d-4c0e-9d56-b9ff23590001/9d56b9ff0001"


def test_a_container_that_is_gone_suffers_no_more() -> None:
    gone = make.container("a", live=False, limits=None, window=None, deltas=None)
    page = overview_of(with_findings(make.snapshot(gone, make.container("b")), finding(make.named("a"))))

    assert page.one("h1").text.startswith("Both containers are well")
    row = next(one for one in page.one("table", "list").every("tr") if "gone" in one.classes)
    assert row.one("th").text == "shop a/app gone"


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
    failing = SourceHealth("kubelet", up=False, active=False, last_success=None, last_error="certificate: self-signed")
    serving = SourceHealth("apiserver", up=True, active=True, last_success=1_799_999_990.0, last_error="")
    health = replace(nodes.HEALTHY, sources=(failing, serving))
    section = overview_of(Report(make.snapshot(), (), health)).by_id("exporter")
    assert [row[:2] + row[3:] for row in rows_of(section.every("table")[0])] == [
        ["kubelet", "fails, another serves", "certificate: self-signed"],
        ["apiserver", "in use", "none"],
    ]


def test_the_documentation_is_where_the_alerts_say_it_is() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "rules" / "kube-throttle-exporter.yaml").read_text()

    assert f"runbook_url: {DOCS}docs/runbooks/" in rules
