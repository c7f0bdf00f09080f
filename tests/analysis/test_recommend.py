"""The recommended limit: periods of simulated bursts go in, the smallest limit that serves them comes out."""

from __future__ import annotations

import gc
import sys
from array import array
from math import floor, inf, nan

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from exporter.analysis.advice import quantity
from exporter.analysis.recommend import DemandHistogram, recommend, rounded_up
from exporter.model import Interval, Recommendation, Window

PERIOD = 0.1


def bursts(size: float, every: float, limit: float, seconds: int = 60) -> list[Interval]:
    """Samples of 1 s of a thread whose bursts are apart and begin anywhere in a period, as the kernel counts them."""
    quota, counts = limit * PERIOD, [[0, 0, 0.0] for _ in range(seconds)]
    at = 0.05
    while at < seconds - 1:
        left, begun = size, at
        while left > 1e-9 and at < seconds:
            now, end = counts[int(at)], (floor(at / PERIOD + 1e-9) + 1) * PERIOD
            used = min(left, quota, end - at)
            now[0] += 1
            now[1] += used == quota < left
            now[2] += used
            left -= used
            at = end
        if at < seconds:
            counts[int(at)][0] += 1  # the idle period that stops the timer
        at = max(at, begun + every)
    return [Interval(1.0, int(periods), int(throttled), used) for periods, throttled, used in counts]


def learned(intervals: list[Interval], limit: float, now: float = 100.0) -> DemandHistogram:
    demand = DemandHistogram()
    for first in range(0, len(intervals), 10):
        demand.learn(intervals[first : first + 10], limit=limit, period=PERIOD, now=now)
    return demand


@pytest.mark.parametrize("limit", [0.05, 0.2, 0.4])
@pytest.mark.parametrize(("size", "every"), [(0.2, 4.83), (0.104, 3.37), (0.04, 1.03), (0.02, 0.53)])
def test_a_burst_s_size_is_known_whatever_the_limit(size: float, every: float, limit: float) -> None:
    found = learned(bursts(size, every, limit, 300), limit).burst_seconds(100.0)
    assert found == pytest.approx(size, rel=0.12)


def test_bursts_of_days_ago_count_less() -> None:
    demand = learned(bursts(0.2, 0.83, 0.4), 0.4)
    assert demand.burst_seconds(100.0) == pytest.approx(0.2, rel=0.2)
    later = 100.0 + 5 * 86400
    assert demand.burst_seconds(later) is None
    demand.restart()
    demand.learn(bursts(0.02, 0.53, 0.4), limit=0.4, period=PERIOD, now=later)
    assert demand.burst_seconds(later) == pytest.approx(0.02, rel=0.2)
    # A container that is observed for months keeps finite weights.
    assert learned(bursts(0.02, 0.53, 0.4), 0.4, now=1e8).burst_seconds(1e8) == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("each", [(10, 10, 0.2), (0, 0, 0.0), (4, 2, nan)], ids=["always throttled", "idle", "unknown"])
def test_some_samples_teach_nothing(each: tuple[int, int, float]) -> None:
    assert learned([Interval(1.0, *each)] * 60, 0.2).burst_seconds(100.0) is None


def test_it_is_small() -> None:
    demand = DemandHistogram()
    values = next(one for one in gc.get_referents(demand) if isinstance(one, array))
    assert sys.getsizeof(demand) + sys.getsizeof(values) <= 300


def said(
    burst: float | None,
    ratio: float,
    *,
    limit: float = 0.2,
    lost: float = 0.5,
    threads: int | None = 1,
    cpus: int | None = 4,
) -> Recommendation:
    window = Window(60.0, 300, round(300 * ratio), ratio, ratio)
    found = recommend(burst, limit=limit, period=PERIOD, window=window, lost=lost, threads=threads, cpus=cpus)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("found", "limit", "now"),
    [
        pytest.param(said(0.2, 0.8), 1.0, 1.0, id="one thread never needs more than a CPU"),
        pytest.param(said(0.2, 0.8, threads=50, lost=0.8 * 0.5 * 0.8), 1.0, 1.0, id="fifty of which one runs"),
        pytest.param(said(0.2, 0.8, threads=50, lost=0.8 * 0.5 * 3.8), 2.2, 2.2, id="fifty of which four run"),
        pytest.param(said(0.04, 0.4), 0.41, 0.41, id="its size, and what a CPU keeps"),
        pytest.param(said(0.2, 0.0, limit=1.0, threads=50, lost=0.0), 1.0, 1.0, id="enough"),
        pytest.param(said(0.02, 0.5, limit=0.4), None, 0.8, id="a recommendation that did not do is doubled"),
        pytest.param(said(None, 1.0), None, 0.4, id="throttled in every period"),
        pytest.param(said(None, 1.0, limit=0.8), None, 1.0, id="bounded by its thread"),
        pytest.param(said(None, 1.0, threads=None, cpus=None, lost=0.0), None, 0.4, id="unbounded"),
    ],
)
def test_the_smallest_limit_and_what_to_set_now(found: Recommendation, limit: float | None, now: float) -> None:
    assert (found.limit_cores, found.next_cores) == (limit, now)


def test_demand_that_is_not_known_has_bounds() -> None:
    unknown = said(None, 1.0)
    assert (unknown.low_cores, unknown.high_cores) == (0.2, 1.0)


def test_what_is_not_throttled_and_unknown_gets_no_advice() -> None:
    window = Window(60.0, 300, 0, 0.0, 0.0)
    assert recommend(None, limit=1.0, period=PERIOD, window=window, lost=0.0, threads=1, cpus=4) is None


@pytest.mark.parametrize(
    ("cores", "text"), [(0.001, "10m"), (0.0123, "20m"), (0.213, "220m"), (1.0, "1"), (2.04, "2100m"), (16.2, "17")]
)
def test_one_rounding_rule(cores: float, text: str) -> None:
    assert quantity(cores) == text


@given(st.floats(0.001, 500))
def test_rounding_goes_up_and_not_far(cores: float) -> None:
    found = rounded_up(cores)
    assert cores - 1e-6 <= found <= max(1.11 * cores, cores + 0.01)
    assert rounded_up(found) == found


counts = st.integers(0, 20)
samples = st.builds(
    lambda seconds, periods, throttled, used: Interval(seconds, periods, min(periods, throttled), used),
    st.floats(0, 10),
    counts,
    counts,
    st.floats(0, 20) | st.just(nan),
)


@given(st.lists(samples, max_size=60), st.floats(0.01, 16), st.floats(0, 1), st.none() | st.integers(0, 64))
def test_whatever_the_counters_say_the_advice_is_a_sane_number(
    intervals: list[Interval], limit: float, ratio: float, threads: int | None
) -> None:
    burst = learned(intervals, limit).burst_seconds(100.0)
    assume(burst is not None or ratio >= 0.02)
    found = said(burst, ratio, limit=limit, threads=threads)
    assert 0 < found.next_cores < inf
    if found.limit_cores is not None:
        assert found.limit_cores == found.next_cores
        assert found.high_cores is None or found.limit_cores <= rounded_up(max(found.high_cores, limit))
    else:
        assert found.next_cores <= rounded_up(2 * limit)
