from pathlib import Path
from typing import Any

import pytest

from tests.rules.conftest import Fires
from tests.rules.scenario import (
    ALIVE,
    EXPORTER_POD,
    OFF,
    RUNBOOKS,
    STEPS,
    Container,
    Pod,
    Target,
    check,
    firing,
    query,
    text,
)

# The worked example of docs/numbers.md: one thread that always wants to run, under 40 ms of every 100 ms.
STUCK = Container(periods=10, throttled=10, lost=0.6, usage=0.4, limit=0.4)
WARM = Container(periods=10, throttled=4, lost=0.2, usage=0.3, limit=0.4)
LABELS = {
    "cluster": "east",
    "node": "node-1",
    "namespace": "shop",
    "pod": "web-5d8f-abcde",
    "container": "app",
    "workload_kind": "Deployment",
    "workload": "web",
}
HIGH = {"alertname": "CPUThrottlingHigh", "severity": "warning", **LABELS}
SEVERE = {"alertname": "CPUThrottlingSevere", "severity": "critical", **LABELS}
BELOW = {"alertname": "CPUThrottledBelowLimit", "severity": "info", **LABELS}


def test_high_fires_where_ratio_time_and_periods_say_so(fires: Fires) -> None:
    fires([WARM], HIGH)


def test_high_waits_a_quarter_of_an_hour(tmp_path: Path) -> None:
    # A rate over five minutes is whole from minute 5 on; WARM is over the thresholds in minute 3.
    early, late = query('ALERTS{alertstate="firing"}', 17, []), query('ALERTS{alertstate="firing"}', 18, firing(HIGH))
    check(tmp_path, [WARM, ALIVE], queries=[early, late])


@pytest.mark.parametrize(
    "just_under",
    [
        pytest.param({"throttled": 2.4}, id="24 % of periods"),
        pytest.param({"lost": 0.09}, id="90 ms of every second"),
        pytest.param({"periods": 0.95, "throttled": 0.9}, id="awake in less than one period a second"),
    ],
)
def test_high_is_silent_just_under_each_of_its_conditions(just_under: dict[str, float], fires: Fires) -> None:
    fires([WARM.but(**just_under)])


def test_an_idle_container_with_3_throttled_of_10_periods_alerts_nobody(fires: Fires) -> None:
    # Ten periods in every five minutes, three of them throttled for 90 ms each: 30 %, and nobody ever noticed.
    rare: dict[str, Any] = {
        name: " ".join(f"{minute // 5 * amount:g}" for minute in range(STEPS + 1))
        for name, amount in (("periods", 10), ("throttled", 3), ("lost", 0.27))
    }
    for minute in range(20, 25):
        fires([Container(usage=0.001, limit=0.1, **rare)], minute=minute)


def test_high_fires_again_and_again_through_container_restarts(fires: Fires) -> None:
    # The container is killed every ten minutes; each life starts its counters at zero.
    lives: dict[str, Any] = {
        name: " ".join([f"0+{rate * 60:g}x9"] * 12)
        for name, rate in (("periods", 10), ("throttled", 4), ("lost", 0.2), ("usage", 0.3))
    }
    fires([WARM.but(**lives)], HIGH)


def test_a_restarted_exporter_is_neither_a_gap_nor_a_second_container(tmp_path: Path) -> None:
    # The old address stops at minute 29, the new one begins at 30, with the counters where they were.
    def handed_over(rate: float) -> tuple[str, str]:
        step = rate * 60
        return f"0+{step:g}x29 _x91", f"_x30 {step * 30:g}+{step:g}x90"

    rates = {"periods": handed_over(10), "throttled": handed_over(8), "lost": handed_over(0.4)}
    before = WARM.but(usage=None, **{name: values[0] for name, values in rates.items()})
    after = WARM.but(
        usage=None,
        target=Target(instance="10.0.0.9:9843"),
        **{name: values[1] for name, values in rates.items()},
    )
    always = 'ALERTS{alertname="CPUThrottlingHigh",alertstate="firing"}'
    check(
        tmp_path,
        [before, after, ALIVE],
        queries=[query(always, minute, firing(HIGH)) for minute in (20, 29, 30, 31, 32, 33, 34, 35, 36, 60)],
    )


def test_two_jobs_that_scrape_one_exporter_make_one_alert_with_true_numbers(tmp_path: Path) -> None:
    twice = [WARM, WARM.but(target=Target(job="monitoring/kube-throttle-exporter"))]
    check(
        tmp_path,
        [*twice, ALIVE],
        queries=[
            query('ALERTS{alertstate="firing"}', 30, firing(HIGH)),
            query(
                "round(cluster:cgroup_cpu_throttled_seconds:rate5m, 0.001)",
                30,
                [{"labels": '{cluster="east"}', "value": 0.2}],
            ),
        ],
    )


