"""The synthetic tree: its counters obey the rules of a real one's, and the exporter's own walk and readers take it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.cgroupfs.discover import walk
from exporter.cli.demo import throttled
from exporter.lab import scenario
from exporter.lab.spec import CpuSettings, Workload
from exporter.lab.synthetic import PERIOD_US, Group, advance, synthetic_node
from exporter.model import Driver
from tests.report.node import minute

TWO_CPUS = frozenset({0, 1})
DEMO = scenario.demo(TWO_CPUS, "a test")


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_the_walk_finds_every_pod_and_every_running_container(driver: Driver, tmp_path: Path) -> None:
    with synthetic_node(DEMO, TWO_CPUS, driver=driver, directory=tmp_path) as node:
        refs = [one.ref for one in walk(str(node.cgroup_root)).found.values()]

    assert not list(tmp_path.iterdir()), "nothing stays behind"
    running = {c.container_id for pod in DEMO.pods for c in pod.containers if not c.finished}
    ids = {one.rpartition("/")[2] for pod in DEMO.pods for one, *_ in pod.cgroups("cgroupfs")}
    assert running < {ref.container_id for ref in refs if ref.container_id} < ids
    assert {ref.pod_uid for ref in refs if not ref.container_id} == {pod.uid for pod in DEMO.pods}
    assert {ref.driver for ref in refs} == {driver}
    assert {(ref.pod_uid, ref.qos_class) for ref in refs} == {(pod.uid, pod.qos_class) for pod in DEMO.pods}


def test_files_are_rewritten_in_place_and_never_get_shorter(tmp_path: Path) -> None:
    clock = [0.0]
    with synthetic_node(DEMO, TWO_CPUS, directory=tmp_path, now=lambda: clock[0]) as node:
        files = sorted(tmp_path.rglob("cpu.*"))
        before = {file: (file.stat().st_ino, file.stat().st_size) for file in files}
        clock[0] = 200.0
        node.move()
        after = {file: (file.stat().st_ino, file.stat().st_size) for file in files}
        texts = [file.read_text() for file in files]
        node.move()  # time that did not pass changes nothing
        assert texts == [file.read_text() for file in files]

    assert all(after[file][0] == inode and after[file][1] >= size for file, (inode, size) in before.items())


def test_the_demo_names_what_is_throttled_worst_first(tmp_path: Path) -> None:
    names = throttled(minute(tmp_path).containers())

    assert names[:3] == [
        "data/report-28766160-l4x8c 100%",
        "shop/checkout-7d9f8b6c5d-x2k9p/app 100%",
        "shop/catalog-5c68f7d9c4-q7r2m/api 50%",
    ]
    assert not any("frontend" in name for name in names), "it does nothing"


workloads = st.builds(
    Workload,
    kind=st.sampled_from(["idle", "busy", "bursty"]),
    workers=st.integers(1, 12),
    unit_seconds=st.sampled_from([0.002, 0.02, 0.3]),
    every_seconds=st.sampled_from([0.1, 0.4, 1.0]),
)
settings = st.builds(
    CpuSettings,
    quota_cores=st.none() | st.sampled_from([0.05, 0.2, 1.0, 3.0]),
    burst_us=st.sampled_from([0, 2_000, 50_000]),
)


@pytest.mark.parametrize(
    ("asked", "workload", "counters"),
    [
        (CpuSettings(quota_cores=0.2), Workload("busy", 3), (100, 100, 100 * (2 * PERIOD_US - 20_000), 2_000_000, 0)),
        (CpuSettings(quota_cores=0.2), Workload(), (0, 0, 0, 0, 0)),
        (CpuSettings(), Workload("busy"), (0, 0, 0, 100 * PERIOD_US, 0)),
        # 160 ms of work each second under 60 ms a period, far below the limit on average: two of its periods are cut
        # short, in the third it ends, and an idle one stops the timer.
        (CpuSettings(quota_cores=0.6), Workload("bursty", 8, 0.02), (40, 20, 20 * 140_000, 1_600_000, 0)),
        # Saved quota lets it burst, but for the first time.
        (CpuSettings(quota_cores=0.2, burst_us=20_000), Workload("bursty", 1, 0.03), (21, 1, 80_000, 300_000, 9)),
    ],
    ids=["busy", "idle", "no quota", "burst", "saved quota"],
)
def test_a_container_alone(asked: CpuSettings, workload: Workload, counters: tuple[int, ...]) -> None:
    one = Group(asked, 2, workload)
    for period in range(100):
        advance(Group(CpuSettings(), 2, Workload(workers=0)), [one], period)

    names = ("nr_periods", "nr_throttled", "throttled_usec", "usage_usec", "nr_bursts")
    assert tuple(one.stat[name] for name in names) == counters
    assert one.stat["burst_usec"] == one.stat["nr_bursts"] * 10_000


def test_an_ancestors_quota_shows_in_the_pod_and_not_in_its_containers() -> None:
    limited = CpuSettings(quota_cores=0.15)
    pod, *containers = (Group(limited, 2, work) for work in (Workload(workers=0), Workload("busy"), Workload("busy")))
    for period in range(100):
        advance(pod, containers, period)

    names = ("nr_periods", "nr_throttled", "throttled_usec")
    assert [pod.stat[name] for name in names[:2]] == [100, 100]
    for one in containers:
        assert [one.stat[name] for name in names] == [100, 0, 0]
        assert one.local > 0


@given(
    pod_settings=settings,
    loads=st.lists(st.tuples(settings, workloads), min_size=1, max_size=4),
    cpus=st.integers(1, 8),
    periods=st.integers(1, 60),
)
def test_counters_never_contradict_each_other(
    pod_settings: CpuSettings, loads: list[tuple[CpuSettings, Workload]], cpus: int, periods: int
) -> None:
    pod, *containers = groups = [Group(one, cpus, work) for one, work in [(pod_settings, Workload(workers=0)), *loads]]
    before = [0] * 9 * len(groups)
    for period in range(periods):
        advance(pod, containers, period)
        after = [value for one in groups for value in (*one.stat.values(), one.local, one.waiting, one.stalled)]
        assert all(new >= old for new, old in zip(after, before, strict=True))
        before = after

    assert pod.stat["usage_usec"] == sum(one.stat["usage_usec"] for one in containers) <= periods * cpus * PERIOD_US
    for one in groups:
        quota, counted, usage = one.settings.quota_us, one.stat["nr_periods"], one.stat["usage_usec"]
        assert one.stat["nr_throttled"] <= counted <= periods
        assert one.stat["throttled_usec"] <= one.stat["nr_throttled"] * cpus * PERIOD_US
        assert one.stalled <= one.waiting <= periods * PERIOD_US
        assert usage <= counted * (quota + one.settings.burst_us) if quota else not counted
        assert one.stat["burst_usec"] <= usage
