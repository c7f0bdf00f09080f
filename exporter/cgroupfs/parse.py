"""Text of the kernel's CPU files to numbers. Pure and total: each returns a value or raises ``ParseError``.

Fields arrive in any subset (kernel, configuration, backports): an absent key is ``None``, an unknown key is passed
over. All results are in seconds and cores. Formats: kernel ``Documentation/admin-guide/cgroup-v2.rst`` and
``Documentation/scheduler/sched-bwc.rst``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from exporter.errors import ParseError
from exporter.model import CpuLimits, CpuStat, Pressure

LARGEST = 2**63 - 1
"""Beyond it a negative number was written as an unsigned one: a mistake of the kernel's, not six hundred years."""

_NS = 1_000_000_000
_US = 1_000_000
_USER_HZ = 100  # USER_HZ of every Linux architecture that runs Kubernetes; the unit of cpuacct.stat

_KEYS_V1 = b"nr_periods nr_throttled throttled_time wait_sum nr_bursts burst_time".split()
_KEYS_V2 = b"usage_usec user_usec system_usec nr_periods nr_throttled throttled_usec nr_bursts burst_usec".split()
_N = rb" ([0-9]{1,18})\n"  # a number below LARGEST; longer ones are looked at one by one
_AS_WRITTEN_V1 = re.compile(rb"%b%b%b(?:%b)?(?:%b%b)?" % tuple(key + _N for key in _KEYS_V1)).fullmatch
_AS_WRITTEN_V2 = re.compile(
    rb"%b%b%b(?:nice_usec [0-9]+\n)?(?:core_sched\.force_idle_usec [0-9]+\n)?(?:%b%b%b(?:%b%b)?)?"
    % tuple(key + _N for key in _KEYS_V2)
).fullmatch
_AS_WRITTEN_LOCAL = re.compile(rb"throttled_usec%b|throttled_time%b" % (_N, _N)).fullmatch
"""``cpu.stat`` and ``cpu.stat.local`` as kernels of today write them: one match reads and checks all of it, three times
as fast as line by line; any other text, with other keys or in another order, is read line by line."""
_PRESSURE = re.compile(rb"^(some|full)\b(?:.* total=(\S*))?", re.MULTILINE).findall


def _flat_keyed(data: bytes, path: str, keys: Iterable[bytes]) -> tuple[bytes | None, ...]:
    """Return the numbers of ``keys`` in ``KEY VALUE`` lines; the values of other keys are not looked at."""
    # The kernel ends each line; without the last newline the text was cut and its last number may be half a number.
    if not data.endswith(b"\n") or not data.strip():
        raise ParseError(path, data, "not lines of a key and a value" if data.strip() else "is empty")
    fields: dict[bytes, bytes | None] = dict.fromkeys(keys)
    for line in data.rstrip(b"\n").split(b"\n"):
        words = line.split()
        if len(words) != 2:
            raise ParseError(path, line, "not a key and a value")
        if words[0] in fields:
            _u64(words[1], path, words[0])
            fields[words[0]] = words[1]
    return tuple(fields.values())


def _u64(value: bytes, path: str, key: bytes = b"", *, least: int = 0) -> int:
    if not value.isdigit() or len(value) > 20 or not least <= int(value) <= LARGEST:
        raise ParseError(path, key + b" " + value, f"not a number of {least} to 2^63-1")
    return int(value)


def _per(value: bytes | None, unit: int) -> float | None:
    return None if value is None else int(value) / unit


def cpu_stat_v2(data: bytes, path: str) -> CpuStat:
    """v2 ``cpu.stat``: microseconds; without the cpu controller it has no ``nr_*`` keys."""
    usual = _AS_WRITTEN_V2(data)
    values = usual.groups() if usual is not None else _flat_keyed(data, path, _KEYS_V2)
    usage, user, system, periods, throttled, throttled_us, bursts, burst_us = values
    return CpuStat(
        None if periods is None else int(periods),
        None if throttled is None else int(throttled),
        None if throttled_us is None else int(throttled_us) / _US,
        None if bursts is None else int(bursts),
        None if burst_us is None else int(burst_us) / _US,
        None,
        None if usage is None else int(usage) / _US,
        None if user is None else int(user) / _US,
        None if system is None else int(system) / _US,
    )


