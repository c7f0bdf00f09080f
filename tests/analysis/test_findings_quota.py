"""Findings about quotas: used up, used in bursts, above the container."""

import math
from typing import Any

import pytest

from exporter.analysis.findings import Finding, find
from exporter.identities import PodIdentity, PodSpec
from exporter.model import CgroupRow, CpuLimits, Interval, NodeRow
from tests.support import snapshots as make


def only(*rows: CgroupRow, on: NodeRow | None = None, pods: tuple[CgroupRow, ...] | None = None) -> Finding:
    [finding] = find(make.snapshot(*rows, on=on, pods=pods))
    return finding


def bursting(limit: float = 2.0, *, throttled_seconds: float = 300.0, **changes: Any) -> CgroupRow:
    """Throttled in 80 % of the periods at a fifth of its limit."""
    calm = make.container(
        limit=limit,
        window=make.window(0.8, periods=300),
        deltas=make.deltas(
            usage_seconds=0.2 * limit * make.WINDOW,
            throttled_seconds=throttled_seconds,
            local_throttled_seconds=throttled_seconds,
            waiting_seconds=20.0,
        ),
        intervals=make.intervals(0.2 * limit, 0.8),
    )
    return calm._replace(**changes)


def saturated(limit: float = 2.0, **changes: Any) -> CgroupRow:
    """Throttled in 90 % of the periods at its limit."""
    return bursting(
        limit,
        window=make.window(0.9),
        deltas=make.deltas(
            usage_seconds=0.97 * limit * make.WINDOW,
            throttled_seconds=50.0,
            local_throttled_seconds=50.0,
            waiting_seconds=55.0,
        ),
        intervals=make.intervals(0.97 * limit, 0.9),
    )._replace(**changes)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(make.container(limit=2.0), id="never throttled"),
        pytest.param(make.container(limit=2.0, window=make.window(0.3, periods=10)), id="3 of 10 periods in a minute"),
        pytest.param(make.container(limit=2.0, window=make.window(0.2)), id="a fifth of its periods"),
        pytest.param(
            bursting(deltas=make.deltas(throttled_seconds=2.0, local_throttled_seconds=2.0)),
            id="throttled in the last millisecond of each period",
        ),
        pytest.param(bursting(window=make.window(1.0, periods=2)), id="at its start"),
        pytest.param(bursting(window=None), id="no window yet"),
        pytest.param(bursting(window=make.window(0.8)._replace(ratio=math.nan)), id="a ratio that is no number"),
        pytest.param(bursting(limits=None), id="limits not known"),
        pytest.param(bursting(limits=CpuLimits("unsupported")), id="no quota files"),
        pytest.param(bursting(live=False), id="gone"),
    ],
)
def test_throttling_that_costs_nothing_or_is_not_known_is_no_finding(row: CgroupRow) -> None:
    assert find(make.snapshot(row)) == ()


def test_a_ratio_without_throttled_seconds_is_weighed_by_the_periods() -> None:
    calm = make.deltas(throttled_seconds=None, local_throttled_seconds=None, waiting_seconds=None)
    assert only(bursting(deltas=calm, threads=64))["evidence"]["stopped_share"] == pytest.approx(0.4)
    assert only(bursting(deltas=None, threads=64))["evidence"]["stopped_share"] == pytest.approx(0.4)


def test_a_pod_is_resized_only_where_its_status_shows_that_the_kubelet_can() -> None:
    """Kubelets with in-place resize report ``containerStatuses[].resources``; others refuse the command."""
    row = saturated(
        threads=2, pod_identity=PodIdentity("uid", "shop", "web", PodSpec("Burstable"), "Deployment", "web")
    )
    [template] = only(row)["commands"]
    assert template.startswith("kubectl -n shop set resources deploy/web -c app --limits=cpu=")
    assert only(make.with_spec(row, allocated_request_cores=0.5))["commands"] == [template]
    first, second = only(make.with_spec(row, allocated_limit_cores=2.0))["commands"]
    assert first == template
    assert second.startswith("kubectl -n shop patch pod web --subresource resize --patch ")
    # The API server refuses a resize of a mirror pod, whose status shows the same.
    mirror = row._replace(pod_identity=PodIdentity("uid", "shop", "web", PodSpec("Burstable"), "StaticPod", "web"))
    assert only(make.with_spec(mirror, allocated_limit_cores=2.0))["commands"] == []


