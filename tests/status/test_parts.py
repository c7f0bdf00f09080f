"""The parts of the page that are drawn or asked for: charts, the map of CPUs, queries, numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.analysis.text import full_name
from exporter.cpulist import cpu_list
from exporter.model import CgroupName
from exporter.report import Series
from exporter.report.summary import cpu_ranges, duration
from exporter.web.status import Links, PageRequest
from exporter.web.status.charts import (
    HEIGHT,
    PAGE_SLOTS,
    ROW_SLOTS,
    Chart,
    binned,
    history_chart,
    page_chart,
    row_chart,
    since,
)
from exporter.web.status.cpumap import LEVELS, MAX_CELLS, CpuMap, cpu_map
from exporter.web.status.rendering import with_settings
from tests.status import nodes
from tests.support import snapshots as make


def series(*ratio: float, interval: float = 1.0, usage: list[float | None] | None = None) -> Series:
    return Series(interval_seconds=interval, ratio=list(ratio), usage_share=usage or [0.5] * len(ratio))


def drawn(chart: Chart | None) -> Chart:
    assert chart is not None
    return chart


# Charts


def test_without_samples_there_is_no_chart() -> None:
    nothing = Series(interval_seconds=None, ratio=[], usage_share=[])

    assert row_chart(nothing, 60) is None
    assert page_chart(nothing, 60) is None


def test_neighbours_of_one_height_are_one_step() -> None:
    chart = drawn(row_chart(series(0.0, 0.5, 0.5, 1.0), 4))

    assert (chart.slots, chart.bars) == (4, "M0 100V100H1V50H3V0H4V100Z")
    assert chart.text.endswith("at most 100 %, 100 % in the newest.")


def test_a_young_container_fills_the_right_end() -> None:
    chart = drawn(row_chart(series(1.0), 60))

    assert (chart.slots, chart.bars) == (60, "M59 100V0H60V100Z")


def test_a_small_value_is_seen_and_zero_is_not() -> None:
    little, nothing = drawn(row_chart(series(0.001), 1)), drawn(row_chart(series(0.0), 1))

    assert little.bars == "M0 100V96H1V100Z"
    assert (nothing.bars, nothing.flat, little.flat) == ("M0 100V100H1V100Z", True, False)


def test_a_gap_in_the_use_breaks_the_line() -> None:
    chart = drawn(page_chart(series(0.0, 0.0, 0.0, usage=[0.5, None, 0.25]), 3))

    assert chart.line == "M0.5 50M2.5 75"


def test_binning_keeps_a_spike() -> None:
    assert binned([0.0, 0.9, 0.0, 0.1, 0.2], 2) == [0.0, 0.9, 0.2]
    assert binned([None, None, 0.5], 2) == [None, 0.5]


@given(
    ratios=st.lists(st.floats(0, 1), min_size=1, max_size=700),
    interval=st.sampled_from([0.1, 0.5, 1.0, 10.0]),
    window=st.sampled_from([10.0, 60.0, 300.0]),
)
def test_every_path_stays_in_its_box(ratios: list[float], interval: float, window: float) -> None:
    one = series(*ratios, interval=interval)
    for chart, most in ((drawn(row_chart(one, window)), ROW_SLOTS), (drawn(page_chart(one, window)), PAGE_SLOTS)):
        assert chart.slots <= most
        for path in (chart.bars, chart.line):
            assert re.fullmatch(r"(?:[MHVL][\d. ]+|Z)*", path)
            xs = [float(x) for x in re.findall(r"[MLH]([\d.]+)", path)]
            ys = [float(y) for y in re.findall(r"(?:V|[ML][\d.]+ )([\d.]+)", path)]
            assert all(0 <= x <= chart.slots for x in xs)
            assert all(0 <= y <= HEIGHT for y in ys)
        assert chart.bars.endswith(f"H{chart.slots}V{HEIGHT}Z")


# The map of CPUs


def map_of(**node: object) -> CpuMap:
    report = nodes.of(make.snapshot(make.pinned("owner", "6-7"), make.container("web"), on=make.node(**node)))
    return cpu_map(report.node()["node"], report.containers()["containers"])


def test_cpus_are_grouped_by_numa_node_with_their_owners() -> None:
    owner = make.named("owner")
    found = map_of(
        owners={6: owner, 7: owner},
        shared_cpus=cpu_list("0-5", ""),
        kubelet=replace(make.static(), reserved_system_cpus="0"),
        cpu_times={cpu: make.busy(cpu / 10) for cpu in range(8)},
    )

    assert [(area.title, area.text) for area in found.numa_nodes] == [
        ("NUMA node 0", "CPUs 0-3, busy: 15 %"),
        ("NUMA node 1", "CPUs 4-7, busy: 55 %"),
    ]
    cells = [cell for area in found.numa_nodes for cell in area.cells]
    assert [cell.state for cell in cells] == ["shared"] * 6 + ["exclusive"] * 2
    assert [cell.letter for cell in cells] == [""] * 6 + ["A", "A"]
    assert [cell.reserved for cell in cells] == [True] + [False] * 7
    assert (cells[7].busy, cells[7].level) == ("70 %", 14)
    assert cells[0].text == "CPU 0: shared, busy: 0 %, reserved for the system"
    assert cells[6].text == "CPU 6: exclusive of shop/owner/app, busy: 60 %"
    assert [
        (one.letter, one.name and full_name(one.name), one.cpus, one.numa, one.busy, one.note) for one in found.owners
    ] == [
        ("A", "shop/owner/app", "6-7", "1", "65 %", ""),
        ("", None, "0-5", "0-1", "25 %", "1 container"),
    ]
    assert found.summary.startswith("8 CPUs online, 2 exclusive to one container, 6 shared, 1 reserved for the system.")
    assert found.summary.endswith(" CPU manager policy: static.")


def test_unknown_cpus_are_called_unknown() -> None:
    found = map_of(numa_node={}, shared_cpus=None, kubelet=None, cpu_times={})

    [area] = found.numa_nodes
    assert (area.title, area.text) == ("NUMA node unknown", "CPUs 0-7, busy: unknown")
    assert {cell.state for cell in area.cells} == {"unknown"}
    assert {cell.busy for cell in area.cells} == {"–"}
    assert area.cells[0].text == "CPU 0: owner unknown, busy: unknown"
    assert found.owners == []
    assert found.summary == "8 CPUs online. CPU manager policy: unknown."


def test_stolen_time_and_interrupts_are_shown() -> None:
    found = map_of(cpu_times={0: make.busy(0.5, steal_seconds=6.0, irq_seconds=3.0)})

    assert found.numa_nodes[0].cells[0].text.endswith("busy: 50 %, 10 % stolen by the hypervisor, 5 % in interrupts")


def test_a_map_has_a_bound_and_says_so() -> None:
    found = map_of(online_cpus=frozenset(range(MAX_CELLS + 76)), numa_node={}, cpu_times={})

    assert sum(len(area.cells) for area in found.numa_nodes) == MAX_CELLS
    assert found.hidden == 76


def test_letters_never_repeat() -> None:
    owners = {cpu: CgroupName("a", str(cpu), "c") for cpu in range(80)}
    found = map_of(online_cpus=frozenset(range(80)), owners=owners, shared_cpus=frozenset(), numa_node={})

    letters = [cell.letter for area in found.numa_nodes for cell in area.cells]
    assert len(set(letters)) == 80
    assert letters[:2] + letters[25:28] + letters[79:] == ["A", "B", "Z", "A2", "B2", "B4"]


@given(st.floats(0, 2))
def test_levels_are_those_of_the_stylesheet(share: float) -> None:
    level = map_of(cpu_times={0: make.busy(share)}).numa_nodes[0].cells[0].level

    assert 0 <= level <= LEVELS


@pytest.mark.parametrize(
    ("cpus", "shown"),
    [("0-3,8", "0-3,8"), ("0,2,4,6", "0-6 step 2"), ("0,2", "0,2"), ("1,2,4", "1,2,4"), ("", ""), ("5", "5")],
)
def test_steps_of_cpus_are_one_range(cpus: str, shown: str) -> None:
    assert cpu_ranges(cpus) == shown


# History


def test_six_hours_are_drawn_with_gaps_where_nothing_is_known() -> None:
    assert history_chart([]) is None
    assert history_chart([None, None]) is None
    chart = drawn(history_chart([None, 0.0, 0.5, 1.0], [None, 0.5, None, 0.25]))
    assert (chart.bars, chart.line) == ("M0 100V100H2V50H3V0H4V100Z", "M1.5 50M3.5 75")
    assert chart.text.endswith("at most 100 %, 100 % at the end.")
    assert drawn(history_chart([None, 0.0])).flat


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ([0.5, 0.0], ""), ([None], ""), ([0.0, 0.5], "1 min"), ([0.5, None, 0.1, 0.1], "2 min"),
        ([0.5] * 3, "at least 3 min"), ([0.0, *[0.5] * 180], "3 h"),
    ],
)  # fmt: skip
def test_since_when_it_is_throttled(ratios: list[float | None], said: str) -> None:
    assert since(ratios) == said


# Requests


@pytest.mark.parametrize(
    ("query", "request_", "same"),
    [
        ({}, PageRequest(), "?"),
        ({"all": ""}, PageRequest(all=True), "?all=1"),
        ({"refresh": "10"}, PageRequest(refresh=10), "?refresh=10"),
        ({"namespace": "shop", "sort": "lost", "q": " api "}, PageRequest(namespace="shop", sort="lost", text="api"),
         "?namespace=shop&q=api&sort=lost"),
        ({"sort": "impact"}, PageRequest(), "?"),
        ({"sort": "other", "unknown": "x"}, PageRequest(), "?"),
        ({"q": "a&b=c\udc80"}, PageRequest(text="a&b=c\udc80"), "?q=a%26b%3Dc%3F"),
        *(
            ({"refresh": text}, PageRequest(), "?")
            for text in ("", "0", "-1", "3601", "1e3", "99999999", "½", "٣", "10;url=x")
        ),
    ],
)  # fmt: skip
def test_a_query_is_read_and_written(query: dict[str, str], request_: PageRequest, same: str) -> None:
    assert PageRequest.of(None, query) == request_
    assert request_.query() == same


def test_links_keep_the_rest_of_the_query() -> None:
    asked = PageRequest(namespace="shop", all=True, refresh=5)

    assert asked.query(all=False, sort="use") == "?namespace=shop&sort=use&refresh=5"
    assert (asked.onward, PageRequest().onward) == ("?refresh=5", "")


def test_a_container_s_page_has_no_filter() -> None:
    name = CgroupName("a", "b", "c")
    assert PageRequest.of(name, {"all": "", "q": "x", "refresh": "3"}) == PageRequest(name, refresh=3)


def test_a_dashboard_is_linked_where_grafana_is_known() -> None:
    name = CgroupName("shop", "web-1", "app")
    with_grafana = Links("/", "/metrics", "https://grafana.example/")

    assert Links("/", "/metrics").dashboard(name) == ""
    assert with_grafana.dashboard(CgroupName("", "uid", "id")) == ""
    assert with_grafana.dashboard(name) == (
        "https://grafana.example/d/kte-workload?var-namespace=shop&var-pod=web-1&var-container=app"
    )


# Words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"), (0.25, "0.25 s"), (34.0, "34 s"), (119.0, "119 s"), (180.0, "3 min"), (9000.0, "2 h"),
        (200000.0, "2 days"),
    ],
)  # fmt: skip
def test_how_long_ago(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_settings_are_marked_after_escaping() -> None:
    assert with_settings("a<b (A_B=1, -XX:C=2), x&y=3") == (
        "a&lt;b (<code>A_B=1</code>, <code>-XX:C=2</code>), x&amp;<code>y=3</code>"
    )
