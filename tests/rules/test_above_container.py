"""What is not a container's own quota: ancestors, drift, the kernel."""

from pathlib import Path

import pytest

from tests.rules.conftest import OTHERS, Fires
from tests.rules.scenario import (
    ALIVE,
    OFF,
    Container,
    Pod,
    Raw,
    Source,
    Target,
    check,
    firing,
    query,
)

POD_LABELS = {
    "cluster": "east",
    "node": "node-1",
    "namespace": "shop",
    "pod": "web-5d8f-abcde",
    "workload_kind": "Deployment",
    "workload": "web",
}
ANCESTOR = {"alertname": "PodCPUThrottledByAncestor", "severity": "info", **POD_LABELS}
DRIFT = {"alertname": "CPULimitDrift", "severity": "warning", **POD_LABELS, "container": "app"}
KERNEL = {"alertname": "KernelCFSQuotaBug", "severity": "warning", "cluster": "east", "release": "4.19.10"}

# ---- ancestors ----

FREE = Container(usage=0.5, quota_state="none")
POD_OUT_OF_QUOTA = Pod(periods=10, throttled=8, lost=0.4, limit=0.5)


def test_a_pod_out_of_quota_fires_where_its_containers_have_none(fires: Fires) -> None:
    fires([FREE, POD_OUT_OF_QUOTA], ANCESTOR)


def test_a_pod_with_less_than_its_containers_limits_fires(fires: Fires) -> None:
    fires([FREE.but(periods=10, throttled=1, lost=0.03, quota_state="set", limit=0.6), POD_OUT_OF_QUOTA], ANCESTOR)


def test_one_container_without_a_limit_makes_the_pod_s_limit_its_own(fires: Fires) -> None:
    limited = FREE.but(container="proxy", quota_state="set", limit=0.5)
    fires([FREE, limited, POD_OUT_OF_QUOTA], ANCESTOR)


def test_where_limits_are_not_told_a_throttled_pod_still_fires(fires: Fires) -> None:
    fires([FREE.but(quota_state=None), POD_OUT_OF_QUOTA.but(limit=None)], ANCESTOR)


@pytest.mark.parametrize(
    "just_under",
    [
        pytest.param({"lost": 0.09}, id="90 ms of every second"),
        pytest.param({"threshold": OFF}, id="muted"),
    ],
)
def test_a_pod_s_quota_is_silent_just_under_each_condition(just_under: dict[str, float], fires: Fires) -> None:
    fires([FREE, POD_OUT_OF_QUOTA.but(**just_under)])


# Kubernetes gives a pod the sum of its containers' limits. With one container that is one limit in two groups, and the
# kernel books what it takes to either.

SOLE = Container(periods=10, throttled=2, lost=0.1, usage=0.4, limit=0.4, spec_limit=0.4)
SAME_LIMIT = Pod(periods=10, throttled=8, lost=0.6, limit=0.4)


@pytest.mark.parametrize(
    ("sources", "lost"),
    [
        pytest.param([SOLE.but(throttled=0, lost=0), SAME_LIMIT], 0.6, id="booked to the pod"),
        pytest.param([SOLE, SAME_LIMIT.but(lost=0.4)], 0.4, id="some of it booked to both"),
        pytest.param([SOLE.but(lost=0.4), SAME_LIMIT.but(lost=0.1)], 0.4, id="booked to the container"),
        pytest.param(
            [SOLE, SAME_LIMIT, SOLE.but(target=Target(job="other")), SAME_LIMIT.but(target=Target(job="other"))],
            0.6,
            id="scraped twice",
        ),
    ],
)
def test_a_limit_in_two_groups_is_counted_once(sources: list[Source], lost: float, tmp_path: Path) -> None:
    names = ("pod:cgroup_cpu_throttled_seconds:max_rate5m", "pod:cgroup_cpu_throttled_seconds:active_rate5m")
    queries = [query(f"round(sum({name}), 0.001)", 30, [{"labels": "{}", "value": lost}]) for name in names]
    check(tmp_path, [*sources, ALIVE], queries=queries)


def test_such_a_limit_is_no_ancestor_s(fires: Fires) -> None:
    fires([SOLE.but(throttled=0, lost=0), SAME_LIMIT])
    fires([SOLE.but(throttled=0, lost=0), SOLE.but(container="proxy", throttled=0, lost=0), SAME_LIMIT.but(limit=0.8)])


def test_a_quota_above_such_a_pod_is_still_found(fires: Fires) -> None:
    quiet = SAME_LIMIT.but(throttled=0, lost=0)
    fires([SOLE.but(throttled=0, lost=0, local_lost=0.3), quiet], ANCESTOR)
    fires([SOLE.but(throttled=0, lost=0, local_lost=0.3), SAME_LIMIT.but(lost=0.3)])


# Kernel 6.6 and newer: cpu.stat.local also counts what an ancestor's quota took.


def test_time_lost_to_any_ancestor_fires_for_a_container_without_a_quota(fires: Fires) -> None:
    fires([FREE.but(local_lost=0.11)], ANCESTOR)
    fires([FREE.but(local_lost=0.09)])


def test_a_container_s_own_throttling_is_taken_off(fires: Fires) -> None:
    own = FREE.but(periods=10, throttled=1, lost=0.05, quota_state="set")
    fires([own.but(local_lost=0.17)], ANCESTOR)
    fires([own.but(local_lost=0.14)])
    fires([FREE.but(local_lost=0.2), Pod(threshold=OFF)])


def test_one_pod_is_one_alert_whatever_witnesses_there_are(tmp_path: Path) -> None:
    sidecar = FREE.but(container="proxy", local_lost=0.2)
    twice: list[Source] = [FREE.but(local_lost=0.3), sidecar, sidecar.but(target=Target(job="other")), POD_OUT_OF_QUOTA]
    check(
        tmp_path,
        [*twice, ALIVE],
        queries=[
            query(OTHERS, 30, firing(ANCESTOR)),
            query(
                "round(sum(container:cgroup_container_cpu_throttled_ancestor_seconds:rate5m{namespace='shop'}), 0.001)",
                30,
                [{"labels": "{}", "value": 0.5}],
            ),
        ],
    )


# ---- drift ----

DRIFTED = Container(usage=0.1, drift=1, limit=2, spec_limit=0.5)


def test_drift_fires_and_ends(fires: Fires) -> None:
    fires([DRIFTED], DRIFT)
    fires([DRIFTED.but(drift=0)])
    fires([DRIFTED.but(drift=None)])
    fires([DRIFTED, Pod(threshold=OFF)])
    fires([DRIFTED, DRIFTED.but(target=Target(job="other"))], DRIFT)


def test_a_resize_that_takes_a_moment_is_no_drift(fires: Fires) -> None:
    fires([DRIFTED.but(drift="0x45 1x13 0x60")], minute=58)


# ---- the kernel ----


def kernel(bug: str, release: str = "4.19.10", **where: str) -> Raw:
    return Raw("cgroup_node_kernel_info", 1, {"release": release, "cfs_quota_bug": bug}, Target(**where))


def test_the_kernel_s_bug_is_one_alert_per_release(fires: Fires) -> None:
    fires([kernel("affected"), kernel("affected", node="node-2"), kernel("fixed", "6.1.0", node="node-3")], KERNEL)


@pytest.mark.parametrize("state", ["fixed", "unknown"])
def test_a_kernel_that_is_not_known_to_be_affected_alerts_nobody(state: str, fires: Fires) -> None:
    fires([kernel(state)])
