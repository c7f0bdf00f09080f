"""The conditions of alerts about throttling that are evidence; test_catalogue.py has the others."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.rules.conftest import Fires
from tests.rules.scenario import ALIVE, OFF, Container, Pod, Target, check, query

# The worked example of docs/numbers.md: one thread that always wants to run, under 40 ms of every 100 ms.
STUCK = Container(periods=10, throttled=10, lost=0.6, usage=0.4, limit=0.4)
WORKLOAD = {"cluster": "east", "namespace": "shop", "workload_kind": "Deployment", "workload": "web"}
PLACE = {**WORKLOAD, "node": "node-1", "pod": "web-5d8f-abcde"}
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
    fires([BURSTY, Pod(threshold=OFF)])


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
