"""Advice that is followed: the number that ``explain`` gives is set in a real cgroup, and the finding goes away."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from exporter.lab.cgroups import Hierarchy
from exporter.lab.spec import Container, CpuSettings, Pod, Workload
from exporter.node.machine import read_topology
from exporter.report.schema import Container as Report
from tests.support.lab import eventually, pod
from tests.support.lab_causes import explain
from tests.support.lab_stage import Stage

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(len(read_topology("/sys").online or ()) < 2, reason="a burst on several CPUs needs them"),
]


STEPS = 3
LEARN_SECONDS = 9


@dataclass(frozen=True)
class Load:
    """Bursts under a limit, and the highest limit that may be recommended for them: 1.5 x what they need."""

    title: str
    workers: int
    unit_seconds: float
    every_seconds: float
    limit: float
    most: float


def played(node: Stage, hierarchy: Hierarchy, limit: float | None) -> Pod:
    """A pod with one container that works; the helper without a limit leaves the pod without a quota."""
    app = pod("advised", Container(name="app", limit_cores=limit), Container(name="helper"))
    [one] = node.play((app, hierarchy.cpus()))
    return one


def told(node: Stage) -> Report:
    return explain(node.exporter, "live/advised/app").container


def names(one: Report) -> set[str]:
    return {finding["name"] for finding in one["findings"]}


def follow(node: Stage, hierarchy: Hierarchy, load: Load) -> None:
    """Set the recommended limit, in three steps at most, until no finding is left; fail unless that ends throttling."""
    one = played(node, hierarchy, load.limit)
    group = node.group(one)
    work = Workload(
        kind="bursty", workers=load.workers, unit_seconds=load.unit_seconds, every_seconds=load.every_seconds
    )
    node.start(group, work)
    set_to = [load.limit]
    for _ in range(STEPS):
        node.wait_ticks(LEARN_SECONDS)
        found = told(node)
        if not names(found) & {"throttled", "throttled_below_limit"}:
            break
        recommended = found["recommended"]
        assert recommended is not None
        [finding] = [one for one in found["findings"] if one["name"].startswith("throttled")]
        assert f"Set the limit to {recommended['next_cores']:.4g} CPU" in finding["advice"]
        set_to.append(recommended["next_cores"])
        node.tree.set(group, CpuSettings(quota_cores=recommended["next_cores"]))
    node.wait_ticks(LEARN_SECONDS)
    found = told(node)
    assert not names(found) & {"throttled", "throttled_below_limit"}, set_to
    assert (found["throttling"]["ratio"] or 0.0) < 0.01, set_to
    assert set_to[-1] > load.limit
    assert set_to[-1] <= load.most, set_to


@pytest.mark.parametrize("load", [Load("four threads, 26 ms", 4, 0.026, 1.0, 0.2, 1.75)], ids=lambda load: load.title)
def test_the_recommended_limit_ends_the_throttling(node: Stage, hierarchy: Hierarchy, load: Load) -> None:
    """Other loads: ``make soak``."""
    follow(node, hierarchy, load)


def test_a_quota_inside_the_container_is_found_and_its_removal_ends_it(node: Stage, hierarchy: Hierarchy) -> None:
    one = played(node, hierarchy, None)
    inner = f"{node.group(one)}/docker"
    node.tree.make(inner, CpuSettings(quota_cores=0.1))
    node.start(inner, Workload(kind="busy"))
    node.watch()
    found = told(node)
    assert "nested_throttled" in names(found)
    assert "contention" not in names(found)
    node.tree.set(inner, CpuSettings())
    node.watch()
    assert eventually(lambda: "nested_throttled" not in names(told(node)), 15)
