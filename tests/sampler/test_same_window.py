"""What a container did and what its CPUs did is compared over the same window, whenever its scans were."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.analysis import thresholds
from exporter.analysis.windows import CounterWindow, ScanTimes, reading_of
from exporter.model import CpuStat
from tests.sampler.rig import Rig, running
from tests.support.trees import containerd_systemd

WINDOW = 60.0
STAT = "cpu  {0} 0 0 {1} 0 0 0 0 0 0\ncpu0 {0} 0 0 {1} 0 0 0 0 0 0\n"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree, and beside it what the kernel says of its one CPU."""
    root = tmp_path_factory.mktemp("node")
    containerd_systemd(root / "cgroup")
    (root / "proc").mkdir()
    (root / "proc" / "stat").write_text(STAT.format(100, 100))
    return root


@settings(max_examples=20)
@given(late=st.lists(st.tuples(st.floats(0, 0.05), st.floats(0, 0.05)), min_size=8, max_size=16))
def test_no_container_s_window_is_shorter_than_that_of_its_cpus(node: Path, late: list[tuple[float, float]]) -> None:
    """The scans are ten seconds apart, so that one of them is as old as the window, or nearly."""
    rig = Rig(node / "cgroup", proc=node / "proc")
    start = rig.now
    with running(rig):
        for number, (scan, tick) in enumerate(late, 1):
            rig.now = start + 10 * number + scan
            rig.scan()
            rig.tick(tick)
            snapshot = rig.snapshot(detailed=True)
            [cpu] = snapshot.node.cpu_times.values()
            assert cpu.seconds == pytest.approx(min(10 * number, WINDOW), abs=0.06) or cpu.seconds > WINDOW
            for one in snapshot.containers:
                assert one.deltas is not None
                assert one.deltas.seconds >= thresholds.SAME_WINDOW * cpu.seconds


@given(gaps=st.lists(st.floats(0.001, 100), min_size=1, max_size=200))
def test_a_window_is_covered_and_bounded_and_begins_at_a_scan(gaps: list[float]) -> None:
    scans, trend, now, times = ScanTimes(WINDOW), CounterWindow(), 0.0, []
    for gap in gaps:
        now += gap
        times.append(now)
        scans.push(now)
        trend.push(reading_of(now, CpuStat(usage_seconds=now), None, None, 0.0), scans.began)
        deltas = trend.deltas(reading_of(now + 1, CpuStat(usage_seconds=now + 1), None, None, 0.0))
        assert deltas is not None
        assert deltas.usage_seconds == deltas.seconds == pytest.approx(now + 1 - scans.began)
        kept = times[times.index(scans.began) :]
        assert len(kept) <= ScanTimes.MOST
        assert len(kept) in {len(times), ScanTimes.MOST} or now - scans.began >= WINDOW
        assert len(kept) < 3 or now - kept[1] < WINDOW, "no older than needed"
