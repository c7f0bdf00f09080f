"""The recommended limit of bursty and of saturated loads, set in real cgroups: it ends the throttling."""

from __future__ import annotations

import pytest

from exporter.lab.cgroups import Hierarchy
from tests.live.conftest import hierarchy, node
from tests.live.test_advice import Load, follow, pytestmark
from tests.support.lab_stage import Stage

__all__ = ["hierarchy", "node", "pytestmark"]

LOADS = (
    Load("one thread, 200 ms", 1, 0.2, 1.0, 0.2, 1.0),
    Load("one thread, 20 ms", 1, 0.02, 0.5, 0.05, 0.38),
    Load("two threads, 10 ms, no idle period between", 2, 0.01, 0.1, 0.2, 0.45),
    Load("four threads, 5 ms", 4, 0.005, 0.25, 0.1, 0.45),
    Load("saturated", 1, 0.06, 0.1, 0.2, 1.0),
)


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.title)
def test_the_recommended_limit_ends_the_throttling(node: Stage, hierarchy: Hierarchy, load: Load) -> None:
    follow(node, hierarchy, load)
