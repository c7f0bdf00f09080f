"""Findings about CPUs that several want."""

from dataclasses import replace
from typing import Any

import pytest

from exporter.analysis.findings import Finding, find
from exporter.identities import PodIdentity
from exporter.model import CgroupRow, CpuLimits, Deltas, NodeRow
from tests.analysis.causes import on_cpu_0
from tests.support import snapshots as make


def busy_0(share: float, **changes: Any) -> NodeRow:
    return make.node(cpu_times={0: make.busy(share, **changes)})


CPU_0 = busy_0(1.0)


def of(row: CgroupRow, *others: CgroupRow, on: NodeRow | None = None) -> Finding:
    name = make.named(row.pod)
    [found] = [one for one in find(make.snapshot(row, *others, on=on)) if one["subject"] == name._asdict()]
    return found


def waiting(**changes: Any) -> Deltas:
    return make.deltas(usage_seconds=20.0, waiting_seconds=38.0)._replace(**changes)


def test_the_neighbours_are_named_by_their_use_of_its_cpus() -> None:
    others = [on_cpu_0(f"n{number}", 60.0 * 0.05 * number) for number in range(8)]
    elsewhere = make.container("elsewhere", cpus="1", deltas=make.deltas(usage_seconds=60.0))
    # Eight CPUs, one of them shared: an eighth of its use is taken to be there.
    wide = make.container("wide", cpus="0-7", deltas=make.deltas(usage_seconds=60.0 * 8 * 0.22))
    found = of(on_cpu_0("victim", 10.0, waiting=50.0), *others, elsewhere, wide, on=CPU_0)
    named = [found["evidence"][f"neighbour_{number}"] for number in range(1, 6)]
    assert named == [f"shop/{name}/app" for name in ("n7", "n6", "n5", "wide", "n4")]
    assert "neighbour_6" not in found["evidence"]


def test_one_of_many_who_each_use_little_is_not_accused() -> None:
    """Five containers of 0.1 to 0.16 CPUs are a full CPU, and no noisy neighbours; a hog among them is one."""
    victim, others = on_cpu_0("victim", 8.0, waiting=12.0), [on_cpu_0(f"n{at}", 6.0 + 0.9 * at) for at in range(5)]
    found = of(victim, *others, on=CPU_0)
    assert found["reason"] == "many"
    assert "on the same CPUs 5 containers use 0.65 CPUs, none more than 0.16" in found["summary"]
    assert "n4" not in found["summary"]
    found = of(victim, *others, on_cpu_0("hog", 20.0), on=CPU_0)
    assert found["reason"] == "neighbours"
    assert "on the same CPUs: shop/hog/app with 0.33 CPUs, and" in f"{found['summary']}, and".replace(".,", ",")


@pytest.mark.parametrize(
    ("request_cores", "command"),
    [
        pytest.param(0.03, "--requests=cpu=970m", id="what it uses and waits for"),
        pytest.param(0.052, "--requests=cpu=990m", id="the neighbour's weight, 19 times"),
        pytest.param(0.25, "--requests=cpu=1 --limits=cpu=1", id="more than a CPU: then it is cheaper to pin it"),
        pytest.param(None, "--requests=cpu=1 --limits=cpu=1", id="not known"),
    ],
)
def test_the_request_that_is_advised_has_the_weight_to_end_the_waiting(
    request_cores: float | None, command: str
) -> None:
    hog = on_cpu_0("hog", 40.0)
    hog = hog._replace(identity=None) if request_cores is None else make.with_spec(hog, request_cores=request_cores)
    victim = on_cpu_0("victim", 20.0, waiting=38.0)
    victim = victim._replace(pod_identity=PodIdentity("uid-victim", "shop", "victim", None, "Deployment", "victim"))
    found = of(victim, hog, on=CPU_0)
    assert found["commands"] == [f"kubectl -n shop set resources deploy/victim -c app {command}"]
    # A request above the limit is refused.
    [limited] = of(make.with_spec(victim, limit_cores=0.9), hog, on=CPU_0)["commands"]
    assert limited.endswith(command if "limits" in command else f"{command} {command.replace('requests', 'limits')}")


def test_waiting_that_throttling_explains_is_no_contention() -> None:
    row = make.container(
        limit=0.2,
        window=make.window(0.95),
        deltas=waiting(usage_seconds=12.0, throttled_seconds=45.0, local_throttled_seconds=45.0, waiting_seconds=46.0),
        intervals=make.intervals(0.2, 0.95),
    )
    assert [one["name"] for one in find(make.snapshot(row))] == ["throttled"]
    above = row.deltas._replace(local_throttled_seconds=None) if row.deltas else None
    assert [one["name"] for one in find(make.snapshot(row._replace(deltas=above)))] == ["throttled"]


