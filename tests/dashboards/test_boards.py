"""Every panel can be read by somebody who has not seen it before."""

import re
from collections import Counter

from dashboards.frame import DATA_SOURCE
from dashboards.panels import STEP
from dashboards.rules import ROOT
from dashboards.thresholds import THRESHOLDS
from tests.dashboards.boards import Json, boards, panels, queries, variables
from tests.dashboards.known import labels_of
from tests.dashboards.promql import references

UIDS = {"cluster": "kte-cluster", "workload": "kte-workload", "node": "kte-node", "exporter": "kte-exporter"}
"""Links in alerts, runbooks and other people's bookmarks hold these."""

VARIABLES = {
    "cluster": ["datasource", "cluster", "namespace"],
    "workload": ["datasource", "cluster", "namespace", "workload", "pod", "container"],
    "node": ["datasource", "cluster", "node"],
    "exporter": ["datasource", "cluster", "node"],
}
ONE = {"workload": {"cluster", "namespace", "workload"}, "node": {"cluster", "node"}}

PANELS = [(f"{name}: {panel['title']}", panel) for name, board in boards().items() for panel in panels(board)]
PAGE = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")


def of_type(kind: str) -> list[tuple[str, Json]]:
    found = [(name, panel) for name, panel in PANELS if panel["type"] == kind]
    assert len(found) > 8
    return found


def properties(panel: Json, heading: str | None = None) -> list[Json]:
    """What a table sets for one column, or for all."""
    fields = panel["fieldConfig"]["overrides"]
    return [item for field in fields if heading in {None, field["matcher"]["options"]} for item in field["properties"]]


def test_names_in_links_never_change_and_a_variable_is_narrowed_by_those_before_it() -> None:
    assert {name: board["uid"] for name, board in boards().items()} == UIDS
    for name, board in boards().items():
        assert [item["name"] for item in board["templating"]["list"]] == VARIABLES[name]
        before: set[str] = set()
        for variable in variables(board):
            asked = set(re.findall(r"\$(\w+)", variable["query"]["query"]))
            assert asked <= before, name
            assert "cluster" in asked or variable["name"] == "cluster", name
            before.add(variable["name"])
            many = variable["name"] not in ONE.get(name, set())
            assert variable["multi"] is variable["includeAll"] is many, name
            # Never a list: of 200 pods that is a regular expression of 7 kB in every query.
            assert variable.get("allValue") == (".*" if variable["includeAll"] else None), name


