"""The order in which containers are shown."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from exporter.report import Container, impact
from exporter.report.impact import lost_seconds_per_second, worst


def changed(container: Container, **values: Any) -> Container:
    """A copy with fields set; ``throttling__ratio`` is a field within a field."""
    one: Any = copy.deepcopy(container)
    for path, value in values.items():
        *above, last = path.split("__")
        place = one
        for part in above:
            place = place[part]
        place[last] = value
    result: Container = one
    return result


@pytest.fixture
def healthy(by_name: dict[str, Container]) -> Container:
    return changed(by_name["frontend/nginx"], severity=None, pod_cgroup=None)


def test_what_hurts_first(healthy: Container) -> None:
    worst_first = [
        changed(healthy, severity="critical"),
        changed(healthy, throttling__lost_seconds_per_second=2.0, severity="warning"),
        changed(healthy, throttling__lost_seconds_per_second=0.5, throttling__ratio=1.0),
        changed(healthy, throttling__ratio=0.9),
        changed(healthy, throttling__ratio=0.1, pressure__waiting_share=0.9),
        changed(healthy, pressure__waiting_share=0.5),
        changed(healthy, pressure__waiting_share=None, pressure__runqueue_seconds_per_second=0.3),
        changed(healthy, severity="warning"),
        changed(healthy, severity="info"),
        changed(healthy, namespace="a"),
        changed(healthy, namespace="b"),
        changed(healthy, namespace="a", live=False),
    ]
    shuffled = worst_first[:]
    random.Random(7).shuffle(shuffled)

    assert sorted(shuffled, key=impact) == worst_first


def test_time_lost_to_an_ancestor_counts(healthy: Container, by_name: dict[str, Container]) -> None:
    local = changed(healthy, throttling__local_lost_seconds_per_second=0.7)
    pod = copy.deepcopy(by_name["report/query"]["pod_cgroup"])
    assert pod is not None
    pod["lost_seconds_per_second"] = 0.6
    old_kernel = changed(healthy, throttling__local_lost_seconds_per_second=None, pod_cgroup=pod)

    assert lost_seconds_per_second(local) == 0.7
    assert lost_seconds_per_second(old_kernel) == 0.6
    # With cpu.stat.local the pod's figure, which is of all its containers, is not this one's.
    assert lost_seconds_per_second(changed(local, pod_cgroup=pod, throttling__local_lost_seconds_per_second=0.0)) == 0.0


def test_a_pod_s_ratio_counts_where_nothing_tells_its_containers_apart(
    healthy: Container, by_name: dict[str, Container]
) -> None:
    pod = by_name["report/query"]["pod_cgroup"]
    told_apart = changed(healthy, pod_cgroup=pod, throttling__local_lost_seconds_per_second=0.0)
    old_kernel = changed(told_apart, throttling__local_lost_seconds_per_second=None)

    assert impact(told_apart) == impact(healthy)
    assert impact(old_kernel) < impact(healthy)


def test_nothing_known_is_nothing_lost_but_not_zero(healthy: Container) -> None:
    unknown = changed(healthy, throttling__lost_seconds_per_second=None, throttling__local_lost_seconds_per_second=None)

    assert lost_seconds_per_second(unknown) is None


def test_the_worst_severity() -> None:
    assert worst([]) is None
