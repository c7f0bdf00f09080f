"""cgroup v2: which file holds which fact. Kernel ``Documentation/admin-guide/cgroup-v2.rst``."""

from __future__ import annotations

from exporter.cgroupfs import parse
from exporter.cgroupfs.files import Descriptors, KernelFile, count_lines, read_once
from exporter.cpulist import cpu_list
from exporter.readings import CpuLimits, Cpuset, CpuStat, Pressure


class V2Files:
    """One directory of the unified hierarchy.

    ``leaf`` is where its processes are: ``path`` itself, or the subgroup that crun makes below it.
    """

    __slots__ = ("_cpuset_path", "_last", "_leaf", "_local", "_path", "_pressure", "_stat", "_statistics")

    def __init__(self, path: str, leaf: str, cpuset_path: str | None, budget: Descriptors) -> None:
        self._path, self._leaf, self._cpuset_path = path, leaf, cpuset_path
        self._stat = KernelFile(f"{path}/cpu.stat", budget)
        self._local = KernelFile(f"{leaf}/cpu.stat.local", budget)
        self._pressure = KernelFile(f"{path}/cpu.pressure", budget)
        self._last: bytes | None = None
        self._statistics: CpuStat | None = None

    def stat(self) -> CpuStat | None:
        """``cpu.stat``."""
        data = self._stat.read()
        # Most containers of a node are idle at any moment: the same bytes need no second parse.
        if data != self._last:
            self._statistics = None if data is None else parse.cpu_stat_v2(data, self._stat.path)
            self._last = data
        return self._statistics

    def modes(self) -> tuple[float | None, float | None]:
        """``user_usec`` and ``system_usec`` of the last :meth:`stat`."""
        last = self._statistics
        return (None, None) if last is None else (last.user_seconds, last.system_seconds)

    def local_throttled_seconds(self) -> float | None:
        """``cpu.stat.local``."""
        data = self._local.read()
        return None if data is None else parse.cpu_stat_local(data, self._local.path)

    def pressure(self) -> Pressure | None:
        """``cpu.pressure``."""
        data = self._pressure.read()
        return None if data is None else parse.pressure(data, self._pressure.path)

    def limits(self) -> CpuLimits:
        """``cpu.max``, ``cpu.max.burst``, ``cpu.weight``; where crun's subgroup has the tighter quota, the subgroup's.

        The periods are counted where the quota is, so :meth:`stat` reads from there too.
        """
        limits, where = read_limits(self._path), self._path
        if self._leaf != self._path:
            inner = read_limits(self._leaf)
            if inner.limit_cores is not None and (limits.limit_cores or float("inf")) > inner.limit_cores:
                limits, where = inner, self._leaf
        if self._stat.path != f"{where}/cpu.stat":
            self._stat.move(f"{where}/cpu.stat")
        return limits

    def cpuset(self) -> Cpuset | None:
        """``cpuset.cpus.effective`` and its companions."""
        return None if self._cpuset_path is None else read_cpuset(self._cpuset_path)

    def threads(self) -> int | None:
        """``cgroup.threads`` of the leaf."""
        return count_lines(f"{self._leaf}/cgroup.threads")

    def close(self) -> None:
        """Give the kept descriptors back."""
        for file in (self._stat, self._local, self._pressure):
            file.close()


def read_limits(path: str) -> CpuLimits:
    """The limits of one v2 directory; also of the ancestors of a pod."""
    weight = read_once(f"{path}/cpu.weight")
    burst = read_once(f"{path}/cpu.max.burst")
    maximum = read_once(f"{path}/cpu.max")
    raw_weight = None if weight is None else parse.number(weight, f"{path}/cpu.weight")
    if maximum is None:
        return CpuLimits("unsupported", weight=raw_weight)
    quota, period = parse.cpu_max(maximum, f"{path}/cpu.max")
    burst_seconds = None if burst is None else parse.microseconds(burst, f"{path}/cpu.max.burst")
    return parse.limits(quota, period, burst_seconds=burst_seconds, weight=raw_weight)


def read_cpuset(path: str) -> Cpuset | None:
    """The cpuset of a v2 directory; ``None`` without the cpuset controller."""
    cpus = read_once(f"{path}/cpuset.cpus.effective")
    if cpus is None:
        return None
    mems = read_once(f"{path}/cpuset.mems.effective")
    partition = read_once(f"{path}/cpuset.cpus.partition")
    return Cpuset(
        cpus=cpu_list(cpus, f"{path}/cpuset.cpus.effective"),
        mems=frozenset() if mems is None else cpu_list(mems, f"{path}/cpuset.mems.effective"),
        # "root invalid (Parent is not a partition root)": the state counts, the sentence is for people.
        partition=" ".join((partition or b"").decode("ascii", "replace").partition("(")[0].split()),
    )