def cpu_stat_v1(data: bytes, path: str) -> CpuStat:
    """v1 ``cpu.stat``: nanoseconds; usage is in the cpuacct controller's own files."""
    usual = _AS_WRITTEN_V1(data)
    values = usual.groups() if usual is not None else _flat_keyed(data, path, _KEYS_V1)
    periods, throttled, throttled_ns, wait_ns, bursts, burst_ns = values
    # Half of the time that the class takes when it is called.
    return tuple.__new__(
        CpuStat,
        (
            None if periods is None else int(periods),
            None if throttled is None else int(throttled),
            None if throttled_ns is None else int(throttled_ns) / _NS,
            None if bursts is None else int(bursts),
            None if burst_ns is None else int(burst_ns) / _NS,
            None if wait_ns is None else int(wait_ns) / _NS,
            None,
            None,
            None,
        ),
    )


def cpu_stat_local(data: bytes, path: str) -> float | None:
    """``cpu.stat.local`` (kernel 6.6+): seconds for which its own or an ancestor's quota stopped the group."""
    usual = _AS_WRITTEN_LOCAL(data)
    values = usual.groups() if usual is not None else _flat_keyed(data, path, (b"throttled_usec", b"throttled_time"))
    microseconds, nanoseconds = values
    return _per(nanoseconds, _NS) if microseconds is None else _per(microseconds, _US)


def cpuacct_stat(data: bytes, path: str) -> tuple[float | None, float | None]:
    """v1 ``cpuacct.stat``: user and system seconds, at the grain of a clock tick (10 ms)."""
    user, system = _flat_keyed(data, path, (b"user", b"system"))
    return _per(user, _USER_HZ), _per(system, _USER_HZ)


def _line(data: bytes, path: str) -> bytes:
    """The text of a file of one line; without its newline it was cut, perhaps in the middle of a number."""
    line = data.strip()
    if not data.endswith(b"\n"):
        raise ParseError(path, data, "cut off before the end of the line" if line else "is empty")
    return line


def number(data: bytes, path: str) -> int:
    """A file of one unsigned number: ``cpu.shares``, ``cpu.weight``, ``pids.current``."""
    return _u64(_line(data, path), path)


def nanoseconds(data: bytes, path: str) -> float:
    """A file of one number of nanoseconds, in seconds: ``cpuacct.usage``."""
    # Parsed a thousand times a tick: the usual text is checked in one line.
    is_usual = len(data) <= 19 and data[-1:] == b"\n" and data[:-1].isdigit()
    return (int(data) if is_usual else number(data, path)) / _NS


def microseconds(data: bytes, path: str) -> float:
    """A file of one number of microseconds, in seconds: ``cpu.max.burst``, ``cpu.cfs_burst_us``."""
    return number(data, path) / _US


def cpu_max(data: bytes, path: str) -> tuple[int, int]:
    """v2 ``cpu.max``: quota (-1 for ``max``) and period, in microseconds."""
    words = _line(data, path).split()
    if len(words) != 2:
        raise ParseError(path, data, "not a quota and a period")
    quota, period = words
    return (-1 if quota == b"max" else _u64(quota, path, least=1)), _u64(period, path, least=1)


def cfs_quota(data: bytes, path: str) -> int:
    """v1 ``cpu.cfs_quota_us`` in microseconds; -1 for no quota."""
    line = _line(data, path)
    return -1 if line == b"-1" else _u64(line, path, least=1)


def cfs_period(data: bytes, path: str) -> int:
    """v1 ``cpu.cfs_period_us`` in microseconds."""
    return _u64(_line(data, path), path, least=1)


def limits(
    quota: int | None,
    period: int | None,
    burst_seconds: float | None,
    *,
    weight: int | None = None,
    shares: int | None = None,
) -> CpuLimits:
    """The limits of a cgroup; quota (-1 for none) and period in microseconds, ``None`` without bandwidth control.

    Divided as whole numbers: a tenth of a CPU is 0.1, not 0.09999999999999999.
    """
    if quota is None or period is None:
        return CpuLimits("unsupported", weight=weight, shares=shares)
    if quota < 0:
        return CpuLimits("none", None, period / _US, burst_seconds, weight, shares)
    return CpuLimits("set", quota / period, period / _US, burst_seconds, weight, shares)


def pressure(data: bytes, path: str) -> Pressure:
    """``cpu.pressure``: the totals of its ``some`` and ``full`` lines (kernel ``Documentation/accounting/psi.rst``)."""
    # A kind of line or a field that a later kernel adds is none of ours, nor an error.
    totals = {kind: _u64(total, path, kind + b" total") / _US for kind, total in _PRESSURE(data)}
    if b"some" not in totals or not data.endswith(b"\n"):
        raise ParseError(path, data, "no complete 'some' line")
    return Pressure(totals[b"some"], totals.get(b"full"))
