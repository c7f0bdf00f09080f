"""The few kinds of panel the dashboards are made of; each asks for what a reader needs: unit, description, legend."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import NamedTuple

from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import dashboard as dashboard_builder
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE = "green", "dark-yellow", "orange", "red", "blue", "purple"
GREY = "#8e8e8e"

# Grafana's names of units.
RATIO, SECONDS, COUNT, BYTES = "percentunit", "s", "short", "bytes"
CORES = "suffix: CPUs"
SECONDS_PER_SECOND = "suffix: CPU-s/s"
PERIODS_PER_SECOND = "suffix: periods/s"
ERRORS_PER_SECOND = "suffix: errors/s"
NO_POD = "(no pod)"
NAMES_OF_PODS = frozenset({"namespace", "pod", "workload"})
WIDTHS = {
    "alertname": 250,
    "cluster": 90,
    "namespace": 110,
    "workload_kind": 100,
    "container": 118,
    "cpus": 90,
    "node": 110,
    "cfs_quota_bug": 120,
    "version": 80,
    "driver": 90,
    "topology_policy": 130,
    "policy": 170,
    "cfs_quota": 130,
}
"""Of columns in pixels, so that names of workloads and pods, which have none, get the rest."""
NAME_WIDTH, POD_WIDTH = 150, 224
"""The least of columns of names, below which the table scrolls."""
UNIT_WIDTHS = {SECONDS_PER_SECOND: 112, CORES: 98}
STEP = "1m"
"""Least time between two points of a graph: rules record once a minute."""
POINTS = 100
"""Of a line, at most: in three hours one in two minutes, as many as can be told apart in half a screen."""
HALF, WIDE = 12, 24
"""Columns of a page's 24."""
IN_CLUSTER = "${__data.fields.to}"
"""In a link of a table: the row's own cluster and namespace, also where no series has such a label."""

_RECORDED = re.compile(r"\b\w+:cgroup_\w+:\w+")

Steps = Sequence[tuple[float, str]]
"""Colours from a value on; below the first all is green."""


class Query(NamedTuple):
    """An expression and the legend of its lines."""

    expr: str
    legend: str
    style: Mapping[str, object] | None = None
    """Of lines with a fixed legend: field options such as ``custom.lineStyle``, and ``color``."""
    instant: bool = False
    """Of a number: without its past, for what reads raw series."""


def worst(series: str, by: str) -> str:
    """Return the ten largest of a selector or an expression, by their highest value in the dashboard's time range."""
    # A range is only allowed for a selector; anything else is evaluated as a subquery, at the points of the graph: at
    # every minute of a week that is 10,000 times.
    span = "$__range:$__interval" if "(" in series else "$__range"
    return f"{series} and on ({by}) topk(10, max_over_time({series}[{span}] @ end()))"


def fixed(colour: str, *, width: int = 2, dashed: bool = False) -> Mapping[str, object]:
    """Return the style of one line: a fixed colour, unfilled; dashed for limits and requests."""
    style: dict[str, object] = {
        "color": {"mode": "fixed", "fixedColor": colour},
        "custom.lineWidth": width,
        "custom.fillOpacity": 0,
        "custom.stacking": {"mode": "none", "group": "fixed"},
    }
    return style | ({"custom.lineStyle": {"fill": "dash", "dash": [8, 6]}} if dashed else {})


class Column(NamedTuple):
    """One number of a table's rows; the largest of series that differ in other labels only."""

    title: str
    expr: str
    unit: str
    steps: Steps = ()
    decimals: int = 2
    texts: Mapping[int, tuple[str, str]] | None = None
    """Value -> (text, colour), where the number only stands for a word."""
    shown: bool = True
    """False for an info metric, of which only labels are shown."""


class Link(NamedTuple):
    """A link of a table's cell."""

    title: str
    url: str


