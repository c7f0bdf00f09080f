"""The recommended limit of bursty and of saturated loads, set in real cgroups: it ends the throttling, and is tight."""

from __future__ import annotations

import sys
import time

import pytest

from exporter.lab.cgroups import Hierarchy
from exporter.lab.spec import CpuSettings
from tests.live.conftest import hierarchy, node
from tests.live.test_advice import STEPS, Load, follow, learned, pytestmark, working
from tests.support.lab import kernel_counters
from tests.support.lab_stage import Stage

__all__ = ["hierarchy", "node", "pytestmark"]

LOADS = (
    Load("one thread, 200 ms", 1, 0.2, 1.0, 0.2),
    Load("one thread, 20 ms", 1, 0.02, 0.5, 0.05),
    Load("two threads, 10 ms, no idle period between", 2, 0.01, 0.1, 0.2),
    Load("four threads, 5 ms", 4, 0.005, 0.25, 0.1),
    Load("saturated", 1, 0.06, 0.1, 0.2),
)
BURSTS = (
    Load("1 x 20 ms", 1, 0.02, 0.5, 0.05),
    Load("1 x 60 ms", 1, 0.06, 0.6, 0.2),
    Load("4 x 26 ms", 4, 0.026, 0.6, 0.3),
    Load("16 x 5 ms", 16, 0.005, 0.6, 0.3),
)
TRIAL_SECONDS = 5.0
PRECISION = 1.06


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.title)
def test_the_recommended_limit_ends_the_throttling(node: Stage, hierarchy: Hierarchy, load: Load) -> None:
    follow(node, hierarchy, load)


def recommended(node: Stage, group: str) -> float:
    """The recommended limit, after steps where it is unknown at first."""
    for _ in range(STEPS):
        found = learned(node)["recommended"]
        assert found is not None
        if found["limit_cores"] is not None:
            return found["limit_cores"]
        node.tree.set(group, CpuSettings(quota_cores=found["next_cores"]))
    raise AssertionError(f"unknown after {STEPS} steps")


def works(node: Stage, group: str, cores: float) -> bool:
    """Whether a limit throttles no burst; one period may be the machine's doing."""
    node.tree.set(group, CpuSettings(quota_cores=cores))
    time.sleep(0.5)
    before = kernel_counters(node.tree, group)["cpu_throttled_periods_total"]
    time.sleep(TRIAL_SECONDS)
    return kernel_counters(node.tree, group)["cpu_throttled_periods_total"] - before <= 1


@pytest.mark.parametrize("load", BURSTS, ids=lambda load: load.title)
def test_it_is_near_the_smallest_limit_that_works(node: Stage, hierarchy: Hierarchy, load: Load) -> None:
    """The smallest by bisection, under the kernel's own counters."""
    group = working(node, hierarchy, load)
    chosen = recommended(node, group)
    assert works(node, group, chosen)
    fails, smallest = chosen / 2, chosen
    if works(node, group, fails):
        fails, smallest = fails / 4, fails
    while smallest / fails > PRECISION:
        tried = (fails * smallest) ** 0.5
        fails, smallest = (fails, tried) if works(node, group, tried) else (tried, smallest)
    sys.stdout.write(f"{load.title}: recommended {chosen:g}, smallest {smallest:.3g}, {chosen / smallest:.2f} x\n")
    assert chosen <= 1.5 * smallest