@pytest.mark.parametrize("limit", [None, 0.2], ids=["no limit of their own", "a limit that both inherit"])
@pytest.mark.parametrize("local", [True, False])
def test_containers_that_share_their_pod_s_quota_wait_for_each_other_while_it_lasts(
    local: bool, limit: float | None
) -> None:
    """As a real pod with a limit of 0.2 CPUs has it (KEP-2837): one thread each, on one CPU that is mostly idle."""
    grown = make.deltas(usage_seconds=5.5, local_throttled_seconds=47.5 if local else None, waiting_seconds=53.3)
    one, two = (make.container(name, cpus="0", limit=limit, pod_limit=0.2, deltas=grown) for name in ("one", "two"))
    two = two._replace(ref=two.ref._replace(pod_path=one.ref.pod_path))
    both = make.deltas(usage_seconds=11, throttled_seconds=47.5)
    full = make.pod(one, limit=0.2, window=make.window(1.0), deltas=both)
    found = find(make.snapshot(one, two, pods=(full,), on=busy_0(0.25)))
    assert [(finding["name"], finding["reason"]) for finding in found] == [("ancestor_throttled", "pod")] * 2


@pytest.mark.parametrize(
    ("waited", "busy", "found"),
    [
        pytest.param(3.6, 0.3, (), id="a little, where there is room"),
        pytest.param(3.6, 0.6, ("contention",), id="as little, where there is not"),
        pytest.param(18.0, 0.3, ("contention",), id="much, as of threads that are pinned to one of its CPUs"),
    ],
)
def test_a_little_waiting_on_cpus_that_are_idle_is_no_shortage(
    waited: float, busy: float, found: tuple[str, ...]
) -> None:
    row = make.container(cpus="0-2", deltas=make.deltas(usage_seconds=2.5, waiting_seconds=waited))
    on = make.node(cpu_times={cpu: make.busy(busy) for cpu in range(3)})
    assert tuple(one["name"] for one in find(make.snapshot(row, on=on))) == found


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(make.container(deltas=waiting(waiting_seconds=2.5)), id="a little waiting"),
        pytest.param(make.container(deltas=waiting(usage_seconds=60.0, waiting_seconds=10.0)), id="mostly running"),
        pytest.param(make.container(deltas=waiting(usage_seconds=None, waiting_seconds=10.0)), id="use not known"),
        pytest.param(make.container(deltas=waiting(waiting_seconds=None)), id="no counter of waiting"),
        pytest.param(make.container(deltas=None), id="too young"),
        pytest.param(make.container(deltas=waiting(seconds=0.5)), id="a window of half a second"),
        pytest.param(make.container(deltas=waiting(seconds=0.0)), id="no window"),
        pytest.param(
            make.container(limit=2.0, deltas=waiting(throttled_seconds=None, local_throttled_seconds=None)),
            id="throttling not known",
        ),
        pytest.param(
            make.container(limits=None, deltas=waiting(throttled_seconds=None, local_throttled_seconds=None)),
            id="limits not known",
        ),
    ],
)
def test_waiting_that_is_little_or_not_known_is_no_finding(row: CgroupRow) -> None:
    assert find(make.snapshot(row)) == ()


def test_what_the_pod_s_quota_took_is_known_from_the_pod_or_from_the_effective_limit() -> None:
    row = make.container(deltas=waiting(local_throttled_seconds=None))
    assert len(find(make.snapshot(row))) == 1
    took = make.pod(row, limit=4.0, deltas=make.deltas(throttled_seconds=37.0))
    assert find(make.snapshot(row, pods=(took,))) == ()
    unknown = make.pod(row, limit=4.0, deltas=None)
    assert find(make.snapshot(row, pods=(unknown,))) == ()
    assert len(find(make.snapshot(row, pods=()))) == 1
    assert find(make.snapshot(row._replace(effective_limit_cores=4.0), pods=())) == ()
    assert find(make.snapshot(row._replace(effective_limit_cores=None), pods=())) == ()


def v1(row: CgroupRow, wait: float | None) -> CgroupRow:
    """As cgroup v1 tells it: neither PSI nor ``cpu.stat.local``."""
    assert row.deltas is not None
    grown = row.deltas._replace(waiting_seconds=None, local_throttled_seconds=None, runqueue_wait_seconds=wait)
    return row._replace(deltas=grown)