def test_panels_fill_the_width_without_holes_or_overlaps_and_rows_rarely_needed_are_collapsed() -> None:
    for name, board in boards().items():
        every = [*board["panels"], *(inner for row in board["panels"] for inner in row.get("panels") or ())]
        assert len({panel["id"] for panel in every}) == len({panel["title"] for panel in every}) == len(every)
        cells = Counter(
            (x, y)
            for place in (panel["gridPos"] for panel in board["panels"])
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
        assert set(cells) == {(x, y) for x in range(24) for _, y in cells}, name
        assert set(cells.values()) == {1}, name
    shut = {row["title"] for board in boards().values() for row in board["panels"] if row.get("collapsed")}
    expected = {"Neighbours", "Whole clusters, all namespaces", "A quota above it", "Periods and burst", "Settings"}
    assert shut == expected | {"Settings, isolation and instances", "Kernel and kubelet"}


def test_a_board_links_to_the_others_and_asks_for_the_data_source_when_imported_by_hand() -> None:
    for board in boards().values():
        assert [link["type"] for link in board["links"]] == ["dashboards", "link"]
        assert board["tags"] == board["links"][0]["tags"]
        [asked] = board["__inputs"]
        assert (asked["name"], asked["type"], asked["pluginId"]) == (DATA_SOURCE, "datasource", "prometheus")
        chosen = board["templating"]["list"][0]
        assert chosen["type"] == "datasource"
        assert chosen["current"]["value"] == f"${{{DATA_SOURCE}}}"
        # Nowhere else: a provisioned dashboard replaces no inputs.
        assert f"${{{DATA_SOURCE}}}" not in str({**board, "templating": None})
        assert board["schemaVersion"] == 42  # of Grafana 13
        kinds = {panel["type"] for panel in panels(board)}
        assert {needed["id"] for needed in board["__requires"]} == {"grafana", "prometheus", *kinds}


def test_the_page_about_dashboards_names_panels_that_exist_and_shows_each_board() -> None:
    names = {panel["title"] for board in boards().values() for panel in (*board["panels"], *panels(board))}
    for _, panel in PANELS:
        names |= {target["legendFormat"] for target in panel["targets"]}
        for step in panel.get("transformations") or []:
            names |= {*step["options"].get("renameByName", {}).values()}
    named = set(re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", PAGE))
    assert len(named) > 20
    assert named - names == set()
    shown = set(re.findall(r"\(images/dashboard-(\w+)\.png\)", PAGE))
    assert shown == set(UIDS)
    assert all((ROOT / "docs" / "images" / f"dashboard-{name}.png").exists() for name in shown)


def test_a_panel_says_what_it_shows_in_which_unit_and_colours_begin_where_alerts_begin() -> None:
    names = ("highShare", "severeShare", "highRatio", "severeRatio", "contentionStalled")
    ratios = {THRESHOLDS[name].number for name in names}
    coloured = 0
    for name, panel in PANELS:
        assert panel["description"].endswith("."), name
        assert len(panel["description"]) > len(panel["title"]) + 10, name
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], name
        # Not "none" or "No data": why there may be nothing, which may be what everybody hopes for.
        assert len(defaults["noValue"].split()) > 1, name
        steps = defaults.get("thresholds", {}).get("steps", [])[1:]
        assert defaults["unit"] != "percentunit" or {step["value"] for step in steps} <= ratios, name
        coloured += bool(steps)
        assert panel["targets"], name
        for target in panel["targets"]:
            assert target["legendFormat"].strip(), name
            assert target["datasource"]["uid"] == "${datasource}", name
    assert coloured > 10


def test_the_wide_dashboard_rates_no_raw_series() -> None:
    """A view over all clusters must not rate 90,000 raw series; two gauges are read once a refresh."""
    gauges = {"cgroup_container_cpu_limit_cores", "cgroup_container_cpu_recommended_limit_cores"}
    allowed = ("cgroup_node_", "throttle_exporter_", "ALERTS")
    seen = set()
    for board, _, expr in queries():
        if board == "cluster":
            seen |= {name for name in references(expr).metrics if ":" not in name and not name.startswith(allowed)}
    assert seen == gauges
    targets = [target for panel in panels(boards()["cluster"]) for target in panel["targets"]]
    assert all(target["instant"] for target in targets if references(target["expr"]).metrics & gauges)


def test_a_page_about_one_workload_reads_raw_counters_once_a_panel_and_at_the_pace_of_the_graph() -> None:
    for name, panel in PANELS:
        if name.startswith("workload"):
            # What is asked of the last moment only is asked once, not at each point.
            once = re.compile(r"rate\([^()]*\[\$__range\] @ end\(\)\)")
            exprs = [once.sub("", target["expr"]) for target in panel["targets"]]
            table = panel["type"] == "table"
            assert table or not [expr for expr in exprs if re.search(r"rate\([^()]*\[\d", expr)], name
            assert panel["type"] != "stat" or "rate(" not in exprs[0] or panel["targets"][0]["instant"], name
            assert panel["type"] != "timeseries" or panel["maxDataPoints"] <= 100, name


def test_no_query_is_long_and_a_cluster_is_matched_by_pattern_so_that_none_is_matched_too() -> None:
    # What Grafana sends for one chosen value each; "All" is a wildcard.
    values = {"cluster": "production-eu-west-1", "namespace": "a-namespace", "workload": "a-workload-with-a-long-name"}
    for board, where, expr in queries():
        sent = re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], ".*"), expr)
        assert len(sent) < 2048, (board, where)
        sign = 'cluster="$cluster"' if "cluster" in ONE.get(board, ()) else 'cluster=~"$cluster"'
        assert set(re.findall(r"(?<!var-)(cluster\s*[=!~]+\s*[^,}]*)", expr)) <= {sign}, (board, where)


