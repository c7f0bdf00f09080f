"""What ``stress`` predicts, beside arithmetic done by hand; what it prints and concludes; and what it refuses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.cli import stress
from exporter.cli.stress import EXIT_THROTTLES_BELOW_LIMIT, EXIT_UNDECIDED, Figures, Place, Run
from exporter.errors import ConfigError
from exporter.lab.spec import Workload
from exporter.settings_sources import Parser, load

QUOTA = 0.01


@st.composite
def places(draw: st.DrawFn) -> Place:
    period = draw(st.sampled_from([0.001, 0.01, 0.1, 1.0]))
    return Place(draw(st.integers(1, 128)), draw(st.floats(0.001, 64)) * period, period)


def burst(workers: int, unit_seconds: float, place: Place) -> Figures:
    return stress.predict_burst(Workload("bursty", workers, unit_seconds, seconds=1.0), place)


def steady(workers: int, seconds: float, place: Place, slow_workers: int = 0) -> Figures:
    return stress.predict_steady(Workload("busy", workers, 0.01, seconds=seconds), place, slow_workers)


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        # The example known in this field.
        (burst(1, 0.2, Place(2, 0.04)), (5, 4, 0.24, 0.2, 0.44)),
        # Exactly one quota.
        (burst(1, 0.05, Place(4, 0.05)), (1, 0, 0.0, 0.05, 0.05)),
        # Ten CPUs run for 10 ms and are stopped for 90 ms, ten times.
        (steady(10, 1, Place(10, 0.1)), (10, 10, 9.0, 1.0, 0.1)),
        # As many workers as the limit has CPUs.
        (steady(2, 2, Place(2, 0.2)), (20, 0, 0.0, 4.0, 0.01)),
        # A slow worker is stopped beside the fast one, for half of the time on average.
        (steady(1, 5, Place(2, 0.01), slow_workers=1), (50, 50, 50 * 0.09 * 1.5, 0.5, 0.1)),
        # Without a quota no period is counted.
        (steady(4, 1, Place(2, math.inf)), (0, 0, 0.0, 2.0, 0.02)),
        (burst(4, 0.05, Place(2, math.inf)), (0, 0, 0.0, 0.2, 0.1)),
    ],
)
def test_the_prediction_is_the_kernels_rule(predicted: Figures, expected: tuple[float, ...]) -> None:
    assert predicted == pytest.approx(expected)


@given(place=places(), workers=st.integers(1, 200), seconds=st.integers(1, 60), work=st.floats(0.001, 2))
def test_predictions_keep_to_the_quota(place: Place, workers: int, seconds: int, work: float) -> None:
    bursts = burst(workers, work, place)
    for one in (steady(workers, seconds, place), bursts):
        assert 0 <= one.throttled_periods <= one.periods
        assert 0 <= one.throttled_seconds <= one.throttled_periods * place.cpus * place.period_seconds + 1e-9
        assert one.usage_seconds <= one.periods * place.quota_seconds * (1 + 1e-6) + 1e-9
    assert bursts.latency_seconds is not None
    assert bursts.latency_seconds >= work * workers / min(workers, place.cpus) - 1e-6


def figures(periods: int, throttled_periods: int, usage: float) -> Figures:
    return Figures(periods, throttled_periods, 0.5, usage, 0.0123456)


@pytest.mark.parametrize(
    ("runs", "code", "told"),
    [
        ([figures(50, 49, 0.5), figures(50, 50, 0.49)], 0, "K does not throttle below the limit: 100% of the periods"),
        ([figures(50, 49, 0.5), figures(50, 48, 0.2)], EXIT_THROTTLES_BELOW_LIMIT, "40% of the quota was used"),
        ([figures(50, 49, 0.5)], EXIT_UNDECIDED, "Cannot tell whether K throttles below the limit: there is only one"),
        ([figures(0, 0, 1.0), figures(0, 0, 1.0)], EXIT_UNDECIDED, "no quota"),
        ([figures(50, 40, 0.4), figures(50, 10, 0.3)], EXIT_UNDECIDED, "something else kept the workers"),
        ([figures(50, 40, 0.2), figures(50, 40, 0.2)], EXIT_UNDECIDED, "the fast worker alone got no more than 40%"),
    ],
)
def test_the_verdict_on_the_kernel(runs: list[Figures], code: int, told: str) -> None:
    found, text = stress.throttles_below_limit([Run("", figures(50, 50, 0.5), one, 0.5) for one in runs], QUOTA)

    assert found == code
    assert told in text.format("K")


def test_predicted_and_measured_stand_side_by_side_and_absent_is_not_zero() -> None:
    lines = stress.table(Run("title", figures(5, 4, 0.2), Figures(0, 0, 0.0, 0.1, None), 0.1)).splitlines()

    assert lines[1:] == [
        "title",
        "                       predicted    measured",
        "periods                        5           -",
        "throttled periods              4           -",
        "throttled ratio              80%           -",
        "throttled time           0.500 s           -",
        "CPU time used            0.200 s     0.100 s",
        "latency of a unit       12.35 ms           -",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        *(["harder"], ["--duration=0"], ["--duration=2h"], ["--duration=fast"], ["--limit=nan"], ["--limit=0"]),
        *(["--limit=much"], ["--period=50ms"], ["--period=2s"], ["--workers=0"], ["--unit=-1s"], ["--every=1"]),
    ],
)
def test_a_wrong_argument_is_named(arguments: list[str]) -> None:
    parser = Parser(prog="stress")
    stress.add_arguments(parser)

    with pytest.raises(ConfigError, match=arguments[0].partition("=")[0]):
        stress.run(load({}, {}), parser.parse_args(arguments))
