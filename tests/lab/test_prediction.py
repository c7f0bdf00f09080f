"""Theory beside arithmetic done by hand, and what must hold for any load."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.lab.profiles import Figures, Place, predict_burst, predict_steady

places = st.builds(
    Place,
    cpus=st.integers(1, 128),
    limit_cores=st.floats(0.001, 64),
    period_seconds=st.sampled_from([0.001, 0.01, 0.1, 1.0]),
)


def test_the_example_known_in_this_field() -> None:
    one = predict_burst(work_seconds=0.2, workers=1, place=Place(cpus=2, limit_cores=0.4))

    assert (one.periods, one.throttled_periods, one.throttled_ratio) == (5, 4, 0.8)
    assert one.throttled_seconds == pytest.approx(0.24)
    assert one.latency_seconds == pytest.approx(0.44)


def test_ten_threads_burn_a_limit_of_one_cpu_in_a_tenth_of_the_period() -> None:
    one = predict_steady(unit_seconds=0.01, workers=10, place=Place(cpus=10, limit_cores=1), seconds=1)

    assert (one.periods, one.throttled_periods) == (10, 10)
    # Ten CPUs run for 10 ms and stand still for 90 ms, ten times.
    assert one.throttled_seconds == pytest.approx(9.0)
    assert one.usage_seconds == pytest.approx(1.0)


def test_a_burst_of_exactly_one_quota_is_not_throttled() -> None:
    one = predict_burst(work_seconds=0.05, workers=1, place=Place(cpus=4, limit_cores=0.5))

    assert (one.periods, one.throttled_periods, one.throttled_seconds) == (1, 0, 0.0)


def test_as_many_workers_as_the_limit_has_cpus_are_not_throttled() -> None:
    one = predict_steady(unit_seconds=0.01, workers=2, place=Place(cpus=2, limit_cores=2), seconds=2)

    assert (one.periods, one.throttled_periods, one.throttled_seconds) == (20, 0, 0.0)
    assert one.latency_seconds == 0.01


def test_without_a_quota_no_period_is_counted() -> None:
    place = Place(cpus=2, limit_cores=None)

    for one in (
        predict_steady(unit_seconds=0.01, workers=4, place=place, seconds=1),
        predict_burst(work_seconds=0.05, workers=4, place=place),
    ):
        assert (one.periods, one.throttled_periods, one.throttled_seconds, one.throttled_ratio) == (None,) * 4
    assert predict_burst(work_seconds=0.05, workers=4, place=place).latency_seconds == pytest.approx(0.1)


def test_slow_workers_take_little_of_the_quota_and_stand_still_beside_the_fast_one() -> None:
    place = Place(cpus=2, limit_cores=0.1)

    alone = predict_steady(unit_seconds=0.01, workers=1, place=place, seconds=5)
    together = predict_steady(unit_seconds=0.01, workers=1, place=place, seconds=5, slow_seconds=0.0002)

    assert together.periods == alone.periods == together.throttled_periods == 50
    assert together.usage_seconds == alone.usage_seconds == pytest.approx(0.5)
    assert (together.throttled_seconds or 0) > (alone.throttled_seconds or 0)
    assert alone.latency_seconds == pytest.approx(0.1)
    assert together.latency_seconds == pytest.approx(0.102, abs=0.001)


def check(one: Figures, place: Place) -> None:
    assert one.periods is not None
    assert one.throttled_periods is not None
    assert one.throttled_seconds is not None
    assert one.usage_seconds is not None
    assert 0 <= one.throttled_periods <= one.periods
    assert 0 <= one.throttled_seconds <= one.throttled_periods * place.cpus * place.period_seconds + 1e-9
    assert one.usage_seconds <= one.periods * place.quota_seconds * (1 + 1e-6) + 1e-9


@given(place=places, workers=st.integers(1, 200), seconds=st.integers(1, 60))
def test_steady_loads_keep_to_their_quota(place: Place, workers: int, seconds: int) -> None:
    check(predict_steady(unit_seconds=0.01, workers=workers, place=place, seconds=seconds), place)


@given(place=places, workers=st.integers(1, 200), work=st.floats(0.001, 2))
def test_bursts_keep_to_their_quota_and_finish(place: Place, workers: int, work: float) -> None:
    one = predict_burst(work_seconds=work, workers=workers, place=place)

    check(one, place)
    assert one.latency_seconds is not None
    assert one.latency_seconds >= work * workers / min(workers, place.cpus) - 1e-6
