"""Texts of the kernel's files, real ones first, then everything they must never be."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.cgroupfs import parse
from exporter.cpulist import cpu_list
from exporter.errors import ParseError
from exporter.model import CpuLimits, CpuStat, Pressure

FILE = "/sys/fs/cgroup/kubepods/cpu.stat"
LARGEST = 2**63 - 1

Parser = Callable[[bytes, str], object]
PARSERS: tuple[Parser, ...] = (
    parse.cpu_stat_v1,
    parse.cpu_stat_v2,
    parse.cpu_stat_local,
    parse.cpuacct_stat,
    parse.number,
    parse.nanoseconds,
    parse.microseconds,
    parse.cfs_period,
    parse.cfs_quota,
    parse.cpu_max,
    parse.pressure,
    cpu_list,
)
FLAT = (parse.cpu_stat_v1, parse.cpu_stat_v2, parse.cpu_stat_local, parse.cpuacct_stat)
NUMBERS = (parse.number, parse.nanoseconds, parse.microseconds, parse.cfs_period, parse.cfs_quota)


def refused(parser: Parser, data: bytes) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parser(data, FILE)
    error = caught.value
    assert error.path == FILE
    assert error.stage == "parse"
    assert error.reason == "malformed"
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
        pytest.param(
            b"nr_periods 1\nrun_delay_usec 12\nnr_throttled 1\n",
            CpuStat(1, 1),
            id="a key of a later kernel",
        ),
        pytest.param(b"some_state idle\nnr_periods 4\nsigned -3\n", CpuStat(4), id="later keys that are no numbers"),
        pytest.param(b"nr_periods 4\nbig 18446744073709551616\n", CpuStat(4), id="a later key above 64 bits"),
        pytest.param(b"nr_periods 4\nhuge " + b"9" * 5000 + b"\n", CpuStat(4), id="a later key of 5000 digits"),
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
        pytest.param(b"throttled_time 9223372036854775807\n", CpuStat(None, None, LARGEST / 1e9), id="2**63-1 ns"),
        pytest.param(b"throttled_usec 5\nusage_usec 6\n", CpuStat(), id="keys of v2 say nothing here"),
    ],
)
def test_v1_cpu_stat(text: bytes, stat: CpuStat) -> None:
    assert parse.cpu_stat_v1(text, FILE) == stat


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"throttled_usec 2600000\n", 2.6),
        (b"throttled_time 2600000000\n", 2.6),
        (b"throttled_usec 0\n", 0.0),
        (b"something_new 5\n", None),
        (b"something_new 5\nthrottled_usec 1000000\n", 1.0),
    ],
)
def test_cpu_stat_local(text: bytes, seconds: float | None) -> None:
    assert parse.cpu_stat_local(text, FILE) == seconds


@pytest.mark.parametrize(
    ("text", "modes"),
    [
        (b"user 12345\nsystem 678\n", (123.45, 6.78)),
        (b"system 1\n", (None, 0.01)),
        (b"user 1\n", (0.01, None)),
        (b"nice 1\n", (None, None)),
    ],
)
def test_cpuacct_stat(text: bytes, modes: tuple[float | None, float | None]) -> None:
    assert parse.cpuacct_stat(text, FILE) == modes


@pytest.mark.parametrize("parser", FLAT)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n", id="an empty line"),
        pytest.param(b"\n\n\n", id="empty lines"),
        pytest.param(b"nr_periods 12", id="cut before the newline"),
        pytest.param(b"nr_periods 12\nnr_throt", id="cut in a key"),
        pytest.param(b"nr_periods 12\nnr_throttled 1", id="cut in a number"),
        pytest.param(b"nr_periods 12\nnr_throttled\n", id="a key without a value"),
        pytest.param(b"12\n", id="a number alone"),
        pytest.param(b"nr_periods 1 2\n", id="two values"),
        pytest.param(b"nr_periods 1 2\nfoo\n", id="two values and a key"),
        pytest.param(b"nr_periods\n1 nr_throttled\n2 x\ny\n", id="lines broken in the wrong places"),
        pytest.param(b"a\nnr_periods 6 7\n", id="shifted by a word"),
        pytest.param(b"\x7fELF\x02\x01\x01\x00\x00\n", id="binary"),
        pytest.param(b"\xff\xfe\n\xff\n", id="no text in any encoding"),
        pytest.param(b"\x00" * 4096, id="NULs"),
        pytest.param(b"\x00" * 4096 + b"\n", id="NULs on a line"),
        pytest.param(b"<html>\n<body>The page was not found.</body>\n</html>\n", id="HTML"),
    ],
)
def test_text_that_is_no_keys_and_values_is_refused(parser: Parser, text: bytes) -> None:
    refused(parser, text)


KNOWN_KEYS = {
    parse.cpu_stat_v1: b"nr_periods nr_throttled throttled_time nr_bursts burst_time wait_sum",
    parse.cpu_stat_v2: b"nr_periods nr_throttled throttled_usec nr_bursts burst_usec usage_usec user_usec system_usec",
    parse.cpu_stat_local: b"throttled_usec throttled_time",
    parse.cpuacct_stat: b"user system",
}
NO_COUNTERS = (
    b"-1",
    b"+1",
    b"1.5",
    b"1e3",
    b"0x10",
    b"1_000",
    b"nan",
    b"inf",
    b"max",
    b"ten",
    b"1\x00",
    "١٢".encode(),
    "²".encode(),
    b"18446744073709551616",
    b"9" * 5000,
)


@pytest.mark.parametrize("value", NO_COUNTERS, ids=lambda value: ascii(value[:24]))
def test_a_value_that_is_no_unsigned_64_bit_number_is_refused_by_its_key(value: bytes) -> None:
    for parser, keys in KNOWN_KEYS.items():
        for key in keys.split():
            error = refused(parser, b"other 1\n" + key + b" " + value + b"\n")
            assert key.decode() in str(error)


@pytest.mark.parametrize("value", NO_COUNTERS, ids=lambda value: ascii(value[:24]))
@pytest.mark.parametrize("parser", NUMBERS)
def test_a_file_of_one_number_refuses_what_is_none(parser: Parser, value: bytes) -> None:
    if (parser, value) != (parse.cfs_quota, b"-1"):
        refused(parser, value + b"\n")


@pytest.mark.parametrize("text", [b"", b"\n", b" \n", b"5", b"5 6\n", b"5\n6\n", b"\x00\n", b"\xff\xff\n"])
@pytest.mark.parametrize("parser", NUMBERS)
def test_a_file_of_one_number_refuses_less_and_more(parser: Parser, text: bytes) -> None:
    refused(parser, text)


def test_units_of_files_of_one_number() -> None:
    assert parse.number(b"79\n", FILE) == 79
    assert parse.number(b"0\n", FILE) == 0
    assert parse.number(b"9223372036854775807\n", FILE) == LARGEST
    assert parse.nanoseconds(b"1500000000\n", FILE) == 1.5
    assert parse.microseconds(b"20000\n", FILE) == 0.02
    assert parse.microseconds(b"0\n", FILE) == 0.0
    assert parse.cfs_period(b"100000\n", FILE) == 100_000


@pytest.mark.parametrize(
    ("text", "quota"), [(b"-1\n", -1), (b"1000\n", 1000), (b"50000\n", 50_000), (b"6400000\n", 6_400_000)]
)
def test_v1_quota_in_microseconds(text: bytes, quota: int) -> None:
    assert parse.cfs_quota(text, FILE) == quota


@pytest.mark.parametrize("text", [b"0\n", b"-2\n", b"-50000\n", b"max\n", b"-\n", b"- 1\n", b"-1"])
def test_v1_quota_that_the_kernel_never_writes_is_refused(text: bytes) -> None:
    refused(parse.cfs_quota, text)


def test_a_period_of_zero_is_refused_since_limits_are_divided_by_it() -> None:
    refused(parse.cfs_period, b"0\n")


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (b"max 100000\n", (-1, 100_000)),
        (b"50000 100000\n", (50_000, 100_000)),
        (b"max 20000\n", (-1, 20_000)),
        (b"1000 1000\n", (1000, 1000)),
        (b"1200000 100000\n", (1_200_000, 100_000)),
    ],
)
def test_v2_cpu_max_in_microseconds(text: bytes, limit: tuple[int, int]) -> None:
    assert parse.cpu_max(text, FILE) == limit


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"max\n",
        b"100000\n",
        b"0 100000\n",
        b"50000 0\n",
        b"max 0\n",
        b"max max\n",
        b"Max 100000\n",
        b"-1 100000\n",
        b"50000 100000 5\n",
        b"50000 100000 max\n",
        b"50000 -100000\n",
        b"5e4 100000\n",
        b"50000.0 100000\n",
        b"18446744073709551616 100000\n",
        b"\x00 \x00\n",
    ],
)
def test_v2_cpu_max_of_anything_else_is_refused(text: bytes) -> None:
    refused(parse.cpu_max, text)


def test_a_cut_cpu_max_is_not_a_limit_ten_times_as_high() -> None:
    whole = b"50000 100000\n"
    for end in range(len(whole)):
        refused(parse.cpu_max, whole[:end])


SOME = b"some avg10=1.00 avg60=2.00 avg300=3.00 total=12700000\n"
FULL = b"full avg10=0.00 avg60=0.00 avg300=0.00 total=800001\n"


@pytest.mark.parametrize(
    ("text", "pressure"),
    [
        pytest.param(SOME + FULL, Pressure(12.7, 0.800001), id="linux 5.13 and later"),
        pytest.param(SOME, Pressure(12.7, None), id="before: no full line for CPU"),
        pytest.param(FULL + SOME, Pressure(12.7, 0.800001), id="in another order"),
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
        b"",
        b"\n",
        FULL,
        SOME[:-1],
        SOME[:-4],
        SOME + FULL[:-1],
        SOME + b"full avg10=0.00\n",
        b"some avg10=0.00 avg60=0.00 avg300=0.00\n",
        b"some\n",
        b"some total\n",
        b"some total=\n",
        b"some total=-1\n",
        b"some total=1.5\n",
        b"some total=18446744073709551616\n",
        b"some subtotal=5\n",
        b"\x00\xff\n",
    ],
)
def test_pressure_without_its_totals_is_refused(text: bytes) -> None:
    refused(parse.pressure, text)


V2_FIELDS = {
    b"nr_periods": (0, 1),
    b"nr_throttled": (1, 1),
    b"throttled_usec": (2, 1_000_000),
    b"nr_bursts": (3, 1),
    b"burst_usec": (4, 1_000_000),
    b"usage_usec": (6, 1_000_000),
    b"user_usec": (7, 1_000_000),
    b"system_usec": (8, 1_000_000),
}
V1_FIELDS = {
    b"nr_periods": (0, 1),
    b"nr_throttled": (1, 1),
    b"throttled_time": (2, 1_000_000_000),
    b"nr_bursts": (3, 1),
    b"burst_time": (4, 1_000_000_000),
    b"wait_sum": (5, 1_000_000_000),
}
KNOWN = {*V2_FIELDS, *V1_FIELDS, b"user", b"system"}
u64 = st.integers(0, LARGEST)
words = st.text("abcdefghijklmnopqrstuvwxyz_.-0123456789", min_size=1).map(str.encode)


@pytest.mark.parametrize(
    ("parser", "fields"), [(parse.cpu_stat_v2, V2_FIELDS), (parse.cpu_stat_v1, V1_FIELDS)], ids=["v2", "v1"]
)
@given(data=st.data())
def test_any_subset_of_known_keys_in_any_order_among_any_others_is_read(
    parser: Callable[[bytes, str], CpuStat], fields: dict[bytes, tuple[int, int]], data: st.DataObject
) -> None:
    known = data.draw(st.dictionaries(st.sampled_from(sorted(fields)), u64, min_size=1))
    unknown = data.draw(st.dictionaries(words.filter(lambda word: word not in KNOWN), words | st.just(b"-1")))
    lines = [b"%s %d\n" % line for line in known.items()] + [b"%s %s\n" % line for line in unknown.items()]
    stat = parser(b"".join(data.draw(st.permutations(lines))), FILE)
    assert dict(enumerate(stat)) == dict.fromkeys(range(9)) | {
        fields[key][0]: value if fields[key][1] == 1 else value / fields[key][1] for key, value in known.items()
    }


@given(st.none() | st.integers(1, LARGEST), st.integers(1, LARGEST))
def test_any_quota_and_period_is_read(quota: int | None, period: int) -> None:
    text = f"{'max' if quota is None else quota} {period}\n".encode()
    assert parse.cpu_max(text, FILE) == (-1 if quota is None else quota, period)


@given(st.integers(1, 512_000), st.sampled_from((1_000, 20_000, 100_000, 1_000_000)))
def test_a_limit_is_the_double_nearest_to_its_cores(millicores: int, period: int) -> None:
    limits = parse.limits(millicores * period // 1000, period, None)
    assert limits.quota_state == "set"
    assert limits.limit_cores == millicores / 1000
    assert limits.period_seconds == period / 1_000_000


def test_no_quota_is_no_limit() -> None:
    limits = parse.limits(-1, 100_000, 0.0, weight=79)
    assert limits == CpuLimits("none", None, 0.1, 0.0, 79, None)


fragments = st.sampled_from(
    (
        *(b" ", b"\n", b"\r", b"\t", b"\x00", b"\xff", b"-", b"max", b"=", b"some ", b"full ", b"total=", b","),
        *(b"nr_periods ", b"usage_usec ", b"throttled_time ", b"user ", b"0", b"7", b"18446744073709551615"),
        *(b"18446744073709551616", "٣".encode(), b"1_0", b"1.5"),
    )
)


@pytest.mark.parametrize("parser", PARSERS)
@given(data=st.binary() | st.lists(fragments, max_size=12).map(b"".join))
@example(b"nr_periods " + b"1" * 5000 + b"\n")
@example(b"1" * 5000 + b"\n")
@example(b"some total=" + b"1" * 5000 + b"\n")
@example(b"1" * 5000 + b" 100000\n")
def test_any_bytes_are_a_value_or_our_error(parser: Parser, data: bytes) -> None:
    message = FILE
    try:
        parser(data, FILE)
    except ParseError as error:
        message = str(error)
    assert message.startswith(FILE)
    assert message.isascii()
    assert message.isprintable()


COUNTS = st.one_of(st.integers(0, 10**6), st.integers(10**17, 2**63 - 1))


@given(st.lists(COUNTS, min_size=10, max_size=10), st.sets(st.sampled_from([b"nice", b"idle", b"cfs", b"burst"])))
def test_a_text_as_kernels_write_it_means_what_it_means_line_by_line(numbers: list[int], has: set[bytes]) -> None:
    keys = [b"usage_usec", b"user_usec", b"system_usec"]
    keys += [b"nice_usec"] * (b"nice" in has) + [b"core_sched.force_idle_usec"] * (b"idle" in has)
    keys += [b"nr_periods", b"nr_throttled", b"throttled_usec"] * (b"cfs" in has)
    keys += [b"nr_bursts", b"burst_usec"] * ({b"cfs", b"burst"} <= has)
    text = b"".join(b"%b %d\n" % pair for pair in zip(keys, numbers, strict=False))
    assert parse.cpu_stat_v2(text, FILE) == parse.cpu_stat_v2(b"a_later_key 1\n" + text, FILE)

    keys = [b"nr_periods", b"nr_throttled", b"throttled_time"] + [b"wait_sum"] * (b"idle" in has)
    keys += [b"nr_bursts", b"burst_time"] * (b"burst" in has)
    text = b"".join(b"%b %d\n" % pair for pair in zip(keys, numbers, strict=False))
    assert parse.cpu_stat_v1(text, FILE) == parse.cpu_stat_v1(b"a_later_key 1\n" + text, FILE)
