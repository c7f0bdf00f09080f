"""What each CPU did, from /proc/stat."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import ParseError
from exporter.model import CpuTimes
from exporter.node.cpu_time import USER_HZ, Jiffies, cpu_times, parse_proc_stat, read_proc_stat

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


def test_columns_that_an_old_kernel_lacks_are_left_at_nothing() -> None:
    assert parse_proc_stat(b"cpu0 1 2 3 4\n", "stat") == {0: Jiffies(1, 2, 3, 4)}


@pytest.mark.parametrize("line", [b"cpu0 1 2 3", b"cpu0 1 2 x 4", b"cpux 1 2 3 4", b"cpu0 -1 2 3 4", b"cpu0"])
def test_a_line_that_is_none_is_a_parse_error(line: bytes) -> None:
    with pytest.raises(ParseError, match=r"^stat: "):
        parse_proc_stat(line + b"\n", "stat")


@given(st.binary(max_size=60))
def test_foreign_bytes_give_times_or_a_parse_error(junk: bytes) -> None:
    try:
        found = parse_proc_stat(b"cpu0 " + junk, "stat")
    except ParseError:
        return
    assert all(count >= 0 for times in found.values() for count in times)


def test_busy_is_all_but_idle_iowait_and_steal() -> None:
    before = Jiffies(100, 0, 50, 1000, 10, 5, 5, 0)
    after = Jiffies(140, 5, 65, 1025, 20, 10, 10, 20)
    assert cpu_times({0: before}, {0: after}, 1.2) == {0: CpuTimes(1.2, 0.7, 0.2, 0.1)}


def test_a_counter_that_ran_backwards_grew_by_nothing() -> None:
    before, after = Jiffies(100, 0, 0, 1000, 50, 0, 0, 9), Jiffies(150, 0, 0, 990, 40, 0, 0, 3)
    assert cpu_times({0: before}, {0: after}, 1.0) == {0: CpuTimes(1.0, 0.5, 0.0, 0.0)}


def test_a_cpu_that_came_or_went_has_no_window() -> None:
    times = Jiffies(1, 1, 1, 1)
    assert cpu_times({0: times, 1: times}, {1: times, 2: times}, 1.0).keys() == {1}


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_no_time_between_two_readings_gives_nothing(seconds: float) -> None:
    assert cpu_times({0: Jiffies(1, 1, 1, 1)}, {0: Jiffies(2, 2, 2, 2)}, seconds) == {}


def test_this_machine_s_own_file(tmp_path: Path) -> None:
    found = read_proc_stat("/proc")
    assert found
    assert all(sum(times) / USER_HZ > 0 for times in found.values())
    assert read_proc_stat(str(tmp_path)) is None
