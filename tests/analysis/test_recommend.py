"""The recommended limit: periods of simulated bursts go in, the smallest limit that serves them comes out."""

from __future__ import annotations

import gc
import sys
from array import array
from math import inf, nan

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from exporter.analysis.advice import quantity, set_pod_limit
from exporter.analysis.recommend import DemandHistogram, recommend, rounded_up
from exporter.identities import PodIdentity, PodSpec
from exporter.model import Interval, Recommendation, Window
from tests.support.snapshots import container

PERIOD = 0.1


def bursts(size: float, every: float, limit: float, seconds: int = 60) -> list[Interval]:
    """Samples of 1 s of a container whose bursts are apart, as the kernel counts them."""
    quota, counts = limit * PERIOD, [[0, 0, 0.0] for _ in range(seconds)]
    at = 0.05
    while at < seconds - 1:
        left = size
        while left > 1e-9 and at < seconds:
            now = counts[int(at)]
            now[0] += 1
            now[1] += left > quota + 1e-9
            now[2] += min(left, quota)
            left -= quota
            at += PERIOD
        if at < seconds:
            counts[int(at)][0] += 1  # the idle period that stops the timer
        at += every
    return [Interval(1.0, int(periods), int(throttled), used) for periods, throttled, used in counts]


def learned(intervals: list[Interval], limit: float, now: float = 100.0) -> DemandHistogram:
    demand = DemandHistogram()
    for first in range(0, len(intervals), 10):
        demand.learn(intervals[first : first + 10], limit=limit, period=PERIOD, now=now)
    return demand


@pytest.mark.parametrize("limit", [0.05, 0.2, 0.4])
@pytest.mark.parametrize(("size", "every"), [(0.2, 0.8), (0.104, 0.9), (0.04, 0.4), (0.02, 0.48)])
def test_a_burst_s_size_is_known_whatever_the_limit(size: float, every: float, limit: float) -> None:
    found = learned(bursts(size, every, limit), limit).burst_seconds(100.0)
    assert found == pytest.approx(size, rel=0.2)


def test_bursts_of_days_ago_count_less() -> None:
    demand = learned(bursts(0.2, 0.8, 0.4), 0.4)
    assert demand.burst_seconds(100.0) == pytest.approx(0.2, rel=0.2)
    later = 100.0 + 5 * 86400
    assert demand.burst_seconds(later) is None
    demand.restart()
    demand.learn(bursts(0.02, 0.48, 0.4), limit=0.4, period=PERIOD, now=later)
    assert demand.burst_seconds(later) == pytest.approx(0.02, rel=0.2)
    # A container that is observed for months keeps finite weights.
    assert learned(bursts(0.02, 0.48, 0.4), 0.4, now=1e8).burst_seconds(1e8) == pytest.approx(0.02, rel=0.2)


def test_a_container_that_is_throttled_in_every_period_has_no_known_demand() -> None:
    saturated = [Interval(1.0, 10, 10, 0.2)] * 60
    assert learned(saturated, 0.2).burst_seconds(100.0) is None


def test_what_is_unknown_or_idle_teaches_nothing() -> None:
    idle = [Interval(1.0, 0, 0, 0.0)] * 60
    unknown = [Interval(1.0, 4, 2, nan)] * 60
    assert learned(idle, 0.2).burst_seconds(100.0) is None
    assert learned(unknown, 0.2).burst_seconds(100.0) is None


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


def test_a_single_thread_never_needs_more_than_one_cpu() -> None:
    assert said(0.2, 0.8).limit_cores == 1.0
    # Fifty threads of which one runs: a single CPU was stopped in each throttled period.
    assert said(0.2, 0.8, threads=50, lost=0.8 * 0.5 * 0.8).limit_cores == 1.0
    assert said(0.2, 0.8, threads=50, lost=0.8 * 0.5 * 3.8).limit_cores == 2.2


def test_a_small_burst_needs_its_size_and_a_slice() -> None:
    assert said(0.04, 0.4).limit_cores == 0.45


def test_where_every_period_is_throttled_the_next_step_is_bounded() -> None:
    unknown = said(None, 1.0)
    assert unknown.limit_cores is None
    assert (unknown.next_cores, unknown.low_cores, unknown.high_cores) == (0.4, 0.2, 1.0)
    assert said(None, 1.0, limit=0.8).next_cores == 1.0
    assert said(None, 1.0, threads=None, cpus=None, lost=0.0).next_cores == 0.4


def test_a_limit_under_which_nothing_is_throttled_is_enough() -> None:
    assert said(0.2, 0.0, limit=1.0, threads=50, lost=0.0).limit_cores == 1.0


def test_what_is_not_throttled_and_unknown_gets_no_advice() -> None:
    window = Window(60.0, 300, 0, 0.0, 0.0)
    assert recommend(None, limit=1.0, period=PERIOD, window=window, lost=0.0, threads=1, cpus=4) is None


def test_a_recommendation_that_did_not_do_is_doubled() -> None:
    again = said(0.02, 0.5, limit=0.4)
    assert (again.limit_cores, again.next_cores) == (None, 0.8)


@pytest.mark.parametrize(
    ("cores", "text"), [(0.001, "10m"), (0.0123, "20m"), (0.213, "220m"), (1.0, "1"), (2.04, "2100m"), (16.2, "17")]
)
def test_one_rounding_rule(cores: float, text: str) -> None:
    assert quantity(cores) == text


@pytest.mark.parametrize(
    ("kind", "owner", "spec"),
    [
        ("Deployment", "deploy/owner", '{"spec": {"template": {"spec": {"resources": {"limits": {"cpu": "2100m"}}}}}}'),
        (
            "CronJob",
            "cronjob/owner",
            '{"spec": {"jobTemplate": {"spec": {"template": {"spec": {"resources": {"limits": {"cpu": "2100m"}}}}}}}}',
        ),
    ],
)
def test_a_pod_s_limit_is_set_where_its_owner_has_the_template(kind: str, owner: str, spec: str) -> None:
    pod = PodIdentity("u", "shop", "p", PodSpec("Burstable"), kind, "owner")
    command = set_pod_limit(container("app", limit=0.2)._replace(pod_identity=pod), 2.04)
    assert command == [f"kubectl -n shop patch {owner} --patch '{spec}'"]


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
