"""The few kinds of panel the dashboards are made of; each asks for what a reader needs: unit, description, legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import NamedTuple

from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import dashboard as dashboard_builder
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, ORANGE, RED, GREY = "green", "yellow", "orange", "red", "#8e8e8e"

# Grafana's names of units.
RATIO, CORES, SECONDS, PER_SECOND, COUNT, BYTES = "percentunit", "none", "s", "cps", "short", "bytes"
SECONDS_PER_SECOND = "suffix: s/s"

Steps = Sequence[tuple[float, str]]
"""Colours from a value on; below the first all is green."""


class Query(NamedTuple):
    """What is asked, and what its lines are called."""

    expr: str
    legend: str


class Column(NamedTuple):
    """One number of a table's rows."""

    title: str
    expr: str
    unit: str
    steps: Steps = ()
    decimals: int = 2


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    span: int = 12,
    steps: Steps = (),
    stacked: bool = False,
    top: float | None = None,
    links: Sequence[tuple[str, str]] = (),
) -> timeseries.Panel:
    """Lines over time; ``steps`` are drawn as dashed lines, ``top`` is the axis' end where there is one."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .height(8)
        .span(span)
        .line_width(1)
        .fill_opacity(25 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            common_builder.VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .calcs(["lastNotNull", "max"])
            .sort_by("Max")
            .sort_desc(True)
        )
        .tooltip(
            common_builder.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
    )
    if stacked:
        panel.stacking(common_builder.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if top is not None:
        panel.max(top)
    if steps:
        panel.thresholds(_thresholds(steps)).thresholds_style(
            common_builder.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.DASHED)
        )
    if links:
        panel.data_links([_link(name, url) for name, url in links])
    for letter, query in zip(ascii_uppercase, queries, strict=False):
        panel.with_target(_target(letter, query))
    return panel


def number(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str,
    span: int = 4,
    steps: Steps = (),
    no_value: str = "none",
) -> stat.Panel:
    """One number now, with its recent past behind it; ``no_value`` says what an empty answer means."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .height(4)
        .span(span)
        .no_value(no_value)
        .thresholds(_thresholds(steps))
        .color_scheme(dashboard_builder.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .with_target(_target("A", query))
    )


def rows(
    title: str,
    description: str,
    *columns: Column,
    labels: Mapping[str, str],
    span: int = 24,
    height: int = 9,
    links: Mapping[str, tuple[str, str]] | None = None,
    sort: str | None = None,
    numbers: bool = True,
) -> table.Panel:
    """A table of what is now: ``labels`` (label -> heading) first, in that order, then one number a column.

    ``links``: heading -> (what the link says, where it leads). Sorted by ``sort`` or the first number, worst first.
    Where labels are all there is to say, as in info metrics, ``numbers`` is false.
    """
    names = {f"Value #{letter}": column.title for letter, column in zip(ascii_uppercase, columns, strict=False)}
    if len(columns) == 1:
        names = {"Value": columns[0].title, **names}
    if not numbers:
        names = {}
    organize = {
        "includeByName": dict.fromkeys([*labels, *names], True),
        "indexByName": {name: index for index, name in enumerate([*labels, *names])},
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
    )
    for letter, column in zip(ascii_uppercase, columns, strict=False):
        query = prometheus.Dataquery().expr(column.expr).legend_format(column.title).ref_id(letter)
        panel.with_target(query.instant().format(PromQueryFormat.TABLE).datasource(SOURCE))
        panel.override_by_name(column.title, _cell(column))
    for heading, (name, url) in (links or {}).items():
        panel.override_by_name(
            heading, [dashboard.DynamicConfigValue(id_val="links", value=[{"title": name, "url": url}])]
        )
    return panel


def states(
    title: str, description: str, *queries: Query, texts: Mapping[int, tuple[str, str]], span: int = 12
) -> statetimeline.Panel:
    """Bands over time; ``texts``: value -> (what it means, its colour)."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(COUNT)
        .height(8)
        .span(span)
        .merge_values(True)
        .show_value(common.VisibilityMode.AUTO)
        .fill_opacity(70)
        .line_width(0)
        .mappings(
            [
                dashboard.ValueMap(
                    options={
                        str(value): dashboard.ValueMappingResult(text=text, color=colour)
                        for value, (text, colour) in texts.items()
                    }
                )
            ]
        )
    )
    for letter, query in zip(ascii_uppercase, queries, strict=False):
        panel.with_target(_target(letter, query))
    return panel


def _target(letter: str, query: Query) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(query.expr)
        .legend_format(query.legend)
        .ref_id(letter)
        .range()
        .format(PromQueryFormat.TIME_SERIES)
        .datasource(SOURCE)
    )


def _thresholds(steps: Steps) -> dashboard_builder.ThresholdsConfig:
    base = dashboard.Threshold(value=None, color=GREEN)
    rest = [dashboard.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard_builder.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps([base, *rest])


def _cell(column: Column) -> list[dashboard.DynamicConfigValue]:
    options = {"unit": column.unit, "decimals": column.decimals}
    cell = [dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in options.items()]
    if column.steps:
        steps = [{"value": None, "color": GREEN}, *({"value": at, "color": colour} for at, colour in column.steps)]
        cell.append(dashboard.DynamicConfigValue(id_val="thresholds", value={"mode": "absolute", "steps": steps}))
        cell.append(dashboard.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
    return cell


def _link(name: str, url: str) -> dashboard_builder.DashboardLink:
    return dashboard_builder.DashboardLink(name).url(url)
