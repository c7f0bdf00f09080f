"""What pages, what is a ticket and what is silent, from which minute to which, at each scrape interval."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from dashboards.rules import ROOT
from tests.conftest import Generated
from tests.rules.catalogue import (
    BEGIN,
    CALM,
    END,
    HIGH,
    LATENCY,
    MINUTE,
    MINUTES,
    ONE_THREAD,
    ROWS,
    SEVENTY,
    SEVERE,
    STOPPED,
    always,
    loaded,
    told,
)
from tests.rules.scenario import IN_ORDER, NODE_1, Order, Series
from tests.rules.timeline import Fired, Life, Second, Trace, counted, firing

SCRAPES = (15, 30, 60)
PAGE_WITHIN, END_WITHIN = 7, 10
"""Minutes after the onset, and after the repair."""
DOC = ROOT / "docs" / "numbers.md"
pytestmark = pytest.mark.timeout(240)
ByWorkload = Mapping[tuple[str, str], Fired]
"""Of one row, by cluster and workload."""


@cache
def found(scrape: int, order: Order) -> Mapping[str, ByWorkload]:
    """What fired, by row; rows of one length are one run of promtool."""
    asked = {key: ROWS[key] for one, other, key in RUNS if (one, other) == (scrape, order)}
    made: dict[str, dict[tuple[str, str], Fired]] = {key: {} for key in asked}
    with tempfile.TemporaryDirectory() as workspace:
        for minutes in {row.minutes for row in asked.values()}:
            rows = {key: row for key, row in asked.items() if row.minutes == minutes}
            series = chain.from_iterable(row.series(key, scrape) for key, row in rows.items())
            for (cluster, workload), fired in firing(Path(workspace), series, minutes, scrape, order).items():
                made[cluster.partition("/")[0]][cluster, workload] = fired
    return made


RUNS = [(scrape, IN_ORDER, key) for scrape in SCRAPES for key in ROWS]
RUNS += [(60, Order(last_group_first=True, phase=3), key) for key in ROWS if not key.startswith("rollout")]


@pytest.mark.parametrize(("scrape", "order", "key"), RUNS)
def test_it_pages_is_a_ticket_or_silent(scrape: int, order: Order, key: str) -> None:
    row, alerts = ROWS[key], found(scrape, order)[key]
    names = {name for fired in alerts.values() for name in fired}
    assert row.must <= names <= row.must | row.may
    of_workloads = [fired for fired in alerts.values() if HIGH in fired or SEVERE in fired]
    assert len(of_workloads) <= len(row.clusters), "one alert for one workload of one cluster"
    for fired in of_workloads:
        for name in row.must & set(fired):
            assert len(fired[name]) == 1, "it does not flap"
            [(begin, end)] = fired[name]
            assert end <= END + END_WITHIN
            assert name != SEVERE or begin <= BEGIN + row.page_within


@pytest.mark.docs
def test_the_table_of_the_page_about_numbers_is_what_fires(generated: Generated) -> None:
    def cell(key: str, scrape: int) -> str:
        merged: dict[str, set[tuple[int, int]]] = {}
        for fired in found(scrape, IN_ORDER)[key].values():
            for name, stretches in fired.items():
                merged.setdefault(name, set()).update(stretches)
        return told({name: sorted(stretches) for name, stretches in merged.items()})

    lines = ["| Load | scraped every 15 s | every 30 s | every 60 s |", "| --- | --- | --- | --- |"]
    for key, row in ROWS.items():
        lines.append(f"| {row.load} | {' | '.join(cell(key, scrape) for scrape in SCRAPES)} |")
    begin, end = "<!-- made by make docs: catalogue -->\n", "<!-- end -->"
    head, _, rest = DOC.read_text(encoding="utf-8").partition(begin)
    table = "".join(f"{line}\n" for line in lines)
    generated(DOC, head + begin + table + end + rest.partition(end)[2])


BUILD = Series("throttle_exporter_build_info", NODE_1.labels, "1x400")
LOADS = {"one": ONE_THREAD, "ten": STOPPED, "70": SEVENTY, "55": Second(0.4, 0.5, 10, 5.5), "latency": LATENCY}
ORDERS = [(60, 15, Order()), (15, 40, Order(last_group_first=True, phase=1))]
ORDERS += [(60, 20 + phase, Order(last_group_first=True, phase=phase)) for phase in range(4)]


@pytest.mark.parametrize(("scrape", "length", "order"), ORDERS)
def test_it_pages_within_7_minutes_and_ends_within_10_in_every_phase(
    scrape: int, length: int, order: Order, tmp_path: Path
) -> None:
    """Onset and repair are at any second between two evaluations of any group."""
    onsets = {f"{name}-{shift}": BEGIN * MINUTE + shift for name in LOADS for shift in range(1, 241, 37)}
    traces = [
        Trace(
            loaded(LOADS[name.partition("-")[0]], begin=onset, end=onset + length * MINUTE),
            pod=name,
            workload=name,
        )
        for name, onset in onsets.items()
    ]
    minutes = BEGIN + length + 16
    series = [BUILD, *chain.from_iterable(trace.series(minutes, scrape) for trace in traces)]
    alerts = firing(tmp_path, series, minutes, scrape, order)

    for name, onset in onsets.items():
        fired = alerts["east", name]
        assert set(fired) - {HIGH} == (set() if name.startswith("latency") else {SEVERE}), name
        for alert, stretches in fired.items():
            [(begin, end)] = stretches
            assert alert != SEVERE or begin - onset / MINUTE <= PAGE_WITHIN, (name, begin)
            assert end - onset / MINUTE - length <= END_WITHIN, (name, alert, end)


@pytest.mark.parametrize(("scrape", "order"), [(scrape, order) for scrape, _, order in ORDERS])
@pytest.mark.parametrize(("length", "calm"), [(1800, 180), (600, 240)])
def test_some_better_minutes_end_no_page_in_any_phase(
    scrape: int, order: Order, length: int, calm: int, tmp_path: Path
) -> None:
    """The last ``calm`` of each ``length`` seconds."""
    loads = {"ten": STOPPED, "70": SEVENTY} if calm == 180 else {"ten": STOPPED}
    onsets = {f"{name}-{shift}": BEGIN * MINUTE + shift for name in loads for shift in range(1, 241, 37)}

    def life(name: str, onset: int) -> Life:
        what = loads[name.partition("-")[0]]
        return lambda second: what if second >= onset and (second - onset) % length < length - calm else CALM

    traces = [Trace(life(name, onset), pod=name, workload=name) for name, onset in onsets.items()]
    series = [BUILD, *chain.from_iterable(trace.series(MINUTES, scrape) for trace in traces)]
    alerts = firing(tmp_path, series, MINUTES, scrape, order)

    assert {name: len(alerts["east", name][SEVERE]) for name in onsets} == dict.fromkeys(onsets, 1)


def test_a_gap_of_the_scrape_ends_no_ticket_and_makes_no_old_pod_young(tmp_path: Path) -> None:
    """Six minutes without samples."""
    series = [BUILD]
    for one in Trace(always(STOPPED)).series(60, 60):
        values = one.values.split(" ")
        values[30:36] = ["stale", *["_"] * 5]
        series.append(replace(one, values=" ".join(values)))
    [fired] = firing(tmp_path, series, 60, 60).values()

    assert [end for _, end in fired[HIGH]] == [61]
    [(_, gone), (back, end)] = fired[SEVERE]
    assert gone >= 36
    assert (back <= 42, end) == (True, 61)


@pytest.mark.parametrize("after", [2, 5, 12, 25])
def test_an_ended_pod_books_its_last_minutes_to_its_workload(after: int, tmp_path: Path) -> None:
    """Counters and names linger for a minute, then come stale markers, while a rate goes on for five."""
    trace = Trace(always(STOPPED), end=1800, kind="CronJob")
    series = {one.selector: one.values for one in trace.series(30 + after, 15)}
    query = "count by (workload) (sum_over_time(workload:cgroup_cpu_throttled_seconds:active_rate5m[35m]))"

    assert counted(tmp_path, series, query, 30 + after, scrape=15) == {"web": 1}


def test_no_alert_names_a_pod_that_is_gone(tmp_path: Path) -> None:
    """Ten minutes after its end, by when the workload's alert has ended too."""
    trace = Trace(always(STOPPED), end=1800)
    series = {one.selector: one.values for one in [BUILD, *trace.series(50, 15)]}
    query = 'count by (alertname) (ALERTS{alertstate="firing",workload="web"})'

    assert counted(tmp_path, series, query, 30, scrape=15) == {HIGH: 1, SEVERE: 1, "PodCPUThrottled": 1}
    assert counted(tmp_path, series, query, 40, scrape=15) == {}
