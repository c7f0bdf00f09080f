"""Follows the advice of ``explain`` in real cgroups, and says how far that had to be done."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.lab.cgroups import Hierarchy
from exporter.lab.spec import Container, CpuSettings, Pod, Workload
from exporter.report.schema import Container as Report
from tests.support.lab import pod
from tests.support.lab_causes import explain
from tests.support.lab_stage import Stage

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
