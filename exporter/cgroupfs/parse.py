"""Text of the kernel's CPU files to numbers. Pure and total: each returns a value or raises ``ParseError``.

Fields arrive in any subset (kernel, configuration, backports): an absent key is ``None``, an unknown key is passed
over. All results are in seconds and cores. Formats: kernel ``Documentation/admin-guide/cgroup-v2.rst`` and
``Documentation/scheduler/sched-bwc.rst``.
"""

from __future__ import annotations

import re

from exporter.errors import ParseError
from exporter.model import CpuLimits, CpuStat, Pressure

LARGEST = 2**63 - 1
"""Beyond it a negative number was written as an unsigned one: a mistake of the kernel's, not six hundred years."""

_NS = 1_000_000_000
_US = 1_000_000
_USER_HZ = 100
"""``USER_HZ`` of every Linux architecture that runs Kubernetes; the unit of ``cpuacct.stat``."""


_N = rb" ([0-9]{1,18})\n"
"""A number below :data:`LARGEST`; longer ones are looked at one by one."""
_AS_WRITTEN_V1 = re.compile(
    rb"nr_periods%bnr_throttled%bthrottled_time%b(?:wait_sum%b)?(?:nr_bursts%bburst_time%b)?" % (6 * (_N,))
).fullmatch
_AS_WRITTEN_V2 = re.compile(
    rb"usage_usec%buser_usec%bsystem_usec%b(?:nice_usec%b)?(?:core_sched\.force_idle_usec%b)?"
    rb"(?:nr_periods%bnr_throttled%bthrottled_usec%b(?:nr_bursts%bburst_usec%b)?)?" % (10 * (_N,))
).fullmatch
"""``cpu.stat`` as kernels of today write it: one match reads and checks all of it, three times as fast as line by line;
any other text, with other keys or in another order, is read line by line."""


def _flat_keyed(data: bytes, path: str) -> dict[bytes, int]:
    """Return the known fields of ``KEY VALUE`` lines; the values of unknown ones are not looked at."""
    # The kernel ends each line; without the last newline the text was cut and its last number may be half a number.
    if not data.endswith(b"\n") or not data.strip():
        raise ParseError(path, data, "not lines of a key and a value" if data.strip() else "is empty")
    fields: dict[bytes, int] = {}
    for line in data.rstrip(b"\n").split(b"\n"):
        words = line.split()
        if len(words) != 2:
            raise ParseError(path, line, "not a key and a value")
        if words[0] in _KNOWN:
            fields[words[0]] = _u64(words[1], words[0], path)
    return fields


_KNOWN = frozenset(
    b"nr_periods nr_throttled throttled_time throttled_usec nr_bursts burst_time burst_usec wait_sum usage_usec "
    b"user_usec system_usec user system".split()
)


def _u64(value: bytes, key: bytes, path: str) -> int:
    if not value.isdigit() or len(value) > 20 or int(value) > LARGEST:
        raise ParseError(path, key + b" " + value, "not a number that a counter can have reached")
    return int(value)


def _per(value: int | None, unit: int) -> float | None:
    return None if value is None else value / unit


def cpu_stat_v2(data: bytes, path: str) -> CpuStat:
    """v2 ``cpu.stat``: microseconds; without the cpu controller it has no ``nr_*`` keys."""
    usual = _AS_WRITTEN_V2(data)
    if usual is not None:
        usage, user, system, _, _, periods, throttled, throttled_us, bursts, burst_us = usual.groups()
        return CpuStat(
            None if periods is None else int(periods),
            None if throttled is None else int(throttled),
            None if throttled_us is None else int(throttled_us) / _US,
            None if bursts is None else int(bursts),
            None if burst_us is None else int(burst_us) / _US,
            None,
            int(usage) / _US,
            int(user) / _US,
            int(system) / _US,
        )
    get = _flat_keyed(data, path).get
    return CpuStat(
        get(b"nr_periods"),
        get(b"nr_throttled"),
        _per(get(b"throttled_usec"), _US),
        get(b"nr_bursts"),
        _per(get(b"burst_usec"), _US),
        None,
        _per(get(b"usage_usec"), _US),
        _per(get(b"user_usec"), _US),
        _per(get(b"system_usec"), _US),
    )


