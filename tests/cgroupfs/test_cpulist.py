"""The kernel's list format, as kernel and kubelet write it and as nobody should."""

import time
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
        ("0-3\n", {0, 1, 2, 3}),
        ("0-1,3,8-10\n", {0, 1, 3, 8, 9, 10}),
        ("0-0\n", {0}),
        ("7,1\n", {1, 7}),
        ("2,2-3\n", {2, 3}),
        ("0-8191\n", set(range(8192))),
        (f"{MAX_CPUS - 1}\n", {MAX_CPUS - 1}),
        (f"0-{MAX_CPUS - 1}\n", set(range(MAX_CPUS))),
        ("0-3", {0, 1, 2, 3}),
    ],
)
def test_list_is_read(text: str, cpus: set[int]) -> None:
    assert cpu_list(text, FILE) == cpus
    assert cpu_list(text.encode(), FILE) == cpus


@pytest.mark.parametrize(
    "text",
    [
        "0-3,8,10-9,x",
        "0-3,8,x",
        "10-9",
        ",",
        "0,",
        ",0",
        "0,,1",
        "-",
        "-1",
        "0-",
        "0--1",
        "0-1-2",
        "0 1",
        "0 - 3",
        "0, 1",
        "0x1",
        "1_0",
        "+1",
        "1.0",
        "0-3:1/2",
        "all",
        "\x00",
        "0\x00",
        "٣",
        "²",
        "0–3",
        f"{MAX_CPUS}",
        "0-4294967295",
        f"0-{'9' * 5000}",
        "<html>",
    ],
)
def test_anything_else_is_an_error_that_shows_it(text: str) -> None:
    for form in (text, text.encode()):
        with pytest.raises(ParseError) as caught:
            cpu_list(form, FILE)
        assert caught.value.path == FILE
        assert caught.value.reason == "malformed"
        assert str(caught.value).startswith(FILE)
        assert str(caught.value).isascii()
        assert str(caught.value).isprintable()


def test_a_list_that_names_more_cpus_than_there_can_be_is_refused_at_once() -> None:
    # The longest text that a file may hold: 8192 times every CPU.
    hostile = ",".join([f"0-{MAX_CPUS - 1}"] * 8192)
    began = time.process_time()
    with pytest.raises(ParseError):
        cpu_list(hostile, FILE)
    assert time.process_time() - began < 2.0


@given(st.frozensets(st.integers(0, MAX_CPUS - 1) | st.integers(0, 15)))
def test_a_set_written_is_the_set_read(cpus: frozenset[int]) -> None:
    text = format_cpu_list(cpus)
    assert cpu_list(text, FILE) == cpus
    assert cpu_list(f"{text}\n".encode(), FILE) == cpus


@given(st.lists(st.integers(0, 15)))
def test_the_order_and_number_in_which_cpus_are_named_say_nothing(cpus: list[int]) -> None:
    assert format_cpu_list(cpus) == format_cpu_list(frozenset(cpus))


@given(st.frozensets(st.integers(0, 31)))
def test_what_is_written_is_the_kernel_s_shortest_form(cpus: frozenset[int]) -> None:
    ends = [[int(end) for end in part.split("-")] for part in format_cpu_list(cpus).split(",") if part]
    assert all(len(end) == 1 or (len(end) == 2 and end[0] < end[1]) for end in ends)
    assert all(before[-1] + 1 < after[0] for before, after in pairwise(ends))


@given(
    st.text()
    | st.binary()
    | st.lists(st.sampled_from(["0", "3", "8-10", "10-9", "-", ",", "x", " ", "\n", "65536"])).map(",".join)
)
def test_any_text_is_a_set_of_cpus_or_our_error(text: str | bytes) -> None:
    cpus, message = frozenset[int](), ""
    try:
        cpus = cpu_list(text, FILE)
    except ParseError as error:
        message = str(error)
    assert message.isascii()
    assert not message or message.isprintable()
    assert all(0 <= cpu < MAX_CPUS for cpu in cpus)
    assert cpu_list(format_cpu_list(cpus), FILE) == cpus
