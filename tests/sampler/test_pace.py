"""Due times: even, never in a burst, and honest about what was missed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.sampler.loop import Ticker

intervals = st.sampled_from((0.1, 0.25, 1.0, 10.0, 60.0))


def served(pace: Ticker, start: float, costs: list[float]) -> list[tuple[float, float]]:
    """Due time and end of each sample, when sample ``n`` takes ``costs[n]`` intervals."""
    due, now, seen = start, start, []
    for cost in costs:
        now = max(now, due) + cost * pace.interval
        seen.append((due, now))
        due = pace.next(now)
    return [*seen, (due, now)]


def test_samples_that_take_no_time_are_an_interval_apart() -> None:
    pace = Ticker(100.0, 1.0)
    assert [pace.next(100.0 + n) for n in range(4)] == [101.0, 102.0, 103.0, 104.0]
    assert pace.missed == 0


def test_a_sample_may_take_all_of_its_interval() -> None:
    pace = Ticker(100.0, 1.0)
    assert pace.next(101.0) == 101.0
    assert pace.missed == 0


@pytest.mark.parametrize(("end", "due", "missed"), [(101.1, 102.0, 1), (102.0, 103.0, 2), (105.5, 106.0, 5)])
def test_a_sample_that_takes_longer_is_followed_by_the_next_due_time_ahead(end: float, due: float, missed: int) -> None:
    pace = Ticker(100.0, 1.0)
    assert pace.next(end) == due
    assert pace.missed == missed


def test_a_suspended_machine_is_no_burst_of_samples() -> None:
    pace = Ticker(0.0, 0.1)
    pace.next(0.05)
    due = pace.next(86_400.0)
    assert due == pytest.approx(86_400.1, abs=0.11)
    assert due > 86_400.0
    assert pace.next(due) == pytest.approx(due + 0.1)


@given(interval=intervals, start=st.floats(0, 1e6), costs=st.lists(st.floats(0, 8), min_size=1, max_size=50))
def test_due_times_lie_on_the_grid_ahead_of_now_and_every_missed_one_is_counted(
    interval: float, start: float, costs: list[float]
) -> None:
    pace = Ticker(start, interval)
    seen = served(pace, start, costs)
    for (before, end), (after, _) in pairwise(seen):
        assert after - before >= interval * (1 - 1e-6), "never two samples within an interval"
        assert after >= end - 1e-6 * interval, "never a due time that has passed already"
        assert after - max(before, end) <= interval * (1 + 1e-6), "nor one further than the next"
        assert (after - start) / interval == pytest.approx(round((after - start) / interval), abs=1e-4)
    passed = round((seen[-1][0] - start) / interval)
    assert pace.missed == passed - len(costs)


@given(interval=intervals, costs=st.lists(st.floats(0, 0.99), min_size=1, max_size=50))
def test_nothing_is_missed_while_each_sample_fits(interval: float, costs: list[float]) -> None:
    pace = Ticker(0.0, interval)
    served(pace, 0.0, costs)
    assert pace.missed == 0
