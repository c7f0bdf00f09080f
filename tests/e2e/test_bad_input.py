"""Bad kernel files: each costs its own samples and one counted error, never the page nor the samples of another."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import FAST
from tests.faults.node import Node, Place, by_hand, grown
from tests.support.pages import Key, Page
from tests.support.process import Exporter, started
from tests.support.recordings import overwrite
from tests.support.treebuilder import ExpectedContainer, Tree
from tests.support.trees import containerd_systemd, v1_joint_mount

U64_MAX = 2**64 - 1
MALFORMED = {("parse", "malformed")}


@dataclass(frozen=True)
class Victim:
    """The container whose files are spoiled: the second one of a tree."""

    tree: Tree

    @property
    def container(self) -> ExpectedContainer:
        return self.tree.containers[1]

    @property
    def labels(self) -> dict[str, str]:
        """Those that :func:`pod_list` leads to."""
        return {"namespace": "apps", "pod": f"pod-{self.container.pod_uid[:8]}", "container": "c0"}

    def file(self, name: str) -> Path:
        mounts = ("cpu,cpuacct", "cpuset") if self.tree.version == "v1" else ("",)
        [found] = [path for mount in mounts if (path := self.tree.root / mount / self.container.path / name).exists()]
        return found

    def get(self, page: Page, name: str, **labels: str) -> float | None:
        return page.get(f"cgroup_container_{name}", **self.labels, **labels)

    def names(self, page: Page) -> set[str]:
        """Families without their prefix in which it has samples."""
        own = self.labels.items()
        return {name.removeprefix("cgroup_container_") for name, labels in steady(page) if own <= dict(labels).items()}

    def of_others(self, page: Page) -> dict[Key, float]:
        return {key: value for key, value in steady(page).items() if not set(self.labels.items()) <= key[1]}


def steady(page: Page) -> dict[Key, float]:
    return {
        key: value for key, value in page.samples.items() if key[0].startswith(("cgroup_container_", "cgroup_pod_"))
    }


@contextmanager
def spoiled(file: Path, content: bytes) -> Iterator[None]:
    healthy = file.read_bytes()
    overwrite(file, content)
    try:
        yield
    finally:
        overwrite(file, healthy)


# ---- What a file says ----

COUNTERS = {
    *("cpu_periods_total", "cpu_throttled_periods_total", "cpu_throttled_seconds_total", "cpu_usage_seconds_total"),
    *("cpu_throttled_ratio", "cpu_throttled_ratio_peak"),
}
BURST = {"cpu_burst_periods_total", "cpu_burst_seconds_total"}
LIMITS = {
    *("cpu_limit_cores", "cpu_quota_state", "cpu_period_seconds", "cpu_effective_limit_cores", "cpu_limit_drift"),
    *("cpu_throttled_ratio", "cpu_throttled_ratio_peak"),
}
V1_LIMITS, V2_LIMITS = LIMITS | {"cpu_shares"}, LIMITS | {"cpu_weight", "cpu_burst_limit_seconds"}
CPUSET = {"cpuset_cpus", "cpuset_info", "cpuset_exclusive", "cpu_isolation", "cpuset_numa_nodes"}
V2, V1 = containerd_systemd, v1_joint_mount
BAD: list[tuple[Callable[[Path], Tree], str, bytes, set[str]]] = [
    *(
        (V2, "cpu.stat", content, COUNTERS | BURST)
        for content in (
            b"",
            random.Random(4).randbytes(700),
            # A u64 that ran below zero: no time that ever passed.
            f"nr_periods 5000\nnr_throttled 400\nthrottled_usec {U64_MAX}\n".encode(),
        )
    ),
    *(
        (V1, "cpu.stat", content, COUNTERS)
        for content in (b"\xff", f"nr_periods 5000\nnr_throttled 400\nthrottled_time {U64_MAX}\n".encode())
    ),
    *((V2, "cpu.max", content, V2_LIMITS) for content in (b"", b"0 100000\n")),
    (V1, "cpu.cfs_quota_us", b"0\n", V1_LIMITS),
    (V1, "cpu.cfs_period_us", b"0\n", V1_LIMITS),
    *((V2, "cpuset.cpus.effective", content, CPUSET) for content in (b"0-3,8,10-9\n", b"0-4294967295\n", b"\xff\n")),
    (V1, "cpuset.effective_cpus", b"1-\n", CPUSET),
    (V2, "cpu.pressure", b"nonsense\n", {"cpu_pressure_waiting_seconds_total", "cpu_pressure_stalled_seconds_total"}),
    (V2, "cpu.stat.local", b"nonsense\n", {"cpu_throttled_local_seconds_total"}),
    (V2, "cpu.weight", b"nonsense\n", V2_LIMITS),
    (V2, "cpu.max.burst", b"nonsense\n", V2_LIMITS),
]


async def with_file(node: Node, victim: Victim, name: str, content: bytes) -> tuple[Page, set[tuple[str, str]]]:
    """The page while ``name`` holds ``content``, and what was counted; before and after it the page is healthy."""
    await node.lives(2)
    healthy = await node.page()
    with spoiled(victim.file(name), content):
        await node.lives(1)
        page = await node.page()
    await node.lives(2)  # which make a window

    assert steady(await node.page()).keys() == steady(healthy).keys()
    assert victim.of_others(page) == victim.of_others(healthy)
    return page, grown(healthy, page)


@pytest.mark.parametrize(("layout", "name", "content", "samples"), BAD)
async def test_an_unreadable_file_costs_its_own_samples_and_is_counted(
    layout: Callable[[Path], Tree], name: str, content: bytes, samples: set[str], tmp_path: Path
) -> None:
    victim = Victim(layout(tmp_path / "cgroup"))
    async with by_hand(Place(tmp_path, victim.tree).settings) as node:
        page, counted = await with_file(node, victim, name, content)
        gone = victim.names(await node.page()) - victim.names(page)

    assert counted == MALFORMED
    assert gone == samples
    assert "Inf" not in "".join(line for line in page.text.splitlines() if line.startswith("cgroup_"))


async def test_a_folder_in_a_file_s_place_costs_no_descriptors(tmp_path: Path) -> None:
    """What cannot be read is tried again at each tick: a descriptor lost each time would end the process in a day."""
    victim = Victim(V2(tmp_path / "cgroup"))
    file = victim.file("cpu.max")
    async with by_hand(Place(tmp_path, victim.tree).settings) as node:
        file.rename(file.with_name("cpu.max.aside"))
        file.mkdir()
        await node.lives(3)
        first, before = await node.page(), len(os.listdir("/proc/self/fd"))
        await node.lives(30)

        assert grown(first, await node.page()) == {("read", "eisdir")}
        assert len(os.listdir("/proc/self/fd")) <= before + 5


# ---- The real process: its log, and a user who may not read everything ----


@contextmanager
def watched(folder: Path) -> Iterator[tuple[Victim, Exporter]]:
    victim = Victim(containerd_systemd(folder / "cgroup"))
    with started([*Place(folder, victim.tree).options, *FAST], privileged=False) as exporter:
        exporter.page_after_ticks(2)
        yield victim, exporter


@contextmanager
def forbidden(path: Path) -> Iterator[None]:
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(mode)


def test_the_log_names_each_kind_of_failure_once_with_its_file(tmp_path: Path) -> None:
    with watched(tmp_path) as (victim, exporter):
        before = exporter.page()
        with spoiled(victim.file("cpu.stat"), b"\xff\n"), spoiled(victim.file("cpu.stat.local"), b"9\n" * 90_000):
            page = exporter.page_after_ticks(10)

    assert grown(before, page) == MALFORMED | {("read", "too_large")}
    told = [line for line in exporter.log.splitlines() if victim.container.path in line]
    assert [line for line in told if "cpu.stat:" in line and "stage=parse" in line]
    assert [line for line in told if "cpu.stat.local:" in line and "stage=read" in line]
    assert len(told) <= 4


def test_what_may_not_be_read_costs_its_own_samples(tmp_path: Path) -> None:
    with watched(tmp_path) as (victim, exporter):
        healthy = exporter.page()
        with forbidden(victim.file("cpu.max")):
            page = exporter.page_after_ticks(2)
        assert grown(healthy, page) == {("read", "eacces")}
        assert victim.get(page, "cpu_limit_cores") is None
        assert victim.get(page, "cpu_periods_total") == victim.container.periods
        assert victim.of_others(page) == victim.of_others(healthy)

        before = exporter.page_when(lambda healed: steady(healthy).keys() <= steady(healed).keys())
        with forbidden(victim.tree.root / victim.container.pod_path):
            page = exporter.page_after_ticks(5)
        assert grown(before, page) == {("read", "eacces")}
        others = {key: value for key, value in steady(healthy).items() if ("pod", victim.labels["pod"]) not in key[1]}
        assert others.items() <= steady(page).items()
        assert exporter.get("/healthz").status == 200
        exporter.page_when(lambda healed: steady(healthy).keys() <= steady(healed).keys())
