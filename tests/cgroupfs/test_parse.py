"""Texts of the kernel's files, real ones first, then everything they must never be."""

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.cgroupfs import parse
from exporter.cpulist import cpu_list
from exporter.errors import ParseError
from exporter.model import CpuLimits, CpuStat, Pressure

FILE = "/sys/fs/cgroup/kubepods/cpu.stat"
LARGEST = 2**63 - 1

Parser = Callable[[bytes, str], object]
FLAT: dict[Parser, bytes] = {
    parse.cpu_stat_v1: b"nr_periods nr_throttled throttled_time nr_bursts burst_time wait_sum",
    parse.cpu_stat_v2: b"nr_periods nr_throttled throttled_usec nr_bursts burst_usec usage_usec user_usec system_usec",
    parse.cpu_stat_local: b"throttled_usec throttled_time",
    parse.cpuacct_stat: b"user system",
}
"""Parsers of lines of keys and values, and the keys they know."""
NUMBERS = (parse.number, parse.nanoseconds, parse.microseconds, parse.cfs_period, parse.cfs_quota)
PARSERS: tuple[Parser, ...] = (*FLAT, *NUMBERS, parse.cpu_max, parse.pressure, cpu_list)


def refused(parser: Parser, data: bytes) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parser(data, FILE)
    error = caught.value
    assert (error.path, error.stage, error.reason) == (FILE, "parse", "malformed")
    assert str(error).isascii()
    assert str(error).isprintable()
    assert len(str(error)) < 400
    return error


@pytest.mark.parametrize(
    ("text", "stat"),
    [
        pytest.param(
            b"usage_usec 10187083\nuser_usec 10140000\nsystem_usec 47083\nnice_usec 0\n"
            b"core_sched.force_idle_usec 0\nnr_periods 102\nnr_throttled 99\nthrottled_usec 16204361\n"
            b"nr_bursts 3\nburst_usec 1500\n",
            CpuStat(102, 99, 16.204361, 3, 0.0015, None, 10.187083, 10.14, 0.047083),
            id="linux 6.18",
        ),
        pytest.param(
            b"usage_usec 5\nuser_usec 4\nsystem_usec 1\nnr_periods 7\nnr_throttled 0\nthrottled_usec 0\n",
            CpuStat(7, 0, 0.0, None, None, None, 5e-6, 4e-6, 1e-6),
            id="linux 5.10, before burst statistics",
        ),
        pytest.param(
            b"usage_usec 99000000\nuser_usec 90000000\nsystem_usec 9000000\n",
            CpuStat(usage_seconds=99.0, user_seconds=90.0, system_seconds=9.0),
            id="no cpu controller",
        ),
        pytest.param(b"nr_periods 1\nrun_delay_usec 12\nnr_throttled 1\n", CpuStat(1, 1), id="a key of a later kernel"),
        pytest.param(
            b"state idle\nnr_periods 4\nsigned -3\nbig 18446744073709551616\nhuge " + b"9" * 5000 + b"\n",
            CpuStat(4),
            id="later keys that are no counters",
        ),
        pytest.param(b"nr_periods 4\nnr_periods 5\n", CpuStat(5), id="a key twice: the last one holds"),
        pytest.param(b"nr_periods 9223372036854775807\n", CpuStat(LARGEST), id="2**63-1"),
        pytest.param(b"throttled_time 5\nwait_sum 6\n", CpuStat(), id="keys of v1 say nothing here"),
    ],
)
def test_v2_cpu_stat(text: bytes, stat: CpuStat) -> None:
    assert parse.cpu_stat_v2(text, FILE) == stat


@pytest.mark.parametrize(
    ("text", "stat"),
    [
        pytest.param(
            b"nr_periods 239\nnr_throttled 238\nthrottled_time 21456789012\nnr_bursts 2\nburst_time 7000\n",
            CpuStat(239, 238, 21.456789012, 2, 7e-6),
            id="linux 6.18",
        ),
        pytest.param(
            b"nr_periods 3\nnr_throttled 1\nthrottled_time 96000000\n", CpuStat(3, 1, 0.096), id="before bursts"
        ),
        pytest.param(
            b"nr_periods 0\nnr_throttled 0\nthrottled_time 0\nwait_sum 2500000000\n",
            CpuStat(0, 0, 0.0, runqueue_wait_seconds=2.5),
            id="with schedstats",
        ),
        pytest.param(b"throttled_usec 5\nusage_usec 6\n", CpuStat(), id="keys of v2 say nothing here"),
    ],
)
def test_v1_cpu_stat(text: bytes, stat: CpuStat) -> None:
    assert parse.cpu_stat_v1(text, FILE) == stat