def test_one_chosen_value_is_compared_and_only_several_are_a_pattern() -> None:
    """Grafana escapes a value for a pattern only if a variable may have several: ``a (b)`` would match nothing."""
    compared = 0
    for board, where, expr in queries():
        for sign, name in re.findall(r"(=~?)\"\$(\w+)\"", expr):
            assert (sign == "=") is (name in ONE.get(board, ())), (board, where)
            compared += sign == "="
    assert compared > 50


def test_a_rate_over_the_step_covers_scrapes_a_minute_apart() -> None:
    """Grafana makes ``$__rate_interval`` four times the query's own interval, else of the 15 s of the data source."""
    rated = 0
    for name, panel in PANELS:
        for target in panel["targets"]:
            # A subquery at the points of the graph is no window: nothing lies between two of them.
            assert "$__interval" not in target["expr"].replace("[$__range:$__interval]", ""), name
            assert "[$__range:]" not in target["expr"], name
            if "$__rate_interval" in target["expr"]:
                assert target["interval"] == "1m", name
                rated += 1
    assert rated > 10


def test_without_recording_rules_no_panel_tells_good_news() -> None:
    told = 0
    for name, panel in PANELS:
        exprs = [target["expr"] for target in panel["targets"]]
        if panel["type"] == "table":
            exprs = exprs[:1]
        named = [{each for each in references(expr).metrics if ":" in each or each == "ALERTS"} for expr in exprs]
        if all(named):
            assert "rules" in panel["fieldConfig"]["defaults"]["noValue"], name
            told += 1
    assert told > 30
    # A zero for want of waiting needs more than pressure counters: somebody must have recorded it.
    for title in ("cluster: Workloads waiting", "node: Containers waiting"):
        [target] = dict(PANELS)[title]["targets"]
        assert re.search(r"\* 0 and on \(\) \(namespace:\S+ or sum\(\S+\) == 0\) or v", target["expr"]), title


def test_two_exporters_on_a_node_count_its_cgroups_once() -> None:
    counted = [asked for asked in queries() if re.search(r"_cgroups{[^}]*}\)(?! == 0)", asked.expr)]
    assert len(counted) == 3
    assert [a for a in counted if not re.search(r"sum(?: by \(state\))? ?\(max by \([^)]*\) \(", a.expr)] == []


def test_an_unknown_number_is_grey_and_says_why() -> None:
    for name, panel in of_type("stat"):
        if name == "node: CPU map":
            continue
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["min"] == 0, name
        [special] = [item["options"] for item in defaults["mappings"] if item["type"] == "special"]
        assert special["match"] == "null+nan", name
        assert special["result"] == {"color": "#8e8e8e", "text": defaults["noValue"]}, name
        assert panel["targets"][0]["expr"].endswith(" or vector(NaN)"), name
        # At 900 px, 8 px a letter, and 17 where the number stands.
        needed = max(len(panel["title"]) * 8 + 50, len(defaults["noValue"]) * 17)
        assert needed < 868 * panel["gridPos"]["w"] / 24, name


