"""The counters of a synthetic tree obey the rules of those of a real one."""

from __future__ import annotations

from dataclasses import astuple

from hypothesis import given
from hypothesis import strategies as st

from exporter.lab.cfs_simulation import PERIOD_US, Group, advance
from exporter.lab.spec import CpuSettings, Workload

workloads = st.builds(
    Workload,
    kind=st.sampled_from(["idle", "busy", "bursty"]),
    workers=st.integers(1, 12),
    unit_seconds=st.sampled_from([0.002, 0.02, 0.3]),
    every_seconds=st.sampled_from([0.1, 0.4, 1.0]),
)
settings = st.builds(
    CpuSettings,
    quota_cores=st.none() | st.sampled_from([0.05, 0.2, 1.0, 3.0]),
    burst_seconds=st.none() | st.sampled_from([0.002, 0.05]),
)


def run(pod: Group, containers: list[Group], periods: int) -> None:
    for period in range(periods):
        advance(pod, containers, period)


def alone(workload: Workload, quota_cores: float | None, periods: int = 100) -> Group:
    container = Group(CpuSettings(quota_cores=quota_cores), 2, workload)
    run(Group(CpuSettings(), 2, Workload(workers=0)), [container], periods)
    return container


def test_a_busy_container_is_throttled_in_every_period() -> None:
    counters = alone(Workload(kind="busy", workers=3), 0.2).counters

    assert (counters.periods, counters.throttled_periods) == (100, 100)
    assert counters.usage == 100 * 20_000
    assert counters.throttled == 100 * (2 * PERIOD_US - 20_000)


def test_an_idle_container_counts_nothing() -> None:
    assert not any(astuple(alone(Workload(), 0.2).counters))


def test_without_a_quota_no_period_is_counted() -> None:
    counters = alone(Workload(kind="busy"), None).counters

    assert (counters.periods, counters.throttled_periods, counters.throttled) == (0, 0, 0)
    assert counters.usage == 100 * PERIOD_US


def test_a_burst_is_throttled_while_the_average_is_far_below_the_limit() -> None:
    counters = alone(Workload(kind="bursty", workers=8, unit_seconds=0.02), 0.6).counters

    # Each burst: two throttled periods, the one in which it ends, and the idle one that stops the timer.
    assert counters.usage == 10 * 160_000
    assert counters.usage < 0.3 * 100 * 60_000
    # 160 ms of work under 60 ms a period: two periods of the three are cut short.
    assert (counters.periods, counters.throttled_periods) == (40, 20)


def test_an_ancestors_quota_shows_in_the_pod_and_not_in_its_containers() -> None:
    pod = Group(CpuSettings(quota_cores=0.15), 2, Workload(workers=0))
    containers = [Group(CpuSettings(quota_cores=0.15), 2, Workload(kind="busy")) for _ in range(2)]

    run(pod, containers, 100)

    assert (pod.counters.periods, pod.counters.throttled_periods) == (100, 100)
    for one in containers:
        assert (one.counters.periods, one.counters.throttled_periods, one.counters.throttled) == (100, 0, 0)
        assert one.counters.local > 0


def test_saved_quota_lets_a_group_burst() -> None:
    container = Group(CpuSettings(quota_cores=0.2, burst_seconds=0.02), 2, Workload(kind="bursty", unit_seconds=0.03))

    run(Group(CpuSettings(), 2, Workload(workers=0)), [container], 100)

    # The first burst comes before anything could be saved.
    assert (container.counters.bursts, container.counters.throttled_periods) == (9, 1)
    assert container.counters.burst == 9 * 10_000


@given(
    pod_settings=settings,
    loads=st.lists(st.tuples(settings, workloads), min_size=1, max_size=4),
    cpus=st.integers(1, 8),
    periods=st.integers(1, 60),
)
def test_counters_never_contradict_each_other(
    pod_settings: CpuSettings, loads: list[tuple[CpuSettings, Workload]], cpus: int, periods: int
) -> None:
    pod = Group(pod_settings, cpus, Workload(workers=0))
    containers = [Group(one, cpus, workload) for one, workload in loads]
    before = [astuple(one.counters) for one in (pod, *containers)]

    for period in range(periods):
        advance(pod, containers, period)
        after = [astuple(one.counters) for one in (pod, *containers)]
        assert all(new >= old for x, y in zip(before, after, strict=True) for old, new in zip(x, y, strict=True))
        before = after

    assert pod.counters.usage == sum(one.counters.usage for one in containers)
    assert pod.counters.usage <= periods * cpus * PERIOD_US
    for one in (pod, *containers):
        counters, quota = one.counters, one.settings.quota_us
        assert counters.throttled_periods <= counters.periods <= periods
        assert counters.throttled <= counters.throttled_periods * cpus * PERIOD_US
        assert counters.stalled <= counters.waiting <= periods * PERIOD_US
        if quota is None:
            assert counters.periods == 0
        else:
            saved = round((one.settings.burst_seconds or 0) * 1e6)
            assert counters.usage <= counters.periods * (quota + saved)
            assert counters.burst <= counters.usage
