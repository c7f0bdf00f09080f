"""What a container's page says."""

from __future__ import annotations

import re

from exporter.cli.explain import container_lines
from exporter.model import CgroupName
from exporter.report.documents import Report
from exporter.web.status.rendering import MAX_NEIGHBOURS
from tests.status import nodes
from tests.status.page import facts_of, name_of, page_of, rows_of
from tests.support import snapshots as make

FIGURE = re.compile(r"(?<![\d.])\d+(?:\.\d+)? (?:CPUs?|%|ms)(?!\w)")


def test_six_hours_are_drawn_and_since_when_is_said(reports: dict[str, Report]) -> None:
    page = page_of(reports["many"], name_of(reports["many"], "app-13-"))

    window, hours = page.every("figure")
    assert hours.one("svg").attributes["viewbox"] == "0 0 360 100"
    assert hours.one("svg").attributes["aria-label"].startswith("Throttled ratio over the last 6 hours")
    assert len(hours.every("path")) == 3
    assert window.one("svg").attributes["viewbox"] == "0 0 60 100"
    assert page.one("p", "worst").text.endswith("Throttled in every minute for 3 h.")


def test_only_the_greatest_neighbours_are_listed(reports: dict[str, Report]) -> None:
    report = reports["many"]
    page = page_of(report, name_of(report, "app-13-"))

    count = nodes.MANY - nodes.OWNERS - 1
    assert page.every("h2")[-1].text == f"On the same CPUs {count}, the {MAX_NEIGHBOURS} that use most"
    assert len(rows_of(page.every("table")[-1])) == MAX_NEIGHBOURS


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
