"""The synthetic tree through the exporter's own walk and readers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.cgroupfs.discover import detect, walk
from exporter.cgroupfs.files import Descriptors
from exporter.cgroupfs.readers import CgroupFiles, ReaderFactory
from exporter.lab import scenario
from exporter.lab.scenario import Scenario, synthetic_node
from exporter.lab.synthetic import SyntheticTree, remove_stale_synthetic
from exporter.model import Driver

TWO_CPUS = frozenset({0, 1})


@pytest.fixture
def demo() -> Scenario:
    return scenario.demo(TWO_CPUS, "a test")


def opened(root: Path) -> dict[str, CgroupFiles]:
    """The files of each container and sandbox, by container id."""
    opener = ReaderFactory(detect(str(root)), Descriptors())
    found = walk(str(root)).found.values()
    return {one.ref.container_id: opener.open(one) for one in found if one.ref.container_id is not None}


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_the_walk_finds_every_pod_and_every_running_container(driver: Driver, demo: Scenario, tmp_path: Path) -> None:
    with synthetic_node(demo, TWO_CPUS, driver=driver, directory=tmp_path) as node:
        refs = [one.ref for one in walk(str(node.cgroup_root)).found.values()]

    running = {c.container_id for pod in demo.pods for c in pod.containers if not c.finished}
    sandboxes = {pod.sandbox_id for pod in demo.pods}
    assert {ref.container_id for ref in refs if ref.container_id} == running | sandboxes
    assert {ref.pod_uid for ref in refs if not ref.container_id} == {pod.uid for pod in demo.pods}
    assert {ref.driver for ref in refs} == {driver}
    assert {(ref.pod_uid, ref.qos_class) for ref in refs} == {(pod.uid, pod.qos_class) for pod in demo.pods}


def test_files_kept_open_show_the_counters_of_the_moment(demo: Scenario, tmp_path: Path) -> None:
    clock = [100.0]
    with synthetic_node(demo, TWO_CPUS, directory=tmp_path, now=lambda: clock[0]) as node:
        assert node.move is not None
        groups = opened(node.cgroup_root)
        app = next(c for pod in demo.pods for c in pod.containers if c.name == "app")
        first = groups[app.container_id].stat()
        clock[0] += 5.05
        node.move()
        second = groups[app.container_id].stat()
        # Time that did not pass changes nothing.
        node.move()

        assert groups[app.container_id].stat() == second
        assert first is not None
        assert second is not None
        assert (first.periods, first.throttled_periods, first.usage_seconds) == (0, 0, 0.0)
        assert (second.periods, second.throttled_periods, second.usage_seconds) == (50, 50, 1.0)
        for group in groups.values():
            group.close()


def test_every_reader_understands_every_file(demo: Scenario, tmp_path: Path) -> None:
    with synthetic_node(demo, TWO_CPUS, directory=tmp_path) as node:
        groups = opened(node.cgroup_root)
        worker = next(c for pod in demo.pods for c in pod.containers if c.name == "worker")
        agent = next(c for pod in demo.pods for c in pod.containers if c.name == "agent")

        for group in groups.values():
            assert group.stat() is not None
            assert group.pressure() is not None
            assert group.local_throttled_seconds() == 0.0
            assert (group.threads() or 0) >= 1
            cpuset = group.cpuset()
            assert cpuset is not None
            assert cpuset.cpus <= TWO_CPUS
            group.close()
        pinned = groups[worker.container_id].cpuset()
        assert pinned is not None
        assert pinned.cpus == {1}
        assert groups[worker.container_id].limits().quota_state == "none"
        limits = groups[agent.container_id].limits()
        assert limits.limit_cores == pytest.approx(0.2)
        assert limits.burst_seconds == pytest.approx(0.02)


def test_files_are_rewritten_in_place_and_never_get_shorter(demo: Scenario, tmp_path: Path) -> None:
    with SyntheticTree(TWO_CPUS, directory=tmp_path) as tree:
        for pod in demo.pods:
            tree.add_pod(pod, demo.shared_cpus)
        files = sorted(tree.root.rglob("cpu.*"))
        before = {file: (file.stat().st_ino, file.stat().st_size) for file in files}
        tree.advance_to(1000.0)
        after = {file: (file.stat().st_ino, file.stat().st_size) for file in files}

    assert all(after[file][0] == inode and after[file][1] >= size for file, (inode, size) in before.items())


def test_nothing_stays_behind(demo: Scenario, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with synthetic_node(demo, TWO_CPUS, directory=tmp_path):
        assert list(tmp_path.iterdir())

    assert not list(tmp_path.iterdir())
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_tree_of_a_killed_owner_is_swept_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from exporter.lab.synthetic import SyntheticTree\n"
        f"SyntheticTree(frozenset({{0}}), directory=Path({str(tmp_path)!r})).__enter__(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    [dead] = tmp_path.iterdir()
    foreign = tmp_path / "somebody-elses"
    foreign.mkdir()

    with SyntheticTree(TWO_CPUS, directory=tmp_path) as living:
        assert remove_stale_synthetic(tmp_path) == [dead.name]
        assert set(tmp_path.iterdir()) == {living.root, foreign}
