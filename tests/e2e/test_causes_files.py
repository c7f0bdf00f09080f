"""Causes that cannot be had for the asking, by the files that tell of them: they are named, and nothing else.

One node of files whose counters move with the test's clock, seen by two exporters: to one its ``/proc`` is that of an
affected kernel on a hypervisor that takes a third of the CPUs, to the other its ``/sys`` is a recorded machine with two
NUMA nodes.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from exporter.analysis.findings import Finding
from exporter.lab import kubelet_api
from exporter.lab.scenario import Node, Scenario
from exporter.lab.spec import Container, Workload
from exporter.lab.synthetic import synthetic_node
from exporter.report.schema import ContainersDocument
from exporter.settings import Settings
from tests.faults.node import by_hand
from tests.support.lab import pod
from tests.support.recordings import TREES

RECORDED = TREES / "linux-6.18-cgroup-v2-systemd" / "t0"
CPUS = frozenset(range(4))
POOL = frozenset({0})
USER_HZ = 100
STOLEN = 0.3
PODS = tuple(
    one.identified("causes")
    for one in (
        pod("quiet", Container(name="app", limit_cores=1.5)),
        pod(
            "openmp",
            # Each second eight threads want 20 ms at once: a quarter of the limit, and throttled.
            Container(name="app", limit_cores=0.6, workload=Workload(kind="bursty", workers=8, unit_seconds=0.02)),
            Container(name="helper"),
        ),
        # One CPU of each node; the recorded machine has CPUs 0-1 and 2-3.
        pod("spread", Container(name="app", limit_cores=2.0, exclusive_cpus=frozenset({1, 2}))),
        pod("pinned", Container(name="app", limit_cores=1.0, exclusive_cpus=frozenset({3}))),
    )
)


def stat(seconds: float, steal_share: float) -> str:
    """``/proc/stat`` so long after the start; only the shared CPU does anything."""
    lines = []
    for cpu in sorted(CPUS):
        busy_share = 0.2 if cpu in POOL else 0.0
        shares = busy_share, 0, 0, 1 - busy_share - steal_share, 0, 0, 0, steal_share, 0, 0
        lines.append(" ".join([f"cpu{cpu}", *(str(round(share * seconds * USER_HZ)) for share in shares)]))
    return "\n".join([*lines, "ctxt 1", ""])


def findings_of(folder: Path, release: str, steal_share: float) -> tuple[dict[str, list[Finding]], list[Finding]]:
    """Of each container and of the node, after half a minute."""
    proc, clock = folder / "proc", [0.0]
    proc.mkdir()
    # As recorded, but for the release.
    _, _, _, *rest = (RECORDED / "proc/version").read_text().split(" ")
    (proc / "version").write_text(" ".join(["Linux", "version", release, *rest]))
    (folder / "pods.json").write_text(json.dumps(kubelet_api.pod_list(PODS, node_name="causes-node")))

    async def live(node: Node) -> ContainersDocument:
        settings = Settings(
            path_cgroup=str(node.cgroup_root),
            path_proc=str(proc),
            path_sys=str(RECORDED / "sys"),
            path_cpu_manager_state=str(folder / "no-checkpoint"),
            pods_sources=(f"file:{folder}/pods.json",),
        )
        async with by_hand(settings) as exporter:
            for second in range(1, 31):
                clock[0] = float(second)
                (proc / "stat").write_text(stat(second, steal_share))
                await asyncio.to_thread(node.move)
                await exporter.lives(1)
            return (await exporter.exporter.report()).containers()

    with synthetic_node(Scenario(PODS, POOL), CPUS, directory=folder, now=lambda: clock[0]) as node:
        found = asyncio.run(live(node))
    return {f"{one['pod']}/{one['container']}": one["findings"] for one in found["containers"]}, found["node_findings"]


def named(findings: list[Finding]) -> dict[str, str]:
    return {one["name"]: one["reason"] for one in findings}


def test_an_old_kernel_and_a_hypervisor_that_steals(tmp_path: Path) -> None:
    found, of_node = findings_of(tmp_path, "4.18.20", STOLEN)

    assert named(of_node) == {"kernel_bug": "", "cpu_steal": ""}
    assert named(found["quiet/app"]) == {}
    assert named(found["openmp/app"]) == {"throttled_below_limit": "kernel"}
    [steal] = [one for one in of_node if one["name"] == "cpu_steal"]
    assert steal["evidence"]["steal_share"] == pytest.approx(STOLEN, rel=0.05)
    assert steal["severity"] == "critical"
    assert "of this node's 4 CPUs" in steal["summary"]


def test_a_sound_machine_with_two_numa_nodes(tmp_path: Path) -> None:
    found, of_node = findings_of(tmp_path, "6.12.8", 0.0)

    assert named(of_node) == {}
    assert {name: named(findings) for name, findings in found.items() if findings} == {
        "openmp/app": {"throttled_below_limit": "below_one_cpu"},
        "spread/app": {"numa_spread": "fits_one_node"},
    }
