"""Due times: even, never in a burst, and honest about what was missed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporter.sampler.loop import next_due


@given(
    interval=st.sampled_from((0.1, 0.25, 1.0, 10.0, 60.0)),
    start=st.floats(0, 1e6),
    costs=st.lists(st.floats(0, 8) | st.just(86_400.0), min_size=1, max_size=50),
)
def test_due_times_lie_on_the_grid_ahead_of_now_and_every_missed_one_is_counted(
    interval: float, start: float, costs: list[float]
) -> None:
    due, now, ticks = start, start, 0
    for cost in costs:
        before, now = due, max(now, due) + cost * interval
        due, missed = next_due(due, interval, now)
        ticks += 1 + missed
        assert due - before >= interval * (1 - 1e-6), "never two samples within an interval"
        assert due >= now - 1e-6 * interval, "never a due time that has passed already"
        assert due - max(before, now) <= interval * (1 + 1e-6), "nor one further than the next"
        assert round((due - start) / interval) == ticks
        assert missed == 0 or cost >= 0.99
