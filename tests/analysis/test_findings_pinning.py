"""Findings about CPUs of one's own, the checkpoint, the spec and the node."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from exporter.analysis.drift import limit_drift
from exporter.analysis.findings import Finding, find
from exporter.cpulist import cpu_list
from exporter.identities import ContainerIdentity, KubeletConfig
from exporter.model import CgroupRow, CpuManagerState, CpuTimes, NodeRow, Overlap
from tests.support import snapshots as make


def only(row: CgroupRow, *others: CgroupRow, on: NodeRow | None = None) -> Finding:
    [found] = find(make.snapshot(row, *others, on=on))
    assert found["subject"] == make.named(row.pod)._asdict()
    return found


def eligible(**changes: Any) -> CgroupRow:
    """Guaranteed with two CPUs, on all eight."""
    return make.pinned(cpus="6-7", cpuset=make.container().cpuset, isolation="eligible", exclusive=False)._replace(
        limits=make.limits(2.0), window=make.window(0.0), **changes
    )


def checkpoint(policy: str = "static", **cpus: str) -> CpuManagerState:
    entries = {(f"uid-{pod}", "app"): cpu_list(text, "") for pod, text in cpus.items()}
    return CpuManagerState(policy, cpu_list("0-5", ""), entries)


STATIC = make.node(kubelet=make.static())


@pytest.mark.parametrize(
    ("on", "reason", "severity"),
    [
        (make.node(), "policy_none", "info"),
        (STATIC, "before_policy", "warning"),
        (make.node(kubelet=None), "", "warning"),
        (make.node(kubelet=KubeletConfig()), "", "warning"),
        (make.node(kubelet=None, checkpoint=checkpoint("none")), "policy_none", "info"),
        (make.node(kubelet=None, checkpoint=checkpoint()), "before_policy", "warning"),
    ],
)
def test_why_a_guaranteed_container_is_not_pinned(on: NodeRow, reason: str, severity: str) -> None:
    found = only(eligible(), on=on)
    assert (found["name"], found["reason"], found["severity"]) == ("eligible_not_pinned", reason, severity)
    assert found["summary"].startswith("Guaranteed with 2 CPUs, yet it shares CPUs 0-7: ")
    assert found["evidence"]["request_cores"] == 2.0


@pytest.mark.parametrize("on", [STATIC, make.node(kubelet=None)], ids=["static", "policy not known"])
def test_a_container_that_has_just_started_may_be_pinned_yet(on: NodeRow) -> None:
    slow = make.node(kubelet=make.static(cpu_manager_reconcile_seconds=30.0))
    assert find(make.snapshot(eligible(deltas=None), on=on)) == ()
    assert find(make.snapshot(eligible(deltas=make.deltas(seconds=5.0)), on=on)) == ()
    assert find(make.snapshot(eligible(deltas=make.deltas(seconds=20.0)), on=slow)) == ()
    assert only(eligible(deltas=make.deltas(seconds=10.0)), on=on)["name"] == "eligible_not_pinned"


def test_a_policy_of_none_pins_nobody_later_either() -> None:
    assert only(eligible(deltas=None))["reason"] == "policy_none"


def test_when_it_started_is_only_likely_where_the_checkpoint_is_not_known() -> None:
    assert "it likely started before the policy did" in only(eligible(), on=STATIC)["summary"]
    read = only(eligible(), on=make.node(kubelet=make.static(), checkpoint=checkpoint(other="4-5")))
    assert (read["reason"], "likely" in read["summary"]) == ("before_policy", False)


def test_pod_level_resources_are_not_pinned() -> None:
    assert only(make.with_pod_spec(eligible(), limit_cores=2.0), on=STATIC)["reason"] == "pod_level"


def test_a_request_that_is_not_whole() -> None:
    row = make.container(limit=2.5, request=2.5, qos_class="Guaranteed")
    found = only(row, on=STATIC)
    assert (found["name"], found["reason"], found["severity"]) == ("eligible_not_pinned", "request_not_whole", "info")
    assert find(make.snapshot(row)) == ()  # nobody is pinned there
    assert find(make.snapshot(make.container(limit=0.5, request=0.5, qos_class="Guaranteed"), on=STATIC)) == ()
    assert find(make.snapshot(make.container(limit=2.5, request=2.5), on=STATIC)) == ()


def test_a_cpuset_that_was_reset_is_told_from_a_pod_that_is_too_old() -> None:
    on = make.node(kubelet=make.static(), checkpoint=checkpoint(owner="6-7"))
    found = find(make.snapshot(eligible(), on=on))
    assert [(one["name"], one["reason"]) for one in found] == [
        ("eligible_not_pinned", "cpuset_changed"),
        ("cpu_manager_disagrees", "cpuset"),
    ] or [(one["name"], one["reason"]) for one in found] == [
        ("cpu_manager_disagrees", "cpuset"),
        ("eligible_not_pinned", "cpuset_changed"),
    ]


def test_the_checkpoint_and_the_cgroup_disagree() -> None:
    row = make.pinned(cpus="6-7")
    found = only(row, on=make.owning(row, checkpoint=checkpoint(owner="4-5")))
    assert (found["name"], found["reason"]) == ("cpu_manager_disagrees", "cpuset")
    assert found["evidence"] == {"checkpoint_cpus": "4-5", "cpus": "6-7"}
    assert find(make.snapshot(row._replace(deltas=None), on=make.owning(row, checkpoint=checkpoint(owner="4-5")))) == ()


def test_the_checkpoint_agrees_with_what_it_pinned_and_with_what_a_pod_shares() -> None:
    row = make.pinned(cpus="6-7")
    assert find(make.snapshot(row, on=make.owning(row, checkpoint=checkpoint(owner="6-7")))) == ()
    shared_in_pod = make.container("web", cpus="4-5")
    on = make.node(kubelet=make.static(), checkpoint=checkpoint(web="4-5"))
    assert find(make.snapshot(shared_in_pod, on=on)) == ()


def test_a_first_version_checkpoint_knows_container_ids() -> None:
    row = make.pinned(cpus="6-7")
    old = CpuManagerState("static", cpu_list("0-5", ""), {("", "id-owner"): cpu_list("6-7", "")})
    assert find(make.snapshot(row, on=make.owning(row, checkpoint=old))) == ()


def test_pinned_by_somebody_else() -> None:
    row = make.pinned(cpus="6-7")
    found = only(row, on=make.owning(row, checkpoint=checkpoint()))
    assert (found["name"], found["reason"], found["severity"]) == ("cpu_manager_disagrees", "not_in_checkpoint", "info")


def test_the_kubelet_and_its_checkpoint_name_two_policies() -> None:
    [found] = find(make.snapshot(on=make.node(checkpoint=checkpoint("static", a="6-7"))))
    assert (found["name"], found["reason"], found["subject"]) == ("cpu_manager_disagrees", "policy", None)
    assert "policy is none, and its checkpoint was written by static with 1 container in it" in found["summary"]
    assert find(make.snapshot(on=make.node(kubelet=KubeletConfig(), checkpoint=checkpoint()))) == ()


def test_pinned_and_throttled() -> None:
    row = make.pinned(
        limits=make.limits(2.0),
        window=make.window(0.1),
        deltas=make.deltas(usage_seconds=60.0, throttled_seconds=2.0, local_throttled_seconds=2.0),
    )
    on = make.owning(row, {cpu: make.busy(0.5) for cpu in make.CPUS})
    found = only(row, on=on)
    assert (found["name"], found["reason"], found["severity"]) == ("pinned_but_limited", "throttled", "warning")
    assert "It owns CPUs 6-7 and is still under a quota of 2 CPUs" in found["summary"]
    assert "10 % of 600 periods" in found["summary"]


def test_pinned_and_limited_but_not_throttled() -> None:
    row = make.pinned(limits=make.limits(2.0), window=make.window(0.0))
    found = only(row, on=make.owning(row))
    assert (found["name"], found["reason"], found["severity"]) == ("pinned_but_limited", "not_throttled", "info")
    assert only(row._replace(window=None), on=make.owning(row))["reason"] == "not_throttled"


def test_pinned_without_a_quota_is_healthy() -> None:
    row = make.pinned()
    assert find(make.snapshot(row, make.container(cpus="0-5"), on=make.owning(row))) == ()


def test_others_on_cpus_of_its_own() -> None:
    row = make.pinned(exclusive=False)
    overlaps = tuple(
        Overlap(make.named("owner"), make.named(f"n{number}"), cpu_list("7", ""), 40.0 + number) for number in range(7)
    )
    found = only(row, on=make.node(kubelet=make.static(), overlaps=overlaps))
    assert (found["name"], found["severity"]) == ("exclusive_cpu_shared", "warning")
    assert found["summary"].startswith("shop/n0/app, ")
    assert "and 2 more may run on CPU 7, which it should own, for 46 s by now" in found["summary"]
    assert found["evidence"]["overlapping_containers"] == 7
    assert found["evidence"]["other_5"] == "shop/n4/app"


def disturbed(busy: float, usage_seconds: float, **times: float) -> tuple[CgroupRow, NodeRow]:
    row = make.pinned(deltas=make.deltas(usage_seconds=usage_seconds))
    return row, make.owning(row, {cpu: make.busy(busy, **times) for cpu in make.CPUS})


def test_processes_outside_of_kubernetes_on_cpus_of_its_own() -> None:
    row, on = disturbed(0.75, 60.0)
    found = only(row, on=on)
    assert (found["name"], found["reason"]) == ("exclusive_cpu_disturbed", "outside")
    assert "It owns CPUs 6-7, busy for 1.5 CPUs, of which it used 1 at most: 0.5 went to processes" in found["summary"]
    assert found["evidence"]["disturbance_cores"] == pytest.approx(0.5)


def test_interrupts_on_cpus_of_its_own() -> None:
    row, on = disturbed(0.75, 60.0, irq_seconds=0.2 * make.WINDOW)
    assert only(row, on=on)["reason"] == "interrupts"


def busy_for_less(row: CgroupRow) -> CgroupRow:
    return row._replace(deltas=make.deltas(usage_seconds=10.0, seconds=30.0))


@pytest.mark.parametrize(
    ("row", "on"),
    [
        pytest.param(*disturbed(0.54, 60.0), id="less than a twentieth of each CPU"),
        pytest.param(*disturbed(0.5, 90.0), id="it used more than ticks tell"),
        pytest.param(make.pinned(deltas=None), disturbed(0.9, 60.0)[1], id="use not known"),
        pytest.param(make.pinned(deltas=make.deltas(usage_seconds=None)), disturbed(0.9, 0.0)[1], id="no usage"),
        pytest.param(busy_for_less(make.pinned()), disturbed(0.9, 0.0)[1], id="younger than the window of its CPUs"),
        pytest.param(make.pinned(), make.owning(make.pinned(), {6: make.busy(1.0)}), id="one CPU not known"),
        pytest.param(
            make.pinned(exclusive=False), disturbed(0.9, 6.0)[1], id="others may run there: that is another finding"
        ),
    ],
)
def test_a_disturbance_that_is_small_or_not_known_is_no_finding(row: CgroupRow, on: NodeRow) -> None:
    assert find(make.snapshot(row, on=on)) == ()


def spread(cpus: str, **kubelet: Any) -> tuple[CgroupRow, NodeRow]:
    row = make.pinned(cpus=cpus, numa_nodes=2)
    return row, replace(make.owning(row), kubelet=make.static(**kubelet))


def test_cpus_on_two_numa_nodes() -> None:
    row, on = spread("3-4", topology_manager_policy="none")
    found = only(row, on=on)
    assert (found["name"], found["reason"], found["severity"]) == ("numa_spread", "fits_one_node", "warning")
    assert "Its 2 CPUs lie on 2 NUMA nodes (CPU 3 on node 0 and CPU 4 on node 1)" in found["summary"]
    assert found["evidence"]["largest_numa_node_cpus"] == 4
    row, on = spread("1-6")
    found = only(row, on=on)
    assert (found["reason"], found["severity"]) == ("larger_than_a_node", "info")


def test_cpus_spread_on_purpose_or_not_owned_are_no_finding() -> None:
    row, on = spread("3-4", cpu_manager_policy_options={"distribute-cpus-across-numa": "true"})
    assert find(make.snapshot(row, on=on)) == ()
    assert find(make.snapshot(make.container(numa_nodes=2))) == ()
    row, on = spread("3-4")
    assert find(make.snapshot(row._replace(numa_nodes=None), on=on)) == ()


def spec(row: CgroupRow) -> ContainerIdentity:
    assert row.identity is not None
    return row.identity


@pytest.mark.parametrize(
    ("actual", "wanted", "pods", "reason", "said"),
    [
        (1.0, 2.0, None, "different", "asks for a limit of 2 CPUs, and its cgroup has 1 CPU"),
        (None, 2.0, None, "missing", "asks for a limit of 2 CPUs, and its cgroup has none"),
        (1.0, None, None, "unexpected", "asks for no limit, and its cgroup has 1 CPU"),
        (1.0, None, 3.0, "different", "no limit of its own under its pod's 3 CPUs, and its cgroup has 1 CPU"),
    ],
)
def test_a_limit_that_is_not_the_spec_s(
    actual: float | None, wanted: float | None, pods: float | None, reason: str, said: str
) -> None:
    row = make.container(limit=wanted, pod_limit=pods, limits=make.limits(actual), limit_drift=True)
    found = only(row)
    assert (found["name"], found["reason"]) == ("limit_drift", reason)
    assert said in found["summary"]


# The kernel takes no quota below 1 ms of a period of 100 ms.
@given(actual=st.floats(0.01, 512), wanted=st.floats(0.001, 512), of_pod=st.booleans())
@example(actual=0.125, wanted=0.12, of_pod=False)
@example(actual=0.0102, wanted=0.0104, of_pod=True)
def test_the_two_limits_of_a_drift_read_differently(actual: float, wanted: float, of_pod: bool) -> None:
    own, inherited = (None, wanted) if of_pod else (wanted, None)
    row = make.container(limit=own, pod_limit=inherited, limits=make.limits(actual))
    drifts = limit_drift(row.limits, row.identity, row.pod_identity, isolation="shared", kubelet=make.static())
    assume(drifts)
    told = only(row._replace(limit_drift=drifts, window=None, deltas=None))["summary"]
    asked, has = re.findall(r"([0-9.e+]+) CPU", told)
    assert asked != has


@pytest.mark.parametrize("cores", [0.125, 0.015, 12.5])
def test_a_limit_keeps_its_digits(cores: float) -> None:
    row = make.container(limit=2.0, limits=make.limits(cores), limit_drift=True, window=None, deltas=None)
    assert f"its cgroup has {cores} CPUs" in only(row)["summary"]


def test_drift_that_is_not_known_is_no_finding() -> None:
    assert find(make.snapshot(make.container(limit=2.0, limits=make.limits(1.0), limit_drift=None))) == ()


@pytest.mark.parametrize(("steal", "severity"), [(0.06, "warning"), (0.25, "critical")])
def test_a_hypervisor_that_steals(steal: float, severity: str) -> None:
    times = {cpu: CpuTimes(60.0, 30.0, 60.0 * steal, 0.0) for cpu in range(7)} | {7: CpuTimes(60.0, 1.0, 54.0, 0.0)}
    found = find(make.snapshot(make.container(), on=make.node(cpu_times=times)))
    assert [(one["name"], one["severity"], one["subject"]) for one in found] == [("cpu_steal", severity, None)]
    assert "CPU 7 most, 90 %" in found[0]["summary"]


def test_little_steal_is_no_finding() -> None:
    times = {cpu: CpuTimes(60.0, 30.0, 1.2, 0.0) for cpu in range(8)}
    assert find(make.snapshot(on=make.node(cpu_times=times))) == ()


def test_the_kernel_is_a_finding_only_when_it_is_known_to_be_broken() -> None:
    on = make.node(kernel_release="4.19.0", cfs_quota_bug="affected")
    [found] = find(make.snapshot(make.container(limit=2.0), make.container("b"), on=on))
    assert (found["name"], found["subject"]) == ("kernel_bug", None)
    assert "Kernel 4.19.0" in found["summary"]
    assert "1 container on this node is under a quota" in found["summary"]
    assert find(make.snapshot(on=make.node(cfs_quota_bug="unknown", kernel_release="4.18.0-553.el8"))) == ()