def test_a_pod_whose_owner_is_told_in_two_ways_still_alerts_once(tmp_path: Path) -> None:
    other_owner = WARM.but(target=Target(instance="10.0.0.9:9843"), workload="web-old", kind="ReplicaSet")
    count = query(
        'count(ALERTS{alertname="CPUThrottlingHigh",alertstate="firing"})', 30, [{"labels": "{}", "value": 1}]
    )
    check(tmp_path, [WARM, other_owner, ALIVE], queries=[count])


def test_without_the_info_metric_the_alert_only_lacks_the_workload(fires: Fires) -> None:
    alert = {name: value for name, value in HIGH.items() if not name.startswith("workload")}
    fires([WARM.but(workload=None)], alert)


def test_without_a_cluster_label_nothing_is_lost(fires: Fires) -> None:
    alone = Target(cluster=None)
    alert = {name: value for name, value in HIGH.items() if name != "cluster"}
    fires([WARM.but(target=alone)], alert)


def test_clusters_do_not_see_each_other(fires: Fires) -> None:
    west = Target(cluster="west")
    muted_in_the_west = [WARM.but(target=west), Pod(target=west, threshold=OFF)]
    fires([WARM, *muted_in_the_west], HIGH)


def test_the_use_metric_may_be_switched_off(fires: Fires) -> None:
    fires([WARM.but(usage=None, limit=None)], HIGH)


@pytest.mark.parametrize("source", [WARM, STUCK], ids=["high", "severe"])
def test_a_muted_pod_alerts_nobody(source: Container, fires: Fires) -> None:
    fires([source, Pod(threshold=OFF)])


def test_a_pod_s_own_threshold_replaces_the_default(fires: Fires) -> None:
    fires([WARM, Pod(threshold=0.41)])
    fires([WARM, Pod(threshold=0.39)], HIGH)
    fires([WARM.but(throttled=1.1, usage=0.4), Pod(threshold=0.1)], HIGH)


def test_a_threshold_that_is_scraped_twice_is_one(fires: Fires) -> None:
    elsewhere = Target(job="other")
    fires([WARM, Pod(threshold=0.41), Pod(threshold=0.41, target=elsewhere)])


def test_severe_pages_after_5_minutes_and_high_follows(tmp_path: Path) -> None:
    check(
        tmp_path,
        [STUCK, ALIVE],
        queries=[
            # A rate over five minutes is whole from minute 5 on.
            query('ALERTS{alertstate="firing"}', 9, []),
            query('ALERTS{alertstate="firing"}', 10, firing(SEVERE)),
            query('ALERTS{alertstate="firing"}', 20, firing(HIGH, SEVERE)),
        ],
    )


@pytest.mark.parametrize(
    "just_under",
    [
        pytest.param({"throttled": 4.9}, id="49 % of periods"),
        pytest.param({"lost": 0.49}, id="490 ms of every second"),
        pytest.param({"periods": 4.9, "throttled": 4.9}, id="awake less than half of the time"),
    ],
)
def test_severe_is_silent_just_under_each_of_its_conditions(just_under: dict[str, float], fires: Fires) -> None:
    fires([STUCK.but(**just_under)], HIGH)


def test_severe_respects_a_pod_s_higher_threshold(fires: Fires) -> None:
    fires([STUCK.but(throttled=8.9), Pod(threshold=0.9)])
    fires([STUCK.but(throttled=9.1), Pod(threshold=0.9)], HIGH, SEVERE)


def test_a_pod_s_lower_threshold_does_not_make_it_page_earlier(fires: Fires) -> None:
    fires([STUCK.but(throttled=4.9), Pod(threshold=0.1)], HIGH)


def test_alerts_outlive_a_short_calm_and_end_after_a_long_one(tmp_path: Path) -> None:
    # Throttled for 30 minutes, calm from then on; the 5-minute rate needs a few minutes to show it.
    def stops(rate: float) -> str:
        return f"0+{rate * 60:g}x30 {rate * 60 * 30:g}x90"

    source = STUCK.but(periods=stops(10), throttled=stops(10), lost=stops(0.6), usage=stops(0.4))
    check(
        tmp_path,
        [source, ALIVE],
        queries=[
            query('ALERTS{alertstate="firing"}', 40, firing(HIGH, SEVERE)),
            # What severe inhibits has ended before it: nobody is told that the page became a warning.
            query('ALERTS{alertstate="firing"}', 45, firing(SEVERE)),
            query('ALERTS{alertstate="firing"}', 51, []),
        ],
    )


BURSTY = Container(periods=5, throttled=1, lost=0.09, usage=0.2, limit=1)


def test_below_limit_fires_where_the_average_explains_nothing(fires: Fires) -> None:
    fires([BURSTY], BELOW)


