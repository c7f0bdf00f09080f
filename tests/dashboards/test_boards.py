"""Every panel can be read by somebody who has not seen it before."""

import re
from itertools import combinations

import pytest

from dashboards.rules import ROOT
from dashboards.thresholds import THRESHOLDS
from tests.dashboards.boards import Json, boards, panels, queries, variables
from tests.dashboards.promql import references

UIDS = {"cluster": "kte-cluster", "workload": "kte-workload", "node": "kte-node", "exporter": "kte-exporter"}
"""Links in alerts, runbooks and other people's bookmarks hold these."""

VARIABLES = {
    "cluster": ["datasource", "cluster", "namespace"],
    "workload": ["datasource", "cluster", "namespace", "workload", "pod", "container"],
    "node": ["datasource", "cluster", "node"],
    "exporter": ["datasource", "cluster", "node"],
}

each_board = pytest.mark.parametrize("name", UIDS)
PANELS = [(f"{name}: {panel['title']}", panel) for name, board in boards().items() for panel in panels(board)]
COLOURED_RATIOS = [
    (name, panel)
    for name, panel in PANELS
    if panel["fieldConfig"]["defaults"]["unit"] == "percentunit"
    and len(panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])) > 1
]


def each(chosen: list[tuple[str, Json]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("panel", [pytest.param(panel, id=name) for name, panel in chosen])


each_panel = each(PANELS)


def test_names_in_links_never_change() -> None:
    assert {name: board["uid"] for name, board in boards().items()} == UIDS


@each_board
def test_variables_are_there_in_their_order(name: str) -> None:
    assert [variable["name"] for variable in boards()[name]["templating"]["list"]] == VARIABLES[name]


@each_board
def test_a_variable_is_narrowed_by_those_before_it(name: str) -> None:
    before: list[str] = []
    for variable in variables(boards()[name]):
        asked = set(re.findall(r"\$(\w+)", variable["query"]["query"]))
        assert asked <= set(before)
        assert "cluster" in asked or variable["name"] == "cluster"
        before.append(variable["name"])


@each_board
def test_titles_and_ids_are_unique(name: str) -> None:
    every = boards()[name]["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    assert len({panel["title"] for panel in every}) == len(every)


@each_board
def test_panels_do_not_overlap_and_fit_the_width(name: str) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in boards()[name]["panels"]]
    assert all(place["x"] + place["w"] <= 24 for _, place in places)
    overlaps = [
        (one, other)
        for (one, a), (other, b) in combinations(places, 2)
        if a["x"] < b["x"] + b["w"]
        and b["x"] < a["x"] + a["w"]
        and a["y"] < b["y"] + b["h"]
        and b["y"] < a["y"] + a["h"]
    ]
    assert overlaps == []


@each_board
def test_each_row_of_panels_is_full(name: str) -> None:
    """No hole to the right: the eye would look for what is missing."""
    by_line: dict[int, int] = {}
    for panel in boards()[name]["panels"]:
        place = panel["gridPos"]
        for line in range(place["y"], place["y"] + place["h"]):
            by_line[line] = by_line.get(line, 0) + place["w"]
    assert {line: width for line, width in by_line.items() if width != 24} == {}


@each_panel
def test_panel_says_what_it_shows_and_what_to_make_of_it(panel: Json) -> None:
    assert panel["description"].endswith(".")
    assert len(panel["description"]) > len(panel["title"]) + 10


@each_panel
def test_panel_has_a_unit(panel: Json) -> None:
    assert panel["fieldConfig"]["defaults"]["unit"]
    if panel["type"] == "table":
        units = [item for field in panel["fieldConfig"]["overrides"] for item in field["properties"]]
        assert len([item for item in units if item["id"] == "unit"]) == len(panel["targets"])


@each_panel
def test_panel_has_a_legend_and_the_chosen_data_source(panel: Json) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["legendFormat"].strip()
        assert target["datasource"]["uid"] == "${datasource}"


@each([(name, panel) for name, panel in PANELS if panel["type"] == "timeseries"])
def test_lines_with_several_series_are_told_apart(panel: Json) -> None:
    legends = [target["legendFormat"] for target in panel["targets"]]
    assert len(set(legends)) == len(legends)
    for target in panel["targets"]:
        labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        grouped = references(target["expr"]).joined
        # A line's name uses labels that survive the aggregation around it.
        if grouped and not labels <= grouped:
            assert "topk" in target["expr"], (labels, grouped)


@each(COLOURED_RATIOS)
def test_colours_begin_where_the_alerts_begin(panel: Json) -> None:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    ratios = {THRESHOLDS[name].number for name in ("highRatio", "severeRatio", "contentionStalled")}
    assert {step["value"] for step in steps[1:]} <= ratios


def test_the_wide_dashboard_reads_recorded_series_only() -> None:
    """A view over all clusters must not rate 90,000 raw series."""
    raw = {
        metric
        for board, _, expr in queries()
        if board == "cluster"
        for metric in references(expr).metrics
        if ":" not in metric and not metric.startswith(("cgroup_node_", "throttle_exporter_build_info", "ALERTS"))
    }
    assert raw == set()


def test_every_dashboard_links_to_the_others_and_to_its_page() -> None:
    for board in boards().values():
        assert [link["type"] for link in board["links"]] == ["dashboards", "link"]
        assert board["tags"] == board["links"][0]["tags"]


def test_the_page_about_dashboards_names_panels_that_exist() -> None:
    page = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
    names = {panel["title"] for board in boards().values() for panel in board["panels"]}
    columns = {
        renamed
        for _, panel in PANELS
        for step in panel.get("transformations") or []
        for renamed in step["options"].get("renameByName", {}).values()
    }
    legends = {target["legendFormat"] for _, panel in PANELS for target in panel["targets"]}
    named = set(re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", page))
    assert len(named) > 20
    assert named - names - columns - legends == set()
