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
    Load("sixteen threads, 5 ms", 16, 0.005, 1.0, 0.2),
    Load("saturated", 1, 0.06, 0.1, 0.2),
    Load("saturated, four threads", 4, 0.03, 0.1, 0.2),
)
# No multiples of the period: else all bursts begin at one place of it, and a limit works or fails by that place.
BURSTS = (
    Load("1 x 5 ms", 1, 0.005, 0.33, 0.02),
    Load("1 x 20 ms", 1, 0.02, 0.53, 0.05),
    Load("1 x 60 ms", 1, 0.06, 0.63, 0.2),
    Load("1 x 200 ms", 1, 0.2, 1.03, 0.4),
    Load("4 x 5 ms", 4, 0.005, 0.33, 0.05),
    Load("4 x 26 ms", 4, 0.026, 0.63, 0.3),
    Load("4 x 100 ms", 4, 0.1, 1.33, 0.5),
    Load("16 x 5 ms", 16, 0.005, 0.63, 0.3),
    Load("16 x 26 ms", 16, 0.026, 1.33, 0.5),
)
TRIAL_SECONDS = 6.0
WITHIN = 1.5


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
    """Under the kernel's own counters it works, and no limit does that is 1.5 times smaller; between, one is tried."""
    group = working(node, hierarchy, load)
    chosen = recommended(node, group)
    tried = {factor: works(node, group, chosen / factor) for factor in (1.0, WITHIN**0.5, WITHIN)}
    smallest = max((factor for factor, worked in tried.items() if worked), default=0.0)
    sys.stdout.write(f"{load.title}: recommended {chosen:g}, at least {smallest:.2f} x the smallest; {tried}\n")
    assert tried[1.0]
    assert not tried[WITHIN]
