"""cgroup v2: which file holds which fact. Kernel ``Documentation/admin-guide/cgroup-v2.rst``."""

from __future__ import annotations

from dataclasses import replace

from exporter.cgroupfs import parse
from exporter.cgroupfs.files import Descriptors, count_lines, read_once
from exporter.cgroupfs.group import Hinge, OnError, Trees, elsewhere, raise_it
from exporter.cgroupfs.parsed import ParsedFile
from exporter.cpulist import cpu_list
from exporter.model import CgroupRef, CpuLimits, Cpuset, CpuStat, Pressure


class V2Files:
    """One directory of the unified hierarchy.

    ``leaf`` is where its processes are: ``path`` itself, or the subgroup that crun makes below it. In a hybrid the
    cpuset may be in a v1 tree, and come later: while it is not there, each reading of it looks for it.
    """

    __slots__ = ("_cpuset_path", "_leaf", "_local", "_path", "_pressure", "_ref", "_stat", "_trees")

    def __init__(self, path: str, leaf: str, ref: CgroupRef, trees: Trees, budget: Descriptors) -> None:
        self._path, self._leaf, self._ref, self._trees = path, leaf, ref, trees
        self._cpuset_path = self._find_cpuset()
        self._stat = ParsedFile(path, "cpu.stat", parse.cpu_stat_v2, budget, lasting=True)
        self._local = ParsedFile(leaf, "cpu.stat.local", parse.cpu_stat_local, budget)
        self._pressure = ParsedFile(path, "cpu.pressure", parse.pressure, budget)

    def _find_cpuset(self) -> str | None:
        return self._trees.cpuset_of(self._ref, leaf=self._leaf != self._path)

    def stat(self, on_error: OnError = raise_it) -> CpuStat | None:
        """``cpu.stat``."""
        del on_error  # one file
        return self._stat.value()

    def tick_stat(self, on_error: OnError = raise_it) -> CpuStat | None:
        """``cpu.stat``: it has the usage too."""
        del on_error
        return self._stat.value()

    def modes(self) -> tuple[float | None, float | None]:
        """``user_usec`` and ``system_usec`` of ``cpu.stat``."""
        stat = self._stat.value()
        return (None, None) if stat is None else (stat.user_seconds, stat.system_seconds)

    def local_throttled_seconds(self) -> float | None:
        """``cpu.stat.local``."""
        return self._local.value()

    def pressure(self) -> Pressure | None:
        """``cpu.pressure``."""
        return self._pressure.value()

    def hinge(self) -> Hinge:
        """``cpu.max``, of the subgroup too where there is one, and ``cpuset.cpus.effective``."""
        if self._cpuset_path is None:
            self._cpuset_path = self._find_cpuset()
        quota = read_once(f"{self._path}/cpu.max")
        if self._leaf != self._path:
            quota = (quota or b"") + (read_once(f"{self._leaf}/cpu.max") or b"")
        return quota, elsewhere(_read_effective_cpus, self._cpuset_path, self._trees)

    def limits(self) -> CpuLimits:
        """``cpu.max``, ``cpu.max.burst``, ``cpu.weight``; where crun's subgroup has the tighter quota, the subgroup's.

        The periods are counted where the quota is, so :meth:`stat` reads from there too.
        """
        limits, where = read_limits(self._path), self._path
        if self._leaf != self._path:
            inner = read_limits(self._leaf)
            if inner.limit_cores is not None and (limits.limit_cores or float("inf")) > inner.limit_cores:
                # Its weight competes with the scope's other children, of which there are none.
                limits, where = replace(inner, weight=limits.weight), self._leaf
        self._stat.move(where)
        return limits

    def cpuset(self) -> Cpuset | None:
        """``cpuset.cpus.effective`` and its companions."""
        if self._cpuset_path is None:
            self._cpuset_path = self._find_cpuset()
        return elsewhere(self._trees.read_cpuset, self._cpuset_path, self._trees)

    def threads(self) -> int | None:
        """``cgroup.threads`` of the leaf."""
        return count_lines(f"{self._leaf}/cgroup.threads")

    def close(self) -> None:
        """Give the kept descriptors back."""
        for parsed in (self._stat, self._local, self._pressure):
            parsed.close()


def _read_effective_cpus(path: str) -> bytes | None:
    return read_once(f"{path}/cpuset.cpus.effective")


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
