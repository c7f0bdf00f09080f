"""Each thing that can take a container's CPU, done to it by real processes in real cgroups: ``explain`` names it alone.

Four scenes under one exporter, for causes that would disturb each other. The kernel and the hypervisor cannot be had
for the asking: ``tests/e2e/test_causes_files.py`` has them by files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.lab.cgroups import Hierarchy
from exporter.lab.spec import Container, CpuSettings, Pod, Workload
from exporter.node.machine import read_topology
from tests.support.lab import CONTAINER, kernel_counters, labels, pod
from tests.support.lab_causes import Case, Told, explain, wrong
from tests.support.lab_stage import Stage, setting

SCHEDSTATS = Path("/proc/sys/kernel/sched_schedstats")
"""With it cgroup v1 counts waiting (``wait_sum``). Not every kernel has it, and it is off unless asked for."""
COUNTS_ON_DEMAND = SCHEDSTATS.exists() and not Path("/sys/fs/cgroup/cgroup.controllers").exists()
BUSY = Workload(kind="busy")
THREADS = 16

MACHINE = {
    "cpu_steal": "this machine's own hypervisor may give its CPUs to others",
    "cpu_saturated": "other processes of this machine may fill its CPUs",
}
OTHERS = {**MACHINE, "exclusive_cpu_disturbed": "other processes of this machine may run on its CPU, too"}

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(len(read_topology("/sys").online or ()) < 2, reason="a CPU of one's own needs a second CPU"),
]


@dataclass(frozen=True)
class Places:
    """CPUs for those who must not meet."""

    everywhere: frozenset[int]
    one: frozenset[int]
    other: frozenset[int]
    apart: frozenset[int] | None
    """Two more, on two NUMA nodes, where the machine has them."""


@pytest.fixture(scope="module")
def places(hierarchy: Hierarchy) -> Places:
    cpus, numa_node = hierarchy.cpus(), read_topology("/sys").numa_node
    last = {numa_node.get(cpu, 0): cpu for cpu in sorted(cpus)}
    apart = frozenset(list(last.values())[:2]) if len(last) > 1 and len(cpus) >= 4 else None
    one, other = sorted(cpus - (apart or frozenset()))[:2]
    return Places(cpus, frozenset({one}), frozenset({other}), apart)


Ask = Callable[..., Told]


@pytest.fixture
def ask(node: Stage) -> Ask:
    """Asks for each case, and then fails if anything wrong was said; returns the last answer."""

    def asked(*cases: Case) -> Told:
        answers = [explain(node.exporter, case.subject) for case in cases]
        assert not [one for case, told in zip(cases, answers, strict=True) for one in wrong(case, told)]
        return answers[-1]

    return asked


def test_a_healthy_container_the_quota_of_a_pod_and_one_that_is_not_pinned(
    node: Stage, places: Places, ask: Ask
) -> None:
    healthy = pod("healthy", Container(name="app", request_cores=0.5, limit_cores=1.0))
    report = pod("report", Container(name="query"), Container(name="render"), limit_cores=0.2)
    trainer = pod("trainer", Container(name="worker", limit_cores=1.0))
    healthy, report, trainer = node.play((healthy, places.other), (report, places.one), (trainer, places.everywhere))
    node.start(node.group(healthy), Workload(kind="bursty", unit_seconds=0.02, every_seconds=0.1))
    node.start(node.group(report, 0), BUSY)
    node.start(node.group(report, 1), BUSY)
    node.watch()

    sibling = {"contention": "its pod's other container runs on the same CPU: where PSI is, they wait for each other"}
    no_policy, before = ({"eligible_not_pinned": {reason}} for reason in ("policy_none", "before_policy"))
    ask(
        Case("nothing is wrong", "live/healthy/app", {}, MACHINE, exit_code=0),
        Case("2 the pod's quota", "live/report/query", {"ancestor_throttled": {"pod"}}, MACHINE | sibling),
        Case("4 not pinned: no policy", "live/trainer/worker", no_policy, MACHINE, exit_code=0),
    )
    # The container's own file says next to nothing of its pod's quota.
    own = kernel_counters(node.tree, node.group(report))
    assert own["cpu_throttled_periods_total"] <= own["cpu_periods_total"] * 0.2
    node.restart_kubelet(static_cpus=True)
    ask(Case("4 not pinned: before the policy", "live/trainer/worker", before, MACHINE))


@pytest.mark.parametrize("schedstats", ["0", "1"] if COUNTS_ON_DEMAND else [None])
def test_an_own_quota_and_a_neighbour(
    hierarchy: Hierarchy, node: Stage, places: Places, ask: Ask, schedstats: str | None
) -> None:
    alone = pod("alone", Container(name="app", limit_cores=0.2))
    web = pod("web", Container(name="app", request_cores=0.25))
    hog = pod("hog", Container(name="burn", request_cores=0.75))
    counted = hierarchy.version == "v2" or schedstats == "1"
    how = "waiting is counted" if counted else "waiting is not counted"
    named = {"contention": {"neighbours"}} if counted else {"cpu_saturated": {"waiting_unknown"}}
    with setting(SCHEDSTATS, schedstats):
        alone, web, hog = node.play((alone, places.other), (web, places.one), (hog, places.one))
        for one in (alone, web, hog):
            node.start(node.group(one), BUSY)
        node.watch()

        ask(
            Case("1 own quota, one thread", "live/alone/app", {"throttled": {""}}, MACHINE),
            Case(f"3 a neighbour, {how}", "live/web/app", named, MACHINE),
        )
        waited = node.exporter.page().get(f"{CONTAINER}cpu_runqueue_wait_seconds_total", **labels(web))
    assert (waited is not None) == (schedstats == "1")


def test_many_threads_under_a_limit_of_one_cpu(node: Stage, places: Places, ask: Ask) -> None:
    openmp = pod("openmp", Container(name="app", limit_cores=1.0), Container(name="helper"))
    [openmp] = node.play((openmp, places.everywhere))
    # More than four periods' quota at the beginning of each second: on average far below the limit.
    burst = Workload(kind="bursty", workers=THREADS, unit_seconds=0.45 / THREADS, every_seconds=1)
    node.start(node.group(openmp), burst)
    node.watch()

    below = {"throttled_below_limit": {"threads"}}
    told = ask(Case(f"1 own quota, {THREADS} threads", "live/openmp/app", below, MACHINE))
    [finding] = told.container["findings"]
    assert f"{THREADS} threads under a limit of 1 CPU" in finding["summary"]
    assert finding["advice"].startswith("Set the limit to")
    assert "OMP_NUM_THREADS=1" in finding["advice"]


def test_pinned_and_limited_disturbed_and_spread(node: Stage, places: Places, ask: Ask) -> None:
    def owning(name: str, cpus: frozenset[int]) -> tuple[Pod, frozenset[int]]:
        return pod(name, Container(name="worker", limit_cores=float(len(cpus)), exclusive_cpus=cpus)), cpus

    if not node.kubelet.static_cpus:
        node.restart_kubelet(static_cpus=True)
    spread = [owning("spread", places.apart)] if places.apart else []
    limited, disturbed, *_ = node.play(owning("limited", places.one), owning("disturbed", places.other), *spread)
    # As a kubelet before 1.33 does it, which is no harm where the quota is as large as its CPUs.
    node.tree.set(node.group(limited), CpuSettings(quota_cores=1.0, shares=1024))
    node.wait_ticks(2)
    as_large, smaller = ({"pinned_but_limited": {reason}} for reason in ("not_throttled", "throttled"))
    ask(Case("5 pinned, and a quota as large", "live/limited/worker", as_large, OTHERS, exit_code=0))

    node.tree.set(node.group(limited), CpuSettings(quota_cores=0.5, shares=1024))
    node.start(node.group(limited), Workload(kind="busy", workers=2))
    node.start(node.group(disturbed), Workload(kind="bursty", unit_seconds=0.01, every_seconds=0.1))
    node.tree.make("system.slice/backup")
    backup = Workload(kind="bursty", unit_seconds=0.05, every_seconds=0.1, cpus=tuple(places.other))
    job = node.start("system.slice/backup", backup)
    node.watch()

    quota = {
        "throttled": "the quota is its own, and used up",
        "limit_drift": "the quota of the spec is as large as its CPUs, and could not stop it",
        "contention": "where PSI is, it waits for the other processes of this machine on its CPU",
    }
    waits = {"contention": "where PSI is, it waits for that process"}
    outside = {"exclusive_cpu_disturbed": {"outside"}}
    far = Case("5 pinned far apart", "live/spread/worker", {"numa_spread": {"fits_one_node"}}, OTHERS)
    ask(
        Case("5 pinned, and half the quota", "live/limited/worker", smaller, OTHERS | quota),
        Case("7 a process outside of kubepods", "live/disturbed/worker", outside, MACHINE | waits),
        *([far] if spread else []),
    )
    job.stop()
