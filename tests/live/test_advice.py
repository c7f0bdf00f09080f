"""Advice that is followed: the number that ``explain`` gives is set in a real cgroup, and the finding goes away."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from exporter.analysis import thresholds
from exporter.analysis.recommend import ENOUGH_RATIO
from exporter.lab.cgroups import Hierarchy, write_control
from exporter.lab.spec import Container, CpuSettings, Pod, Workload, shares
from exporter.node.machine import read_topology
from exporter.report.schema import Container as Report
from tests.live.mixed_load import slowness
from tests.support.lab import eventually, kernel_counters, pod
from tests.support.lab_causes import explain
from tests.support.lab_stage import Stage, stage

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(len(read_topology("/sys").online or ()) < 2, reason="a burst on several CPUs needs them"),
]


IS_V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
STEPS = 3
LEARN_SECONDS = 9


@dataclass(frozen=True)
class Load:
    """Bursts under a limit."""

    title: str
    workers: int
    unit_seconds: float
    every_seconds: float
    limit: float

    def most(self, burst_seconds: float, cpus: int) -> float:
        """Return the highest limit that may be recommended: 1.5 x the burst and what CPUs strand of the quota."""
        at_once = min(self.workers, cpus)
        return min(float(at_once), 1.5 * (burst_seconds + 0.001 + 0.005 * (at_once - 1)) / 0.1)


def played(node: Stage, hierarchy: Hierarchy, limit: float | None) -> Pod:
    """A pod with one container that works; the helper without a limit leaves the pod without a quota."""
    app = pod("advised", Container(name="app", limit_cores=limit), Container(name="helper"))
    [one] = node.play((app, hierarchy.cpus()))
    return one


def deployed(name: str, *containers: Container, limit_cores: float | None = None) -> Pod:
    """A Deployment's pod: commands name what owns it."""
    return Pod("live", name, "Deployment", name, containers, limit_cores=limit_cores)


def told(node: Stage) -> Report:
    return explain(node.exporter, "live/advised/app").container


def learned(node: Stage) -> Report:
    """What is said after some more bursts."""
    node.wait_ticks(LEARN_SECONDS)
    return told(node)


def working(node: Stage, hierarchy: Hierarchy, load: Load) -> str:
    """The cgroup of a container in which the load runs, under its limit."""
    group = node.group(played(node, hierarchy, load.limit))
    work = Workload(
        kind="bursty", workers=load.workers, unit_seconds=load.unit_seconds, every_seconds=load.every_seconds
    )
    node.start(group, work)
    return group


def names(one: Report) -> set[str]:
    return {finding["name"] for finding in one["findings"]}


def follow(node: Stage, hierarchy: Hierarchy, load: Load) -> None:
    """Set the recommended limit, in three steps at most, until less than 1 % of the periods is throttled."""
    group, set_to = working(node, hierarchy, load), [load.limit]
    for _ in range(STEPS):
        found = learned(node)
        recommended, findings = found["recommended"], names(found) & {"throttled", "throttled_below_limit"}
        if not findings and (found["throttling"]["ratio"] or 0.0) < ENOUGH_RATIO:
            break
        assert recommended is not None
        for finding in found["findings"]:
            if finding["name"] in findings:
                assert f"Set the limit to {recommended['next_cores']:.4g} CPU" in finding["advice"]
        set_to.append(recommended["next_cores"])
        node.tree.set(group, CpuSettings(quota_cores=recommended["next_cores"]))
    before, begun = kernel_counters(node.tree, group), time.monotonic()
    found = learned(node)
    after = kernel_counters(node.tree, group)
    used = after["cpu_usage_seconds_total"] - before["cpu_usage_seconds_total"]
    burst = used / (time.monotonic() - begun) * load.every_seconds
    assert not names(found) & {"throttled", "throttled_below_limit"}, set_to
    # One period may be the machine's doing: an emulator's bursts differ by half.
    assert after["cpu_throttled_periods_total"] - before["cpu_throttled_periods_total"] <= 1, set_to
    assert set_to[-1] > load.limit
    assert set_to[-1] <= 1.02 * load.most(burst, len(hierarchy.cpus())), (set_to, burst)


@pytest.fixture(scope="module")
def quick(
    hierarchy: Hierarchy, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Stage]:
    """Where no burst has to fit into a sample, windows half as long tell as much; one exporter is enough to emulate."""
    if slowness() > 2:
        yield request.getfixturevalue("node")
        return
    with stage(hierarchy, tmp_path_factory.mktemp("quick"), window_seconds=2.5, interval_seconds=0.5) as made:
        yield made


def test_the_recommended_limit_ends_the_throttling(node: Stage, hierarchy: Hierarchy) -> None:
    """Other loads: ``make soak``."""
    follow(node, hierarchy, Load("four threads, 26 ms", 4, 0.026, 1.0, 0.2))


@pytest.mark.parametrize("threaded", [False, True] if IS_V2 else [False])
def test_a_quota_inside_the_container_is_found_and_its_removal_ends_it(
    quick: Stage, hierarchy: Hierarchy, *, threaded: bool
) -> None:
    one = played(quick, hierarchy, None)
    inner = f"{quick.group(one)}/docker"
    quick.tree.make(inner, CpuSettings(quota_cores=0.1))
    if threaded:
        write_control(quick.tree.file("cpu", inner, "cgroup.type"), "threaded")
    job = quick.start(quick.group(one) if threaded else inner, Workload(kind="busy"))
    if threaded:  # only from within the container do processes get there
        write_control(quick.tree.file("cpu", inner, "cgroup.procs"), str(job.processes[0].pid))
    quick.watch()
    found = told(quick)
    assert "nested_throttled" in names(found)
    assert "contention" not in names(found)
    quick.tree.set(inner, CpuSettings())
    quick.watch()
    assert eventually(lambda: "nested_throttled" not in names(told(quick)), 15)