def test_v1_with_schedstats_counts_waiting() -> None:
    found = of(v1(on_cpu_0("victim", 20.0), 38.0), v1(on_cpu_0("hog", 40.0), 0.0), on=CPU_0)
    assert (found["name"], found["reason"]) == ("contention", "neighbours")
    assert "summed over threads" in found["summary"]
    # wait_sum stops while the container's own quota holds it: nothing of that is subtracted.
    limited = make.container("victim", limit=4.0, deltas=waiting(throttled_seconds=38.0))
    assert of(v1(limited, 38.0))["name"] == "contention"


@pytest.mark.parametrize(
    ("rows", "busy", "found"),
    [
        pytest.param((on_cpu_0("victim", 20.0),), 1.0, ["cpu_saturated"], id="full from outside"),
        pytest.param((on_cpu_0("victim", 20.0), on_cpu_0("hog", 30.0)), 0.9, [], id="not full"),
        pytest.param((on_cpu_0("hog", 59.0),), 1.0, [], id="full of one container that nobody shares it with"),
        pytest.param((make.container("w", deltas=make.deltas(usage_seconds=30.0)),), 1.0, [], id="may run elsewhere"),
    ],
)
def test_v1_without_schedstats_names_full_cpus_where_somebody_else_runs(
    rows: tuple[CgroupRow, ...], busy: float, found: list[str]
) -> None:
    assert [one["name"] for one in find(make.snapshot(*(v1(row, None) for row in rows), on=busy_0(busy)))] == found


def test_a_throttled_container_on_a_full_cpu_is_not_told_of_contention() -> None:
    row = v1(on_cpu_0("victim", 20.0), None)._replace(limits=make.limits(0.4), window=make.window(0.9))
    assert row.deltas is not None
    row = row._replace(deltas=row.deltas._replace(throttled_seconds=40.0))
    assert of(row, v1(on_cpu_0("hog", 40.0), None), on=CPU_0)["name"] == "throttled"


def test_threads_that_share_a_quota_and_wait_for_each_other_are_no_contention() -> None:
    row = on_cpu_0("victim", 30.0, waiting=58.0, limits=make.limits(0.5), window=make.window(0.95))
    assert row.deltas is not None
    row = row._replace(deltas=row.deltas._replace(throttled_seconds=28.0, local_throttled_seconds=28.0))
    assert of(row, on=busy_0(0.5))["name"] == "throttled"
    # With a neighbour that runs all the time it is both.
    both = find(make.snapshot(row, on_cpu_0("hog", 30.0), on=CPU_0))
    assert {one["name"] for one in both} == {"throttled", "contention"}


def wide(usage: float) -> CgroupRow:
    """On eight CPUs, of which nobody counts which it ran on."""
    return make.container("wide", deltas=make.deltas(usage_seconds=usage))


VICTIM = on_cpu_0("victim", 20.0, waiting=38.0)
LESS = on_cpu_0("victim", 20.0, waiting=30.0)
YOUNG = on_cpu_0("victim", 0.0, deltas=make.deltas(seconds=5.0, usage_seconds=1.0, waiting_seconds=3.5))
TOO_YOUNG = on_cpu_0("young", 0.0, deltas=make.deltas(seconds=5.0, usage_seconds=0.1))
NO_TIMES = make.node(cpu_times={})
SMALL = [on_cpu_0(f"n{number}", 1.8) for number in range(5)]
ELSEWHERE = make.container("elsewhere", cpus="1", deltas=make.deltas(usage_seconds=60.0))
NOT_THERE = [wide(6.0), ELSEWHERE, ELSEWHERE._replace(pod="gone", live=False)]


