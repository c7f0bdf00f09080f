"""Containers that come and go under a running process: an ordinary result, never an error, never a lost page.

Files of an ordinary file system cannot answer ENODEV as an open file of a removed cgroup does; real cgroups are removed
under a reader by the live tests.
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
from tests.support.pages import Page, duplicates, triples
from tests.support.process import Exporter, started
from tests.support.treebuilder import Tree, container_id, v1, write_v2
from tests.support.trees import cgroupfs_pod, many_pods, pod_list

USAGE = "cgroup_container_cpu_usage_seconds_total"
PERIODS = "cgroup_container_cpu_periods_total"
LIMIT = "cgroup_container_cpu_limit_cores"
ROUNDS = 40
"""Of eight containers each, that come and go while pages are asked for."""


@dataclass
class Host:
    """A process, its tree, and a place outside the tree from which cgroups come and to which they go at once."""

    exporter: Exporter
    tree: Tree
    aside: Path
    pods: Path
    listed: dict[str, Any]
    moves: int = field(default=0)

    def remove(self, path: str) -> None:
        """Like rmdir of a cgroup: the whole folder is gone at one moment."""
        self.moves += 1
        target = self.aside / f"gone{self.moves}"
        (self.tree.root / path).rename(target)
        shutil.rmtree(target)

    def make(self, path: str, number: int, quota: int | None = 50_000) -> None:
        """Like mkdir of a cgroup: the folder appears with all its files."""
        self.moves += 1
        fresh = self.aside / f"fresh{self.moves}"
        write_v2(fresh, number, quota)
        fresh.rename(self.tree.root / path)

    def relist(self, listed: dict[str, Any]) -> None:
        fresh = self.pods.with_name("fresh.json")
        fresh.write_text(json.dumps(listed))
        fresh.rename(self.pods)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    tmp_path = tmp_path_factory.mktemp("host")
    tree = many_pods(tmp_path / "cgroup", 6)
    pods, aside = tmp_path / "pods.json", tmp_path / "aside"
    aside.mkdir()
    listed = pod_list(tree)
    pods.write_text(json.dumps(listed))
    options = [f"--path.cgroup={tree.root}", f"--path.proc={tmp_path}", f"--path.sys={tmp_path}", *FAST]
    with started([*options, f"--pods.sources=file:{pods}", "--pods.interval=1s", "--sample.linger=3s"]) as exporter:
        exporter.page_after_ticks(2)
        yield Host(exporter, tree, aside, pods, listed)


def no_errors(page: Page) -> bool:
    return not any(page.rows("throttle_exporter_errors_total").values())


def named(tree: Tree, number: int) -> dict[str, str]:
    return {"namespace": "apps", "pod": f"pod-{tree.containers[number].pod_uid[:8]}", "container": "c0"}


def test_between_two_ticks_counters_linger_and_gauges_go(host: Host) -> None:
    exporter, victim, labels = host.exporter, host.tree.containers[0], named(host.tree, 0)
    others = triples(exporter.page().rows(USAGE)) - {tuple(labels.values())}

    host.remove(victim.path)
    page = exporter.page_when(lambda now: now.get(LIMIT, **labels) is None)

    assert page.get(PERIODS, **labels) == victim.periods
    assert page.get("throttle_exporter_cgroups", state="lingering") == 1
    assert page.get("throttle_exporter_cgroups", state="mapped") == len(others)
    assert tuple(labels.values()) in triples(page.rows("cgroup_container_info"))
    assert page.info("cgroup_pod_info", namespace=labels["namespace"], pod=labels["pod"])["workload"]
    for name in ("cgroup_container_cpu_throttled_ratio", "cgroup_container_cpuset_cpus"):
        assert tuple(labels.values()) not in triples(page.rows(name))
    page = exporter.page_when(lambda now: now.get(PERIODS, **labels) is None)
    assert triples(page.rows(USAGE)) == others
    assert page.get("throttle_exporter_cgroups", state="lingering") == 0
    assert no_errors(page)


def test_replaced_under_the_same_path(host: Host) -> None:
    """A removed and remade cgroup is a new one: its lower counters are no error and no negative growth."""
    exporter, victim, labels = host.exporter, host.tree.containers[1], named(host.tree, 1)

    host.remove(victim.path)
    host.make(victim.path, 1)
    page = exporter.page_when(lambda now: now.get(PERIODS, **labels) == 1001)

    assert duplicates(page.text) == {}
    assert no_errors(page)
    assert page.get("cgroup_container_cpu_throttled_ratio", **labels) in {None, 0.0}


def test_restarted_under_another_id(host: Host) -> None:
    """Only the newer instance of a name is served, from the moment that the list tells of it."""
    exporter, victim, labels = host.exporter, host.tree.containers[2], named(host.tree, 2)
    before = triples(exporter.page().rows(USAGE))
    fresh = container_id("restarted")
    path = f"{victim.pod_path}/cri-containerd-{fresh}.scope"

    host.remove(victim.path)
    host.make(path, 1)
    status = host.listed["items"][2]["status"]["containerStatuses"][0]
    status["lastState"] = {"terminated": {"containerID": status["containerID"], "exitCode": 1}}
    status |= {"containerID": f"containerd://{fresh}", "restartCount": 1}
    host.relist(host.listed)
    page = exporter.page_when(lambda now: now.get(PERIODS, **labels) == 1001)

    assert duplicates(page.text) == {}
    assert page.info("cgroup_container_info", **labels)["container_id"] == fresh
    assert triples(page.rows(USAGE)) == before
    assert no_errors(page)


def test_a_whole_pod_that_goes(host: Host) -> None:
    exporter, victim, labels = host.exporter, host.tree.containers[3], named(host.tree, 3)
    pod = {key: labels[key] for key in ("namespace", "pod")}
    before = triples(exporter.page().rows(USAGE))

    host.remove(victim.pod_path)
    page = exporter.page_when(lambda now: now.get("cgroup_pod_cpu_quota_state", **pod, state="none") is None)
    assert page.get("cgroup_pod_cpu_usage_seconds_total", **pod) is not None
    page = exporter.page_when(lambda now: now.get("cgroup_pod_cpu_usage_seconds_total", **pod) is None)

    assert triples(page.rows(USAGE)) == before - {tuple(labels.values())}
    assert no_errors(page)


def test_a_new_container_is_named_soon(host: Host) -> None:
    """Held back until the list tells its name: never first under its id, then under its name."""
    exporter, sibling = host.exporter, host.tree.containers[4]
    labels = named(host.tree, 4) | {"container": "new"}
    fresh = container_id("new")
    item = next(one for one in host.listed["items"] if one["metadata"]["uid"] == sibling.pod_uid)
    item["spec"]["containers"].append({"name": "new", "resources": {}})
    item["status"]["containerStatuses"].append(
        {"name": "new", "containerID": f"containerd://{fresh}", "state": {"running": {}}, "restartCount": 0}
    )
    host.relist(host.listed)
    seen: list[set[str]] = []

    host.make(f"{sibling.pod_path}/cri-containerd-{fresh}.scope", 77)

    def arrived(page: Page) -> bool:
        seen.append(page.values(USAGE, "namespace"))
        return page.get(PERIODS, **labels) == 1077

    # The design's promise for a new container.
    exporter.page_when(arrived, timeout=3.0)
    assert not any("" in namespaces for namespaces in seen)


def test_controllers_that_come_one_after_the_other(tmp_path: Path) -> None:
    """A v1 runtime makes a container's folders controller by controller; who looks in between must look again."""
    build = v1(tmp_path / "cgroup")
    uid = "0badf00d-0000-4000-8000-000000000001"
    pod = build.pod(cgroupfs_pod(uid, "Burstable"), uid, "Burstable")
    cid = container_id("slow")
    build.container(f"{pod}/{cid}", cid, "")
    late = [build.mounts[name] / pod / cid for name in ("cpuacct", "cpuset")]
    for number, folder in enumerate(late):
        folder.rename(tmp_path / f"late{number}")
    pods = tmp_path / "pods.json"
    pods.write_text(json.dumps(pod_list(build.tree())))
    labels = {"namespace": "apps", "pod": f"pod-{uid[:8]}", "container": "c0"}
    options = [f"--path.cgroup={tmp_path / 'cgroup'}", f"--path.proc={tmp_path}", f"--path.sys={tmp_path}", *FAST]
    with started([*options, f"--pods.sources=file:{pods}"]) as exporter:
        page = exporter.page_after_ticks(3)
        assert page.get(PERIODS, **labels) is not None
        assert page.get(USAGE, **labels) is None

        for number, folder in enumerate(late):
            (tmp_path / f"late{number}").rename(folder)

        page = exporter.page_when(lambda now: now.get(USAGE, **labels) is not None, timeout=5)
        assert page.get("cgroup_container_cpuset_cpus", **labels) == 4


def test_in_a_loop_beside_a_scrape_loop(host: Host) -> None:
    """Removed at any moment: between walk and read, in the middle of a read, between two ticks."""
    exporter = host.exporter
    pod = host.tree.containers[5].pod_path
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
