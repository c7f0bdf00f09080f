"""The kernel's list format, as kernel and kubelet write it and as nobody should."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.cpulist import MAX_CPUS, cpu_list, format_cpu_list
from exporter.errors import ParseError

FILE = "/sys/fs/cgroup/cpuset.cpus.effective"


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("\n", set()),
        ("", set()),
        ("0\n", {0}),
        ("0-1,3,8-10\n", {0, 1, 3, 8, 9, 10}),
        ("0-0", {0}),
        ("7,1\n", {1, 7}),
        ("2,2-3\n", {2, 3}),
        (f"0-{MAX_CPUS - 1}\n", set(range(MAX_CPUS))),
    ],
)
def test_list_is_read(text: str, cpus: set[int]) -> None:
    assert cpu_list(text, FILE) == cpu_list(text.encode(), FILE) == cpus


@pytest.mark.parametrize(
    "text",
    [
        *("0-3,8,10-9,x", "10-9", ",", "0,", ",0", "0,,1", "-", "-1", "0-", "0--1", "0-1-2", "0 1", "0, 1", "0x1"),
        *("1_0", "+1", "1.0", "0-3:1/2", "all", "0\x00", "٣", "²", "0–3", f"{MAX_CPUS}", "0-4294967295"),
        *(f"0-{'9' * 5000}", ",".join([f"0-{MAX_CPUS - 1}"] * 2)),
    ],
)
def test_anything_else_is_an_error_that_shows_it(text: str) -> None:
    for form in (text, text.encode()):
        with pytest.raises(ParseError) as caught:
            cpu_list(form, FILE)
        assert (caught.value.path, caught.value.reason) == (FILE, "malformed")


@given(st.frozensets(st.integers(0, MAX_CPUS - 1) | st.integers(0, 15)))
def test_a_set_written_is_the_set_read_in_the_kernel_s_shortest_form(cpus: frozenset[int]) -> None:
    text = format_cpu_list(cpus)
    assert cpu_list(text, FILE) == cpus
    ends = [[int(end) for end in part.split("-")] for part in text.split(",") if part]
    assert all(len(end) == 1 or (len(end) == 2 and end[0] < end[1]) for end in ends)
    assert all(before[-1] + 1 < after[0] for before, after in pairwise(ends))
    assert format_cpu_list([*cpus, *cpus]) == text
