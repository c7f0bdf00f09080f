"""The demo runs a whole node on real cgroups, and whatever ends it, nothing stays behind."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from exporter.lab.cgroups import Hierarchy
from tests.support.lab import alive, eventually, traces
from tests.support.lab_demo import END_SECONDS, SHORT_RUN_SECONDS, demo
from tests.support.pages import Page, duplicates, triples

USAGE = "cgroup_container_cpu_usage_seconds_total"
APP = {"namespace": "shop", "pod": "checkout-7d9f8b6c5d-x2k9p", "container": "app"}
"""Beyond its own quota."""
REPORT = {"namespace": "data", "pod": "report-28766160-l4x8c"}
"""Beyond the quota of the pod."""


def throttled_periods(page: Page, *rows: dict[str, str]) -> bool:
    """Whether each of these containers and pods was throttled so far."""
    names = ["cgroup_container_" if "container" in row else "cgroup_pod_" for row in rows]
    counts = [page.get(f"{name}cpu_throttled_periods_total", **row) for name, row in zip(names, rows, strict=True)]
    return all(counts)


def test_the_demo_shows_its_node_and_ctrl_c_leaves_nothing(hierarchy: Hierarchy) -> None:
    with demo() as running:
        running.wait_told()
        # How soon depends on what else this machine does.
        throttled = eventually(lambda: throttled_periods(running.page(), APP, REPORT), 20)
        page, children = running.page(), running.children()
        during = traces(running.pid)
        code = running.interrupt()

    assert code == 0, running.log
    assert f"real cgroups ({hierarchy.version})" in running.log
    assert not duplicates(page.text)
    named = {row for row in triples(page.rows(USAGE)) if row[0] in {"shop", "data", "kube-system"}}
    assert len(named) == 11
    assert ("shop", "checkout-7d9f8b6c5d-x2k9p", "app") in named
    assert page.total("throttle_exporter_cgroups", state="sandbox") >= 8
    assert throttled
    assert page.get("cgroup_container_cpu_throttled_periods_total", **REPORT, container="query") is not None
    assert "status page at http://127.0.0.1:" in running.log
    assert "throttle-exporter explain --url=http://127.0.0.1:" in running.log
    assert re.search(r"^demo: throttled periods: .*(/app|data/report-28766160-l4x8c) \d+%", running.log, re.MULTILINE)
    # Nothing of the machine's own pods, if it has any.
    assert {row[0] for row in triples(page.rows(USAGE))} <= {"shop", "data", "kube-system", ""}

    assert during
    assert len(children) >= 20
    assert traces(running.pid) == []
    assert not any(map(alive, children))


def test_what_a_killed_demo_leaves_the_next_start_removes_and_nothing_of_one_that_runs(hierarchy: Hierarchy) -> None:
    with demo("--cgroup-driver=systemd") as first, demo() as killed:
        first.wait_told()
        before = traces(first.pid)
        killed.wait_told()
        children = killed.children()
        os.kill(killed.pid, signal.SIGKILL)
        killed.process.wait()
        workers_are_gone = eventually(lambda: not any(map(alive, children)))
        left = traces(killed.pid)
        with demo("--for=500ms") as following:
            code = following.process.wait(SHORT_RUN_SECONDS)

        assert workers_are_gone
        assert left
        assert code == 0, following.log
        assert traces(killed.pid) == []
        assert traces(following.pid) == []
        assert traces(first.pid) == before
        named = {row for row in triples(first.page().rows(USAGE)) if row[0] in {"shop", "data", "kube-system"}}
        assert len(named) == 11, "systemd's names make the same node"
        assert first.interrupt() == 0
    assert traces(first.pid) == []


def test_sigterm_during_the_start_leaves_nothing(hierarchy: Hierarchy) -> None:
    with demo() as running:
        assert eventually(lambda: bool(traces(running.pid)), 20)
        os.kill(running.pid, signal.SIGTERM)
        # A second one, in the middle of the removal.
        os.kill(running.pid, signal.SIGTERM)
        code = running.process.wait(END_SECONDS)

    assert code in {0, 130}, running.log
    assert traces(running.pid) == []


@pytest.mark.parametrize("option", ["--synthetic", "--path.cgroup=nowhere"])
def test_where_no_group_can_be_made_a_synthetic_tree_moves(option: str, tmp_path: Path) -> None:
    with demo(option.replace("nowhere", str(tmp_path))) as running:
        running.wait_told()
        name = "cgroup_container_cpu_throttled_periods_total"
        before = running.page().get(name, **APP) or 0
        moved = eventually(lambda: (running.page().get(name, **APP) or 0) > before)
        ratio = running.page().get("cgroup_container_cpu_throttled_ratio", **APP)
        code = running.interrupt()

    assert code == 0, running.log
    [folder] = re.findall(r"a synthetic tree of files in (\S+)", running.log)
    assert not Path(folder).exists()
    assert moved
    assert ratio == 1.0
