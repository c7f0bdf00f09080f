"""Findings about CPUs of one's own, the checkpoint, the spec and the node: at the edges of what is a finding."""

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from exporter.analysis.drift import limit_drift
from exporter.analysis.findings import find
from exporter.cpulist import cpu_list
from exporter.identities import KubeletConfig
from exporter.model import CgroupRow, CpuManagerState, CpuTimes, NodeRow
from tests.analysis.causes import CASES, checkpoint, eligible
from tests.support import snapshots as make


def guaranteed(cores: float) -> CgroupRow:
    return make.container(limit=cores, request=cores, qos_class="Guaranteed")


def aged(seconds: float) -> CgroupRow:
    return eligible(deltas=make.deltas(seconds=seconds))


STATIC = make.node(kubelet=make.static())
NO_KUBELET = make.node(kubelet=None)
SLOW = make.node(kubelet=make.static(cpu_manager_reconcile_seconds=30.0))
PINNED = make.pinned(cpus="6-7")


def owning(entries: CpuManagerState) -> NodeRow:
    return make.owning(PINNED, checkpoint=entries)


def disturbed(busy: float, **times: float) -> NodeRow:
    return make.owning(make.pinned(), {cpu: make.busy(busy, **times) for cpu in make.CPUS})


def using(seconds: float | None, of: float = make.WINDOW) -> CgroupRow:
    return make.pinned(deltas=make.deltas(usage_seconds=seconds, seconds=of))


SPREAD = make.pinned(cpus="3-4", numa_nodes=2)
ON_PURPOSE = make.node(kubelet=make.static(cpu_manager_policy_options={"distribute-cpus-across-numa": "true"}))
BY_ID = CpuManagerState("static", cpu_list("0-5", ""), {("", "id-owner"): cpu_list("6-7", "")})
BEFORE = ("eligible_not_pinned", "before_policy")
UNKNOWN = ("eligible_not_pinned", "")
NONE = ("eligible_not_pinned", "policy_none")


@pytest.mark.parametrize(
    ("row", "on", "found"),
    [
        pytest.param(eligible(), make.node(kubelet=KubeletConfig()), UNKNOWN, id="a kubelet that names no policy"),
        pytest.param(eligible(), make.node(kubelet=None, checkpoint=checkpoint("none")), NONE, id="by the checkpoint"),
        pytest.param(eligible(), make.node(kubelet=None, checkpoint=checkpoint()), BEFORE, id="static, likewise"),
        pytest.param(eligible(deltas=None), make.node(), NONE, id="a policy of none pins nobody later either"),
        pytest.param(eligible(deltas=None), STATIC, None, id="may be pinned yet"),
        pytest.param(eligible(deltas=None), NO_KUBELET, None, id="may be pinned yet, policy not known"),
        pytest.param(aged(5.0), STATIC, None, id="younger than a reconcile period"),
        pytest.param(aged(20.0), SLOW, None, id="younger than the kubelet's own"),
        pytest.param(aged(10.0), STATIC, BEFORE, id="as old as a reconcile period"),
        pytest.param(aged(10.0), NO_KUBELET, UNKNOWN, id="as old, policy not known"),
        pytest.param(guaranteed(2.5), make.node(), None, id="a fraction where nobody is pinned"),
        pytest.param(guaranteed(0.5), STATIC, None, id="less than a CPU"),
        pytest.param(make.container(limit=2.5, request=2.5), STATIC, None, id="a fraction, not Guaranteed"),
        pytest.param(PINNED, owning(checkpoint(owner="4-5")), ("cpu_manager_disagrees", "cpuset"), id="other CPUs"),
        pytest.param(PINNED._replace(deltas=None), owning(checkpoint(owner="4-5")), None, id="other CPUs, young"),
        pytest.param(PINNED, owning(checkpoint(owner="6-7")), None, id="the checkpoint agrees"),
        pytest.param(PINNED, owning(BY_ID), None, id="a first version's checkpoint knows ids"),
        pytest.param(
            make.container("web", cpus="4-5"),
            make.node(kubelet=make.static(), checkpoint=checkpoint(web="4-5")),
            None,
            id="the checkpoint has what a pod shares",
        ),
        pytest.param(using(60.0), disturbed(0.54), None, id="disturbed by less than a twentieth"),
        pytest.param(using(90.0), disturbed(0.5), None, id="it used more than ticks tell"),
        pytest.param(make.pinned(deltas=None), disturbed(0.9), None, id="disturbed, use not known"),
        pytest.param(using(None), disturbed(0.9), None, id="disturbed, no usage"),
        pytest.param(using(10.0, of=30.0), disturbed(0.9), None, id="younger than the window of its CPUs"),
        pytest.param(make.pinned(), make.owning(make.pinned(), {6: make.busy(1.0)}), None, id="one CPU not known"),
        pytest.param(make.pinned(exclusive=False), disturbed(0.9), None, id="others may run there"),
        pytest.param(SPREAD, ON_PURPOSE, None, id="spread on purpose"),
        pytest.param(make.container(numa_nodes=2), make.node(), None, id="spread and shared"),
        pytest.param(SPREAD._replace(numa_nodes=None), make.owning(SPREAD), None, id="NUMA nodes not known"),
        pytest.param(make.container(limit=2.0, limits=make.limits(1.0), limit_drift=None), make.node(), None,
                     id="drift not known"),
        pytest.param(PINNED, make.owning(PINNED, kernel_release="4.18.0-553.el8", cfs_quota_bug="unknown"), None,
                     id="a kernel of which nothing is known"),
    ],
)  # fmt: skip
def test_what_is_a_finding_and_what_is_not(row: CgroupRow, on: NodeRow, found: tuple[str, str] | None) -> None:
    assert [(one["name"], one["reason"]) for one in find(make.snapshot(row, on=on))] == ([found] if found else [])