def _special(match: str, text: str, colour: str) -> dashboard.SpecialValueMap:
    return dashboard.SpecialValueMap(
        options=dashboard.DashboardSpecialValueMapOptions(
            match=dashboard.SpecialValueMatch(match), result=dashboard.ValueMappingResult(text=text, color=colour)
        )
    )


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    span: int = HALF,
    steps: Steps = (),
    stacked: bool = False,
    links: Sequence[tuple[str, str]] = (),
    no_value: str,
) -> timeseries.Panel:
    """Lines over time; ``steps`` are drawn as dashed lines, ``no_value`` says why there may be none."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .no_value(_reason(no_value, [query.expr for query in queries]))
        .interval(STEP)
        .max_data_points(POINTS)
        .height(10)
        .span(span)
        .line_width(1)
        .fill_opacity(25 if stacked else 0)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            common_builder.VizLegendOptions()
            .show_legend(True)
            # Below 992 px Grafana puts every legend below its graph, in a third of the height: room for four rows of a
            # table, or of three names each.
            .display_mode(common.LegendDisplayMode.LIST if span == WIDE else common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.RIGHT if span == HALF else common.LegendPlacement.BOTTOM)
            .width(380)
            .calcs(["lastNotNull"])
            .sort_by("Last *")
            .sort_desc(True)
        )
        .tooltip(
            common_builder.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
    )
    if stacked:
        panel.stacking(common_builder.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if unit == RATIO:
        panel.max(1)
    if steps:
        panel.thresholds(_thresholds(steps)).thresholds_style(
            common_builder.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.DASHED)
        )
    if links:
        panel.data_links([_link(name, url) for name, url in links])
    for letter, query in zip(ascii_uppercase, queries, strict=False):
        panel.with_target(range_target(letter, query))
        if query.style:
            style = [dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in query.style.items()]
            panel.override_by_name(query.legend, style)
    return panel


def number(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str,
    span: int = 8,
    steps: Steps = (),
    no_value: str,
    colour: str = "",
) -> stat.Panel:
    """One number with its recent past; ``no_value`` says what an empty answer means, and is grey, never green.

    ``colour``: one for all values.
    """
    query = query._replace(expr=f"{query.expr} or vector(NaN)")
    target = range_target("A", query)
    if query.instant:
        target.instant()
    mode = dashboard.FieldColorModeId.FIXED if colour else dashboard.FieldColorModeId.THRESHOLDS
    scheme = dashboard_builder.FieldColor().mode(mode)
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .interval(STEP)
        .height(3)
        .span(span)
        .min(0)
        .no_value(no_value)
        .mappings([_special("null+nan", no_value, GREY)])
        .thresholds(_thresholds(steps))
        .color_scheme(scheme.fixed_color(colour) if colour else scheme)
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.AREA)
        .text(common_builder.VizTextDisplayOptions().value_size(28))
        .reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .with_target(target)
    )


def rows(
    title: str,
    description: str,
    *columns: Column,
    labels: Mapping[str, str],
    span: int = 24,
    height: int = 9,
    links: Mapping[str, Link] | None = None,
    sort: str | None = None,
    no_value: str,
) -> table.Panel:
    """A table of current values: ``labels`` (label -> heading) first, in that order, then one number per column.

    Every column is aggregated by the row's labels, so that all of them join in one row per subject. ``links``: heading
    -> link. Sorted by ``sort``, ascending, or by the first number, largest first.
    """
    hidden = [] if "cluster" in labels else ["cluster"]
    values = [f"Value #{letter}" for letter, _ in zip(ascii_uppercase, columns, strict=False)]
    if len(columns) == 1:
        values = ["Value"]
    names = dict(zip(values, (column.title for column in columns), strict=True)) if columns[0].shown else {}
    organize = {
        # Not includeByName: Grafana before 10.4 ignores it.
        "excludeByName": dict.fromkeys(["Time", *([] if columns[0].shown else values), *hidden], True),
        "indexByName": {name: index for index, name in enumerate([*labels, *names, "to"])},
        "renameByName": {**labels, **names},
    }
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(columns[0].unit)
        .height(height)
        .span(span)
        .cell_height(common.TableCellHeight.SM)
        .sort_by([common_builder.TableSortByFieldState().display_name(sort or columns[0].title).desc(sort is None)])
        .with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=organize))
        .no_value(_reason(no_value, [column.expr for column in columns[:1]]))
    )
    for letter, column in zip(ascii_uppercase, columns, strict=False):
        expr = f"max by ({', '.join([*labels, *hidden])}) ({column.expr})"
        if letter == "A" and IN_CLUSTER in "".join(link.url for link in (links or {}).values()):
            # A column that no row has a value for does not exist, and a link would keep its name: hence both in one.
            inside = ' "&var-namespace=", "cluster", "namespace"' if "namespace" in labels else ' "", "cluster"'
            expr = f'label_replace(label_join({expr}, "to",{inside}), "to", "var-cluster=$1", "to", "(.*)")'
        query = prometheus.Dataquery().expr(expr).legend_format(column.title).ref_id(letter)
        panel.with_target(query.instant().format(PromQueryFormat.TABLE).datasource(SOURCE))
        panel.override_by_name(column.title, _cell(column, sorted_by=letter == "A" and sort is None))
    hide = {
        "custom.hidden": True,
        "custom.hideFrom": {"viz": True, "legend": True, "tooltip": True},
    }  # before, and from 12
    panel.override_by_name(
        "to", [dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in hide.items()]
    )
    headings: dict[str, list[dashboard.DynamicConfigValue]] = {}
    for label, heading in labels.items():
        width = WIDTHS.get(label)
        size = ("custom.width", width) if width else ("custom.minWidth", POD_WIDTH if label == "pod" else NAME_WIDTH)
        headings[heading] = [dashboard.DynamicConfigValue(id_val=size[0], value=size[1])]
        text = NO_POD if label in NAMES_OF_PODS and "alertname" not in labels else "–"
        unnamed = {"type": "special", "options": {"match": "empty", "result": {"text": text, "color": GREY}}}
        headings[heading].append(dashboard.DynamicConfigValue(id_val="mappings", value=[unnamed]))
    for heading, link in (links or {}).items():
        headings[heading].append(
            dashboard.DynamicConfigValue(id_val="links", value=[{"title": link.title, "url": link.url}])
        )
    for heading, options in headings.items():
        panel.override_by_name(heading, options)
    return panel


def value_texts(texts: Mapping[int, tuple[str, str]]) -> dashboard.ValueMap:
    """Return a mapping of values to texts and colours."""
    return dashboard.ValueMap(
        options={
            str(value): dashboard.ValueMappingResult(text=text, color=colour) for value, (text, colour) in texts.items()
        }
    )


def range_target(letter: str, query: Query) -> prometheus.Dataquery:
    """Return a query over the time range of the dashboard."""
    asked = prometheus.Dataquery()
    if "$__rate_interval" in query.expr:
        # Four of these: the data source's own, 15 s unless somebody sets it, is too short for scrapes every minute.
        asked.interval(STEP)
    return (
        asked.expr(query.expr)
        .legend_format(query.legend)
        .ref_id(letter)
        .range()
        .format(PromQueryFormat.TIME_SERIES)
        .datasource(SOURCE)
    )


def _reason(no_value: str, expressions: Sequence[str]) -> str:
    # Good news, such as that nothing is lost, must not be told by a Prometheus that records nothing.
    recorded = all(_RECORDED.search(expression) for expression in expressions)
    return f"{no_value}, or no recording rules" if recorded else no_value


def _thresholds(steps: Steps) -> dashboard_builder.ThresholdsConfig:
    # Green means that a value is below its threshold; without one it means nothing.
    base = dashboard.Threshold(value=None, color=GREEN if steps else "text")
    rest = [dashboard.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard_builder.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps([base, *rest])


def _cell(column: Column, *, sorted_by: bool) -> list[dashboard.DynamicConfigValue]:
    longest = max((len(text) for text, _ in (column.texts or {}).values()), default=0)
    options: dict[str, object] = {
        "unit": column.unit,
        "decimals": column.decimals,
        "custom.width": max(
            UNIT_WIDTHS.get(column.unit, 80), (46 if sorted_by else 28) + 8 * len(column.title), 20 + 8 * longest
        ),
    }
    unknown = {"type": "special", "options": {"match": "null+nan", "result": {"text": "–"}}}
    options["mappings"] = [unknown]
    if column.texts:
        texts = {str(value): {"text": text, "color": colour} for value, (text, colour) in column.texts.items()}
        options |= {
            "mappings": [{"type": "value", "options": texts}, unknown],
            "custom.cellOptions": {"type": "color-text"},
        }
    cell = [dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in options.items()]
    if column.steps:
        steps = [{"value": None, "color": GREEN}, *({"value": at, "color": colour} for at, colour in column.steps)]
        cell.append(dashboard.DynamicConfigValue(id_val="thresholds", value={"mode": "absolute", "steps": steps}))
        cell.append(dashboard.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
    return cell


def _link(name: str, url: str) -> dashboard_builder.DashboardLink:
    return dashboard_builder.DashboardLink(name).url(url)
