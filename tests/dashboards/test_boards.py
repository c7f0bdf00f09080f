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
    ratios = {
        THRESHOLDS[name].number
        for name in ("highShare", "severeShare", "highRatio", "severeRatio", "contentionStalled")
    }
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
    names = {panel["title"] for board in boards().values() for panel in (*board["panels"], *panels(board))}
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


# ---- tables, links, sizes ----

TABLES = [(name, panel) for name, panel in PANELS if panel["type"] == "table"]


def labels_of_rows(panel: Json) -> set[str]:
    """Labels by which the first column is aggregated."""
    found = re.search(r"(?:max|sum|count) by \(([^)]*)\)", panel["targets"][0]["expr"])
    assert found
    return set(found[1].split(", "))


@each(TABLES)
def test_every_column_of_a_table_is_aggregated_by_the_labels_of_its_rows(panel: Json) -> None:
    """A series with its name, or with a label that others lack, would be a row of its own."""
    labels = labels_of_rows(panel)
    for target in panel["targets"]:
        expr = re.sub(r"^label_replace\(", "", target["expr"])
        outer = re.match(r"max by \(([^)]*)\) \(", expr)
        assert outer, expr
        assert set(outer[1].split(", ")) == labels


@each(TABLES)
def test_a_table_is_understood_by_the_oldest_grafana(panel: Json) -> None:
    merge, organize = panel["transformations"]
    assert (merge["id"], organize["id"]) == ("merge", "organize")
    assert "includeByName" not in organize["options"], "Grafana 10.4 and newer only"
    shown = {*organize["options"]["indexByName"]} - {*organize["options"]["excludeByName"]}
    assert labels_of_rows(panel) - {*organize["options"]["excludeByName"]} <= shown


@each(TABLES)
def test_links_of_a_table_lead_to_one_cluster(panel: Json) -> None:
    properties = [item for field in panel["fieldConfig"]["overrides"] for item in field["properties"]]
    urls = [link["url"] for item in properties if item["id"] == "links" for link in item["value"]]
    for url in urls:
        assert url.startswith("https://") or "&${__data.fields.to}&" in url
        for heading in re.findall(r"\$\{__data\.fields\.(\w+)\}", url):
            assert heading in {"to", *panel["transformations"][1]["options"]["renameByName"].values()}
    if any("__data.fields.to" in url for url in urls):
        assert panel["targets"][0]["expr"].endswith(', "to", "var-cluster=$1", "cluster", "(.*)")')


@each([(name, panel) for name, panel in PANELS if panel["type"] == "stat" and panel["title"] != "CPU map"])
def test_an_unknown_number_is_grey_and_says_why(panel: Json) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["min"] == 0
    [special] = [item["options"] for item in defaults["mappings"] if item["type"] == "special"]
    assert special["match"] == "null+nan"
    assert special["result"] == {"color": "#8e8e8e", "text": defaults["noValue"]}
    assert panel["targets"][0]["expr"].endswith(" or vector(NaN)")


@each([(name, panel) for name, panel in PANELS if panel["type"] == "timeseries"])
def test_lines_say_why_they_are_empty_and_fill_only_what_is_stacked(panel: Json) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["noValue"]
    stacked = defaults["custom"].get("stacking", {}).get("mode") == "normal"
    assert (defaults["custom"]["fillOpacity"] > 0) is stacked


def test_no_query_is_long_and_none_lists_pods() -> None:
    # What Grafana sends for one chosen value each; "All" is a wildcard, never a list.
    values = {"cluster": "production-eu-west-1", "namespace": "a-namespace", "workload": "a-workload-with-a-long-name"}
    for board, where, expr in queries():
        sent = re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], ".*"), expr)
        assert len(sent) < 2048, (board, where)
    assert {
        variable["allValue"] for board in boards().values() for variable in variables(board) if variable["includeAll"]
    } == {".*"}


@each([(name, panel) for name, panel in PANELS if panel["type"] == "timeseries"])
def test_a_panel_has_ten_lines_of_containers_at_most(panel: Json) -> None:
    for target in panel["targets"]:
        if re.search(r"\{\{(pod|container|instance)\}\}", target["legendFormat"]):
            assert "topk(10, " in target["expr"]


def test_pages_about_one_thing_choose_one() -> None:
    single = {"workload": {"cluster", "namespace", "workload"}, "node": {"cluster", "node"}}
    for name, board in boards().items():
        one = {variable["name"] for variable in variables(board) if not variable["multi"]}
        assert one == single.get(name, set())
        assert not any(variable["includeAll"] for variable in variables(board) if variable["name"] in one)


def test_boards_can_be_imported_by_hand() -> None:
    for board in boards().values():
        assert board["__inputs"] == []
        assert board["schemaVersion"] >= 41
        assert {needed["id"] for needed in board["__requires"]} == {"grafana", "prometheus"}


def test_the_page_shows_a_picture_of_every_dashboard() -> None:
    page = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\(images/dashboard-(\w+)\.png\)", page))
    assert shown == set(UIDS)
    assert all((ROOT / "docs" / "images" / f"dashboard-{name}.png").exists() for name in shown)
