"""The parts of the page that are drawn or asked for: charts, the map of CPUs, queries, numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.analysis.findings import Name, find
from exporter.cpulist import cpu_list
from exporter.model import CgroupName
from exporter.report.documents import Report
from exporter.report.schema import Series
from exporter.report.summary import cpu_ranges, duration
from exporter.web.status import Links, PageRequest, style
from exporter.web.status.charts import HEIGHT, PAGE_SLOTS, ROW_SLOTS, Chart, binned, history_chart, since, window_chart
from exporter.web.status.rendering import MAX_CPUS, with_settings
from tests.conftest import Generated
from tests.status import nodes
from tests.status.html import Element
from tests.status.page import GOLDEN, outline, overview_of
from tests.support import snapshots as make


def series(*ratio: float, interval: float = 1.0, usage: list[float | None] | None = None) -> Series:
    return Series(interval_seconds=interval, ratio=list(ratio), usage_share=usage or [0.5] * len(ratio))


def drawn(one: Series, seconds: float, *, slots: int = ROW_SLOTS, with_use: bool = False) -> Chart:
    chart = window_chart(one, seconds, slots=slots, with_use=with_use)
    assert chart is not None
    return chart


# Charts


@pytest.mark.parametrize(
    ("ratios", "seconds", "slots", "bars"),
    [
        ((0.0, 0.5, 0.5, 1.0), 4, 4, "M0 100V100H1V50H3V0H4V100Z"),  # neighbours of one height are one step
        ((1.0,), 60, 60, "M59 100V0H60V100Z"),  # a young container fills the right end
        ((0.001,), 1, 1, "M0 100V96H1V100Z"),  # a small value is seen
    ],
)
def test_the_ratio_is_drawn(ratios: tuple[float, ...], seconds: float, slots: int, bars: str) -> None:
    chart = drawn(series(*ratios), seconds)

    assert (chart.slots, chart.bars, chart.flat) == (slots, bars, False)
    assert drawn(series(0.0), 1).flat
    assert window_chart(Series(interval_seconds=None, ratio=[], usage_share=[]), 60, slots=ROW_SLOTS) is None


def test_a_gap_in_the_use_breaks_the_line() -> None:
    chart = drawn(series(0.0, 0.0, 0.0, usage=[0.5, None, 0.25]), 3, with_use=True)

    assert (chart.bars, chart.line) == ("M0 100V100H3V100Z", "M0.5 50M2.5 75")


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
    for most in (ROW_SLOTS, PAGE_SLOTS):
        chart = drawn(one, window, slots=most, with_use=True)
        assert chart.slots <= most
        for path in (chart.bars, chart.line):
            assert re.fullmatch(r"(?:[MHVL][\d. ]+|Z)*", path)
            xs = [float(x) for x in re.findall(r"[MLH]([\d.]+)", path)]
            ys = [float(y) for y in re.findall(r"(?:V|[ML][\d.]+ )([\d.]+)", path)]
            assert all(0 <= x <= chart.slots for x in xs)
            assert all(0 <= y <= HEIGHT for y in ys)
        assert chart.bars.endswith(f"H{chart.slots}V{HEIGHT}Z")


def test_six_hours_are_drawn_with_gaps_where_nothing_is_known() -> None:
    assert history_chart([]) is history_chart([None, None]) is None
    chart, flat = history_chart([None, 0.0, 0.5, 1.0], [None, 0.5, None, 0.25]), history_chart([None, 0.0])
    assert chart is not None
    assert (chart.bars, chart.line) == ("M0 100V100H2V50H3V0H4V100Z", "M1.5 50M3.5 75")
    assert chart.description.endswith("at most 100 %, 100 % at the end.")
    assert flat is not None
    assert flat.flat


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ([0.5, 0.0], ""), ([None], ""), ([0.0, 0.5], "1 min"), ([0.5, None, 0.1, 0.1], "2 min"),
        ([0.5] * 3, "at least 3 min"), ([0.0, *[0.5] * 180], "3 h"),
    ],
)  # fmt: skip
def test_since_when_it_is_throttled(ratios: list[float | None], said: str) -> None:
    assert since(ratios) == said


# The map of CPUs


def map_of(**node: object) -> Element:
    snapshot = make.snapshot(make.pinned("owner", "6-7"), make.container("web"), on=make.node(**node))
    return overview_of(Report(snapshot, find(snapshot), nodes.HEALTHY)).by_id("cpus")


def cells_of(section: Element) -> list[Element]:
    return [cell for area in section.every("ul", "cpus") for cell in area.every("li")]


MAPS: dict[str, dict[str, object]] = {
    "cpus": {
        "owners": dict.fromkeys((6, 7), make.named("owner")),
        "shared_cpus": cpu_list("0-5", ""),
        "kubelet": replace(make.static(), reserved_system_cpus="0"),
        "cpu_times": {cpu: make.busy(cpu / 10) for cpu in range(8)}
        | {4: make.busy(0.4, steal_seconds=6.0, irq_seconds=3.0)},
    },
    "cpus-unknown": {"numa_node": {}, "shared_cpus": None, "kubelet": None, "cpu_times": {}},
}


@pytest.mark.golden
@pytest.mark.parametrize("name", MAPS)
def test_a_map_shows_owners_numa_nodes_and_use(generated: Generated, name: str) -> None:
    generated(GOLDEN / f"{name}.txt", "\n".join(outline(map_of(**MAPS[name]))) + "\n")


def test_a_map_has_a_bound_and_says_so() -> None:
    section = map_of(online_cpus=frozenset(range(MAX_CPUS + 76)), numa_node={}, cpu_times={})

    assert len(cells_of(section)) == MAX_CPUS
    assert "76 more CPUs are not drawn." in section.text


def test_letters_never_repeat() -> None:
    owners = {cpu: CgroupName("a", str(cpu), "c") for cpu in range(80)}
    section = map_of(online_cpus=frozenset(range(80)), owners=owners, shared_cpus=frozenset(), numa_node={})

    letters = [cell.one("span", "owner").text for cell in cells_of(section)]
    assert len(set(letters)) == 80
    assert letters[:2] + letters[25:28] + letters[79:] == ["A", "B", "Z", "A2", "B2", "B4"]


@pytest.mark.parametrize("share", [0.0, 0.024, 0.5, 1.0, 2.0])
def test_levels_are_those_of_the_stylesheet(share: float) -> None:
    [level] = cells_of(map_of(cpu_times={0: make.busy(share)}))[0].classes - {"shared"}

    assert f".{level} {{ --busy: {round(20 * min(share, 1.0)) * 5}%; }}" in style()


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
    name = CgroupName("a", "b", "c")
    assert PageRequest.of(None, query) == request_
    assert request_.query() == same
    # A container's page has no filter.
    assert PageRequest.of(name, query) == PageRequest(name, refresh=request_.refresh)


def test_links_keep_the_rest_of_the_query() -> None:
    asked = PageRequest(namespace="shop", all=True, refresh=5)

    assert asked.query(all=False, sort="use") == "?namespace=shop&sort=use&refresh=5"
    assert (asked.onward, PageRequest().onward) == ("?refresh=5", "")


def test_a_dashboard_is_linked_where_grafana_is_known() -> None:
    name = Name(namespace="shop", pod="web-1", container="app")
    with_grafana = Links("/", "/metrics", "https://grafana.example/")

    assert Links("/", "/metrics").dashboard(name) == ""
    assert with_grafana.dashboard(Name(namespace="", pod="uid", container="id")) == ""
    assert with_grafana.dashboard(name) == (
        "https://grafana.example/d/kte-workload?var-namespace=shop&var-pod=web-1&var-container=app"
    )


# Words


@pytest.mark.parametrize(
    ("cpus", "shown"),
    [("0-3,8", "0-3,8"), ("0,2,4,6", "0-6 step 2"), ("0,2", "0,2"), ("1,2,4", "1,2,4"), ("", ""), ("5", "5")],
)
def test_steps_of_cpus_are_one_range(cpus: str, shown: str) -> None:
    assert cpu_ranges(cpus) == shown


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
