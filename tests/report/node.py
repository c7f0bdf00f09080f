"""The demo's node, sampled for a minute in no time: real files, sampler and findings, a clock of the test's own.

All numbers follow from the workloads (:mod:`exporter.lab.synthetic`), so they are the same at every run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from exporter.analysis.findings import find
from exporter.cgroupfs.discover import detect
from exporter.cgroupfs.readers import ReaderFactory
from exporter.kube.kubelet import parse_configz
from exporter.kube.podlist import parse_pod_list
from exporter.lab import kubelet_api, scenario
from exporter.lab.scenario import Node, synthetic_node
from exporter.report.documents import Report
from exporter.report.schema import Error, Exporter, Source
from exporter.sampler import Sampler, SamplerOptions

CPUS = frozenset(range(4))
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
BUSY = {0: 0.55, 1: 0.4, 2: 0.3, 3: 0.21}
"""Share of each CPU's time; the last belongs to the trainer, which uses 0.2 of it."""
COLLECTORS = frozenset({"throttle", "burst", "usage", "limits", "pressure", "cpuset", "spec", "info", "recommend"})


@dataclass
class Minute:
    """The node and its sampler; time passes in :meth:`pass_seconds`."""

    folder: Path
    node: Node
    clock: list[float]
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._write_machine()
        self.sampler = Sampler(
            ReaderFactory(detect(str(self.node.cgroup_root))),
            SamplerOptions(
                proc=f"{self.folder}/proc",
                sys=f"{self.folder}/sys",
                checkpoint=f"{self.folder}/cpu_manager_state",
                interval=1.0,
                window=60.0,
                linger=60.0,
                collectors=COLLECTORS,
                expects_names=True,
            ),
            monotonic=lambda: self.clock[0],
            wall=lambda: STARTED.timestamp() + self.clock[0],
            attempts=lambda: 1,
            on_error=lambda error: self.errors.append(str(error)),
        )
        pods = kubelet_api.pod_list(self.node.scenario.pods, node_name="node-1")
        self.sampler.set_pods(parse_pod_list(json.dumps(pods).encode(), "test"))
        configz = kubelet_api.configz(driver=self.node.driver, static_cpus=True, reserved_cpus="0")
        self.sampler.set_kubelet(parse_configz(json.dumps(configz).encode()))

    def pass_seconds(self, seconds: int) -> None:
        """A tick a second and a scan every ten, as the exporter does by default."""
        for _ in range(seconds):
            self.node.move()
            self._write_stat()
            if self.clock[0] % 10 == 0:
                self.sampler.scan()
            self.sampler.tick()
            self.clock[0] += 1.0

    def report(self) -> Report:
        """Of this moment."""
        snapshot = self.sampler.snapshot(detailed=True)
        return Report(snapshot, find(snapshot), {**HEALTH, "cgroups": dict(snapshot.cgroups)})

    def _write_machine(self) -> None:
        for name, text in {
            "proc/sys/kernel/osrelease": "6.12.48-generic\n",
            "sys/devices/system/cpu/online": "0-3\n",
            "sys/devices/system/node/node0/cpulist": "0-1\n",
            "sys/devices/system/node/node1/cpulist": "2-3\n",
        }.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def _write_stat(self) -> None:
        lines = ["cpu 0 0 0 0 0 0 0 0 0 0\n"]
        for cpu, share in BUSY.items():
            busy, total = round(self.clock[0] * 100 * share), round(self.clock[0] * 100)
            lines.append(f"cpu{cpu} {busy} 0 0 {total - busy} 0 0 0 0 0 0\n")
        (self.folder / "proc" / "stat").write_text("".join(lines))


HEALTH = Exporter(
    version="1.2.3",
    node="node-1",
    healthy=True,
    age_seconds=0.25,
    samples=61,
    interval_seconds=1.0,
    window_seconds=60.0,
    cgroups={},
    sources=[Source(name="kubelet", up=True, active=True, last_success=STARTED.timestamp(), last_error="")],
    errors=[Error(stage="read", reason="eacces", count=2)],
)


@contextmanager
def minute(folder: Path, seconds: int = 61) -> Iterator[Minute]:
    """The node after so many seconds."""
    clock = [0.0]
    pods = scenario.demo(CPUS, "report")
    with synthetic_node(pods, CPUS, directory=folder, now=lambda: clock[0]) as node:
        one = Minute(folder, node, clock)
        try:
            one.pass_seconds(seconds)
            yield one
        finally:
            one.sampler.close()
