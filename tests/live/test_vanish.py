"""Real cgroups are removed under a scraping process: no error, no lost page."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

from exporter.lab.cgroups import Hierarchy
from exporter.lab.spec import Container, Workload
from tests.support.lab import CONTAINER, errors, in_background, labels, live_node, pod
from tests.support.pages import duplicates

PAGES = 40
LIVES_SECONDS = (0.0, 0.001, 0.05, 0.3)
"""Gone before any walk, during one, between two ticks, and after some."""

STABLE = pod("stable", Container(name="app", limit_cores=0.1))
FLEETING = [pod(f"fleeting-{number}", Container(name="job", limit_cores=0.1)) for number in range(300)]
"""Each its own: no runtime gives an id twice."""


def test_groups_that_are_removed_in_a_loop_cost_no_page(hierarchy: Hierarchy, tmp_path: Path) -> None:
    options = ["--sample.linger=0s"]
    with live_node(hierarchy, tmp_path, STABLE, listed=FLEETING, options=options) as node:
        stable, *fleeting = node.pods
        node.start(stable, Workload(kind="busy"))
        removed = 0

        def come_and_go(stop: threading.Event) -> None:
            nonlocal removed
            for one, seconds in zip(fleeting, itertools.cycle(LIVES_SECONDS), strict=False):
                if stop.is_set():
                    return
                node.tree.add_pod(one)
                stop.wait(seconds)
                node.tree.remove(one.cgroup(node.tree.driver))
                removed += 1

        seen: set[str] = set()
        with in_background(come_and_go):
            for _ in range(PAGES):
                page = node.exporter.page_after_ticks(0)
                assert not duplicates(page.text)
                assert page.get(CONTAINER + "cpu_periods_total", **labels(stable)) is not None
                assert page.get(CONTAINER + "cpu_limit_cores", **labels(stable)) is not None
                assert not errors(page), node.exporter.log
                seen |= page.values(CONTAINER + "cpu_limit_cores", "pod")

        assert removed >= 10
        assert 1 <= len(seen & {one.name for one in fleeting}) < removed
        assert node.exporter.process.poll() is None
