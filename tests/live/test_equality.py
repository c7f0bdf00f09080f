"""The page says what ``cpu.stat`` says, exactly, while real processes are being throttled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.lab.cgroups import Hierarchy
from exporter.lab.spec import Container, Pod, Workload
from exporter.model import Driver
from tests.support.lab import CONTAINER, POD, LiveNode, errors, labels, live_node, pod

THROTTLED = pod("throttled", Container(name="app", limit_cores=0.2), Container(name="idle"))
PARENT = pod("parent", Container(name="one"), Container(name="two"), limit_cores=0.1)
UNLIMITED = pod("unlimited", Container(name="free"))

USAGE = {"cpu_usage_seconds_total"}
PERIODS = {"cpu_periods_total", "cpu_throttled_periods_total", "cpu_throttled_seconds_total"}
BURSTS = {"cpu_burst_periods_total", "cpu_burst_seconds_total"}

Samples = dict[tuple[str, str, str], float]
"""By name of the metric, pod and container; a pod's own row has an empty container."""


def rows(node: LiveNode) -> Iterator[tuple[Pod, int | None, dict[str, float], bool]]:
    """Every pod and container: its counters as the kernel has them now, and whether it has a quota of its own."""
    for one in node.pods:
        yield one, None, node.pod(one), one.settings().quota_cores is not None
        for number, container in enumerate(one.containers):
            quota = one.container_settings(container, None).quota_cores
            yield one, number, node.container(one, number), quota is not None


def expected(node: LiveNode) -> Samples:
    """All samples that the kernel's files call for; without a quota the kernel counts no periods."""
    samples: Samples = {}
    for one, number, counters, limited in rows(node):
        prefix, container = (POD, "") if number is None else (CONTAINER, one.containers[number].name)
        names = USAGE | (PERIODS if limited else set()) | (BURSTS if limited and container else set())
        samples |= {(prefix + name, one.name, container): counters[name] for name in names}
    return samples


def shown(node: LiveNode) -> Samples:
    """The samples of the same families on a page whose reading began after this call."""
    page = node.exporter.page_after_ticks(1)
    names = [POD + name for name in USAGE | PERIODS] + [CONTAINER + name for name in USAGE | PERIODS | BURSTS]
    # The machine's hierarchy is one: other pods on it are none of ours.
    ours = {one.name for one in node.pods}
    return {
        (name, row["pod"], row.get("container", "")): value
        for name in names
        for row, value in ((dict(found), value) for found, value in page.rows(name).items())
        if row["namespace"] == "live" and row["pod"] in ours
    }


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_the_page_equals_the_kernels_files(hierarchy: Hierarchy, tmp_path: Path, driver: Driver) -> None:
    with live_node(hierarchy, tmp_path, THROTTLED, PARENT, UNLIMITED, driver=driver) as node:
        throttled, parent, unlimited = node.pods
        jobs = [
            node.start(throttled, Workload(kind="busy", workers=3)),
            node.start(parent, Workload(kind="busy"), container=0),
            node.start(parent, Workload(kind="busy"), container=1),
            node.start(unlimited, Workload(kind="bursty", every_seconds=0.1)),
        ]
        name = "cpu_throttled_periods_total"
        node.exporter.page_when(lambda page: page.get(CONTAINER + name, **labels(throttled)))
        node.exporter.page_when(lambda page: page.get(POD + name, **labels(parent, None)))

        # While they run, each value lies between what the kernel said before and after the page was made.
        low, page, high = expected(node), shown(node), expected(node)
        assert page.keys() == low.keys()
        assert all(low[key] <= value <= high[key] for key, value in page.items())

        # After they stopped, it is exactly the kernel's.
        for job in jobs:
            job.stop()
        still, page = node.settled(lambda: expected(node), lambda: shown(node))
        assert page == still
        assert still[CONTAINER + name, "throttled", "app"] > 0
        assert still[POD + name, "parent", ""] > 0
        assert not errors(node.exporter.page()), node.exporter.log
