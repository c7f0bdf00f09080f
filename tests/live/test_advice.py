"""Advice that is followed: the number that ``explain`` gives is set in a real cgroup, and the finding goes away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exporter.lab.cgroups import Hierarchy
from exporter.lab.spec import CpuSettings, Workload
from exporter.node.machine import read_topology
from tests.support.lab import eventually
from tests.support.lab_advice import Load, follow, names, played, told
from tests.support.lab_stage import Stage, stage

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(len(read_topology("/sys").online or ()) < 2, reason="a burst on several CPUs needs them"),
]


@pytest.fixture(scope="module")
def node(hierarchy: Hierarchy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(hierarchy, tmp_path_factory.mktemp("advice")) as made:
        yield made


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
