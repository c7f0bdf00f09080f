"""The benchmark measures what it says and judges as it says; its times are for people (``make bench``)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.bench.__main__ import report
from tests.bench.imports import import_costs
from tests.bench.results import Arrivals, Cadvisor, Crowd, Import, Parts, Running, Scrapes, Size
from tests.bench.stats import percentile, ratios, spread
from tests.bench.table import import_table, number, put_between_marks
from tests.bench.targets import Result, evaluate

PARTS = Parts(
    tick=[5.0, 6.0, 16.0],
    c_loop=[2.0, 4.0, 4.0],
    page=[10.0, 30.0, 50.0],
    client=[100.0, 100.0, 100.0],
    scan=[40.0],
    samples=20_000,
    speed=2.0,
)
SIZE = Size(
    pods=250,
    containers=750,
    active=30,
    quiet=PARTS,
    awake=replace(PARTS, tick=[9.0, 9.0, 9.0]),
    starts=[1.0, 1.2, 1.4],
    starts_speed=1.0,
    scrapes=Scrapes(first_ms=[9.0, 11.0], last_ms=[10.0, 41.0], bytes=2_500_000, speed=1.0),
    running=Running(core_percent=[1.4, 1.6], rss_mb=60.0, peak_mb=66.0, speed=1.0),
    running_awake=Running(core_percent=[2.0], rss_mb=61.0, peak_mb=66.0, speed=1.0),
    arrivals=Arrivals(served_after=[0.5, 3.5], lived=4, found=4),
    crowd=None,
    cadvisor=None,
    calibration_ms=[54.0, 108.0, 81.0],
)
CROWD = Crowd(
    scrapers=10,
    seconds=60.0,
    scrapes=Scrapes(first_ms=[1.0], last_ms=[200.0, 300.0], bytes=10),
    failed=0,
    ticks=60,
    late=1,
    slow={"0.025": 5, "0.1": 0},
    core_percent=40.0,
)


def verdict(what: str, size: Size = SIZE, large: Size | None = None) -> str:
    [found] = [one for one in evaluate(size, large) if one.what == what]
    return found.verdict


def test_percentiles_are_values_that_were_measured() -> None:
    hundred = [float(value) for value in range(100, 0, -1)]
    assert (percentile(hundred, 0.99), percentile(hundred, 0.5), percentile([7.0], 0.01)) == (99.0, 50.0, 7.0)
    assert percentile(hundred[:60], 0.99) == max(hundred[:60])
    assert spread([3.0, 1.0, 2.0]).times(10) == (10.0, 20.0, 30.0, 30.0)


def test_ratios_are_those_of_one_round() -> None:
    assert ratios(PARTS.tick, PARTS.c_loop) == [2.5, 1.5, 4.0]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_a_verdict_follows_from_the_numbers() -> None:
    result = Result(what="a", containers="750", limit=4.0, unit="ms", measured=spread([6.0]), speed=2.0)
    assert result.verdict == "met at that machine's speed"
    assert replace(result, measured=spread([4.0])).verdict == "met"
    assert replace(result, measured=spread([16.0])).verdict == "missed: 2.00 x"
    assert replace(result, measured=spread([12.0]), speed=4.0).verdict == "undecided: 4.0 x as slow"
    assert replace(result, speed=None).verdict == "missed: 1.50 x"
    assert replace(result, at_least=True, limit=7.0, speed=None).verdict == "missed: 0.86 x"


def test_the_targets_of_one_node() -> None:
    assert verdict("tick, 30 awake, CPU") == "met at that machine's speed"
    assert verdict("tick, all awake, CPU") == "missed: 1.12 x"
    assert verdict("tick, 30 awake, against the C loop") == "met"
    assert verdict("page, 30 awake, CPU a sample") == "met at that machine's speed"
    assert verdict("scrape to its last byte, median") == "missed: 1.70 x"
    assert verdict("scrape to its last byte, p99") == "missed: 1.02 x"
    assert verdict("whole process, 30 awake, of a core") == "met"
    assert verdict("resident memory") == "met"
    assert verdict("start to first complete page") == "met"
    assert verdict("new container served after") == "missed: 1.17 x"
    assert verdict("lived 3 s, on the page of a 15 s scrape") == "met"


def test_growth_is_seen_at_equal_speed() -> None:
    slower = replace(PARTS, tick=[30.0, 30.0, 30.0], page=[150.0] * 3, speed=4.0)
    large = replace(SIZE, pods=1000, containers=3000, quiet=slower)
    assert verdict("growth of a tick, 30 awake", large=large) == "met at that machine's speed"
    assert verdict("growth of a page, 30 awake", large=large) == "met at that machine's speed"
    assert verdict("growth of a scan", large=large) == "met"
    [grown] = [one for one in evaluate(SIZE, large) if one.what == "growth of a tick, 30 awake"]
    assert (grown.value, grown.scaled) == (5.0, 2.5)


def test_the_report_has_what_was_measured() -> None:
    peer = Cadvisor(version="cAdvisor v1", scrapes=SIZE.scrapes, running=SIZE.running)
    large = replace(SIZE, pods=1000, containers=3000, arrivals=None, crowd=CROWD, cadvisor=peer)
    large = replace(large, running=replace(SIZE.running, rss_mb=126.0))
    text = "\n".join(report([replace(SIZE, cadvisor=Cadvisor(version="cAdvisor", why_not="x; y")), large], 30))
    for line in (
        (
            "| tick, 30 awake, CPU | 750 | <= 4 ms | 5.00 / 6.00 / 16.0 | 2.50 x the C loop | 3.00 "
            "| met at that machine's speed |"
        ),
        "| scrape to its last byte, p99 | 750 | <= 40 ms | p99 41.0 |  | 41.0 | missed: 1.02 x |",
        "| tick, 30 awake, CPU ms | 5.00 | 6.00 | 16.0 | 1.50 / 2.50 / 4.00 x the C loop |",
        "| resident memory | 3,000 | <= 110 MB | 126 |  |  | missed: 1.15 x |",
        "| cAdvisor: not measured, x; y | | | | |",
        "Memory: 30.0 KiB a container, 38.0 MB before the first (a line through both).",
    ):
        assert f"\n{line}\n" in text
    assert "**1.50 x as slow**" in text
    assert "these verdicts only show" not in text
    assert "these verdicts only show" in "\n".join(report([large], 30))
    assert "2 scrapes, 0 scrapers failed; to the last byte 250 ms median, 300 p99, 300 at most" in text
    assert "**1 late ticks** of 60 (5 took over 25 ms)" in text
    assert "| cAdvisor v1, % of a core | 1.40 | 1.50 | 1.60 | 10 s housekeeping, 15 s scrapes |" in text


def test_numbers_keep_three_digits() -> None:
    shown = [number(value) for value in (0.0, 0.456, 4.56, 45.6, 456.7, float("inf"), float("nan"))]
    assert shown == ["0", "0.46", "4.56", "45.6", "457", "never", "unknown"]


def test_what_is_between_the_marks_is_replaced() -> None:
    document = "a\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nb\n"
    assert put_between_marks(document, "new\n") == document.replace("\nold\n", "\n\nnew\n\n")
    with pytest.raises(ValueError, match="measured: begin"):
        put_between_marks("no marks", "new")


def test_imports_are_summed_up_by_package() -> None:
    text = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:      1500 |       1500 |     aiohttp.web\n"
        "import time:       500 |       2000 |   aiohttp\n"
        "import time:       250 |        250 | _json\n"
    )
    assert import_costs(text) == {"aiohttp": (2.0, 2), "json": (0.25, 1)}
    rows = [Import(name="aiohttp", milliseconds=2.0, modules=2, megabytes=25.0)]
    rows.append(Import(name="Python alone", milliseconds=None, modules=None, megabytes=8.5))
    assert import_table(rows)[4:6] == ["| aiohttp | 2.00 | 2 | 25.0 |", "| Python alone |  |  | 8.50 |"]
