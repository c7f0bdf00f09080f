"""Alerts about the exporter itself."""

from pathlib import Path

import pytest

from tests.rules.conftest import Fires
from tests.rules.scenario import Raw, Target, check, firing, query

INSTANCE = {"cluster": "east", "node": "node-1", "instance": "10.0.0.1:9843"}
DOWN = {"alertname": "ThrottleExporterDown", "severity": "warning", "job": "kube-throttle-exporter", **INSTANCE}
GONE = {"alertname": "ThrottleExporterDown", "severity": "warning"}
STALE = {"alertname": "ThrottleExporterStale", "severity": "warning", **INSTANCE}
UNMAPPED = {"alertname": "ThrottleExporterPodsUnmapped", "severity": "warning", **INSTANCE}
ERRORS = {
    "alertname": "ThrottleExporterErrors",
    "severity": "warning",
    "stage": "read",
    "reason": "permission",
    **INSTANCE,
}

# ---- down ----


def test_a_target_that_does_not_answer_is_down(fires: Fires) -> None:
    fires([Raw("up", 0, target=Target(instance="10.0.0.2:9843"))], {**DOWN, "instance": "10.0.0.2:9843"})


def test_one_node_that_restarts_is_not_down(fires: Fires) -> None:
    fires([Raw("up", "1x49 0x8 1x60", target=Target(instance="10.0.0.2:9843"))], minute=57)


def test_another_job_is_another_s(fires: Fires) -> None:
    fires([Raw("up", 0, target=Target(job="node-exporter"))])


@pytest.mark.parametrize(
    "job", ["kube-throttle-exporter", "monitoring/throttle-exporter", "lab-kube-throttle-exporter"]
)
def test_the_job_may_be_named_after_a_release_or_a_pod_monitor(job: str, fires: Fires) -> None:
    target = Target(job=job, instance="10.0.0.2:9843")
    fires([Raw("up", 0, target=target)], {**DOWN, "instance": "10.0.0.2:9843", "job": job})


def test_a_prometheus_that_has_lost_all_targets_says_so(tmp_path: Path) -> None:
    elsewhere = Raw("up", 1, target=Target(job="node-exporter"))
    check(tmp_path, [elsewhere], queries=[query('ALERTS{alertstate="firing"}', 30, firing(GONE))])


# ---- stale ----
# promtool's clock starts at 0, and so do these timestamps.

TAKEN = "throttle_exporter_snapshot_timestamp_seconds"


def test_a_page_that_stands_still_is_stale(fires: Fires) -> None:
    fires([Raw(TAKEN, "0+60x10 600x50")], STALE)


@pytest.mark.parametrize(
    ("values", "minute"),
    [
        pytest.param("0+60x120", 60, id="fresh"),
        pytest.param("0+60x54 3240x5 3600+60x60", 59, id="stood still for five minutes"),
        # Nothing is 60 s old, though nothing moves.
        pytest.param(f"{60 * 60 - 50}x120", 60, id="clock is ahead"),
        # 600 s behind, as a node with a wrong clock is.
        pytest.param(" ".join(str(minute * 60 - 600) for minute in range(121)), 60, id="clock is wrong"),
    ],
)
def test_stale_is_silent_just_under_each_of_its_conditions(values: str, minute: int, fires: Fires) -> None:
    fires([Raw(TAKEN, values)], minute=minute)


# ---- unmapped ----


def cgroups(state: str, values: str | float) -> Raw:
    return Raw("throttle_exporter_cgroups", values, {"state": state})


def test_containers_without_a_name_fire(fires: Fires) -> None:
    fires([cgroups("unmapped", 2), cgroups("mapped", 30)], UNMAPPED)


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param([cgroups("unmapped", 0), cgroups("mapped", 30), cgroups("pending", 2)], id="all have one"),
        pytest.param([cgroups("unmapped", "0x48 2x13 0x60")], id="for less than 15 minutes"),
    ],
)
def test_unmapped_is_silent_just_under_each_of_its_conditions(silent: list[Raw], fires: Fires) -> None:
    fires(silent, minute=61)


# ---- errors ----


def errors(every_minutes: float) -> Raw:
    values = " ".join(str(int(minute / every_minutes)) for minute in range(121))
    return Raw("throttle_exporter_errors_total", values, {"stage": "read", "reason": "permission"})


def test_failures_that_go_on_fire(fires: Fires) -> None:
    fires([errors(every_minutes=3)], ERRORS)


@pytest.mark.parametrize("every_minutes", [6.0, 1e9], ids=["now and then", "never"])
def test_errors_are_silent_just_under_their_condition(every_minutes: float, fires: Fires) -> None:
    fires([errors(every_minutes)])


def test_a_short_burst_of_failures_is_forgiven(fires: Fires) -> None:
    burst = Raw("throttle_exporter_errors_total", "0x46 0+20x5 100x70", {"stage": "read", "reason": "permission"})
    fires([burst], minute=61)


# ---- labels and coverage ----

UNCOVERED = {"alertname": "ThrottleExporterNodeUncovered", "severity": "warning", "cluster": "east", "node": "node-2"}


def test_a_node_that_kube_state_metrics_knows_and_no_exporter_is_uncovered(fires: Fires) -> None:
    def node(name: str, **labels: str) -> Raw:
        return Raw("kube_node_info", 1, {"os_image": "Debian", **labels}, Target(node=name, instance="ksm", job="ksm"))

    fires([node("node-1"), node("node-2")], UNCOVERED)
    fires([node("node-1"), node("fargate-ip-10-0-0-9"), node("win-1", os_image="Windows Server 2022")])
