"""CPUs of one's own, and CPUs shared with too many."""

from typing import Any

import pytest

from tests.rules.conftest import Fires
from tests.rules.scenario import OFF, Container, Pod, Raw, Target

PLACE = {"cluster": "east", "node": "node-1", "namespace": "shop", "pod": "web-5d8f-abcde", "container": "app"}
WORKLOAD = {"workload_kind": "Deployment", "workload": "web"}
NOT_PINNED = {"alertname": "GuaranteedPodNotPinned", "severity": "warning", **PLACE, **WORKLOAD}
THROTTLED = {"alertname": "ExclusiveCPUThrottled", "severity": "warning", **PLACE, **WORKLOAD}
SHARED = {"alertname": "ExclusiveCPUShared", "severity": "warning", **PLACE, **WORKLOAD}
CONTENTION = {"alertname": "CPUContention", "severity": "warning", **PLACE, **WORKLOAD}

# ---- not pinned ----

ELIGIBLE = Container(qos="Guaranteed", usage=1.5, request=2, isolation="eligible")


def policy(name: str) -> Raw:
    return Raw("cgroup_node_cpu_manager_info", 1, {"policy": name})


STATIC = policy("static")


def test_an_eligible_container_fires_where_the_node_pins(fires: Fires) -> None:
    fires([ELIGIBLE, STATIC], NOT_PINNED)
    fires([ELIGIBLE, ELIGIBLE.but(target=Target(job="other")), STATIC], NOT_PINNED)


def test_where_the_kubelet_keeps_its_policy_to_itself_a_pinned_neighbour_tells(fires: Fires) -> None:
    fires([ELIGIBLE, Raw("cgroup_node_cpus", 2, {"state": "exclusive"})], NOT_PINNED)


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param([ELIGIBLE, policy("none")], id="the node pins nobody"),
        pytest.param([ELIGIBLE, Raw("cgroup_node_cpus", 0, {"state": "exclusive"})], id="nobody is pinned"),
        pytest.param([ELIGIBLE], id="nothing known of the node"),
        pytest.param([ELIGIBLE.but(isolation="exclusive"), STATIC], id="pinned"),
        pytest.param([ELIGIBLE.but(isolation="shared"), STATIC], id="never promised"),
        pytest.param(
            [ELIGIBLE, Raw("cgroup_node_cpu_manager_info", 1, {"policy": "static"}, Target(node="node-2"))],
            id="another node pins",
        ),
        pytest.param([ELIGIBLE, STATIC, Pod(threshold=OFF)], id="muted"),
    ],
)
def test_not_pinned_is_silent_just_under_each_of_its_conditions(
    silent: list[Container | Pod | Raw], fires: Fires
) -> None:
    fires(silent)


# ---- pinned and throttled ----

OWNER = Container(qos="Guaranteed", periods=10, throttled=0.5, lost=0.02, usage=1.9, limit=2, isolation="exclusive")


def test_a_quota_on_exclusive_cpus_fires(fires: Fires) -> None:
    fires([OWNER], THROTTLED)
    fires([OWNER, Pod(threshold=OFF)])
    fires([OWNER, OWNER.but(target=Target(job="other"))], THROTTLED)


@pytest.mark.parametrize(
    "just_under",
    [
        pytest.param({"lost": 0.009}, id="9 ms of every second"),
        pytest.param({"isolation": "eligible"}, id="CPUs not its own"),
        pytest.param({"isolation": None}, id="collector off"),
    ],
)
def test_exclusive_throttled_is_silent_just_under_each_of_its_conditions(
    just_under: dict[str, Any], fires: Fires
) -> None:
    fires([OWNER.but(**just_under)])


# ---- pinned and not alone ----

INVADED = Container(qos="Guaranteed", usage=1.2, isolation="exclusive", exclusive=0, cpus=2)


def test_a_neighbour_on_exclusive_cpus_fires(fires: Fires) -> None:
    fires([INVADED], SHARED)
    fires([INVADED, INVADED.but(target=Target(job="other"))], SHARED)


@pytest.mark.parametrize(
    "just_under",
    [
        pytest.param({"exclusive": 1}, id="alone there"),
        pytest.param({"exclusive": None}, id="collector off"),
        pytest.param({"isolation": "eligible"}, id="never placed"),
        pytest.param({"isolation": "shared"}, id="never promised"),
    ],
)
def test_exclusive_shared_is_silent_just_under_each_of_its_conditions(just_under: dict[str, Any], fires: Fires) -> None:
    fires([INVADED.but(**just_under)])


def test_neither_a_muted_pod_nor_a_moment_is_an_invasion(fires: Fires) -> None:
    fires([INVADED, Pod(threshold=OFF)])
    fires([INVADED.but(exclusive="1x50 0x8 1x60")], minute=59)


# ---- contention ----

WAITING = Container(usage=0.5, request=0.25, stalled=0.4)


def test_waiting_without_throttling_is_contention(fires: Fires) -> None:
    fires([WAITING], CONTENTION)
    fires([WAITING, WAITING.but(target=Target(job="other"))], CONTENTION)


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param([WAITING.but(stalled=0.24)], id="24 % of the time"),
        pytest.param([WAITING.but(stalled=None)], id="no pressure counters"),
        pytest.param([WAITING.but(periods=10, throttled=1, lost=0.06)], id="its own quota explains it"),
        pytest.param([WAITING, Pod(periods=10, throttled=1, lost=0.06)], id="the pod's quota explains it"),
        pytest.param([WAITING.but(local_lost=0.06)], id="an ancestor's quota explains it"),
        pytest.param([WAITING.but(qos="BestEffort")], id="asked for nothing"),
        pytest.param([WAITING, Pod(threshold=OFF)], id="muted"),
    ],
)
def test_contention_is_silent_just_under_each_of_its_conditions(
    silent: list[Container | Pod | Raw], fires: Fires
) -> None:
    fires(silent)


def test_a_little_throttling_does_not_hide_contention(fires: Fires) -> None:
    fires([WAITING.but(periods=10, throttled=1, lost=0.04), Pod(periods=10, throttled=1, lost=0.04)], CONTENTION)
    fires([WAITING.but(local_lost=0.04)], CONTENTION)