def cores(command: str) -> float:
    """The CPUs that a command sets."""
    amount = re.findall(r'cpu(?:=|": ")([0-9]+m?)', command)[0]
    return int(amount[:-1]) / 1000 if amount.endswith("m") else float(amount)


def test_raising_the_limit_of_the_pod_ends_its_throttling(quick: Stage, hierarchy: Hierarchy) -> None:
    app = deployed("advised", Container(name="app"), Container(name="render"), limit_cores=0.1)
    [one] = quick.play((app, hierarchy.cpus()))
    # One of them: whether the bursts of two meet in a period is chance. No multiple of a period apart.
    quick.start(quick.group(one), Workload(kind="bursty", unit_seconds=0.025, every_seconds=0.21))
    for _ in range(STEPS):
        quick.watch()
        found = {finding["name"]: finding for finding in told(quick)["findings"]}
        if "ancestor_throttled" not in found:
            break
        assert found["ancestor_throttled"]["reason"] == "pod"
        [command] = found["ancestor_throttled"]["commands"]
        assert command.startswith("kubectl -n live patch deploy/advised ")
        one = replace(one, limit_cores=cores(command))
        for group, settings, _ in one.cgroups("cgroupfs"):
            quick.tree.set(group, settings)
    quick.watch()
    after = told(quick)
    assert not names(after) & {"ancestor_throttled", "throttled", "throttled_below_limit"}, one.limit_cores
    assert after["pod_cgroup"] is not None
    assert (after["pod_cgroup"]["ratio"] or 0.0) < 0.01
    assert one.limit_cores is not None
    assert 0.4 <= one.limit_cores <= 0.8


def test_a_quota_above_the_pod_is_removed_where_the_finding_says(quick: Stage, hierarchy: Hierarchy) -> None:
    [one] = quick.play((pod("advised", Container(name="app")), hierarchy.cpus()))
    quick.tree.set("kubepods/besteffort", CpuSettings(quota_cores=0.1))
    quick.start(quick.group(one), Workload(kind="bursty", unit_seconds=0.02, every_seconds=0.1))
    quick.watch()
    found = {finding["name"]: finding for finding in told(quick)["findings"]}
    ancestor = str(found["ancestor_throttled"]["evidence"]["ancestor"])
    quick.tree.set(ancestor.removeprefix(f"{quick.tree.prefix}/"), CpuSettings())
    quick.watch()
    after = told(quick)
    assert "ancestor_throttled" not in names(after)
    assert after["ledger"] is not None
    assert after["ledger"]["quota_above"] == 0.0


@pytest.mark.skipif(not IS_V2, reason="this kernel does not count waiting: no PSI, no schedstats")
@pytest.mark.parametrize("cure", ["the request", "a CPU of its own", "limit the neighbour"])
def test_waiting_for_a_neighbour_ends(node: Stage, hierarchy: Hierarchy, cure: str) -> None:
    """The advice that comes first, with its command, for a neighbour of small and of large weight; and another."""
    place = frozenset({max(hierarchy.cpus())})
    web = deployed("advised", Container(name="app", request_cores=0.05))
    hog = deployed("hog", Container(name="burn", request_cores=0.05 if cure == "the request" else 0.25))
    web, hog = node.play((web, place), (hog, place))
    node.start(node.group(web), Workload(kind="bursty", unit_seconds=0.03, every_seconds=0.1))
    node.start(node.group(hog), Workload(kind="busy"))
    node.watch()
    [found] = [finding for finding in told(node)["findings"] if finding["name"] == "contention"]
    assert found["evidence"]["neighbour_1"] == "live/hog/burn"
    [command] = found["commands"]
    assert command.startswith("kubectl -n live set resources deploy/advised -c app --requests=cpu=")
    if cure == "the request":
        assert found["advice"].startswith(f"Raise its CPU request to {cores(command):.4g} CPU")
        raised = CpuSettings(shares=shares(cores(command)))
        for group in (web.cgroup("cgroupfs"), node.group(web)):
            node.tree.set(group, raised)
    elif cure == "a CPU of its own":
        assert found["advice"].startswith("Give it 1 CPU of its own")
        assert command.endswith("--requests=cpu=1 --limits=cpu=1")
        node.tree.set(node.group(hog), CpuSettings(cpus=frozenset(hierarchy.cpus()) - place))
    else:
        node.tree.set(node.group(hog), CpuSettings(quota_cores=0.05))
    node.watch()
    after = told(node)
    assert "contention" not in names(after), after["ledger"]
    assert after["ledger"] is not None
    waits, used = after["ledger"]["waited"], after["ledger"]["used"]
    assert waits is not None
    assert used is not None
    assert waits < thresholds.WAITING_SHARE * (waits + used)


def test_a_limit_that_somebody_changed_is_set_again(quick: Stage, hierarchy: Hierarchy) -> None:
    one = played(quick, hierarchy, 0.5)
    quick.tree.set(quick.group(one), CpuSettings(quota_cores=0.25))
    quick.wait_ticks(2)
    [found] = [finding for finding in told(quick)["findings"] if finding["name"] == "limit_drift"]
    [command] = found["commands"]
    [(period, quota, container_id)] = re.findall(r"^crictl update --cpu-period (\d+) --cpu-quota (\d+) (\w+)$", command)
    assert container_id == one.containers[0].container_id
    quick.tree.set(quick.group(one), CpuSettings(quota_cores=int(quota) / int(period), period_us=int(period)))
    assert eventually(lambda: "limit_drift" not in names(told(quick)), 15)