@pytest.mark.parametrize(
    ("parser", "text", "value"),
    [
        (parse.cpu_stat_local, b"throttled_usec 2600000\n", 2.6),
        (parse.cpu_stat_local, b"throttled_time 2600000000\n", 2.6),
        (parse.cpu_stat_local, b"something_new 5\n", None),
        (parse.cpu_stat_local, b"something_new 5\nthrottled_usec 1000000\n", 1.0),
        (parse.cpuacct_stat, b"user 12345\nsystem 678\n", (123.45, 6.78)),
        (parse.cpuacct_stat, b"system 1\n", (None, 0.01)),
        (parse.number, b"9223372036854775807\n", LARGEST),
        (parse.nanoseconds, b"1500000000\n", 1.5),
        (parse.microseconds, b"20000\n", 0.02),
        (parse.microseconds, b"0\n", 0.0),
        (parse.cfs_period, b"100000\n", 100_000),
        (parse.cfs_quota, b"-1\n", -1),
        (parse.cfs_quota, b"6400000\n", 6_400_000),
        (parse.cpu_max, b"max 20000\n", (-1, 20_000)),
        (parse.cpu_max, b"1200000 100000\n", (1_200_000, 100_000)),
    ],
)
def test_the_smaller_files(parser: Parser, text: bytes, value: object) -> None:
    assert parser(text, FILE) == value


@pytest.mark.parametrize("parser", FLAT)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n\n", id="empty lines"),
        pytest.param(b"nr_periods 12", id="cut before the newline"),
        pytest.param(b"nr_periods 12\nnr_throttled 1", id="cut in a number"),
        pytest.param(b"nr_periods 12\nnr_throttled\n", id="a key without a value"),
        pytest.param(b"nr_periods 1 2\n", id="two values"),
        pytest.param(b"nr_periods\n1 nr_throttled\n2 x\ny\n", id="lines broken in the wrong places"),
        pytest.param(b"\xff\xfe\n\xff\n", id="no text in any encoding"),
        pytest.param(b"\x00" * 4096 + b"\n", id="NULs"),
        pytest.param(b"<html>\n<body>The page was not found.</body>\n</html>\n", id="HTML"),
    ],
)
def test_text_that_is_no_keys_and_values_is_refused(parser: Parser, text: bytes) -> None:
    refused(parser, text)


NO_COUNTERS = (
    *(b"-1", b"+1", b"1.5", b"1e3", b"0x10", b"1_000", b"nan", b"max", b"1\x00"),
    *("١٢".encode(), "²".encode(), b"18446744073709551616", b"9" * 5000),
)


@pytest.mark.parametrize("value", NO_COUNTERS, ids=lambda value: ascii(value[:24]))
def test_a_value_that_is_no_unsigned_64_bit_number_is_refused(value: bytes) -> None:
    for parser, keys in FLAT.items():
        for key in keys.split():
            assert key.decode() in str(refused(parser, b"other 1\n" + key + b" " + value + b"\n"))
    for number in NUMBERS:
        if (number, value) != (parse.cfs_quota, b"-1"):
            refused(number, value + b"\n")


@pytest.mark.parametrize(
    ("parser", "texts"),
    [
        *((parser, [b"", b"\n", b" \n", b"5", b"5 6\n", b"5\n6\n", b"\xff\xff\n"]) for parser in NUMBERS),
        (parse.cfs_period, [b"0\n"]),
        (parse.cfs_quota, [b"0\n", b"-2\n", b"-50000\n", b"max\n", b"-\n", b"- 1\n", b"-1"]),
        (parse.cpu_max, [b"", b"\n", b"max\n", b"100000\n", b"0 100000\n", b"50000 0\n", b"max 0\n", b"max max\n"]),
        (parse.cpu_max, [b"Max 100000\n", b"-1 100000\n", b"50000 100000 5\n", b"50000 -100000\n", b"5e4 100000\n"]),
        (parse.cpu_max, [b"50000 100000\n"[:end] for end in range(13)]),
    ],
)
def test_a_line_that_the_kernel_never_writes_is_refused(parser: Parser, texts: list[bytes]) -> None:
    """Neither quota nor period may be zero, or cut: "50000 10000" is ten times as high."""
    for text in texts:
        refused(parser, text)


SOME = b"some avg10=1.00 avg60=2.00 avg300=3.00 total=12700000\n"
FULL = b"full avg10=0.00 avg60=0.00 avg300=0.00 total=800001\n"


