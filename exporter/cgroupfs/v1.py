"""cgroup v1: which file holds which fact, each controller in a tree of its own.

Kernel ``Documentation/scheduler/sched-bwc.rst``, ``Documentation/admin-guide/cgroup-v1/{cpuacct,cpusets}.rst``.
"""

from __future__ import annotations

from exporter.cgroupfs import parse
from exporter.cgroupfs.files import Descriptors, count_lines, read_once
from exporter.cgroupfs.group import Hinge, OnError, Trees, elsewhere, raise_it
from exporter.cgroupfs.parsed import ParsedFile
from exporter.cpulist import cpu_list
from exporter.errors import ExporterError, VanishedError
from exporter.model import CgroupRef, CpuLimits, Cpuset, CpuStat, Pressure


class V1Files:
    """One cgroup as the cpu controller has it, and the same one in the cpuacct and cpuset trees where it is there.

    A runtime makes one directory after the other: where one is not there yet, each reading of the limits, or of the
    cpuset, looks for it.
    """

    __slots__ = (
        "_accounting",
        "_budget",
        "_cpu",
        "_cpuset_path",
        "_joined",
        "_local",
        "_ref",
        "_stat",
        "_trees",
        "_usage",
    )

    def __init__(self, cpu: str, ref: CgroupRef, trees: Trees, budget: Descriptors) -> None:
        """``cpu`` is its directory in the cpu tree."""
        self._cpu, self._ref, self._trees, self._budget = cpu, ref, trees, budget
        self._cpuset_path = trees.cpuset_of(ref, leaf=False)
        self._stat = ParsedFile(cpu, "cpu.stat", parse.cpu_stat_v1, budget, lasting=True)
        self._local = ParsedFile(cpu, "cpu.stat.local", parse.cpu_stat_local, budget)
        self._joined: tuple[CpuStat | None, float | None, CpuStat | None] = (None, None, None)
        self._accounting: str | None = None
        self._usage: ParsedFile[float] | None = None
        self._account()

    def _account(self) -> None:
        self._accounting = path = self._trees.cpuacct_of(self._ref)
        if path is not None:
            self._usage = ParsedFile(path, "cpuacct.usage", parse.nanoseconds, self._budget, lasting=True)

    def stat(self, on_error: OnError = raise_it) -> CpuStat | None:
        """``cpu.stat`` and ``cpuacct.usage``."""
        return self._join(self._stat.value(), on_error)

    def tick_stat(self, on_error: OnError = raise_it) -> CpuStat | None:
        """``cpu.stat``, and ``cpuacct.usage`` when that has changed: half the reads of an idle node."""
        stat = self._stat.value()
        return self._joined[2] if stat is not None and stat is self._joined[0] else self._join(stat, on_error)

    def _join(self, stat: CpuStat | None, on_error: OnError) -> CpuStat | None:
        try:
            usage = None if self._usage is None else self._usage.value()
        except VanishedError as error:
            if self._trees.is_mounted(error.args[0]):
                raise
            usage = None
        except ExporterError as error:
            on_error(error)
            usage = None
        if stat is not self._joined[0] or usage is not self._joined[1]:
            joined = stat if usage is None else CpuStat(*(stat or CpuStat())[:6], usage)
            self._joined = (stat, usage, joined)
        return self._joined[2]

    def modes(self) -> tuple[float | None, float | None]:
        """``cpuacct.stat``."""
        return elsewhere(_read_modes, self._accounting, self._trees) or (None, None)

    def local_throttled_seconds(self) -> float | None:
        """``cpu.stat.local``."""
        return self._local.value()

    def pressure(self) -> Pressure | None:
        """v1 has no PSI of a cgroup."""
        return None

    def hinge(self) -> Hinge:
        """``cpu.cfs_quota_us`` and ``cpuset.effective_cpus``."""
        if self._accounting is None:
            self._account()
        if self._cpuset_path is None:
            self._cpuset_path = self._trees.cpuset_of(self._ref, leaf=False)
        return (
            read_once(f"{self._cpu}/cpu.cfs_quota_us"),
            elsewhere(_read_effective_cpus, self._cpuset_path, self._trees),
        )

    def limits(self) -> CpuLimits:
        """``cpu.cfs_quota_us``, ``cpu.cfs_period_us``, ``cpu.cfs_burst_us``, ``cpu.shares``."""
        if self._accounting is None:
            self._account()
        return read_limits(self._cpu)

    def cpuset(self) -> Cpuset | None:
        """``cpuset.effective_cpus`` and its companion."""
        if self._cpuset_path is None:
            self._cpuset_path = self._trees.cpuset_of(self._ref, leaf=False)
        return elsewhere(self._trees.read_cpuset, self._cpuset_path, self._trees)

    def threads(self) -> int | None:
        """``tasks``."""
        return count_lines(f"{self._cpu}/tasks")

    def close(self) -> None:
        """Give the kept descriptors back."""
        for parsed in (self._stat, self._local, self._usage):
            if parsed is not None:
                parsed.close()


def _read_modes(path: str) -> tuple[float | None, float | None]:
    data = read_once(f"{path}/cpuacct.stat")
    return (None, None) if data is None else parse.cpuacct_stat(data, f"{path}/cpuacct.stat")


def _read_effective_cpus(path: str) -> bytes | None:
    return read_once(f"{path}/cpuset.effective_cpus")


def read_limits(path: str) -> CpuLimits:
    """The limits of one directory of the cpu controller; also of the ancestors of a pod."""
    shares = read_once(f"{path}/cpu.shares")
    raw_shares = None if shares is None else parse.number(shares, f"{path}/cpu.shares")
    quota_text = read_once(f"{path}/cpu.cfs_quota_us")
    period_text = read_once(f"{path}/cpu.cfs_period_us")
    if quota_text is None or period_text is None:
        return CpuLimits("unsupported", shares=raw_shares)
    burst = read_once(f"{path}/cpu.cfs_burst_us")
    return parse.limits(
        parse.cfs_quota(quota_text, f"{path}/cpu.cfs_quota_us"),
        parse.cfs_period(period_text, f"{path}/cpu.cfs_period_us"),
        burst_seconds=None if burst is None else parse.microseconds(burst, f"{path}/cpu.cfs_burst_us"),
        shares=raw_shares,
    )


def read_cpuset(path: str) -> Cpuset | None:
    """The cpuset of a v1 directory. Kernels before 3.17 have no effective files; the configured ones hold there."""
    lists = []
    for effective, configured in (("effective_cpus", "cpus"), ("effective_mems", "mems")):
        for name in (effective, configured):
            data = read_once(f"{path}/cpuset.{name}")
            if data is not None:
                lists.append(cpu_list(data, f"{path}/cpuset.{name}"))
                break
        else:
            return None
    return Cpuset(cpus=lists[0], mems=lists[1], partition="")
