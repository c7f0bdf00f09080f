"""The documents that the tests of ``explain`` and ``top`` show, and a running exporter whose node has moved."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.commands.lab import podlist, scenario
from exporter.commands.lab.node import Node, synthetic_node
from exporter.report import Container, ContainersDocument
from tests.report.node import CPUS, STARTED, minute
from tests.support.process import Exporter, started

FAST = ("--sample.interval=100ms", "--scan.interval=200ms")
THROTTLED = "cgroup_container_cpu_throttled_periods_total"
MOVED_PERIODS = 25
_MOVE_SECONDS = 0.05


@pytest.fixture(scope="session")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainersDocument]:
    with minute(tmp_path_factory.mktemp("minute")) as one:
        yield one.report().containers()


@pytest.fixture(scope="session")
def by_name(document: ContainersDocument) -> dict[str, Container]:
    """The containers by ``pod prefix/container``."""
    return {f"{one['pod'].partition('-')[0]}/{one['container']}": one for one in document["containers"]}


@dataclass(frozen=True)
class Lab:
    """The demo's node as files, for a process to look at."""

    options: tuple[str, ...]
    """Put an exporter on it."""
    node: Node


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """The files; they move while :func:`moving` does."""
    with synthetic_node(scenario.demo(CPUS, "lab"), CPUS, directory=folder, now=time.monotonic) as node:
        pods = folder / "pods.json"
        pods.write_text(json.dumps(podlist.pod_list(node.pods, node_name="node-1", started=STARTED)))
        for name in ("proc", "sys"):
            (folder / name).mkdir()
        yield Lab(
            (
                f"--path.cgroup={node.cgroup_root}",
                f"--path.proc={folder}/proc",
                f"--path.sys={folder}/sys",
                f"--path.cpu-manager-state={folder}/cpu_manager_state",
                f"--pods.sources=file:{pods}",
                "--node.name=node-1",
                *FAST,
            ),
            node,
        )


@contextmanager
def moving(node: Node) -> Iterator[None]:
    """Real time passes in the files, too."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(_MOVE_SECONDS):
            if node.move is not None:
                node.move()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """An exporter whose node moved for a while and now stands still, so that its figures stay."""
    with lab(tmp_path_factory.mktemp("lab")) as one, started(one.options) as exporter:
        with moving(one.node):
            exporter.page_when(lambda page: page.total(THROTTLED, container="app") >= MOVED_PERIODS)
        exporter.page_after_ticks(4)
        yield exporter


@pytest.fixture(scope="session")
def url(running: Exporter) -> str:
    return f"http://{running.host}:{running.port}"
