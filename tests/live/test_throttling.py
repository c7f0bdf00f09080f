"""What a quota does to a load, through the real process: bounds that hold on an idle machine and on a busy one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from exporter.cli.stress import Figures, Place, Run, predict_burst, table
from exporter.lab.cgroups import Hierarchy
from exporter.lab.spec import Container, Pod, Workload
from tests.support.lab import CONTAINER, POD, group_of, labels, live_node, pod
from tests.support.pages import Page

HELPER = Container(name="helper")
"""Without a limit: so its pod has none either. A pod whose containers all have one gets their sum as its own quota, and
which of two equal quotas is used up first, the container's or the pod's, is then a matter of chance."""
LIMITED = pod("worked-example", Container(name="app", limit_cores=0.4), HELPER)
TWO_IN_TWO = pod("two-in-two", Container(name="app", limit_cores=2.0), HELPER)
TEN_IN_ONE = pod("ten-in-one", Container(name="app", limit_cores=1.0), HELPER)

NAMES = (
    "cpu_periods_total",
    "cpu_throttled_periods_total",
    "cpu_throttled_seconds_total",
    "cpu_usage_seconds_total",
)
LOAD_SECONDS = 1.5
ONCE = Workload(kind="bursty", unit_seconds=0.2, every_seconds=10.0, seconds=3.0)
SLICE_SECONDS = 0.005
"""``sched_cfs_bandwidth_slice_us``: a CPU takes its part of the quota in such pieces, so a period's use may miss it."""


def counters(page: Page, one: Pod) -> dict[str, float]:
    found = {name: page.get(CONTAINER + name, **labels(one)) for name in NAMES}
    assert None not in found.values()
    return {name: value for name, value in found.items() if value is not None}


def test_the_worked_example(hierarchy: Hierarchy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One thread needs 200 ms of CPU under 40 ms of every 100 ms."""
    theory = predict_burst(ONCE, Place(1, 0.04))
    with live_node(hierarchy, tmp_path, LIMITED) as node:
        [one] = node.pods
        [report] = node.start(one, ONCE).wait()
        periods, throttled, seconds, usage = (node.container(one)[name] for name in NAMES)
        # The kernel's timer runs on for a while, and counts.
        kernel, page = node.settled(lambda: node.container(one), node.exporter.page_after_ticks)

    assert counters(page, one) == {name: kernel[name] for name in NAMES}
    measured = Figures(
        periods=int(periods),
        throttled_periods=int(throttled),
        throttled_seconds=seconds,
        usage_seconds=usage,
        latency_seconds=report.latency_seconds,
    )
    with capsys.disabled():
        sys.stdout.write(table(Run("200 ms of CPU in one thread under 0.4 CPU", theory, measured, usage)) + "\n")
    assert 0.2 <= report.cpu_seconds <= usage + 0.001
    # 200 ms do not fit into less than five periods of 40 ms, however they lie.
    assert 5 <= periods <= kernel["cpu_periods_total"]
    assert usage <= periods * 0.04 + SLICE_SECONDS
    assert 1 <= throttled <= periods
    # It stood still only while it was not running, and each stop is shorter than a period.
    assert 0 < seconds <= report.latency_seconds - report.cpu_seconds + 0.02
    assert seconds <= throttled * 0.1
    assert report.latency_seconds >= 0.3


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two busy processes need two CPUs")
def test_two_busy_processes_under_a_quota_of_two_cpus_are_hardly_throttled(
    hierarchy: Hierarchy, tmp_path: Path
) -> None:
    two_cpus = frozenset(sorted(hierarchy.cpus())[:2])
    with live_node(hierarchy, tmp_path, TWO_IN_TWO, shared_cpus=two_cpus) as node:
        [one] = node.pods
        node.start(one, Workload(kind="busy", workers=2, seconds=LOAD_SECONDS)).wait()

        page = node.exporter.page_after_ticks()
        periods, throttled, seconds, usage = counters(page, one).values()
        assert periods >= 10
        # It uses its quota up just as each period ends: a late timer may stop it for a moment, never for long.
        assert throttled <= periods * 0.4
        assert seconds <= usage * 0.05
        assert (page.get(CONTAINER + "cpu_throttled_ratio", **labels(one)) or 0) <= 0.4


def test_ten_busy_processes_under_one_cpu_are_throttled_in_most_periods(hierarchy: Hierarchy, tmp_path: Path) -> None:
    cpus = len(hierarchy.cpus())
    with live_node(hierarchy, tmp_path, TEN_IN_ONE) as node:
        [one] = node.pods
        node.start(one, Workload(kind="busy", workers=10, seconds=LOAD_SECONDS)).wait()

        page = node.exporter.page_after_ticks()
        periods, throttled, seconds, usage = counters(page, one).values()
        assert periods >= 10
        assert throttled >= periods * 0.5
        # Throttled time is summed over CPUs.
        assert 0 < seconds <= throttled * 0.1 * cpus
        assert usage <= periods * 0.1 + SLICE_SECONDS * cpus
        ratio = page.get(CONTAINER + "cpu_throttled_ratio", **labels(one))
        peak = page.get(CONTAINER + "cpu_throttled_ratio_peak", **labels(one))
        assert ratio is not None
        assert peak is not None
        assert 0.5 <= ratio <= peak <= 1


def test_one_cpu_is_enough_for_a_quota_of_one_cpu(hierarchy: Hierarchy, tmp_path: Path) -> None:
    """The limit that is as large as the cpuset never runs out: ten processes on one CPU wait, but for each other."""
    with live_node(hierarchy, tmp_path, TEN_IN_ONE) as node:
        [one] = node.pods
        group = group_of(node.tree, one)
        cpu = min(hierarchy.cpus())
        node.tree.set(group, one.container_settings(one.containers[0], frozenset({cpu})))
        node.start(one, Workload(kind="busy", workers=10, seconds=LOAD_SECONDS / 2)).wait()

        page = node.exporter.page_after_ticks()
        periods, throttled, _, _ = counters(page, one).values()
        assert periods >= 5
        assert throttled <= periods * 0.4
        assert page.get(CONTAINER + "cpuset_cpus", **labels(one)) == 1


def test_one_quota_above_another_of_the_same_size_takes_its_part_of_the_throttling(
    hierarchy: Hierarchy, tmp_path: Path
) -> None:
    """As the kubelet makes it for a pod of one container: neither group alone tells how long the thread stood still."""
    single = pod("single", Container(name="app", limit_cores=0.4))
    with live_node(hierarchy, tmp_path, single) as node:
        [one] = node.pods
        [report] = node.start(one, ONCE).wait()
        kernel, page = node.settled(lambda: (node.container(one), node.pod(one)), node.exporter.page_after_ticks)

    name = "cpu_throttled_seconds_total"
    shown = page.get(CONTAINER + name, **labels(one)), page.get(POD + name, **labels(one, None))
    assert shown == (kernel[0][name], kernel[1][name])
    assert page.get(POD + "cpu_limit_cores", **labels(one, None)) == page.get(
        CONTAINER + "cpu_limit_cores", **labels(one)
    )
    assert 0 < sum(value or 0 for value in shown) <= 2 * (report.latency_seconds - report.cpu_seconds + 0.02)