@pytest.mark.parametrize(
    "just_under",
    [
        pytest.param({"throttled": 0.48}, id="9.6 % of periods"),
        pytest.param({"lost": 0.045}, id="45 ms of every second"),
        pytest.param({"periods": 0.95, "throttled": 0.5}, id="awake in less than one period a second"),
        pytest.param({"usage": 0.51}, id="uses 51 % of the limit"),
        pytest.param({"limit": None}, id="no limit"),
    ],
)
def test_below_limit_is_silent_just_under_each_of_its_conditions(
    just_under: dict[str, float | None], fires: Fires
) -> None:
    fires([BURSTY.but(**just_under)])


def test_below_limit_respects_a_pod_s_threshold(fires: Fires) -> None:
    fires([BURSTY, Pod(threshold=0.21)])
    fires([BURSTY, Pod(threshold=OFF)])


def test_high_and_below_limit_name_the_same_container_so_that_one_can_inhibit_the_other(fires: Fires) -> None:
    fires([BURSTY.but(throttled=2, lost=0.3)], HIGH, BELOW)


# ---- what people read ----

EXPLAIN = "kubectl -n monitoring exec throttle-x7k2p -- throttle-exporter explain shop/web-5d8f-abcde/app"
DASHBOARD = (
    "/d/kte-workload?var-cluster=east&var-namespace=shop&var-workload=web&var-pod=web-5d8f-abcde&var-container=app"
)
DESCRIPTION = (
    "Container app of pod shop/web-5d8f-abcde (Deployment web, node node-1) ran out of its CPU quota in 100% of the"
    " periods in which it ran, and its CPUs stood still for 0.60 seconds of every second. On average it used 0.40 CPUs"
    " of a limit of 0.40. What it serves waits for that. Which cause it is says `throttle-exporter explain"
    " shop/web-5d8f-abcde/app` in the exporter's pod on that node; the usual cures are a higher limit or none, no more"
    " threads than CPUs in the limit (GOMAXPROCS, OMP_NUM_THREADS, -XX:ActiveProcessorCount), or CPU burst."
)


def test_what_high_and_severe_say(tmp_path: Path) -> None:
    check(
        tmp_path,
        [STUCK, EXPORTER_POD, ALIVE],
        alerts=[
            text(
                HIGH,
                summary="shop/web-5d8f-abcde/app is throttled in 100% of its CPU periods",
                description=DESCRIPTION,
                command=EXPLAIN,
                runbook_url=f"{RUNBOOKS}/CPUThrottlingHigh.md",
                dashboard_url=DASHBOARD,
            ),
            text(
                SEVERE,
                summary="shop/web-5d8f-abcde/app stands still: throttled in 100% of its CPU periods",
                description=DESCRIPTION,
                command=EXPLAIN,
                runbook_url=f"{RUNBOOKS}/CPUThrottlingSevere.md",
                dashboard_url=DASHBOARD,
            ),
        ],
    )


def test_what_high_says_where_half_of_the_metrics_are_missing(tmp_path: Path) -> None:
    check(
        tmp_path,
        [WARM.but(usage=None, limit=None), ALIVE],
        alerts=[
            text(
                HIGH,
                summary="shop/web-5d8f-abcde/app is throttled in 40% of its CPU periods",
                description=DESCRIPTION.replace("100%", "40%")
                .replace("0.60", "0.20")
                .replace(" On average it used 0.40 CPUs of a limit of 0.40.", ""),
                command="kubectl -n NAMESPACE exec POD-ON-THAT-NODE -- throttle-exporter explain"
                " shop/web-5d8f-abcde/app",
                runbook_url=f"{RUNBOOKS}/CPUThrottlingHigh.md",
                dashboard_url=DASHBOARD,
            )
        ],
    )


def test_what_below_limit_says(tmp_path: Path) -> None:
    check(
        tmp_path,
        [BURSTY, EXPORTER_POD, ALIVE],
        alerts=[
            text(
                BELOW,
                summary="shop/web-5d8f-abcde/app is throttled though it uses less than half of its CPU limit",
                description=(
                    "Container app of pod shop/web-5d8f-abcde (Deployment web, node node-1) was throttled in 20% of"
                    " the periods in which it ran, while it used 0.20 CPUs on average of a limit of 1.00. More threads"
                    " than CPUs in the limit burn the quota of a 100 ms period at its start and wait for the rest of"
                    " it, whatever the average says. Which cause it is says `throttle-exporter explain"
                    " shop/web-5d8f-abcde/app` in the exporter's pod on that node; fewer threads, CPU burst or a"
                    " higher limit help, more replicas do not."
                ),
                command=EXPLAIN,
                runbook_url=f"{RUNBOOKS}/CPUThrottledBelowLimit.md",
                dashboard_url=DASHBOARD,
            )
        ],
    )
