"""CPUs of one's own, and CPUs shared with too many."""

from pathlib import Path
from typing import Any

import pytest

from tests.rules.conftest import Fires
from tests.rules.scenario import ALIVE, EXPORTER_POD, OFF, RUNBOOKS, Container, Pod, Raw, Target, check, text

PLACE = {"cluster": "east", "node": "node-1", "namespace": "shop", "pod": "web-5d8f-abcde", "container": "app"}
WORKLOAD = {"workload_kind": "Deployment", "workload": "web"}
NOT_PINNED = {"alertname": "GuaranteedPodNotPinned", "severity": "warning", **PLACE, **WORKLOAD}
THROTTLED = {"alertname": "ExclusiveCPUThrottled", "severity": "warning", **PLACE, **WORKLOAD}
SHARED = {"alertname": "ExclusiveCPUShared", "severity": "warning", **PLACE, **WORKLOAD}
CONTENTION = {"alertname": "CPUContention", "severity": "warning", **PLACE, **WORKLOAD}
EXPLAIN = "kubectl -n monitoring exec throttle-x7k2p -- throttle-exporter explain shop/web-5d8f-abcde/app"
WORKLOAD_DASHBOARD = (
    "/d/kte-workload?var-cluster=east&var-namespace=shop&var-workload=web&var-pod=web-5d8f-abcde&var-container=app"
)
NODE_DASHBOARD = "/d/kte-node?var-cluster=east&var-node=node-1"

# ---- not pinned ----

ELIGIBLE = Container(qos="Guaranteed", usage=1.5, request=2, isolation="eligible")


def policy(name: str) -> Raw:
    return Raw("cgroup_node_cpu_manager_info", 1, {"policy": name})


STATIC = policy("static")


def test_an_eligible_container_fires_where_the_node_pins(fires: Fires) -> None:
    fires([ELIGIBLE, STATIC], NOT_PINNED)


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


def test_not_pinned_is_one_alert_for_two_scrapes(fires: Fires) -> None:
    fires([ELIGIBLE, ELIGIBLE.but(target=Target(job="other")), STATIC], NOT_PINNED)


def test_what_not_pinned_says(tmp_path: Path) -> None:
    check(
        tmp_path,
        [ELIGIBLE, STATIC, EXPORTER_POD, ALIVE],
        alerts=[
            text(
                NOT_PINNED,
                summary="shop/web-5d8f-abcde/app should have CPUs of its own and has none",
                description=(
                    "Container app of pod shop/web-5d8f-abcde is Guaranteed and asks for whole CPUs (2), and node"
                    " node-1 pins such containers, yet it runs in the shared pool next to everybody else. Usually it"
                    " started before the policy did: delete the pod, and its successor is pinned. `throttle-exporter"
                    " explain shop/web-5d8f-abcde/app` in the exporter's pod on that node gives the reason."
                ),
                command=EXPLAIN,
                runbook_url=f"{RUNBOOKS}/GuaranteedPodNotPinned.md",
                dashboard_url=NODE_DASHBOARD,
            )
        ],
    )


# ---- pinned and throttled ----

OWNER = Container(qos="Guaranteed", periods=10, throttled=0.5, lost=0.02, usage=1.9, limit=2, isolation="exclusive")


def test_a_quota_on_exclusive_cpus_fires(fires: Fires) -> None:
    fires([OWNER], THROTTLED)
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


def test_a_muted_owner_is_silent(fires: Fires) -> None:
    fires([OWNER, Pod(threshold=OFF)])


def test_what_exclusive_throttled_says(tmp_path: Path) -> None:
    check(
        tmp_path,
        [OWNER, EXPORTER_POD, ALIVE],
        alerts=[
            text(
                THROTTLED,
                summary="shop/web-5d8f-abcde/app owns its CPUs and is throttled all the same",
                description=(
                    "Container app of pod shop/web-5d8f-abcde (Deployment web, node node-1) has CPUs of its own, and a"
                    " quota keeps it off them for 0.02 CPU seconds of every second. Nobody else may use those CPUs"
                    " meanwhile. A kubelet from 1.33 on sets no quota there (DisableCPUQuotaWithExclusiveCPUs);"
                    " before, switch off cpuCFSQuota on such nodes. `throttle-exporter explain"
                    " shop/web-5d8f-abcde/app` in the exporter's pod on that node shows quota and CPUs."
                ),
                command=EXPLAIN,
                runbook_url=f"{RUNBOOKS}/ExclusiveCPUThrottled.md",
                dashboard_url=WORKLOAD_DASHBOARD,
            )
        ],
    )


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


def test_what_exclusive_shared_says(tmp_path: Path) -> None:
    check(
        tmp_path,
        [INVADED, EXPORTER_POD, ALIVE],
        alerts=[
            text(
                SHARED,
                summary="shop/web-5d8f-abcde/app shares CPUs that should be its own",
                description=(
                    "Container app of pod shop/web-5d8f-abcde was given 2 CPUs of its own on node node-1, and the"
                    " cpuset of another container holds some of them too. A `systemctl daemon-reload`, a restarted"
                    " runtime or a kubelet that no longer reconciles does that. `throttle-exporter explain"
                    " shop/web-5d8f-abcde/app` in the exporter's pod on that node names the intruder; restarting the"
                    " kubelet makes it set the cpusets anew."
                ),
                command=EXPLAIN,
                runbook_url=f"{RUNBOOKS}/ExclusiveCPUShared.md",
                dashboard_url=NODE_DASHBOARD,
            )
        ],
    )


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


def test_what_contention_says(tmp_path: Path) -> None:
    check(
        tmp_path,
        [WAITING, EXPORTER_POD, ALIVE],
        alerts=[
            text(
                CONTENTION,
                summary="shop/web-5d8f-abcde/app waits for a CPU 40% of the time, and no quota is the cause",
                description=(
                    "In 40% of the time container app of pod shop/web-5d8f-abcde (Deployment web, node node-1) had"
                    " work and ran on no CPU at all, while its quota was not used up: others had the CPUs. It got 0.50"
                    " CPUs and requests 0.25. If it needs more than it requests, raise the request; a higher limit"
                    " changes nothing. `throttle-exporter explain shop/web-5d8f-abcde/app` in the exporter's pod on"
                    " that node names the neighbours."
                ),
                command=EXPLAIN,
                runbook_url=f"{RUNBOOKS}/CPUContention.md",
                dashboard_url=NODE_DASHBOARD,
            )
        ],
    )
