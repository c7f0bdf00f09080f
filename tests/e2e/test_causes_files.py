"""Causes that cannot be had for the asking, by the files that tell of them: ``explain`` names them, and nothing else.

One node of files whose counters move, seen by two exporters: to one its ``/proc`` is that of an affected kernel on a
hypervisor that takes a third of the CPUs, to the other its ``/sys`` is a recorded machine with two NUMA nodes.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from exporter.lab import kubelet_api
from exporter.lab.scenario import Scenario, synthetic_node
from exporter.lab.spec import Container, Workload
from tests.cli.conftest import moving
from tests.support.lab import pod
from tests.support.lab_causes import Case, Table, explain
from tests.support.process import Exporter, started
from tests.support.recordings import TREES, overwrite

RECORDED = TREES / "linux-6.18-cgroup-v2-systemd" / "t0"
CPUS = frozenset(range(4))
POOL = frozenset({0})
USER_HZ = 100
STOLEN = 0.3
THROTTLED = "cgroup_container_cpu_throttled_periods_total"
PODS = (
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
BUG, STEAL = {"kernel_bug": {""}}, {"cpu_steal": {""}}


@dataclass(frozen=True)
class Machines:
    """The same pods on both."""

    sick: Exporter
    sound: Exporter


def stat(seconds: float, steal_share: float) -> str:
    """``/proc/stat`` so long after the start; only the shared CPU does anything."""
    lines = []
    for cpu in sorted(CPUS):
        busy_share = 0.2 if cpu in POOL else 0.0
        shares = busy_share, 0, 0, 1 - busy_share - steal_share, 0, 0, 0, steal_share, 0, 0
        lines.append(" ".join([f"cpu{cpu}", *(str(round(share * seconds * USER_HZ)) for share in shares)]))
    return "\n".join([*lines, "ctxt 1", ""])


def proc_of(folder: Path, release: str) -> Path:
    """``/proc`` of a kernel: its version as recorded, but for the release, and the times of its CPUs."""
    folder.mkdir()
    _, _, _, *rest = (RECORDED / "proc/version").read_text().split(" ")
    (folder / "version").write_text(" ".join(["Linux", "version", release, *rest]))
    (folder / "stat").write_text(stat(0, 0))
    return folder


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("causes")
    pods = tuple(one.identified("causes") for one in PODS)
    (folder / "pods.json").write_text(json.dumps(kubelet_api.pod_list(pods, node_name="causes-node")))
    shutil.copytree(RECORDED / "sys/devices", folder / "sys/devices")
    sick, sound = proc_of(folder / "sick", "4.18.20"), proc_of(folder / "sound", "6.12.8")
    with ExitStack() as stack:
        node = stack.enter_context(synthetic_node(Scenario(pods, POOL), CPUS, directory=folder))
        options = (
            f"--path.cgroup={node.cgroup_root}",
            f"--path.sys={folder}/sys",
            f"--path.cpu-manager-state={folder}/no-checkpoint",
            f"--pods.sources=file:{folder}/pods.json",
            "--sample.interval=1s",
            "--sample.window=30s",
            "--scan.interval=200ms",
        )
        begun = time.monotonic()

        def move() -> None:
            seconds = time.monotonic() - begun
            overwrite(sick / "stat", stat(seconds, STOLEN).encode())
            overwrite(sound / "stat", stat(seconds, 0.0).encode())
            node.move()

        stack.enter_context(moving(replace(node, move=move)))
        exporters = [stack.enter_context(started([*options, f"--path.proc={proc}"])) for proc in (sick, sound)]
        for exporter in exporters:
            exporter.page_when(lambda page: page.total(THROTTLED, pod="openmp") >= 6)
            exporter.page_after_ticks(1)
        yield Machines(*exporters)


SICK = (
    Case("6 the kernel, 7 the hypervisor", "live/quiet/app", BUG | STEAL),
    Case("1 own quota, by an old kernel", "live/openmp/app", {"throttled_below_limit": {"kernel"}} | BUG | STEAL),
)
SOUND = (
    Case("nothing is wrong (files)", "live/quiet/app", exit_code=0),
    Case("1 own quota, the same by a new kernel", "live/openmp/app", {"throttled_below_limit": {"below_one_cpu"}}),
    Case("5 pinned far apart (files)", "live/spread/app", {"numa_spread": {"fits_one_node"}}),
    Case("nothing is wrong, pinned (files)", "live/pinned/app", exit_code=0),
)


@pytest.mark.parametrize("case", SICK, ids=lambda case: case.subject)
def test_an_old_kernel_and_a_hypervisor_that_steals(
    machines: Machines, case: Case, request: pytest.FixtureRequest
) -> None:
    assert not Table.of(request.config).check(case, explain(machines.sick, case.subject))


def test_what_the_hypervisor_took_is_told(machines: Machines) -> None:
    [finding] = [one for one in explain(machines.sick, "live/quiet/app").findings if one["name"] == "cpu_steal"]
    share = finding["evidence"]["steal_share"]
    assert share == pytest.approx(STOLEN, rel=0.2)
    assert finding["severity"] == "critical"
    assert "of this node's 4 CPUs" in finding["summary"]


@pytest.mark.parametrize("case", SOUND, ids=lambda case: case.subject)
def test_a_sound_machine_with_two_numa_nodes(machines: Machines, case: Case, request: pytest.FixtureRequest) -> None:
    assert not Table.of(request.config).check(case, explain(machines.sound, case.subject))
