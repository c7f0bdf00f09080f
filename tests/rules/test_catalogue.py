"""What pages, what is a ticket and what is silent, from which minute to which, at each scrape interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.rules.scenario import Series, Target
from tests.rules.timeline import IDLE, Life, Second, Trace, answers, counted, firing

HIGH, SEVERE = "WorkloadCPUThrottled", "WorkloadCPUThrottledSevere"
each_scrape = pytest.mark.parametrize("scrape", [15, 60], ids="scraped every {}s".format)
CALM = Second(used=0.3, periods=10)
STOPPED = Second(used=0.5, lost=4.5, periods=10, throttled=10)
"""Ten threads under a limit of half a CPU."""
MINUTE = 60


def every(length: int, busy: int, what: Second, otherwise: Second = CALM) -> Life:
    return lambda second: what if second % length < busy else otherwise


def between(begin: int, end: int, what: Second, otherwise: Second = CALM) -> Life:
    return lambda second: what if begin * MINUTE <= second < end * MINUTE else otherwise


def throttled_until(end: int, seconds: int, what: Second) -> Life:
    return lambda second: what if end - seconds <= second < end else CALM


def always(what: Second) -> Life:
    return lambda _: what


CRON = [Trace(always(STOPPED), pod=f"cron-{n}", kind="CronJob", start=n * 180, end=n * 180 + 120) for n in range(20)]
SIDECAR: Life = every(15, 10, Second(0.01, 0.99, 10, 10), IDLE)
"""A limit of 10m, 0.1 CPU seconds every 15 s."""


def rollout(pods: int, wave: int, begin: int = 30) -> list[Trace]:
    """Waves of pods from a minute on, each throttled for its first 90 s and then replacing an old one."""
    starts = [begin * MINUTE + number // wave * 90 for number in range(pods)]
    return [
        *(Trace(starting(start, 90), pod=f"new-{number}", start=start) for number, start in enumerate(starts)),
        *(Trace(always(CALM), pod=f"old-{number}", end=start + 90) for number, start in enumerate(starts)),
    ]


def starting(begin: int, seconds: int) -> Life:
    return lambda second: STOPPED if begin <= second < begin + seconds else CALM


@each_scrape
@pytest.mark.parametrize(
    ("traces", "alerts"),
    [
        pytest.param([Trace(every(600, 200, STOPPED))], {HIGH, SEVERE}, id="stopped for 200 s of 10 minutes"),
        pytest.param([Trace(every(600, 60, STOPPED))], {HIGH}, id="stopped for 60 s of 10 minutes"),
        pytest.param([Trace(every(600, 60, Second(0.3, 0.7, 10, 10)))], {HIGH}, id="one thread, 60 s of 10 minutes"),
        pytest.param(CRON, {HIGH}, id="CronJob pods of two minutes every three"),
        pytest.param(
            [Trace(every(400, 100, STOPPED, IDLE), restarts=tuple(range(0, 3600, 400)))], {HIGH}, id="crash loop"
        ),
        pytest.param([Trace(always(Second(0.3, 0.1, 10, 2)))], {HIGH}, id="20 % of periods x 50 ms"),
        pytest.param([Trace(always(Second(0.3, 0.192, 10, 2.4)))], {HIGH}, id="24 % of periods x 80 ms"),
        pytest.param([Trace(always(STOPPED), kind="Job")], {HIGH}, id="batch that is always throttled"),
    ],
)
def test_it_alerts_from_minute_9_on_and_does_not_flap(
    traces: list[Trace], alerts: set[str], scrape: int, tmp_path: Path
) -> None:
    found = firing(tmp_path, traces, minutes=60, scrape=scrape)

    assert {name for name, _ in found} == alerts
    assert found[HIGH, "web"] == list(range(found[HIGH, "web"][0], 61))
    assert found[HIGH, "web"][0] <= 9


@each_scrape
@pytest.mark.parametrize("load", [Second(0.4, 0.6, 10, 10), STOPPED], ids=["one thread", "ten threads"])
def test_steady_severe_throttling_pages_within_7_minutes_and_ends_within_10(
    load: Second, scrape: int, tmp_path: Path
) -> None:
    found = firing(tmp_path, [Trace(between(30, 50, load))], minutes=65, scrape=scrape)

    page, ticket = found[SEVERE, "web"], found[HIGH, "web"]
    assert page == list(range(36, page[-1] + 1))
    assert ticket == list(range(39, ticket[-1] + 1))
    assert max(page[-1], ticket[-1]) < 60


LOADS = {
    "one": Second(0.4, 0.6, 10, 10),
    "ten": STOPPED,
    "half": Second(0.4, 0.5, 10, 7),
    "latency": Second(0.3, 0.192, 10, 2.4),
}


@pytest.mark.parametrize("last_group_first", [False, True], ids=["groups in order", "groups in reverse"])
@pytest.mark.parametrize("minutes", [15, 40], ids="throttled for {} minutes".format)
def test_alerts_end_within_10_minutes_in_every_phase(minutes: int, last_group_first: bool, tmp_path: Path) -> None:
    """The repair is at any second between two evaluations of any group."""
    repaired = {f"{name}-{phase}": (10 + minutes) * MINUTE + phase for name in LOADS for phase in range(1, 241, 37)}
    traces = [
        Trace(throttled_until(end, minutes * MINUTE, LOADS[name.partition("-")[0]]), pod=name, workload=name)
        for name, end in repaired.items()
    ]
    found = firing(tmp_path, traces, minutes=minutes + 26, scrape=60, last_group_first=last_group_first)

    assert {name for _, name in found} == set(repaired)
    # It is over with the first evaluation after the last one that fires.
    ends = {key: fired[-1] + 1 - repaired[key[1]] / MINUTE for key, fired in found.items()}
    assert max(ends.values()) <= 10, ends


@each_scrape
@pytest.mark.parametrize(
    ("traces", "allowed"),
    [
        pytest.param([Trace(always(CALM), beside={"proxy": SIDECAR})], set(), id="sidecar of 10m"),
        pytest.param([Trace(SIDECAR)], set(), id="a pod of 10m"),
        pytest.param([Trace(always(Second(16, 6 * 0.002 * 64, 10, 6)))], set(), id="64 threads under 16 CPUs"),
        pytest.param([Trace(every(300, 10, Second(1, 9, 10, 10)))], set(), id="burst of 10 s in 5 minutes"),
        pytest.param([Trace(every(300, 1, Second(0.3, 0.27, 10, 3), IDLE))], set(), id="3 of 10 periods, else idle"),
        pytest.param([Trace(every(300, 10, Second(4, 36, 10, 10), IDLE))], {HIGH}, id="burst of 10 s, else idle"),
        pytest.param([Trace(always(Second(0.03, 0.07, 10, 7)))], {HIGH}, id="0.03 CPUs in periods of 10 ms"),
        pytest.param(
            [Trace(always(CALM)), Trace(between(30, 34, STOPPED), pod="new", start=1800)], {HIGH}, id="JVM start, 1 pod"
        ),
        pytest.param(rollout(20, 5), set(), id="roll-out of 20 pods"),
    ],
)
def test_it_is_silent_or_a_ticket_at_most(traces: list[Trace], allowed: set[str], scrape: int, tmp_path: Path) -> None:
    assert {name for name, _ in firing(tmp_path, traces, minutes=60, scrape=scrape)} == allowed


@pytest.mark.parametrize("scrape", [15, 30])
def test_a_roll_out_of_200_pods_is_a_ticket_at_most(scrape: int, tmp_path: Path) -> None:
    """Each of them loses 4.5 CPUs for its first 90 s, an eighth of them at a time."""
    found = firing(tmp_path, rollout(200, 25, begin=8), minutes=24, scrape=scrape)

    assert {name for name, _ in found} <= {HIGH}


@pytest.mark.parametrize("at_once", [True, False], ids=["all at once", "one by one"])
def test_a_stateful_set_whose_pods_keep_their_names_may_start_slowly(at_once: bool, tmp_path: Path) -> None:
    """The second life of a name is young, by its uid."""
    ends = [1200 if at_once else 1200 + number * 240 for number in range(5)]
    old = [Trace(always(CALM), pod=f"db-{n}", kind="StatefulSet", end=end) for n, end in enumerate(ends)]
    new = [
        replace(one, life=starting(end + 60, 180), start=end + 60, end=None, target=Target(node="node-2"))
        for one, end in zip(old, ends, strict=True)
    ]

    assert {name for name, _ in firing(tmp_path, [*old, *new], minutes=50, scrape=30)} == {HIGH}


def test_rows_of_two_replicas_of_prometheus_are_one_workload(tmp_path: Path) -> None:
    """Where a ruler sees both, one of them restarted."""
    one = Trace(always(Second(0.4, 0.6, 10, 10)), labels={"prometheus_replica": "a"})
    other = replace(one, start=900, labels={"prometheus_replica": "b"})

    assert firing_counts(tmp_path, [one, other], 40, [BUILD]) == {HIGH: 1, SEVERE: 1}


def test_one_workload_is_one_alert_and_two_clusters_are_two(tmp_path: Path) -> None:
    replicas = [
        Trace(always(STOPPED), pod=f"web-{number}", target=Target(cluster=cluster, node=f"node-{number}"))
        for number in range(3)
        for cluster in ("east", "west")
    ]
    counts = firing_counts(tmp_path, replicas, 40)

    assert counts[HIGH] == counts[SEVERE] == 2


def firing_counts(workspace: Path, traces: list[Trace], minute: int, more: Iterable[Series] = ()) -> dict[str, int]:
    series = {one.selector: one.values for trace in traces for one in trace.series(minute, 60)}
    series |= {one.selector: one.values for one in more}
    return counted(workspace, series, 'count by (alertname) (ALERTS{alertstate="firing",severity!="info"})', minute)


def test_a_gap_of_the_scrape_delays_the_page_by_minutes_and_makes_no_old_pod_young(tmp_path: Path) -> None:
    """Six minutes without samples: the ticket stands, the page is back 4 minutes after them and stays."""
    series = {BUILD.selector: "1x60"}
    for one in Trace(always(STOPPED)).series(60, 60):
        values = one.values.split(" ")
        values[30:36] = ["stale", *["_"] * 5]
        series[one.selector] = " ".join(values)
    query = 'count by (alertname) (ALERTS{alertstate="firing",alertname=~"Workload.*"})'

    found = answers(tmp_path, series, query, range(61), 60)
    minutes = {name: [minute for minute, labels, _ in found if labels["alertname"] == name] for name in (HIGH, SEVERE)}
    assert minutes == {HIGH: list(range(7, 61)), SEVERE: [*range(12, 34), *range(40, 61)]}


@pytest.mark.parametrize("after", [2, 5, 12, 25])
def test_an_ended_pod_books_its_last_minutes_to_its_workload(after: int, tmp_path: Path) -> None:
    """Counters and names linger for a minute, then come stale markers, while a rate goes on for five."""
    series = {
        one.selector: one.values for one in Trace(always(STOPPED), end=1800, kind="CronJob").series(30 + after, 15)
    }
    query = "count by (workload) (sum_over_time(workload:cgroup_cpu_throttled_seconds:active_rate5m[35m]))"

    assert counted(tmp_path, series, query, 30 + after, scrape=15) == {"web": 1}


MUTED = float("inf")
BUILD = Series("throttle_exporter_build_info", Target().labels, "1x40")


def test_a_muted_workload_is_silent_and_counts_nowhere(tmp_path: Path) -> None:
    cron = [replace(one, threshold=MUTED) for one in CRON]
    assert firing(tmp_path, cron, minutes=60, scrape=30) == {}

    series = {one.selector: one.values for one in Trace(always(STOPPED), threshold=MUTED).series(40, 60)}
    query = "count by (cluster) (cluster:cgroup_cpu_throttled_workloads:count > 0)"
    assert counted(tmp_path, series, query, 40) == {}


def test_a_threshold_of_its_own_replaces_the_ratio(tmp_path: Path) -> None:
    latency = Trace(always(Second(0.3, 0.192, 10, 2.4)))
    assert firing(tmp_path, [replace(latency, threshold=0.25)], minutes=30, scrape=60) == {}
    assert set(firing(tmp_path, [replace(latency, threshold=0.2)], minutes=30, scrape=60)) == {(HIGH, "web")}
    assert firing(tmp_path, [replace(Trace(always(STOPPED)), threshold=1.0)], minutes=40, scrape=60) == {}


def test_relabelled_rows_alert_for_no_stranger_and_name_what_is_lost(tmp_path: Path) -> None:
    lost = {"namespace": "monitoring", "pod": "throttle-x", "container": "exporter"}
    traces = [
        Trace(always(STOPPED), pod=f"web-{n}", labels={**lost, "exported_pod": f"web-{n}", "exported_container": "app"})
        for n in range(3)
    ]

    assert firing_counts(tmp_path, traces, 40, [BUILD]) == {"ThrottleExporterLabelsLost": 1}


def test_without_the_label_node_it_alerts_all_the_same(tmp_path: Path) -> None:
    traces = [replace(Trace(always(STOPPED)), target=Target(node=""))]
    build = replace(BUILD, labels={"cluster": "east", "job": "x", "instance": "a"})

    counts = firing_counts(tmp_path, traces, 40, [build])
    assert counts == {HIGH: 1, SEVERE: 1, "ThrottleExporterLabelsLost": 1}