def test_ratios_of_many_are_weighted_by_their_periods_and_the_share_has_the_colours() -> None:
    stats = dict(of_type("stat"))
    assert re.fullmatch(
        r"sum\(\S+throttled_periods:rate5m{[^}]*}\) / \(sum\(\S+cpu_periods:rate5m{[^}]*}\) > 0\) or vector\(NaN\)",
        stats["cluster: Throttled periods"]["targets"][0]["expr"],
    )
    assert not [asked for asked in queries() if re.search(r"\bavg\b|\bavg by", asked.expr)]
    highs = [THRESHOLDS[name].number for name in ("highShare", "severeShare")]
    for board in ("cluster", "workload"):
        steps = stats[f"{board}: Throttled time share"]["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert [step["value"] for step in steps[1:]] == highs
    # One that is green says that something is below a threshold.
    stats.pop("node: CPU map")
    for name, panel in stats.items():
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert (steps[0]["color"] == "green") is (len(steps) > 1), name


def test_the_namespace_filters_all_of_the_page_or_the_title_says_what_it_does_not() -> None:
    board = boards()["cluster"]
    rows = [row for row in board["panels"] if row["type"] == "row" and "all namespaces" in row["title"]]
    free = {panel["title"] for row in rows for panel in row["panels"]}
    filtered = 0
    # Of nodes: their CPUs, what all of their containers use, alerts about them. The last is joined pod by pod.
    unfiltered = {"cgroup_node_cpus", "pod:cgroup_cpu_usage_seconds:rate5m", "ALERTS"}
    # Whether there are rules, and containers, at all.
    unfiltered |= {"namespace:cgroup_cpu_throttled_seconds:rate5m", "throttle_exporter_cgroups"}
    unfiltered |= {"pod:cgroup_pod_cpu_limit_cores:sum_of_containers", "throttle_exporter_input_available"}
    for panel in panels(board):
        if panel["title"] in free or "all namespaces" in panel["title"]:
            continue
        for target in panel["targets"]:
            for name, labels in references(target["expr"]).matched:
                assert "namespace" in labels or name in unfiltered, (panel["title"], name)
                filtered += "namespace" in labels
    assert filtered > 40


def test_limits_and_requests_are_dashed_in_colours_of_their_own_beside_the_ten_worst_and_their_band() -> None:
    found = {name: panel for name, panel in PANELS if panel["type"] == "timeseries"}
    fixed = ("limit", "effective limit", "request", "recommended")
    panel = found["workload: Use against limit"]
    by_name = {name: {item["id"]: item["value"] for item in properties(panel, name)} for name in fixed}
    assert all(by_name[name]["custom.lineStyle"]["fill"] == "dash" for name in fixed)
    assert len({by_name[name]["color"]["fixedColor"] for name in fixed}) == len(fixed)
    # The alert's, of this workload: not of others in its namespace, and none where it is muted.
    [threshold] = [q.expr for q in queries() if q.where == "Throttled periods E"]
    of_it = (
        'workload:cgroup_pod_alert_threshold_ratio:max{cluster="$cluster",namespace="$namespace",workload="$workload"}'
    )
    assert threshold.startswith(f"max({of_it} < Inf) or (")
    assert threshold.endswith(f" unless on () {of_it})")
    for title in ("CPU time lost", "Throttled periods", "Worst second of the window"):
        *band, worst = found[f"workload: {title}"]["targets"][:4]
        assert "topk(10, " in worst["expr"]
        assert [target["legendFormat"] for target in band] == ["median of all", "95th percentile of all", "maximum"]


def test_lines_are_told_apart_and_fill_only_what_is_stacked() -> None:
    for name, panel in of_type("timeseries"):
        custom = panel["fieldConfig"]["defaults"]["custom"]
        stacked = custom.get("stacking", {}).get("mode") == "normal"
        assert (custom["fillOpacity"] > 0) is stacked, name
        # Rules record once a minute: four points for one would be four times the answer.
        assert panel["interval"] == STEP, name
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert len(set(legends)) == len(legends), name
        several = "cluster" not in ONE.get(name.partition(":")[0], set())
        for target in panel["targets"]:
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert not several or not labels & {"namespace", "node", "instance"} or "cluster" in labels, name
            grouped = references(target["expr"]).joined
            # A line's name uses labels that survive the aggregation around it.
            assert not grouped or labels <= grouped or "topk" in target["expr"], (name, labels, grouped)
            if labels & {"pod", "container", "instance"}:
                assert "topk(10, " in target["expr"], name


def columns(panel: Json) -> list[str]:
    """What the table shows, in its order: labels and values under their headings."""
    options = panel["transformations"][1]["options"]
    order = sorted(options["indexByName"], key=options["indexByName"].get)
    return [options["renameByName"].get(name, name) for name in order if name not in options["excludeByName"]]


def test_every_column_has_the_labels_of_its_rows_and_no_others_so_that_a_subject_is_one_row() -> None:
    """A series with its name or another label would be a row of its own; without one of them it is joined by luck."""
    for name, panel in of_type("table"):
        merge, organize = panel["transformations"]
        assert (merge["id"], organize["id"]) == ("merge", "organize"), name
        assert "includeByName" not in organize["options"], "Grafana 10.4 and newer only"
        grouped = set()
        for target in panel["targets"]:
            [(outer, inner)] = re.findall(
                r"^(?:label_replace\(label_join\()?max by \(([^)]*)\) \((.*)$", target["expr"]
            )
            grouped.add(frozenset(outer.split(", ")))
            found = references(inner)
            own = labels_of(found.matched[0][0])
            assert own is not None, name
            made = set(re.findall(r'"(setting|value)"', inner))
            assert set(outer.split(", ")) <= own | found.joined | made, (name, target["legendFormat"])
        [labels] = grouped
        assert labels <= {*organize["options"]["indexByName"], *organize["options"]["excludeByName"]}, name
        assert len([item for item in properties(panel) if item["id"] == "unit"]) == len(panel["targets"]), name


def test_alerts_are_sorted_by_rank_and_unmapped_containers_have_a_name() -> None:
    [panel] = [panel for _, panel in PANELS if panel["title"] == "Which alerts fire?"]
    severity = panel["targets"][0]["expr"]
    ranks = re.findall(r"(\d) \* \(max[^}]*severity=~\"(\w+)\"", severity)
    assert ranks == [("3", "critical"), ("2", "warning"), ("1", "info")]
    [texts] = [item["value"][0]["options"] for item in properties(panel, "Severity") if item["id"] == "mappings"]
    assert {rank: text["text"] for rank, text in texts.items()} == {"3": "critical", "2": "warning", "1": "info"}
    assert panel["options"]["sortBy"] == [{"displayName": "Severity", "desc": True}]
    for name, table in of_type("table"):
        for heading in {"Namespace", "Workload", "Pod"} & {*columns(table)} if "alerts" not in name else ():
            [empty] = [item["value"][0]["options"] for item in properties(table, heading) if item["id"] == "mappings"]
            assert (empty["match"], empty["result"]["text"]) == ("empty", "(no pod)"), (name, heading)
    by_namespace = [target["expr"] for name, panel in PANELS for target in panel["targets"] if "by namespace" in name]
    assert len(by_namespace) == 2
    assert all('"namespace", "(no pod)", "namespace", ""' in expr for expr in by_namespace)


def test_links_of_a_table_lead_to_one_cluster() -> None:
    leading = 0
    for name, panel in of_type("table"):
        urls = [link["url"] for item in properties(panel) if item["id"] == "links" for link in item["value"]]
        inside = [url for url in urls if not url.startswith("https://")]
        leading += len(inside)
        for url in inside:
            assert "&${__data.fields.to}&" in url, name
            labels = re.findall(r"label_join\(max by \(([^)]*)\)", panel["targets"][0]["expr"])[0].split(", ")
            joined = '"&var-namespace=", "cluster", "namespace"' if "namespace" in labels else '"", "cluster"'
            ending = f', "to", {joined}), "to", "var-cluster=$1", "to", "(.*)")'
            assert panel["targets"][0]["expr"].endswith(ending), name
            # Where no row has a namespace there is no such column, and the link would hold the name of the field.
            assert "fields.Namespace" not in url, name
        for url in urls:
            assert set(re.findall(r"\$\{__data\.fields\.(\w+)\}", url)) <= {"to", *columns(panel)}, name
    assert leading >= 5


def test_a_table_that_fills_the_page_fits_1400_pixels() -> None:
    for table, panel in of_type("table"):
        sizes = {"custom.width", "custom.minWidth"}
        shown = [heading for heading in columns(panel) if heading != "to"]
        widths = [next(i["value"] for i in properties(panel, name) if i["id"] in sizes) for name in shown]
        # Less Grafana's menu, which is hidden, and what surrounds a panel.
        assert sum(widths) <= 1350 * panel["gridPos"]["w"] / 24, table


def test_the_worst_workloads_have_a_cause_and_the_limit_that_would_be_enough() -> None:
    [panel] = [panel for _, panel in PANELS if panel["title"] == "Which workloads lack CPU, and why?"]
    shown = columns(panel)
    assert shown[shown.index("Limit") + 1] == "Recommended"
    [texts] = [item["value"][0]["options"] for item in properties(panel, "Why") if item["id"] == "mappings"]
    words = [text["text"] for text in texts.values()]
    assert words == ["own quota", "quota above", "waits for CPU", "neighbours"]
    assert all(f"'{word}'" in panel["description"] for word in words)
    # What no metric tells is said, there and on the page.
    assert all("outside of all" in text and "quota inside" in text for text in (panel["description"], PAGE))
