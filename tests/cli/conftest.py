"""The documents that the tests of ``explain`` and ``top`` show, and a running exporter on a node that moves."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from exporter.lab import kubelet_api, scenario
from exporter.lab.scenario import Node
from exporter.lab.synthetic import synthetic_node
from tests.report.conftest import by_name, document, report
from tests.report.node import CPUS
from tests.support.fake_kubelet import FakeKubelet, Reply, in_thread
from tests.support.lab import in_background
from tests.support.process import started

__all__ = ["by_name", "document", "report"]
FAST = ("--sample.interval=100ms", "--scan.interval=200ms")
THROTTLED = "cgroup_container_cpu_throttled_periods_total"
MOVED_PERIODS = 30
_MOVE_SECONDS = 0.05


class Lab(NamedTuple):
    """The demo's node as files, and the options that put an exporter on it."""

    options: tuple[str, ...]
    node: Node


@contextmanager
def lab(folder: Path, *, node_name: str = "node-1", namespaces: Container[str] | None = None) -> Iterator[Lab]:
    """The files, of pods of these namespaces only; they move while :func:`moving`."""
    demo = scenario.demo(CPUS, "lab")
    if namespaces is not None:
        demo = demo._replace(pods=tuple(pod for pod in demo.pods if pod.namespace in namespaces))
    with synthetic_node(demo, CPUS, directory=folder, now=time.monotonic) as node:
        pods = folder / "pods.json"
        pods.write_text(json.dumps(kubelet_api.pod_list(node.scenario.pods, node_name=node_name)))
        for name in ("proc", "sys"):
            (folder / name).mkdir()
        paths = {
            "path.cgroup": node.cgroup_root, "path.proc": folder / "proc", "path.sys": folder / "sys",
            "path.cpu-manager-state": folder / "cpu_manager_state", "pods.sources": f"file:{pods}",
        }  # fmt: skip
        yield Lab((*(f"--{name}={path}" for name, path in paths.items()), f"--node.name={node_name}", *FAST), node)


@contextmanager
def moving(node: Node) -> Iterator[None]:
    """Lets real time pass in the files, too."""

    def move(stop: threading.Event) -> None:
        while not stop.wait(_MOVE_SECONDS):
            node.move()

    with in_background(move):
        yield


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of an exporter on a node that moves; it has seen enough to have findings."""
    with lab(tmp_path_factory.mktemp("lab")) as one, started(one.options) as exporter, moving(one.node):
        exporter.page_when(lambda page: page.total(THROTTLED, container="app") >= MOVED_PERIODS)
        yield f"http://{exporter.host}:{exporter.port}"


@contextmanager
def stranger(status: int, body: bytes = b"") -> Iterator[FakeKubelet]:
    """Something that speaks HTTP and is no exporter: what ``explain`` and ``top`` ask it for is answered like this."""
    server = FakeKubelet()
    server.answer("/api/v1/containers", Reply(body, status))
    with in_thread(server):
        yield server
