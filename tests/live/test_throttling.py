"""What a quota does to a load, through the real process: bounds that hold on an idle machine and on a busy one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from exporter.cli.stress import Figures, Place, Run, predict_burst, table
from exporter.lab.cgroups import Hierarchy
from exporter.lab.spec import Container, Pod, Workload
from tests.support.lab import CONTAINER, labels, live_node, pod
from tests.support.pages import Page

HELPER = Container(name="helper")
"""Without a limit: so its pod has none either. A pod whose containers all have one gets their sum as its own quota, and
which of two equal quotas is used up first, the container's or the pod's, is then a matter of chance."""
LIMITED = pod("worked-example", Container(name="app", limit_cores=0.4), HELPER)
TEN_IN_ONE = pod("ten-in-one", Container(name="app", limit_cores=1.0), HELPER)

NAMES = tuple(f"cpu_{name}_total" for name in ("periods", "throttled_periods", "throttled_seconds", "usage_seconds"))
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
    measured = Figures(int(periods), int(throttled), seconds, usage, report.latency_seconds)
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
        names = (CONTAINER + "cpu_throttled_ratio", CONTAINER + "cpu_throttled_ratio_peak")
        ratio, peak = (page.get(name, **labels(one)) or 0 for name in names)
        assert 0.5 <= ratio <= peak <= 1
