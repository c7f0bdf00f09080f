"""What alerts about throttling say, and the conditions of those that are evidence; test_catalogue.py has the others."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.rules.conftest import Fires
from tests.rules.scenario import ALIVE, EXPORTER_POD, OFF, RUNBOOKS, Container, Pod, Raw, Target, check, query, text

# The worked example of docs/numbers.md: one thread that always wants to run, under 40 ms of every 100 ms.
STUCK = Container(periods=10, throttled=10, lost=0.6, usage=0.4, limit=0.4)
WORKLOAD = {"cluster": "east", "namespace": "shop", "workload_kind": "Deployment", "workload": "web"}
PLACE = {**WORKLOAD, "node": "node-1", "pod": "web-5d8f-abcde"}
HIGH = {"alertname": "WorkloadCPUThrottled", "severity": "warning", **WORKLOAD}
SEVERE = {"alertname": "WorkloadCPUThrottledSevere", "severity": "critical", **WORKLOAD}
POD = {"alertname": "PodCPUThrottled", "severity": "info", **PLACE}
BELOW = {"alertname": "CPUThrottledBelowLimit", "severity": "info", **PLACE, "container": "app"}

# ---- evidence ----


def test_a_pod_is_evidence(tmp_path: Path) -> None:
    def pod(minute: int, number: int) -> Mapping[str, object]:
        expected = [{"labels": "{}", "value": number}] if number else []
        return query('count(ALERTS{alertname="PodCPUThrottled",alertstate="firing"})', minute, expected)

    check(tmp_path, [STUCK, ALIVE], queries=[pod(5, 0), pod(12, 1)])
    check(tmp_path, [STUCK, Pod(threshold=OFF), ALIVE], queries=[pod(12, 0)])


def test_a_restarted_exporter_is_neither_a_gap_nor_a_second_container(tmp_path: Path) -> None:
    # The old address stops at minute 29, the new one begins at 30, with the counters where they were.
    def handed_over(rate: float) -> tuple[str, str]:
        step = rate * 60
        return f"0+{step:g}x29 _x91", f"_x30 {step * 30:g}+{step:g}x90"

    rates = {
        "periods": handed_over(10),
        "throttled": handed_over(8),
        "lost": handed_over(0.6),
        "usage": handed_over(0.4),
    }
    before = Container(ratio=0.8, **{name: values[0] for name, values in rates.items()})  # type: ignore[arg-type]  # names of fields
    after = before.but(target=Target(instance="10.0.0.9:9843"), **{name: values[1] for name, values in rates.items()})
    firing = 'count(ALERTS{alertname="WorkloadCPUThrottled",alertstate="firing"})'
    minutes = (20, 29, 30, 31, 32, 33, 34, 35, 36, 60)
    check(
        tmp_path,
        [before, after, ALIVE],
        queries=[query(firing, minute, [{"labels": "{}", "value": 1}]) for minute in minutes],
    )


BURSTY = Container(periods=5, throttled=1, lost=0.09, usage=0.2, limit=1)


def test_below_limit_fires_where_the_average_explains_nothing(fires: Fires) -> None:
    fires([BURSTY], BELOW)


@pytest.mark.parametrize(
    "just_under",
    [
        pytest.param({"lost": 0.022}, id="9.9 % of its run time"),
        pytest.param({"usage": 0.51}, id="uses 51 % of the limit"),
        pytest.param({"limit": None}, id="no limit"),
    ],
)
def test_below_limit_is_silent_just_under_each_of_its_conditions(
    just_under: dict[str, float | None], fires: Fires
) -> None:
    fires([BURSTY.but(**just_under)])


def test_below_limit_is_silent_for_a_muted_pod(fires: Fires) -> None:
    fires([BURSTY, Pod(threshold=OFF)])


# ---- what people read ----

EXPLAIN = "kubectl -n monitoring exec throttle-x7k2p -- throttle-exporter explain shop/web-5d8f-abcde"
DASHBOARD = "/d/kte-workload?var-cluster=east&var-namespace=shop&var-workload=web"
DESCRIPTION = (
    "In 60% of the time in which tasks of Deployment shop/web could have run, a CPU quota stopped them (throttled time"
    " share). Throttled ratio: 100% of its CPU periods. Lost now: 0.60 CPU-seconds per second, summed over CPUs and"
    " pods, beside 0.40 used. Most is lost by pod web-5d8f-abcde on node node-1 (worst sample of its last minute: 100%"
    " of periods); recommended limit of app: 1.20 CPUs. The command says which quota it is and what helps."
)
AT_ITS_CONTAINER = {"namespace": "shop", "pod": "web-5d8f-abcde", "container": "app"}
PEAK = Raw("cgroup_container_cpu_throttled_ratio_peak", 1, AT_ITS_CONTAINER)
RECOMMENDED = Raw("cgroup_container_cpu_recommended_limit_cores", 1.2, AT_ITS_CONTAINER)


def test_what_workload_alerts_say(tmp_path: Path) -> None:
    check(
        tmp_path,
        [STUCK, PEAK, RECOMMENDED, EXPORTER_POD],
        alerts=[
            text(
                HIGH,
                summary="Deployment shop/web lost 60% of its run time to CPU quotas in the last 30 minutes",
                description=DESCRIPTION,
                command=EXPLAIN,
                runbook_url=f"{RUNBOOKS}/WorkloadCPUThrottled.md",
                dashboard_url=DASHBOARD,
            ),
            text(
                SEVERE,
                summary="Deployment shop/web loses 60% of its run time to CPU quotas",
                description=DESCRIPTION,
                command=EXPLAIN,
                runbook_url=f"{RUNBOOKS}/WorkloadCPUThrottledSevere.md",
                dashboard_url=DASHBOARD,
            ),
        ],
    )


def test_what_is_not_known_is_left_out_of_the_text(tmp_path: Path) -> None:
    """Without node, no command names a random exporter."""
    alert = {name: value for name, value in HIGH.items() if name != "cluster"}
    check(
        tmp_path,
        [STUCK.but(target=Target(cluster=None, node="")), EXPORTER_POD],
        alerts=[
            text(
                alert,
                summary="Deployment shop/web lost 60% of its run time to CPU quotas in the last 30 minutes",
                description=DESCRIPTION.replace(" on node node-1", "")
                .replace(" (worst sample of its last minute: 100% of periods)", "")
                .replace("; recommended limit of app: 1.20 CPUs", ""),
                command="kubectl -n NAMESPACE exec POD-ON-ITS-NODE -- throttle-exporter explain shop/web-5d8f-abcde",
                runbook_url=f"{RUNBOOKS}/WorkloadCPUThrottled.md",
                dashboard_url=DASHBOARD.replace("var-cluster=east", "var-cluster="),
            )
        ],
    )


def test_what_a_pod_s_evidence_says(tmp_path: Path) -> None:
    check(
        tmp_path,
        [STUCK, EXPORTER_POD],
        alerts=[
            text(
                POD,
                summary="shop/web-5d8f-abcde loses 60% of its run time to CPU quotas",
                description=(
                    "In 60% of the last five minutes in which tasks of pod shop/web-5d8f-abcde (Deployment web, node"
                    " node-1) could have run, a CPU quota stopped them. `throttle-exporter explain shop/web-5d8f-abcde`"
                    " in the exporter's pod on that node says which."
                ),
                command=EXPLAIN,
                runbook_url=f"{RUNBOOKS}/PodCPUThrottled.md",
                dashboard_url=f"{DASHBOARD}&var-pod=web-5d8f-abcde",
            )
        ],
    )


def test_what_below_limit_says(tmp_path: Path) -> None:
    check(
        tmp_path,
        [BURSTY, EXPORTER_POD],
        alerts=[
            text(
                BELOW,
                summary="shop/web-5d8f-abcde/app is throttled though it uses less than half of its CPU limit",
                description=(
                    "Container app of pod shop/web-5d8f-abcde (Deployment web, node node-1) lost 31.03% of its run"
                    " time to its quota, while it used 0.20 CPUs on average of a limit of 1.00. More threads"
                    " than CPUs in the limit burn the quota of a 100 ms period at its start and wait for the rest of"
                    " it, whatever the average says. Which cause it is says `throttle-exporter explain"
                    " shop/web-5d8f-abcde/app` in the exporter's pod on that node; fewer threads, CPU burst or a"
                    " higher limit help, more replicas do not."
                ),
                command=f"{EXPLAIN}/app",
                runbook_url=f"{RUNBOOKS}/CPUThrottledBelowLimit.md",
                dashboard_url=f"{DASHBOARD}&var-pod=web-5d8f-abcde&var-container=app",
            )
        ],
    )
