"""Reads a cgroup v1 directory; each controller has a tree of its own.

Kernel ``Documentation/scheduler/sched-bwc.rst``, ``Documentation/admin-guide/cgroup-v1/{cpuacct,cpusets}.rst``.
"""

from __future__ import annotations

from exporter.cgroupfs import parse
from exporter.cgroupfs.files import (
    CachedFile,
    CgroupDirectory,
    ChangeProbe,
    ControllerPaths,
    Descriptors,
    OnError,
    read_once,
    read_optional,
    reraise,
)
from exporter.cpulist import cpu_list
from exporter.errors import ExporterError, VanishedError
from exporter.model import CgroupRef, CpuLimits, Cpuset, CpuStat, Pressure


class V1Files(CgroupDirectory):
    """One cgroup of the cpu controller, and the same cgroup in the cpuacct and cpuset trees."""

    __slots__ = ("_accounting", "_budget", "_joined", "_usage")

    def __init__(self, directory: str, ref: CgroupRef, paths: ControllerPaths, budget: Descriptors) -> None:
        stat = CachedFile(directory, "cpu.stat", parse.cpu_stat_v1, budget, required=True)
        local = CachedFile(directory, "cpu.stat.local", parse.cpu_stat_local, budget)
        super().__init__(directory, directory, ref, paths, stat, local)
        self._budget = budget
        self._joined: tuple[CpuStat | None, float | None, CpuStat | None] = (None, None, None)
        self._accounting: str | None = None
        self._usage: CachedFile[float] | None = None
        self._find_accounting()

    def _find_accounting(self) -> None:
        if self._accounting is None:
            self._accounting = path = self._paths.cpuacct_of(self._ref)
            if path is not None:
                self._usage = CachedFile(path, "cpuacct.usage", parse.nanoseconds, self._budget, required=True)

    def stat(self, on_error: OnError = reraise) -> CpuStat | None:
        """Read ``cpu.stat`` and ``cpuacct.usage``."""
        return self._join(self._stat.value(), on_error)

    def tick_stat(self, on_error: OnError = reraise) -> CpuStat | None:
        """Read ``cpu.stat``, and ``cpuacct.usage`` only when that changed: half the reads on an idle node."""
        stat = self._stat.value()
        return self._joined[2] if stat is not None and stat is self._joined[0] else self._join(stat, on_error)

    def _join(self, stat: CpuStat | None, on_error: OnError) -> CpuStat | None:
        try:
            usage = None if self._usage is None else self._usage.value()
        except VanishedError as error:
            if self._paths.is_mounted(error.args[0]):
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
        """Read ``cpuacct.stat``."""
        return read_optional(_read_modes, self._accounting, self._paths) or (None, None)

    def pressure(self) -> Pressure | None:
        """Return ``None``: v1 has no PSI of a cgroup."""
        return None

    def change_probe(self) -> ChangeProbe:
        """Read ``cpu.cfs_quota_us`` and ``cpuset.effective_cpus``."""
        self._find_accounting()
        cpus = read_optional(_read_effective_cpus, self._find_cpuset(), self._paths)
        return read_once(f"{self._directory}/cpu.cfs_quota_us"), cpus

    def limits(self) -> CpuLimits:
        """Read ``cpu.cfs_quota_us``, ``cpu.cfs_period_us``, ``cpu.cfs_burst_us``, ``cpu.shares``."""
        self._find_accounting()
        return read_limits(self._directory)

    def close(self) -> None:
        """Release the kept descriptors."""
        for file in (self._stat, self._local, self._usage):
            if file is not None:
                file.close()


def _read_modes(path: str) -> tuple[float | None, float | None]:
    data = read_once(f"{path}/cpuacct.stat")
    return (None, None) if data is None else parse.cpuacct_stat(data, f"{path}/cpuacct.stat")


def _read_effective_cpus(path: str) -> bytes | None:
    return read_once(f"{path}/cpuset.effective_cpus")


def read_limits(path: str) -> CpuLimits:
    """Read the limits of a directory of the cpu controller, a container's or one above the pods."""
    shares = read_once(f"{path}/cpu.shares")
    raw_shares = None if shares is None else parse.number(shares, f"{path}/cpu.shares")
    quota = read_once(f"{path}/cpu.cfs_quota_us")
    period = read_once(f"{path}/cpu.cfs_period_us")
    if quota is None or period is None:
        return CpuLimits("unsupported", shares=raw_shares)
    burst = read_once(f"{path}/cpu.cfs_burst_us")
    return parse.limits(
        parse.cfs_quota(quota, f"{path}/cpu.cfs_quota_us"),
        parse.cfs_period(period, f"{path}/cpu.cfs_period_us"),
        burst_seconds=None if burst is None else parse.microseconds(burst, f"{path}/cpu.cfs_burst_us"),
        shares=raw_shares,
    )


def read_cpuset(path: str) -> Cpuset | None:
    """Read the cpuset of a v1 directory; the configured lists stand in for effective ones before kernel 3.17."""
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
