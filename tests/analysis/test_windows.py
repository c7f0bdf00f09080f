"""A window against a model that keeps every reading, and the cases that made it what it is."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, isnan
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.analysis.windows import TickHistory, Ticks
from exporter.model import RATIO_BUCKETS, Distribution, Interval, Window

U64_MAX = 2**64 - 1


class Reading(NamedTuple):
    time: float
    periods: int
    throttled: int
    usage: float | None


def interval(before: Reading, after: Reading) -> Interval:
    usage = float("nan") if before.usage is None or after.usage is None else after.usage - before.usage
    return Interval(after.time - before.time, after.periods - before.periods, after.throttled - before.throttled, usage)


class Sampled(TickHistory):
    """A history that alone is sampled."""

    def __init__(self, window: float, interval: float) -> None:
        self.ticks = Ticks(window, interval)
        super().__init__(self.ticks)

    def read(self, time: float, periods: int, throttled: int, usage: float | None) -> bool:
        self.ticks.push(time)
        return self.push(periods, throttled, usage)


class Model:
    """What a history is meant to be, with no thought for memory or time."""

    def __init__(self, window: float, interval: float) -> None:
        self.longest = window + interval / 2
        self.most = ceil(window / interval) + 1
        self.readings: list[Reading] = []

    def push(self, reading: Reading) -> bool:
        if not self.readings:
            self.readings = [reading]
            return True
        last = self.readings[-1]
        if reading.time <= last.time:
            return True
        backwards = reading.periods < last.periods or reading.throttled < last.throttled
        self.readings = [*([] if backwards else self.readings), reading][-self.most :]
        return not backwards

    def inside(self) -> list[Reading]:
        newest = self.readings[-1]
        return [r for r in self.readings[:-2] if newest.time - r.time <= self.longest] + self.readings[-2:]

    def intervals(self) -> list[Interval]:
        inside = self.inside() if self.readings else []
        return [interval(before, after) for before, after in pairwise(inside)]

    def window(self) -> Window | None:
        if len(self.readings) < 2:
            return None
        whole = interval(self.inside()[0], self.inside()[-1])
        peak = max(whole.ratio, *(one.ratio for one in self.intervals()))
        return Window(whole.seconds, whole.periods, whole.throttled_periods, whole.ratio, peak)


def same(one: Interval, other: Interval) -> bool:
    return one[:3] == other[:3] and (
        one.usage_seconds == other.usage_seconds or (isnan(one.usage_seconds) and isnan(other.usage_seconds))
    )


class Step(NamedTuple):
    seconds: float
    periods: int
    throttled: int
    usage: float | None


intervals = st.sampled_from((0.1, 0.25, 1.0, 10.0))
ordinary = st.builds(
    Step,
    st.floats(0.5, 1.5),
    st.integers(0, 20),
    st.integers(0, 20),
    st.none() | st.floats(0, 3),
)
odd = st.builds(
    Step,
    st.sampled_from((0.0, -1.0, 1e-9, 2.9, 3.1, 12.0, 1e6)),
    st.integers(-30, 10**9),
    st.integers(-30, 10**9),
    st.none() | st.floats(-1, 1e9),
)
stories = st.lists(ordinary | ordinary | ordinary | odd, max_size=40)


@given(interval_seconds=intervals, intervals_in_window=st.floats(2, 20), story=stories)
def test_a_history_says_what_the_model_says(
    interval_seconds: float, intervals_in_window: float, story: list[Step]
) -> None:
    window_seconds = intervals_in_window * interval_seconds
    history, model = Sampled(window_seconds, interval_seconds), Model(window_seconds, interval_seconds)
    sparse = TickHistory(history.ticks)  # gets only what changed, as while a pod is idle
    now, periods, throttled = 1000.0, 100, 100
    said: tuple[object, ...] = ()
    for step in story:
        now += step.seconds * interval_seconds
        periods, throttled = max(0, periods + step.periods), max(0, throttled + step.throttled)
        assert history.read(now, periods, throttled, step.usage) is model.push(
            Reading(now, periods, throttled, step.usage)
        )
        if said != (said := model.readings[-1][1:]):
            sparse.push(*said)
        assert history.window() == sparse.window() == model.window()
        assert all(map(same, history.intervals(), sparse.intervals()))
        assert all(map(same, history.intervals(), model.intervals()))
        assert len(list(history.intervals())) == len(model.intervals())
        last = history.total(1)
        assert (last is None) is (len(model.readings) < 2)
        assert last is None or same(last, model.intervals()[-1])


def told(*readings: tuple[float, int, int], window: float = 60.0, interval: float = 1.0) -> Sampled:
    history = Sampled(window, interval)
    for time, periods, throttled in readings:
        history.read(time, periods, throttled, None)
    return history


@pytest.mark.parametrize(
    ("readings", "window"),
    [
        pytest.param([], None, id="no reading"),
        pytest.param([(5.0, 10, 3)], None, id="one reading"),
        pytest.param([(5.0, 10, 3), (5.0, 20, 9)], None, id="no time has passed"),
        pytest.param([(5.0, 10, 3), (6.5, 20, 8)], Window(1.5, 10, 5, 0.5, 0.5), id="as young as it is"),
        pytest.param([(0.0, 10**6, 10**6), (1.0, 10**6 + 10, 10**6)], Window(1.0, 10, 0, 0.0, 0.0), id="of before"),
        pytest.param([(0.0, 10, 3), (1.0, 10, 3), (2.0, 10, 3)], Window(2.0, 0, 0, 0.0, 0.0), id="idle"),
        pytest.param([(0.0, 0, 0), (1.0, U64_MAX, U64_MAX)], Window(1.0, U64_MAX, U64_MAX, 1.0, 1.0), id="as large"),
    ],
)
def test_a_window_is_what_was_read(readings: list[tuple[float, int, int]], window: Window | None) -> None:
    assert told(*readings).window() == window


def test_a_burst_between_two_scrapes_shows_in_the_peak() -> None:
    quiet = [(float(second), 10 * second, 0) for second in range(11)]
    burst = [(11.0, 110, 10)]
    calm = [(float(second), 10 * second, 10) for second in range(12, 16)]
    window = told(*quiet, *burst, *calm).window()
    assert window == Window(15.0, 150, 10, 10 / 150, 1.0)


def test_what_left_the_window_is_forgotten() -> None:
    readings = [(0.0, 0, 0), (1.0, 10, 10), *((float(second), 10 * second, 10) for second in range(2, 12))]
    assert told(*readings[:11], window=10.0).window() == Window(10.0, 100, 10, 0.1, 1.0)
    assert told(*readings, window=10.0).window() == Window(10.0, 100, 0, 0.0, 0.0)


@pytest.mark.parametrize(("periods", "throttled"), [(99, 50), (100, 49), (0, 0)])
def test_a_counter_that_ran_backwards_starts_anew_and_says_so(periods: int, throttled: int) -> None:
    history = told((0.0, 90, 40), (1.0, 100, 50))
    assert history.read(2.0, periods, throttled, None) is False
    assert history.window() is None
    assert history.read(3.0, periods + 10, throttled + 1, None) is True
    assert history.window() == Window(1.0, 10, 1, 0.1, 0.1)


def test_a_gap_is_one_long_interval() -> None:
    """A sampler without CPU time misses samples; what it reads then is the whole growth over the gap."""
    history = told((0.0, 0, 0), (1.0, 10, 5))
    assert history.read(4.0, 40, 35, None) is True
    assert history.window() == Window(4.0, 40, 35, 35 / 40, 1.0)
    assert history.read(30.0, 300, 100, None) is True
    assert history.window() == Window(30.0, 300, 100, 1 / 3, 1.0)
    assert history.read(300.0, 3000, 1450, None) is True
    assert history.window() == Window(270.0, 2700, 1350, 0.5, 0.5), "longer than the window, as its seconds say"
    assert history.read(301.0, 3010, 1450, None) is True
    assert history.window() == Window(1.0, 10, 0, 0.0, 0.0)


def test_a_torn_reading_is_no_ratio_above_one_and_no_peak_below_the_ratio() -> None:
    # The two counters are read one after the other while a timer adds to both.
    history = told((0.0, 100, 90), (1.0, 100, 91), (2.0, 110, 100))
    assert history.window() == Window(2.0, 10, 10, 1.0, 1.0)
    assert [one.ratio for one in history.intervals()] == [0.0, 0.9]
    assert told((0.0, 100, 90), (1.0, 109, 100)).window() == Window(1.0, 9, 10, 1.0, 1.0)


def test_a_usage_that_is_not_known_makes_no_other_number_unknown() -> None:
    history = Sampled(60.0, 1.0)
    history.read(0.0, 0, 0, 5.0)
    history.read(1.0, 10, 2, None)
    history.read(2.0, 20, 4, 7.0)
    history.read(3.0, 30, 6, 7.5)
    assert [(one.periods, one.throttled_periods) for one in history.intervals()] == [(10, 2)] * 3
    assert [isnan(one.usage_seconds) for one in history.intervals()] == [True, True, False]
    last = history.total(1)
    assert last == Interval(1.0, 10, 2, 0.5)


# ---- the distribution of ratios ----


@given(st.lists(st.builds(Interval, st.just(1.0), st.integers(0, 20), st.integers(0, 21), st.just(0.0))))
def test_a_distribution_counts_each_active_interval_once_in_every_bucket_it_fits(seen: list[Interval]) -> None:
    found = Distribution()
    for one in seen:
        found = found.with_interval(one)
    ratios = [min(1.0, one.throttled_periods / one.periods) for one in seen if one.periods]
    assert found.counts == tuple(sum(ratio <= bound for ratio in ratios) for bound in RATIO_BUCKETS)
    assert found.counts[-1] == len(ratios)
    assert found.sum == pytest.approx(sum(ratios))
