"""The rules a row of the catalogue keeps, so that names, units and reasons need no reviewer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, get_args

import pytest

from exporter.metrics.catalog import CATALOG, FAMILIES, PREFIXES
from exporter.metrics.exposition import Renderer
from exporter.metrics.metric import LABELS, Collector, Family, Kind, Metric
from exporter.model import CgroupRow, CpuStat, Distribution, NodeRow, Pressure, Recommendation, Snapshot
from exporter.settings import OPTIONS
from exporter.settings_sources import load
from tests.support.snapshots import container, node, pod

T = TypeVar("T")


def each(rows: Iterable[T]) -> Callable[[Callable[[T], None]], Callable[[], None]]:
    """One test of all rows: five hundred of their own take seconds to collect. The traceback has the row."""

    def decorate(check: Callable[[T], None]) -> Callable[[], None]:
        def over_all() -> None:
            for row in rows:
                check(row)

        return over_all

    return decorate


each_metric, each_family = each(CATALOG), each(FAMILIES)

COLLECTORS = frozenset(get_args(Collector))

# Base units and what a name of this field may end in instead: https://prometheus.io/docs/practices/naming/
UNITS = ("seconds", "cores", "ratio")
COUNTED = ("restarts", "periods", "cpus", "nodes", "weight", "shares")
VERDICTS = ("state", "exclusive", "isolation", "drift", "assignment", "peak", "distribution", "threshold_ratio")
NOT_BASE = {
    *("ms", "us", "ns", "usec", "nsec", "milliseconds", "microseconds", "nanoseconds", "minutes", "hours"),
    *("millicores", "percent"),
}


@each_family
def test_name_is_legal_and_has_its_row_type_s_prefix(family: Family) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", family.name)
    assert family.name == PREFIXES[family.row_type] + family.metric.name


def test_every_family_has_a_name_of_its_own() -> None:
    suffixes = {"histogram": ("_bucket", "_count", "_sum")}
    names = [family.name + end for family in FAMILIES for end in ("", *suffixes.get(family.metric.kind, ()))]
    assert {name for name, count in Counter(names).items() if count > 1} == set()
    # OpenMetrics takes _total and _info off; what is left must differ too.
    bare = Counter(re.sub(r"_(total|info)$", "", family.name) for family in FAMILIES)
    assert {name for name, count in bare.items() if count > 1} == set()


@each_metric
def test_suffix_says_the_kind(metric: Metric[Any]) -> None:
    assert metric.kind in get_args(Kind)
    assert metric.name.endswith("_total") is (metric.kind == "counter")
    assert (metric.name == "info" or metric.name.endswith("_info")) is (metric.kind == "info")
    assert not re.search(r"_(count|sum|bucket|created)$|^(counter|gauge)_", metric.name)


@each_metric
def test_unit_is_a_base_unit_and_last(metric: Metric[Any]) -> None:
    bare = re.sub(r"_(total|info)$", "", metric.name)
    assert NOT_BASE.isdisjoint(metric.name.split("_"))
    assert metric.kind == "info" or bare.endswith((*UNITS, *COUNTED, *VERDICTS))
    for unit in UNITS:
        assert f"{unit}_" not in bare or bare.startswith("cpu_throttled_ratio_")


@each_family
def test_labels_are_legal_unique_and_begin_with_the_row_type_s_own(family: Family) -> None:
    assert family.labels[: len(LABELS[family.row_type])] == LABELS[family.row_type]
    assert len(set(family.labels)) == len(family.labels)
    assert all(re.fullmatch(r"[a-z][a-z_]*", label) and not label.startswith("__") for label in family.labels)
    assert {"le", "quantile", "job", "instance"}.isdisjoint(family.labels)


def test_metrics_that_divide_carry_the_same_labels() -> None:
    labels = {family.name: family.labels for family in FAMILIES}
    for prefix in ("cgroup_container_", "cgroup_pod_"):
        pairs = ("cpu_throttled_periods_total", "cpu_periods_total", "cpu_throttled_seconds_total", "cpu_limit_cores")
        assert len({labels[prefix + name] for name in pairs}) == 1


@each_metric
def test_only_info_metrics_and_states_carry_more_labels_than_their_row(metric: Metric[Any]) -> None:
    assert metric.kind == "info" or set(metric.labels) <= {"state"}


@each_metric
def test_help_is_one_sentence_for_a_reader_of_the_page(metric: Metric[Any]) -> None:
    assert re.fullmatch(r"[A-Z0-9][^\n]*[^.\s]\.", metric.help)
    assert ". " not in metric.help
    assert metric.help == " ".join(metric.help.split())
    assert len(metric.help) < 120
    assert metric.name not in metric.help


def test_no_two_metrics_have_the_same_help() -> None:
    assert {text for text, count in Counter(metric.help for metric in CATALOG).items() if count > 1} == set()


@each_metric
def test_source_version_and_stability_are_named(metric: Metric[Any]) -> None:
    assert metric.source
    assert metric.source == " ".join(metric.source.split())
    assert not metric.source.endswith(".")
    assert re.fullmatch(r"\d+\.\d+\.\d+", metric.since)
    assert metric.stability in {"experimental", "stable", "deprecated"}


def test_every_collector_is_a_setting_and_every_such_setting_a_collector() -> None:
    settings = {option.field.removeprefix("collector_") for option in OPTIONS if option.field.startswith("collector_")}
    assert settings == COLLECTORS == {metric.collector for metric in CATALOG} - {None}


@pytest.mark.parametrize("collector", sorted(COLLECTORS))
def test_a_switch_for_each_collector_reaches_the_page(collector: str) -> None:
    on = load({f"collector.{collector}": "true"}, {}).collectors
    off = load({f"collector.{collector}": "false"}, {}).collectors
    assert on - off == {collector}


def test_only_rows_of_the_node_are_always_served() -> None:
    assert {row_type for metric in CATALOG if metric.collector is None for row_type in metric.row_types} == {
        "node",
        "pool",
    }


READ: dict[type, set[str]] = {
    CgroupRow: {
        *("namespace", "pod", "container", "live", "ref", "stat", "local_throttled_seconds", "pressure"),
        *("limits", "cpuset", "identity", "pod_identity", "container_spec", "threads"),
    },
    NodeRow: {"hierarchy", "driver", "kernel_release", "online_cpus", "kubelet", "numa_node", "checkpoint"},
}
"""Fields of a row that hold what a file, a path, the kubelet or a pod's spec says. All others are worked out by us."""
ON_THE_PAGE_OF_THEMSELVES = {"counts_periods"}
"""Worked out, but only as the condition under which a read value is served."""


