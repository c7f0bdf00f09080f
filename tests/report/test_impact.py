"""The order in which containers are shown."""

from __future__ import annotations

import copy
import random
from typing import Any, cast

import pytest

from exporter.report.schema import Container
from exporter.report.summary import impact, lost_seconds_per_second


def changed(container: Container, **values: Any) -> Container:
    """A copy with fields set; ``throttling__ratio`` is a field within a field."""
    one: Any = copy.deepcopy(container)
    for path, value in values.items():
        above, _, last = path.rpartition("__")
        (one[above] if above else one)[last] = value
    return cast("Container", one)


@pytest.fixture
def healthy(by_name: dict[str, Container]) -> Container:
    return changed(by_name["frontend/nginx"], severity=None, pod_cgroup=None)


def test_the_order(healthy: Container, by_name: dict[str, Container]) -> None:
    worst_first = [
        changed(healthy, severity="critical"),
        changed(healthy, ledger__own_quota=2.0, severity="warning"),
        changed(healthy, pod_cgroup=by_name["report/query"]["pod_cgroup"]),
        changed(healthy, throttling__ratio=0.9),
        changed(healthy, throttling__ratio=0.1, ledger__waited=0.9),
        changed(healthy, ledger__waited=0.5),
        changed(healthy, severity="warning", ledger__waited=None),
        changed(healthy, severity="info"),
        changed(healthy, namespace="a"),
        changed(healthy, namespace="b"),
        changed(healthy, namespace="a", live=False),
    ]
    assert sorted(random.Random(7).sample(worst_first, len(worst_first)), key=impact) == worst_first


def test_time_lost_to_any_quota_counts_and_unknown_is_not_zero(healthy: Container) -> None:
    everything = changed(healthy, ledger__own_quota=0.2, ledger__quota_above=0.4, ledger__quota_inside=0.1)
    assert lost_seconds_per_second(everything) == pytest.approx(0.7)
    # Where only the cgroup above tells, its loss is that of all its containers: at most this one's.
    old_kernel = changed(everything, ledger__quota_above_is_exact=False)
    assert lost_seconds_per_second(old_kernel) == pytest.approx(0.5)
    young = changed(healthy, ledger=None, throttling__lost_seconds_per_second=0.3)
    assert lost_seconds_per_second(young) == 0.3
    assert lost_seconds_per_second(changed(healthy, ledger__own_quota=None, ledger__quota_above=None)) is None
