"""The demo's node, sampled for a minute in no time: real files, sampler and findings, a clock of the test's own.

All numbers follow from the workloads (:mod:`exporter.lab.synthetic`), so they are the same at every run.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from exporter.cgroupfs.discover import detect
from exporter.cgroupfs.readers import ReaderFactory
from exporter.kube.kubelet import parse_configz
from exporter.kube.podlist import parse_pod_list
from exporter.lab import kubelet_api, scenario
from exporter.lab.synthetic import synthetic_node
from exporter.report.documents import Report
from exporter.report.schema import Error, Exporter, Source
from exporter.sampler import Sampler, SamplerOptions

CPUS = frozenset(range(4))
STARTED = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
BUSY = {0: 0.55, 1: 0.4, 2: 0.3, 3: 0.21}
"""Share of each CPU's time; the last belongs to the trainer, which uses 0.2 of it."""
COLLECTORS = frozenset({"throttle", "burst", "usage", "limits", "pressure", "cpuset", "spec", "info", "recommend"})
HEALTH = Exporter(
    version="1.2.3", node="node-1", healthy=True, age_seconds=0.25, samples=61, interval_seconds=1.0,
    window_seconds=60.0, cgroups={},
    sources=[Source(name="kubelet", up=True, active=True, last_success=STARTED, last_error="")],
    errors=[Error(stage="read", reason="eacces", count=2)],
)  # fmt: skip


def minute(folder: Path) -> Report:
    """The node's report after 61 seconds with a tick in each and a scan in every tenth, as by default."""
    for name, text in {
        "proc/sys/kernel/osrelease": "6.12.48-generic\n",
        "sys/devices/system/cpu/online": "0-3\n",
        "sys/devices/system/node/node0/cpulist": "0-1\n",
        "sys/devices/system/node/node1/cpulist": "2-3\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    now, errors = 0.0, list[str]()
    with synthetic_node(scenario.demo(CPUS, "report"), CPUS, directory=folder, now=lambda: now) as node:
        options = SamplerOptions(
            proc=f"{folder}/proc", sys=f"{folder}/sys", checkpoint=f"{folder}/cpu_manager_state", interval=1.0,
            window=60.0, linger=60.0, collectors=COLLECTORS, expects_names=True,
        )  # fmt: skip
        sampler = Sampler(
            ReaderFactory(detect(str(node.cgroup_root))), options, monotonic=lambda: now, wall=lambda: STARTED + now,
            attempts=lambda: 1, on_error=lambda error: errors.append(str(error)),
        )  # fmt: skip
        pods = kubelet_api.pod_list(node.scenario.pods, node_name="node-1")
        sampler.set_pods(parse_pod_list(json.dumps(pods).encode(), "test"))
        configz = kubelet_api.configz(driver="cgroupfs", static_cpus=True, reserved_cpus="0")
        sampler.set_kubelet(parse_configz(json.dumps(configz).encode()))
        for second in range(61):
            now = float(second)
            node.move()
            busy = {cpu: round(now * 100 * share) for cpu, share in BUSY.items()}
            lines = [f"cpu{cpu} {time} 0 0 {round(now * 100) - time} 0 0 0 0 0 0\n" for cpu, time in busy.items()]
            (folder / "proc" / "stat").write_text("".join(["cpu 0 0 0 0 0 0 0 0 0 0\n", *lines]))
            if second % 10 == 0:
                sampler.scan()
            sampler.tick()
        now += 1.0
        snapshot = sampler.snapshot(detailed=True)
        sampler.close()
    assert errors == []
    return Report(snapshot, None, {**HEALTH, "cgroups": dict(snapshot.cgroups)})