class Recorder:
    """Stands for a row: remembers which of its fields were asked for."""

    def __init__(self, row: Any) -> None:
        self._row = row
        self.asked: set[str] = set()

    def __getitem__(self, at: int) -> Any:
        return self._row[at]

    def __getattr__(self, name: str) -> Any:
        self.asked.add(name)
        return getattr(self._row, name)


FULL = container(
    limit=0.5,
    pressure=Pressure(1.0, 0.5),
    stat=CpuStat(10, 5, 0.5, 1, 0.1, 2.0, 3.0, 2.0, 1.0),
    distribution=Distribution((0, 0, 0, 1, 1, 1), 0.4),
    recommendation=Recommendation(0.6, 0.6, 0.6, 2.0),
)
ROWS: dict[str, Any] = {
    "container": FULL,
    "pod": pod(FULL, limit=1.0),
    "node": node(),
    "pool": ("online", 8),
    "cpu": ("0", "0", "shop", "web", "app"),
}


def asked_of(metric: Metric[Any], row_type: str) -> set[str]:
    recorder = Recorder(ROWS[row_type])
    metric.value(recorder)
    return recorder.asked


@each_metric
def test_a_gauge_that_no_file_holds_says_why_promql_cannot_compute_it(metric: Metric[Any]) -> None:
    for row_type in metric.row_types:
        read = READ.get(type(ROWS[row_type]), set()) | ON_THE_PAGE_OF_THEMSELVES
        derived = asked_of(metric, row_type) - read
        if derived and metric.kind != "info":
            assert metric.kind in {"gauge", "histogram"}, f"a counter is read, not worked out of {derived}"
            assert re.fullmatch(r"[A-Z].*\.", metric.rationale), f"worked out of {derived}"


@each_metric
def test_a_counter_is_what_the_kernel_or_the_kubelet_counts(metric: Metric[Any]) -> None:
    if metric.kind == "counter":
        assert metric.rationale == ""
        for row_type in metric.row_types:
            asked = asked_of(metric, row_type) - ON_THE_PAGE_OF_THEMSELVES
            assert asked <= {"stat", "pressure", "local_throttled_seconds"} or asked == {"identity"}


@each_family
def test_cacheable_families_depend_on_configuration_alone(family: Family) -> None:
    readings = CgroupRow._fields[CgroupRow._fields.index("stat") :]
    if family.cacheable:
        recorder = Recorder(ROWS[family.row_type])
        for function in (family.metric.value, *family.metric.labels.values()):
            function(recorder)
        assert recorder.asked.isdisjoint({*readings, "counts_periods"})


def served(row: CgroupRow, of_pod: CgroupRow) -> set[str]:
    """Names of the families of containers and pods that have samples."""
    text = Renderer(COLLECTORS).render(Snapshot(0.0, 1, 1, (row,), (of_pod,), node()), "text").decode()
    names = {family.name for family in FAMILIES if family.row_type in {"container", "pod"}}
    return {name for name in names if f"# TYPE {name} " in text}


def test_a_row_that_knows_nothing_has_no_sample_but_its_names() -> None:
    unknown: dict[str, Any] = dict.fromkeys(CgroupRow._fields[CgroupRow._fields.index("limits") :])
    nothing = FULL._replace(**unknown)._replace(stat=CpuStat(), intervals=())
    assert served(nothing, nothing._replace(container=None)) == {"cgroup_container_info", "cgroup_pod_info"}
