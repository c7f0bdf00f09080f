"""The parts of the exporter in this process, on the real tree, in turn with what they are compared with."""

from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace

from exporter.cgroupfs.discover import detect
from exporter.cgroupfs.readers import ReaderFactory
from exporter.errors import ExporterError
from exporter.kube.podlist import parse_pod_list
from exporter.metrics.exposition import Renderer
from exporter.sampler import Sampler, SamplerOptions
from exporter.settings_sources import load
from tests.bench.node import BenchNode
from tests.bench.rows import Row
from tests.status import nodes
from tests.status.page import text_of

ROUNDS_A_SCAN = 10
"""As with the default settings: a scan each 10 s, a tick each second."""
_ROUNDS_SECONDS = 15.0
_SETTLED_TICKS = 61
"""Until windows are full."""


class Bed:
    """Sampler and renderer, put together as ``app`` does it, on a clock on which every tick is a second later."""

    def __init__(self, node: BenchNode) -> None:
        settings = load({}, {})
        self._now = 0.0
        self._told: set[tuple[str, str]] = set()
        self.sampler = Sampler(
            ReaderFactory(detect(str(node.root))),
            SamplerOptions(
                proc="/proc",
                sys="/sys",
                checkpoint="",
                interval=settings.sample_interval,
                window=settings.sample_window,
                linger=0.0,
                collectors=settings.collectors,
                expects_names=True,
            ),
            monotonic=lambda: self._now,
            wall=time.time,
            attempts=lambda: 1,
            on_error=self._failed,
        )
        self._renderer = Renderer(settings.collectors)
        with urllib.request.urlopen(f"{node.kubelet.url}/pods") as answer:
            self.sampler.set_pods(parse_pod_list(answer.read(), "kubelet"))
        self.sampler.scan()
        for _ in range(_SETTLED_TICKS):
            self.tick()
        self.samples = sum(1 for line in self.page().splitlines() if not line.startswith(b"#"))

    def _failed(self, error: ExporterError) -> None:
        """Said once: numbers of a tree that cannot be read well are not its usual ones."""
        if (error.stage, error.reason) not in self._told:
            self._told.add((error.stage, error.reason))
            sys.stderr.write(f"bench: {error}\n")

    def tick(self) -> None:
        self._now += 1.0
        self.sampler.tick()

    def page(self) -> bytes:
        """Read and rendered."""
        return self._renderer.render(self.sampler.snapshot(), "text")

    def rounds(self, node: BenchNode, load: str, count: int, seconds: float, limit: float) -> list[Row]:
        """Rounds that begin so many seconds apart: between two, the tree lives and caches cool.

        ``count`` of them, or as many as there is time for: ten at least. ``limit`` is that of a tick, in C loops.
        """
        reader = node.c_reader()
        works: dict[str, Callable[[], float]] = {
            "tick": lambda: cpu_ms(self.tick),
            "c_loop": lambda: reader.ask() / 1000,
            "page": lambda: cpu_ms(self.page),
        }
        names = list(works)
        costs: dict[str, list[float]] = {name: [] for name in (*works, "scan")}
        due = time.monotonic()
        end = due + _ROUNDS_SECONDS
        for number in range(count):
            if number >= ROUNDS_A_SCAN and time.monotonic() > end:
                break
            due = max(due + seconds, time.monotonic() + 0.02)
            if number % ROUNDS_A_SCAN == 0:
                costs["scan"].append(cpu_ms(self.sampler.scan))
            # Who comes first pays for cold caches: each does in its turn.
            for place in range(len(names)):
                name = names[(number + place) % len(names)]
                costs[name].append(works[name]())
            time.sleep(max(0.0, due - time.monotonic()))
        reader.close()
        unit, loop = "CPU ms", costs["c_loop"]
        tick = Row(what=f"tick, {load}", unit=unit, values=costs["tick"], peer="the C loop", beside=loop, grows=True)
        return [
            replace(tick, limit=limit, judged="ratio"),
            Row(what=f"C loop over the same files, {load}", unit=unit, values=loop, grows=True),
            Row(what=f"page read and rendered, {load}", unit=unit, values=costs["page"], grows=True),
            Row(what=f"scan, {load}", unit=unit, values=costs["scan"], grows=True),
        ]


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU milliseconds of this process."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1000


def status_page() -> Row:
    """By workload, as it opens, documents included."""
    many = nodes.many()
    spent = [cpu_ms(lambda: text_of(many)) for _ in range(20)]
    return Row(what=f"status page of {nodes.MANY} containers", unit="CPU ms", values=spent)