def test_when_it_started_is_only_likely_where_the_checkpoint_is_not_known() -> None:
    [read] = find(make.snapshot(eligible(), on=make.node(kubelet=make.static(), checkpoint=checkpoint(other="4-5"))))
    assert (read["reason"], "likely" in read["summary"]) == ("before_policy", False)


# The kernel takes no quota below 1 ms of a period of 100 ms.
@given(actual=st.floats(0.01, 512), wanted=st.floats(0.001, 512), of_pod=st.booleans())
@example(actual=0.125, wanted=0.12, of_pod=False)
@example(actual=0.0102, wanted=0.0104, of_pod=True)
def test_the_two_limits_of_a_drift_read_differently(actual: float, wanted: float, of_pod: bool) -> None:
    own, inherited = (None, wanted) if of_pod else (wanted, None)
    row = make.container(limit=own, pod_limit=inherited, limits=make.limits(actual))
    drifts = limit_drift(row.limits, row.identity, row.pod_identity, isolation="shared", kubelet=make.static())
    assume(drifts)
    [told] = find(make.snapshot(row._replace(limit_drift=drifts, window=None, deltas=None)))
    asked, has = re.findall(r"([0-9.e+]+) CPU", told["summary"])
    assert asked != has


def test_a_drift_names_the_agents_that_rewrite_quotas_and_asks_for_no_restart() -> None:
    drifts = [one for case in CASES for one in find(case.snapshot) if one["name"] == "limit_drift"]
    assert {one["reason"] for one in drifts} == {"different", "missing", "unexpected"}
    for one in drifts:
        assert "koordlet" in one["advice"]
        assert "crane" in one["advice"]
        assert "restart" not in one["advice"]


@pytest.mark.parametrize(("steal", "severity"), [(0.06, "warning"), (0.25, "critical")])
def test_a_hypervisor_that_steals(steal: float, severity: str) -> None:
    times = {cpu: CpuTimes(60.0, 30.0, 60.0 * steal, 0.0) for cpu in range(7)} | {7: CpuTimes(60.0, 1.0, 54.0, 0.0)}
    [found] = find(make.snapshot(make.container(), on=make.node(cpu_times=times)))
    assert (found["name"], found["severity"], found["subject"]) == ("cpu_steal", severity, None)
    assert "CPU 7 most, 90 %" in found["summary"]
