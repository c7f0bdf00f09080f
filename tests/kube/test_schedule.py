from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.kube.cache import RefreshSchedule
from exporter.kube.source import full_jitter


def schedule(interval: float = 60.0) -> RefreshSchedule:
    return RefreshSchedule(interval, jitter=lambda: 1.0)


def refresh(plan: RefreshSchedule, now: float, *, ok: bool = True, news: bool = False) -> bool:
    """A refresh that takes no time; whether it was a scheduled one."""
    scheduled = plan.begin(now)
    plan.end(now, ok=ok, news=news)
    return scheduled


def test_the_first_refresh_is_at_once_and_scheduled() -> None:
    plan = schedule()
    assert plan.wait(100.0) == 0.0
    assert refresh(plan, 100.0)
    assert plan.wait(100.0) == 60.0
    assert plan.wait(159.0) == 1.0


def test_a_request_long_after_the_last_answer_is_met_at_once() -> None:
    plan = schedule()
    refresh(plan, 0.0)
    plan.request(5.0, new=True)
    assert plan.wait(5.0) <= 0.0
    assert not refresh(plan, 5.0)


def test_a_request_right_after_an_answer_waits_half_a_second() -> None:
    plan = schedule()
    refresh(plan, 0.0)
    plan.request(0.1, new=True)
    assert plan.wait(0.1) == pytest.approx(0.4)


def test_requests_that_bring_news_are_a_second_apart() -> None:
    plan = schedule()
    refresh(plan, 0.0)
    now = 10.0
    for _ in range(5):
        plan.request(now, new=True)
        now += max(plan.wait(now), 0.0)
        refresh(plan, now, news=True)
        plan.request(now, new=True)
        assert plan.wait(now) == 1.0


def refreshes(plan: RefreshSchedule, until: float, request_every: float) -> list[float]:
    """When the list is asked for while somebody requests without pause about one container that never gets known."""
    at, now, requested = [], 0.0, 0.0
    while now < until:
        if now >= requested:
            plan.request(now, new=False)
            requested = now + request_every
        if plan.wait(now) <= 0:
            at.append(now)
            refresh(plan, now)
        now = round(now + 0.25, 2)
    return at


def test_a_container_that_is_never_mapped_does_not_hammer_the_kubelet() -> None:
    plan = schedule()
    refresh(plan, -100.0)
    at = refreshes(plan, until=600.0, request_every=1.0)
    gaps = [after - before for before, after in pairwise(at)]
    assert at[0] == 0.0
    assert gaps[:4] == [1.0, 2.0, 4.0, 8.0]
    assert set(gaps[4:]) <= {10.0, 5.0}  # 5 where a scheduled refresh came between
    assert len(at) < 75


def test_a_new_container_is_not_made_to_wait_for_one_that_is_never_mapped() -> None:
    plan = schedule()
    refresh(plan, -100.0)
    last = refreshes(plan, until=300.0, request_every=1.0)[-1]
    plan.request(last + 2.0, new=True)
    assert plan.wait(last + 2.0) <= 0.0


def test_a_scheduled_refresh_says_nothing_about_requests() -> None:
    plan = schedule()
    refresh(plan, 0.0)
    plan.request(55.0, new=False)
    refresh(plan, 55.0)
    assert refresh(plan, 60.0)
    plan.request(60.5, new=False)
    assert plan.wait(60.5) == 0.5


def test_after_a_quiet_time_a_request_is_met_at_once_again() -> None:
    plan = schedule()
    refresh(plan, -100.0)
    last = refreshes(plan, until=40.0, request_every=1.0)[-1]
    plan.request(last + 20.0, new=False)
    assert plan.wait(last + 20.0) <= 0.0


def test_a_request_during_a_refresh_is_kept_for_the_next() -> None:
    plan = schedule()
    refresh(plan, 0.0)
    plan.request(10.0, new=True)
    plan.begin(10.0)
    plan.request(10.2, new=True)
    plan.end(10.5, ok=True, news=True)
    assert plan.wait(10.5) == 1.0


def test_scheduled_refreshes_happen_however_often_others_are_requested() -> None:
    plan = schedule()
    refresh(plan, 0.0)
    scheduled, now = [], 0.0
    while now < 200.0:
        now += 0.5
        plan.request(now, new=False)
        if plan.wait(now) <= 0 and refresh(plan, now):
            scheduled.append(now)
    assert len(scheduled) == 3


def test_failures_wait_longer_each_time_and_requests_do_not_shorten_that() -> None:
    plan = schedule()
    now, waits = 0.0, []
    for _ in range(9):
        assert refresh(plan, now, ok=False)
        plan.request(now, new=True)
        waits.append(plan.wait(now))
        now += waits[-1]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    refresh(plan, now)
    assert plan.wait(now) == 60.0


@given(
    failures=st.integers(min_value=1, max_value=10_000),
    draw=st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_jitter_spreads_over_the_whole_wait_and_is_never_a_tight_loop(failures: int, draw: float) -> None:
    wait = full_jitter(failures, 0.5, 30.0, lambda: draw)
    ceiling = full_jitter(failures, 0.5, 30.0, lambda: 1.0)
    assert 0.1 <= wait <= ceiling <= 30.0
