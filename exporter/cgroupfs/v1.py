"""cgroup v1: which file holds which fact, each controller in a tree of its own.

Kernel ``Documentation/scheduler/sched-bwc.rst``, ``Documentation/admin-guide/cgroup-v1/{cpuacct,cpusets}.rst``.
"""

from __future__ import annotations

from exporter.cgroupfs import parse
from exporter.cgroupfs.files import Descriptors, KernelFile, count_lines, read_once
from exporter.cgroupfs.v2 import read_cpuset as read_cpuset_v2
from exporter.cpulist import cpu_list
from exporter.readings import CpuLimits, Cpuset, CpuStat, Pressure


class V1Files:
    """One cgroup as the cpu controller has it, and the same one in the cpuacct and cpuset trees where it is there."""

    __slots__ = (
        "_accounting",
        "_cpu",
        "_cpuset_is_v2",
        "_cpuset_path",
        "_last",
        "_local",
        "_stat",
        "_statistics",
        "_usage",
    )

    def __init__(
        self, cpu: str, cpuacct: str | None, cpuset: str | None, budget: Descriptors, *, cpuset_is_v2: bool = False
    ) -> None:
        self._cpu, self._accounting, self._cpuset_path, self._cpuset_is_v2 = cpu, cpuacct, cpuset, cpuset_is_v2
        self._stat = KernelFile(f"{cpu}/cpu.stat", budget)
        self._local = KernelFile(f"{cpu}/cpu.stat.local", budget)
        self._usage = None if cpuacct is None else KernelFile(f"{cpuacct}/cpuacct.usage", budget)
        self._last: tuple[bytes | None, bytes | None] = (None, None)
        self._statistics: CpuStat | None = None

    def stat(self) -> CpuStat | None:
        """``cpu.stat`` and ``cpuacct.usage``."""
        read = (self._stat.read(), None if self._usage is None else self._usage.read())
        # Most containers of a node are idle at any moment: the same bytes need no second parse.
        if read != self._last:
            self._statistics = self._parse(*read)
            self._last = read
        return self._statistics

    def _parse(self, stat: bytes | None, usage: bytes | None) -> CpuStat | None:
        if stat is None and usage is None:
            return None
        read = CpuStat() if stat is None else parse.cpu_stat_v1(stat, self._stat.path)
        if usage is None or self._usage is None:
            return read
        return CpuStat(*read[:6], parse.nanoseconds(usage, self._usage.path))

    def modes(self) -> tuple[float | None, float | None]:
        """``cpuacct.stat``."""
        data = None if self._accounting is None else read_once(f"{self._accounting}/cpuacct.stat")
        return (None, None) if data is None else parse.cpuacct_stat(data, f"{self._accounting}/cpuacct.stat")

    def local_throttled_seconds(self) -> float | None:
        """``cpu.stat.local``."""
        data = self._local.read()
        return None if data is None else parse.cpu_stat_local(data, self._local.path)

    def pressure(self) -> Pressure | None:
        """v1 has no PSI of a cgroup."""
        return None

    def limits(self) -> CpuLimits:
        """``cpu.cfs_quota_us``, ``cpu.cfs_period_us``, ``cpu.cfs_burst_us``, ``cpu.shares``."""
        return read_limits(self._cpu)

    def cpuset(self) -> Cpuset | None:
        """``cpuset.effective_cpus`` and its companion."""
        if self._cpuset_path is None:
            return None
        return read_cpuset_v2(self._cpuset_path) if self._cpuset_is_v2 else read_cpuset(self._cpuset_path)

    def threads(self) -> int | None:
        """``tasks``."""
        return count_lines(f"{self._cpu}/tasks")

    def close(self) -> None:
        """Give the kept descriptors back."""
        for file in (self._stat, self._local, self._usage):
            if file is not None:
                file.close()


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