@pytest.mark.parametrize(
    ("text", "pressure"),
    [
        pytest.param(SOME + FULL, Pressure(12.7, 0.800001), id="linux 5.13 and later"),
        pytest.param(SOME, Pressure(12.7, None), id="before: no full line for CPU"),
        pytest.param(SOME + b"idle avg10=0.00 total=x\n" + FULL, Pressure(12.7, 0.800001), id="a line of another kind"),
        pytest.param(SOME[:-1] + b" peak=5\n", Pressure(12.7, None), id="a later field behind the total"),
        pytest.param(b"some total=9223372036854775807\n", Pressure(LARGEST / 1e6, None), id="2**63-1"),
    ],
)
def test_pressure(text: bytes, pressure: Pressure) -> None:
    assert parse.pressure(text, FILE) == pressure


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"\n", FULL, SOME[:-1], SOME[:-4], SOME + FULL[:-1], SOME + b"full avg10=0.00\n", b"some\n"),
        *(b"some avg10=0.00 avg60=0.00 avg300=0.00\n", b"some total=\n", b"some total=-1\n", b"some total=1.5\n"),
        *(b"some total=18446744073709551616\n", b"some subtotal=5\n", b"\x00\xff\n"),
    ],
)
def test_pressure_without_its_totals_is_refused(text: bytes) -> None:
    refused(parse.pressure, text)


COUNTS = st.one_of(st.integers(0, 10**6), st.integers(10**17, 2**63 - 1))


words = st.text("abcdefghijklmnopqrstuvwxyz_.-0123456789", min_size=1).map(lambda word: b"later." + word.encode())


@settings(max_examples=60)
@given(
    numbers=st.lists(COUNTS, min_size=10, max_size=10),
    has=st.sets(st.sampled_from([b"nice", b"idle", b"cfs", b"burst"])),
    unknown=st.dictionaries(words, words | st.just(b"-1"), min_size=1),
    data=st.data(),
)
def test_lines_as_kernels_write_them_mean_the_same_in_any_order_among_any_others(
    numbers: list[int], has: set[bytes], unknown: dict[bytes, bytes], data: st.DataObject
) -> None:
    v2 = [b"usage_usec", b"user_usec", b"system_usec"]
    v2 += [b"nice_usec"] * (b"nice" in has) + [b"core_sched.force_idle_usec"] * (b"idle" in has)
    v2 += [b"nr_periods", b"nr_throttled", b"throttled_usec"] * (b"cfs" in has)
    v2 += [b"nr_bursts", b"burst_usec"] * ({b"cfs", b"burst"} <= has)
    v1 = [b"nr_periods", b"nr_throttled", b"throttled_time"] + [b"wait_sum"] * (b"idle" in has)
    v1 += [b"nr_bursts", b"burst_time"] * (b"burst" in has)
    for parser, keys in ((parse.cpu_stat_v2, v2), (parse.cpu_stat_v1, v1)):
        lines = [b"%b %d\n" % pair for pair in zip(keys, numbers, strict=False)]
        others = [b"%b %b\n" % pair for pair in unknown.items()]
        shuffled = data.draw(st.permutations([*lines, *others]))
        assert parser(b"".join(lines), FILE) == parser(b"".join(shuffled), FILE)


@given(st.integers(1, 512_000), st.sampled_from((1_000, 20_000, 100_000, 1_000_000)))
def test_a_limit_is_the_double_nearest_to_its_cores(millicores: int, period: int) -> None:
    limits = parse.limits(millicores * period // 1000, period, None)
    assert limits == CpuLimits("set", millicores / 1000, period / 1_000_000)


def test_no_quota_is_no_limit_and_another_fact_than_no_bandwidth_control() -> None:
    assert parse.limits(-1, 100_000, 0.0, weight=79) == CpuLimits("none", None, 0.1, 0.0, 79, None)
    assert parse.limits(None, None, None, shares=2) == CpuLimits("unsupported", shares=2)


fragments = st.sampled_from(
    (
        *(b" ", b"\n", b"\r", b"\t", b"\x00", b"\xff", b"-", b"max", b"=", b"some ", b"full ", b"total=", b","),
        *(b"nr_periods ", b"usage_usec ", b"throttled_time ", b"user ", b"0", b"7", b"18446744073709551615"),
        *(b"18446744073709551616", "٣".encode(), b"1_0", b"1.5"),
    )
)


@pytest.mark.parametrize("parser", PARSERS)
@settings(max_examples=50)
@given(data=st.binary() | st.lists(fragments, max_size=12).map(b"".join))
@example(b"nr_periods " + b"1" * 5000 + b"\n")
@example(b"1" * 5000 + b" 100000\n")
@example(b"some total=" + b"1" * 5000 + b"\n")
def test_any_bytes_are_a_value_or_our_error(parser: Parser, data: bytes) -> None:
    message = FILE
    try:
        parser(data, FILE)
    except ParseError as error:
        message = str(error)
    assert message.startswith(FILE)
    assert message.isascii()
    assert message.isprintable()