MOSTLY_USED = make.intervals(1.95, 0.9, seconds=40) + make.intervals(0.3, 0.8, seconds=20)
MOSTLY_BELOW = make.intervals(1.95, 0.9, seconds=10) + make.intervals(0.3, 0.8, seconds=50)
IDLE_BETWEEN = make.intervals(1.95, 0.9, seconds=20) + make.intervals(0.0, 0.0, seconds=40)
UNKNOWN_USE = tuple(Interval(1.0, 10, 8, math.nan) for _ in range(60))
SHORT: dict[str, Any] = {"limits": make.limits(0.5, 0.005), "window": make.window(0.8, periods=6000)}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param(bursting(0.4, threads=20, throttled_seconds=20.0), "below_one_cpu", id="threads that took turns"),
        pytest.param(bursting(0.4, threads=20, throttled_seconds=90.0), "threads", id="threads that ran at once"),
        pytest.param(bursting(2.0, threads=2), "burst", id="threads within the limit"),
        pytest.param(bursting(0.5, **SHORT), "short_period", id="a short period"),
        pytest.param(saturated(intervals=MOSTLY_BELOW, threads=64), "threads", id="mostly in bursts"),
        # Nothing contradicts that the limit is used up.
        pytest.param(saturated(intervals=MOSTLY_USED), "", id="mostly at its limit"),
        pytest.param(saturated(intervals=IDLE_BETWEEN), "", id="idle seconds say nothing of the use while throttled"),
        pytest.param(bursting(intervals=()), "", id="no intervals"),
        pytest.param(bursting(intervals=UNKNOWN_USE), "", id="use not known"),
    ],
)
def test_bursts_and_need_are_told_apart_by_where_the_throttling_is(row: CgroupRow, reason: str) -> None:
    found = only(row)
    assert (found["name"], found["reason"]) == ("throttled_below_limit" if reason else "throttled", reason)


def test_a_quota_above_the_pod_by_cpu_stat_local() -> None:
    row = make.container(limit=4.0, deltas=make.deltas(local_throttled_seconds=30.0, waiting_seconds=31.0))
    assert only(row, pods=(make.pod(row, limit=8.0),))["reason"] == "above_pod"
    assert only(row, pods=(make.pod(row, limit=8.0, deltas=None),))["reason"] == ""


@pytest.mark.parametrize("local", [True, False])
def test_a_quota_that_the_pod_only_repeats_is_the_container_s_own(local: bool) -> None:
    """Alone in its pod, a container and its pod have one limit twice, and chance decides which of them stops it."""
    spent = make.deltas(
        usage_seconds=60.0,
        throttled_seconds=14.0,
        local_throttled_seconds=48.0 if local else None,
        waiting_seconds=50.0,
    )
    half = make.container(limit=1.0, window=make.window(0.4), deltas=spent, threads=4)._replace(intervals=())
    same = make.pod(half, limit=1.0, window=make.window(0.45), deltas=make.deltas(throttled_seconds=30.0))
    found = only(half, pods=(same,))
    assert found["name"] == "throttled"
    assert found["evidence"]["throttled_ratio"] == pytest.approx(0.85)
    # Threads on two CPUs may be stopped by the one and by the other in the same period.
    assert "throttled in up to 85 % of 600 active periods" in found["summary"]


def without_local(row: CgroupRow, usage_seconds: float) -> CgroupRow:
    return row._replace(
        local_throttled_seconds=None,
        deltas=make.deltas(local_throttled_seconds=None, waiting_seconds=None, usage_seconds=usage_seconds),
    )


def test_the_pod_s_quota_by_the_pod_s_own_file() -> None:
    busy = without_local(make.container("a", limit=4.0), 80.0)
    idle = without_local(make.container("b", limit=4.0), 1.0)
    idle = idle._replace(ref=idle.ref._replace(pod_path=busy.ref.pod_path))
    usage = make.deltas(usage_seconds=81.0, throttled_seconds=40.0, local_throttled_seconds=None)
    full = make.pod(busy, limit=1.5, window=make.window(0.91), deltas=usage)
    found = only(busy, idle, pods=(full,))
    assert (found["reason"], found["subject"]) == ("pod", make.named("a")._asdict())
    assert "which it shares with 1 container" in found["summary"]
    assert "ancestor_lost_seconds_per_second" not in found["evidence"]


@pytest.mark.parametrize("known", [True, False])
def test_without_the_use_nobody_is_named_as_stopped_by_the_pod(known: bool) -> None:
    row = without_local(make.container(limit=4.0), 80.0)
    usage = make.deltas(usage_seconds=81.0 if known else None, throttled_seconds=40.0)
    full = make.pod(row, limit=1.5, window=make.window(0.91), deltas=usage)
    assert len(find(make.snapshot(row, pods=(full,)))) == known
