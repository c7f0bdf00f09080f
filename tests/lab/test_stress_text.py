"""What ``stress`` prints and concludes, from given figures; and what it refuses."""

from __future__ import annotations

import pytest

from exporter.cli.demo import throttled
from exporter.cli.stress import table
from exporter.lab.profiles import Comparison, Figures, throttles_below_limit
from tests.support.process import run

QUOTA = 0.01


def figures(periods: int | None, throttled: int | None, usage: float | None) -> Figures:
    return Figures(
        periods=periods,
        throttled_periods=throttled,
        throttled_seconds=None if periods is None else 0.5,
        usage_seconds=usage,
        latency_seconds=0.0123456,
    )


def measured(*runs: Figures) -> list[Comparison]:
    return [Comparison("a run", figures(50, 50, 0.5), one) for one in runs]


def test_a_healthy_kernel_lets_the_quota_be_used() -> None:
    verdict, reason = throttles_below_limit(measured(figures(50, 49, 0.5), figures(50, 50, 0.49)), QUOTA)

    assert verdict == "no"
    assert reason == "100% of the periods were throttled, and 98% of the quota was used"


def test_an_affected_kernel_throttles_what_used_little() -> None:
    verdict, reason = throttles_below_limit(measured(figures(50, 49, 0.5), figures(50, 48, 0.2)), QUOTA)

    assert verdict == "yes"
    assert "40% of the quota was used" in reason


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ([figures(50, 49, 0.5)], "only one CPU"),
        ([figures(None, None, 1.0), figures(None, None, 1.0)], "no quota"),
        ([figures(0, 0, 0.0), figures(0, 0, 0.0)], "no quota"),
        ([figures(50, 40, 0.4), figures(50, 10, 0.3)], "something else kept the workers"),
        ([figures(50, 40, 0.2), figures(50, 40, 0.2)], "the fast worker alone got no more than 40%"),
    ],
)
def test_what_decides_nothing_is_undecided(runs: list[Figures], told: str) -> None:
    verdict, reason = throttles_below_limit(measured(*runs), QUOTA)

    assert verdict == "undecided"
    assert told in reason


@pytest.mark.parametrize(("used", "starved"), [(0.5, False), (0.41, False), (0.39, True), (0.0, True)])
def test_workers_that_got_less_cpu_than_their_limit_allows_were_starved(used: float, starved: bool) -> None:
    assert Comparison("a run", figures(50, 50, 0.5), figures(50, 10, 9.0), used).starved == starved


def test_the_demo_names_what_is_throttled_worst_first() -> None:
    page = """\
cgroup_container_cpu_throttled_ratio{container="app",namespace="shop",pod="web-1"} 0.25
cgroup_container_cpu_throttled_ratio{container="db",namespace="shop",pod="web-1"} 0.0
cgroup_container_cpu_throttled_ratio_peak{container="db",namespace="shop",pod="web-1"} 1.0
cgroup_pod_cpu_throttled_ratio{namespace="data",pod="report"} 1.0
"""
    assert throttled(page) == ["data/report 100%", "shop/web-1/app 25%"]


def test_predicted_and_measured_stand_side_by_side_and_absent_is_not_zero() -> None:
    lines = table(Comparison("title", figures(5, 4, 0.2), figures(None, None, None))).splitlines()

    assert lines[1:] == [
        "title",
        "                       predicted    measured",
        "periods                        5           -",
        "throttled periods              4           -",
        "throttled ratio              80%           -",
        "throttled time           0.500 s           -",
        "CPU time used            0.200 s           -",
        "latency of a unit       12.35 ms    12.35 ms",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["harder"], "harder"),
        (["--duration=0"], "--duration"),
        (["--duration=2h"], "--duration"),
        (["--duration=fast"], "--duration"),
        (["--limit=nan"], "--limit"),
        (["--limit=0"], "--limit"),
        (["--limit=much"], "--limit"),
        (["--period=50ms"], "--period"),
        (["--limit=1", "--period=2s"], "--period"),
        (["--workers=0"], "--workers"),
        (["--unit=-1s"], "--unit"),
        (["--every=1"], "--every"),
    ],
)
def test_a_wrong_argument_is_one_line_that_names_it(arguments: list[str], told: str) -> None:
    done = run("stress", *arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert told in line
