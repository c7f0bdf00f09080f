"""Containers that come and go under a running process: an ordinary result, never an error, never a lost page.

What lingers and for how long is shown by ``tests/sampler``. Files of an ordinary file system cannot answer ENODEV as an
open file of a removed cgroup does; real cgroups are removed under a reader by the live tests.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import FAST
from tests.faults.node import Place
from tests.support.pages import Page, duplicates, triples
from tests.support.process import Exporter, started
from tests.support.treebuilder import Tree, container_id, write_v2
from tests.support.trees import many_pods, pod_list

USAGE = "cgroup_container_cpu_usage_seconds_total"
PERIODS = "cgroup_container_cpu_periods_total"
ROUNDS = 40
"""Of eight containers each, that come and go while pages are asked for."""


@dataclass
class Host:
    """A process, its tree, and a place outside the tree from which cgroups come and to which they go at once."""

    exporter: Exporter
    tree: Tree
    folder: Path
    listed: dict[str, Any]
    moves: int = field(default=0)

    def remove(self, path: str) -> None:
        """Like rmdir of a cgroup: the whole folder is gone at one moment."""
        self.moves += 1
        target = self.folder / f"aside/gone{self.moves}"
        (self.tree.root / path).rename(target)
        shutil.rmtree(target)

    def make(self, path: str, number: int, quota: int | None = 50_000) -> None:
        """Like mkdir of a cgroup: the folder appears with all its files."""
        self.moves += 1
        fresh = self.folder / f"aside/fresh{self.moves}"
        write_v2(fresh, number, quota)
        fresh.rename(self.tree.root / path)

    def relist(self, listed: dict[str, Any]) -> None:
        fresh = self.folder / "fresh.json"
        fresh.write_text(json.dumps(listed))
        fresh.rename(self.folder / "pods.json")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    place = Place(folder, many_pods(folder / "cgroup", 3))
    (folder / "aside").mkdir()
    with started([*place.options, *FAST, "--pods.interval=1s", "--sample.linger=3s"]) as exporter:
        exporter.page_after_ticks(2)
        yield Host(exporter, place.tree, folder, pod_list(place.tree))


def no_errors(page: Page) -> bool:
    return not any(page.rows("throttle_exporter_errors_total").values())


def named(tree: Tree, number: int) -> dict[str, str]:
    return {"namespace": "apps", "pod": f"pod-{tree.containers[number].pod_uid[:8]}", "container": "c0"}


def test_restarted_under_another_id(host: Host) -> None:
    """Only the newer instance of a name is served, from the moment that the list tells of it."""
    exporter, victim, labels = host.exporter, host.tree.containers[0], named(host.tree, 0)
    before = triples(exporter.page().rows(USAGE))
    fresh = container_id("restarted")
    path = f"{victim.pod_path}/cri-containerd-{fresh}.scope"

    host.remove(victim.path)
    host.make(path, 1)
    status = host.listed["items"][0]["status"]["containerStatuses"][0]
    status["lastState"] = {"terminated": {"containerID": status["containerID"], "exitCode": 1}}
    status |= {"containerID": f"containerd://{fresh}", "restartCount": 1}
    host.relist(host.listed)
    page = exporter.page_when(lambda now: now.get(PERIODS, **labels) == 1001)

    assert duplicates(page.text) == {}
    assert page.info("cgroup_container_info", **labels)["container_id"] == fresh
    assert triples(page.rows(USAGE)) == before
    assert no_errors(page)


def test_in_a_loop_beside_a_scrape_loop(host: Host) -> None:
    """Removed at any moment: between walk and read, in the middle of a read, between two ticks."""
    exporter = host.exporter
    pod = host.tree.containers[2].pod_path
    steady = triples(exporter.page().rows(USAGE))
    stop = threading.Event()
    rounds = 0

    def churn() -> None:
        nonlocal rounds
        while not stop.is_set():
            paths = [f"{pod}/cri-containerd-{container_id(f'{rounds}/{n}')}.scope" for n in range(8)]
            for number, path in enumerate(paths):
                host.make(path, 100 + number)
            for path in paths:
                host.remove(path)
            rounds += 1

    thread = threading.Thread(target=churn)
    thread.start()
    pages: list[Page] = []
    deadline = time.monotonic() + 20
    try:
        while rounds < ROUNDS and time.monotonic() < deadline:
            page = exporter.page()
            # Enough to look at: parsing a page costs the test more than serving it costs the exporter.
            if len(pages) < 60:
                pages.append(page)
        pages.append(exporter.page_after_ticks(5))
    finally:
        stop.set()
        thread.join()

    assert rounds >= ROUNDS
    assert all(steady <= triples(page.rows(USAGE)) for page in pages)
    assert all(no_errors(page) for page in pages), exporter.log
    assert all(duplicates(page.text) == {} for page in pages)
    assert "Traceback" not in exporter.log
    settled = exporter.page_when(lambda page: not page.total("throttle_exporter_cgroups", state="pending"))
    fds = settled.get("process_open_fds")
    assert fds is not None
    assert fds < 100