def cpu_stat_v1(data: bytes, path: str) -> CpuStat:
    """v1 ``cpu.stat``: nanoseconds; usage is in the cpuacct controller's own files."""
    usual = _AS_WRITTEN_V1(data)
    if usual is not None:
        periods, throttled, throttled_ns, wait_ns, bursts, burst_ns = usual.groups()
        return CpuStat(
            int(periods),
            int(throttled),
            int(throttled_ns) / _NS,
            None if bursts is None else int(bursts),
            None if burst_ns is None else int(burst_ns) / _NS,
            None if wait_ns is None else int(wait_ns) / _NS,
        )
    get = _flat_keyed(data, path).get
    return CpuStat(
        get(b"nr_periods"),
        get(b"nr_throttled"),
        _per(get(b"throttled_time"), _NS),
        get(b"nr_bursts"),
        _per(get(b"burst_time"), _NS),
        _per(get(b"wait_sum"), _NS),
    )


def cpu_stat_local(data: bytes, path: str) -> float | None:
    """``cpu.stat.local`` (kernel 6.6+): seconds for which its own or an ancestor's quota stopped the group."""
    fields = _flat_keyed(data, path)
    if b"throttled_usec" in fields:
        return fields[b"throttled_usec"] / _US
    return _per(fields.get(b"throttled_time"), _NS)


def cpuacct_stat(data: bytes, path: str) -> tuple[float | None, float | None]:
    """v1 ``cpuacct.stat``: user and system seconds, at the grain of a clock tick (10 ms)."""
    get = _flat_keyed(data, path).get
    return _per(get(b"user"), _USER_HZ), _per(get(b"system"), _USER_HZ)


def number(data: bytes, path: str) -> int:
    """A file of one unsigned number: ``cpuacct.usage``, ``cpu.shares``, ``cpu.weight``, ``cpu.max.burst``, ..."""
    return _u64(_line(data, path), b"", path)


def _line(data: bytes, path: str) -> bytes:
    """The text of a file of one line; without its newline it was cut, perhaps in the middle of a number."""
    line = data.strip()
    if not data.endswith(b"\n"):
        raise ParseError(path, data, "cut off before the end of the line" if line else "is empty")
    return line


def nanoseconds(data: bytes, path: str) -> float:
    """A file of one number of nanoseconds, in seconds."""
    return number(data, path) / _NS


def microseconds(data: bytes, path: str) -> float:
    """A file of one number of microseconds, in seconds."""
    return number(data, path) / _US


def cpu_max(data: bytes, path: str) -> tuple[int | None, int]:
    """v2 ``cpu.max``: quota (``None`` for ``max``) and period, in microseconds."""
    words = _line(data, path).split()
    if len(words) != 2:
        raise ParseError(path, data, "not a quota and a period")
    quota, period = words
    return (None if quota == b"max" else _above_zero(quota, path)), _above_zero(period, path)


def cfs_quota(data: bytes, path: str) -> int | None:
    """v1 ``cpu.cfs_quota_us`` in microseconds; ``None`` for -1, no quota."""
    line = _line(data, path)
    return None if line == b"-1" else _above_zero(line, path)


def cfs_period(data: bytes, path: str) -> int:
    """v1 ``cpu.cfs_period_us`` in microseconds."""
    return _above_zero(_line(data, path), path)


def _above_zero(word: bytes, path: str) -> int:
    value = _u64(word, b"", path)
    if not value:
        raise ParseError(path, word, "a quota or period of zero")
    return value


def limits(
    quota: int | None, period: int, *, burst_seconds: float | None, weight: int | None = None, shares: int | None = None
) -> CpuLimits:
    """The limits of a cgroup with CFS bandwidth control; quota and period in microseconds.

    Divided as whole numbers: a tenth of a CPU is 0.1, not 0.09999999999999999.
    """
    return CpuLimits(
        quota_state="none" if quota is None else "set",
        limit_cores=None if quota is None else quota / period,
        period_seconds=period / _US,
        burst_seconds=burst_seconds,
        weight=weight,
        shares=shares,
    )


def pressure(data: bytes, path: str) -> Pressure:
    """``cpu.pressure``: the totals of its ``some`` and ``full`` lines (kernel ``Documentation/accounting/psi.rst``)."""
    totals: dict[bytes, float] = {}
    for line in data.splitlines():
        words = line.split()
        # A kind of line or a field that a later kernel adds is none of ours, nor an error.
        if words and words[0] in {b"some", b"full"}:
            total = next((word for word in words if word.startswith(b"total=")), None)
            if total is None:
                raise ParseError(path, line, "no total on the line")
            totals[words[0]] = _u64(total.removeprefix(b"total="), b"total", path) / _US
    if b"some" not in totals or not data.endswith(b"\n"):
        raise ParseError(path, data, "no complete 'some' line")
    return Pressure(totals[b"some"], totals.get(b"full"))