@pytest.mark.parametrize(
    ("row", "others", "on", "reason"),
    [
        pytest.param(on_cpu_0("victim", 6.0, 45.0), [on_cpu_0("small", 12.0)], CPU_0, "outside", id="the largest"),
        pytest.param(on_cpu_0("victim", 12.0, 18.6), SMALL, NO_TIMES, "", id="neighbours that explain too little"),
        pytest.param(on_cpu_0("victim", 53.0, 55.0), [on_cpu_0("small", 7.0)], CPU_0, "own_threads",
                     id="a neighbour that ran less than the container waited"),
        pytest.param(LESS, [], busy_0(0.6), "outside", id="exact times"),
        pytest.param(LESS, [], busy_0(0.6, exact=False), "", id="clock ticks near a threshold"),
        pytest.param(VICTIM, NOT_THERE, CPU_0, "outside", id="what no container can have used"),
        pytest.param(VICTIM, [on_cpu_0("gone", 40.0, live=False)], CPU_0, "", id="ended within the window"),
        pytest.param(VICTIM, [on_cpu_0("gone", 40.0, live=False, cpuset=None)], CPU_0, "", id="ended, CPUs not known"),
        pytest.param(VICTIM, [on_cpu_0("young", 0.0, deltas=None)], CPU_0, "", id="too young for a window"),
        pytest.param(VICTIM, [TOO_YOUNG], CPU_0, "", id="young"),
        pytest.param(VICTIM, [on_cpu_0("any", 0.1, cpuset=None)], CPU_0, "", id="its CPUs are not known"),
        pytest.param(VICTIM, [wide(40.0)], CPU_0, "", id="one thread, that may have been here all the time"),
        pytest.param(YOUNG, [], CPU_0, "", id="what came before the container"),
        pytest.param(VICTIM, [], NO_TIMES, "", id="no /proc/stat"),
        pytest.param(VICTIM, [], make.node(cpu_times={1: make.busy(1.0)}), "", id="of another CPU only"),
        pytest.param(VICTIM, [], busy_0(1.0, seconds=0.5), "", id="CPU times too young"),
        pytest.param(VICTIM._replace(cpuset=None), [on_cpu_0("hog", 40.0)], CPU_0, "", id="no cpuset"),
    ],
)  # fmt: skip
def test_nobody_is_accused_of_what_another_may_have_done(
    row: CgroupRow, others: list[CgroupRow], on: NodeRow, reason: str
) -> None:
    found = of(row, *others, on=on)
    assert (found["name"], found["reason"]) == ("contention", reason)
    assert reason == "outside" or found["evidence"].get("outside_usage_cores", 0.0) == pytest.approx(0.0)
    assert others is not NOT_THERE or found["evidence"]["outside_usage_cores"] == pytest.approx(34 / 60)
    assert "n0" not in found["summary"]


@pytest.mark.parametrize("live", [True, False])
def test_a_sandboxed_pod_is_not_outside(*, live: bool) -> None:
    """Its containers have no cgroups; once it is gone, nobody knows how much of the window was its."""
    kata = make.pod(wide(40.0), cpuset=wide(40.0).cpuset, deltas=wide(40.0).deltas, live=live)
    assert [one["reason"] for one in find(make.snapshot(VICTIM, on=CPU_0, pods=(make.pod(VICTIM), kata)))] == [""]


def test_nobody_outside_is_accused_while_a_container_waits_for_its_name() -> None:
    unnamed = replace(make.snapshot(VICTIM, on=CPU_0), cgroups={"pending": 1})
    assert [one["reason"] for one in find(unnamed)] == [""]


def greedy(request: float = 0.1, **changes: Any) -> CgroupRow:
    return make.with_spec(on_cpu_0("hog", 50.0), request_cores=request)._replace(**changes)


@pytest.mark.parametrize("effective", [2.0, None], ids=["an older pod's quota", "not known"])
@pytest.mark.parametrize("limits", [make.limits(None), CpuLimits("unsupported"), CpuLimits("unsupported", weight=100)])
def test_a_limit_that_something_else_may_enforce_is_no_finding(limits: CpuLimits, effective: float | None) -> None:
    on = make.node(kubelet=make.static(cpu_cfs_quota=False))
    row = make.container(limit=2.0, limits=limits, window=None, effective_limit_cores=effective)
    assert find(make.snapshot(row, on=on)) == ()


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(greedy(request=1.0), id="within its request"),
        pytest.param(greedy(identity=None, pod_identity=None), id="request not known"),
        pytest.param(greedy(effective_limit_cores=0.9), id="bounded by its pod"),
        pytest.param(greedy(deltas=make.deltas(usage_seconds=30.0)), id="one of two equal contenders"),
        pytest.param(greedy(isolation="exclusive"), id="on CPUs of its own"),
        pytest.param(greedy(limits=None), id="limits not known"),
    ],
)
def test_having_no_limit_is_no_finding_by_itself(row: CgroupRow) -> None:
    assert "hog" not in {
        one["subject"] and one["subject"]["pod"] for one in find(make.snapshot(row, on_cpu_0("victim", 3.0), on=CPU_0))
    }
