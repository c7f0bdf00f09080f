"""What each CPU did, from /proc/stat and /proc/schedstat."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from exporter.errors import ParseError
from exporter.model import CpuTimes
from exporter.node.cpu_time import (
    USER_HZ,
    CpuReadings,
    Jiffies,
    RunTime,
    cpu_times,
    parse_proc_stat,
    parse_schedstat,
    read_cpu_readings,
)

STAT = b"""\
cpu  600 30 250 9000 50 20 40 10 100 5
cpu0 400 10 150 4000 30 15 25 6 100 5
cpu2 200 20 100 5000 20 5 15 4 0 0
intr 123456 0 9 0
ctxt 987654
btime 1795293601
"""


def test_each_online_cpu_and_neither_the_sum_nor_the_guests() -> None:
    assert parse_proc_stat(STAT, "stat") == {
        0: Jiffies(400, 10, 150, 4000, 30, 15, 25, 6),
        2: Jiffies(200, 20, 100, 5000, 20, 5, 15, 4),
    }
    assert parse_proc_stat(b"cpu0 1 2 3 4\n", "stat") == {0: Jiffies(1, 2, 3, 4)}, "columns that an old kernel lacks"


@pytest.mark.parametrize("line", [b"cpu0 1 2 3", b"cpu0 1 2 x 4", b"cpux 1 2 3 4", b"cpu0 -1 2 3 4", b"cpu0"])
def test_a_line_that_is_none_is_a_parse_error(line: bytes) -> None:
    with pytest.raises(ParseError, match=r"^stat: "):
        parse_proc_stat(line + b"\n", "stat")


def ticks(found: Mapping[int, Jiffies]) -> CpuReadings:
    return CpuReadings(found, {})


def test_busy_is_all_but_idle_iowait_and_steal() -> None:
    before = Jiffies(100, 0, 50, 1000, 10, 5, 5, 0)
    after = Jiffies(140, 5, 65, 1025, 20, 10, 10, 20)
    assert cpu_times(ticks({0: before}), ticks({0: after}), 1.2) == {0: CpuTimes(1.2, 0.7, 0.2, 0.1)}


def test_a_counter_that_ran_backwards_grew_by_nothing() -> None:
    before, after = Jiffies(100, 0, 0, 1000, 50, 0, 0, 9), Jiffies(150, 0, 0, 990, 40, 0, 0, 3)
    assert cpu_times(ticks({0: before}), ticks({0: after}), 1.0) == {0: CpuTimes(1.0, 0.5, 0.0, 0.0)}


def test_a_cpu_that_came_or_went_has_no_window_nor_has_any_without_time_between_two_readings() -> None:
    times = Jiffies(1, 1, 1, 1)
    assert cpu_times(ticks({0: times, 1: times}), ticks({1: times, 2: times}), 1.0).keys() == {1}
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        assert cpu_times(ticks({0: times}), ticks({0: times}), seconds) == {}


def test_this_machine_s_own_files_and_those_of_a_node(tmp_path: Path) -> None:
    found = read_cpu_readings("/proc")
    assert found is not None
    assert all(sum(times) / USER_HZ > 0 for times in found.ticks.values())
    assert read_cpu_readings(str(tmp_path)) is None
    (tmp_path / "stat").write_bytes(STAT)
    assert read_cpu_readings(str(tmp_path)) == CpuReadings(parse_proc_stat(STAT, ""), {})
    (tmp_path / "schedstat").write_bytes(SCHEDSTAT)
    assert read_cpu_readings(str(tmp_path)) == (parse_proc_stat(STAT, ""), parse_schedstat(SCHEDSTAT, ""))


# ---- schedstat ----

# A kernel 6.12's, two CPUs, shortened in its domains.
SCHEDSTAT = b"""\
version 16
timestamp 4294937474
cpu0 0 0 0 0 0 0 1963873441 225043123 5634
domain0 MC 3 0 0 0 0 0 0 0 0
cpu1 0 0 0 0 0 0 2100317285 175043991 4800
domain0 MC 3 0 0 0 0 0 0 0 0
"""


def test_run_time_and_slices_of_each_cpu() -> None:
    assert parse_schedstat(SCHEDSTAT, "schedstat") == {0: RunTime(1963873441, 5634), 1: RunTime(2100317285, 4800)}
    assert parse_schedstat(b"version 14\ncpu0 1 2 3\n", "schedstat") == {}, "jiffies, in other columns"


@pytest.mark.parametrize(
    "data", [b"", b"cpu0 1 2 3\n", b"version 15\ncpu0 1 2 3 4 5 6 7 8\n", b"version 15\ncpu0 1 2 3 4 5 6 x 8 9\n"]
)
def test_a_schedstat_that_is_none_is_a_parse_error(data: bytes) -> None:
    with pytest.raises(ParseError, match=r"^schedstat: "):
        parse_schedstat(data, "schedstat")


@pytest.mark.parametrize("sampled", [52, 0])
def test_a_task_in_phase_with_the_tick_counts_for_what_it_ran(sampled: int) -> None:
    """1 ms in every 5 ms: its ticks are all of them or none."""
    before = CpuReadings({0: Jiffies(0, 0, 0, 0)}, {0: RunTime(0, 0)})
    after = CpuReadings({0: Jiffies(sampled, 0, 0, 100 - sampled, irq=1)}, {0: RunTime(197_000_000, 200)})
    assert cpu_times(before, after, 1.0) == {0: CpuTimes(1.0, 0.197, 0.0, 0.01, exact=True)}


def test_time_that_the_hypervisor_took_from_a_running_task_is_not_busy() -> None:
    before = CpuReadings({0: Jiffies(0, 0, 0, 0)}, {0: RunTime(0, 0)})
    after = CpuReadings({0: Jiffies(70, 0, 0, 0, steal=25)}, {0: RunTime(1_000_000_000, 200)})
    assert cpu_times(before, after, 1.0) == {0: CpuTimes(1.0, 0.75, 0.25, 0.0, exact=True)}


@pytest.mark.parametrize(
    ("nanoseconds", "slices"),
    [
        pytest.param(0, 0, id="one task that never left the CPU"),
        pytest.param(60_000_000_000, 100, id="one that left after a minute"),
        pytest.param(-1, 100, id="a counter that ran backwards"),
    ],
)
def test_run_time_that_does_not_belong_to_the_window_is_not_used(nanoseconds: int, slices: int) -> None:
    before = CpuReadings({0: Jiffies(0, 0, 0, 0)}, {0: RunTime(0, 0)})
    after = CpuReadings({0: Jiffies(1000, 0, 0, 0)}, {0: RunTime(nanoseconds, slices)})
    assert cpu_times(before, after, 10.0) == {0: CpuTimes(10.0, 10.0, 0.0, 0.0, exact=False)}
