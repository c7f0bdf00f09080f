"""Reads a cgroup v2 directory. Kernel ``Documentation/admin-guide/cgroup-v2.rst``."""

from __future__ import annotations

from dataclasses import replace

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
from exporter.model import CgroupRef, CpuLimits, Cpuset, CpuStat, Pressure


class V2Files(CgroupDirectory):
    """One directory of the unified hierarchy; in a hybrid its cpuset may be in a v1 tree."""

    __slots__ = ("_pressure",)

    def __init__(self, directory: str, leaf: str, ref: CgroupRef, paths: ControllerPaths, budget: Descriptors) -> None:
        stat = CachedFile(directory, "cpu.stat", parse.cpu_stat_v2, budget, required=True)
        local = CachedFile(leaf, "cpu.stat.local", parse.cpu_stat_local, budget)
        super().__init__(directory, leaf, ref, paths, stat, local)
        self._pressure = CachedFile(directory, "cpu.pressure", parse.pressure, budget)

    def stat(self, on_error: OnError = reraise) -> CpuStat | None:
        """Read ``cpu.stat``."""
        del on_error  # one file
        return self._stat.value()

    tick_stat = stat

    def modes(self) -> tuple[float | None, float | None]:
        """Read ``user_usec`` and ``system_usec`` of ``cpu.stat``."""
        stat = self._stat.value()
        return (None, None) if stat is None else (stat.user_seconds, stat.system_seconds)

    def pressure(self) -> Pressure | None:
        """Read ``cpu.pressure``."""
        return self._pressure.value()

    def change_probe(self) -> ChangeProbe:
        """Read ``cpu.max``, of the subgroup too where there is one, and ``cpuset.cpus.effective``."""
        quota = read_once(f"{self._directory}/cpu.max")
        if self._leaf != self._directory:
            quota = (quota or b"") + (read_once(f"{self._leaf}/cpu.max") or b"")
        return quota, read_optional(_read_effective_cpus, self._find_cpuset(), self._paths)

    def limits(self) -> CpuLimits:
        """Read ``cpu.max``, ``cpu.max.burst``, ``cpu.weight``; of crun's subgroup where its quota is the tighter one.

        The kernel counts periods where the quota is, so :meth:`stat` reads there too from now on.
        """
        limits, where = read_limits(self._directory), self._directory
        if self._leaf != self._directory:
            inner = read_limits(self._leaf)
            if inner.limit_cores is not None and (limits.limit_cores or float("inf")) > inner.limit_cores:
                # The subgroup's weight competes with no sibling; the scope's does.
                limits, where = replace(inner, weight=limits.weight), self._leaf
        self._stat.move(where)
        return limits

    def close(self) -> None:
        """Release the kept descriptors."""
        for file in (self._stat, self._local, self._pressure):
            file.close()


def _read_effective_cpus(path: str) -> bytes | None:
    return read_once(f"{path}/cpuset.cpus.effective")


def read_limits(path: str) -> CpuLimits:
    """Read the limits of a v2 directory, a container's or one above the pods."""
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
    """Read the cpuset of a v2 directory; ``None`` without the cpuset controller."""
    cpus = read_once(f"{path}/cpuset.cpus.effective")
    if cpus is None:
        return None
    mems = read_once(f"{path}/cpuset.mems.effective")
    partition = read_once(f"{path}/cpuset.cpus.partition")
    return Cpuset(
        cpus=cpu_list(cpus, f"{path}/cpuset.cpus.effective"),
        mems=frozenset() if mems is None else cpu_list(mems, f"{path}/cpuset.mems.effective"),
        # Without the reason in "root invalid (Parent is not a partition root)".
        partition=" ".join((partition or b"").decode("ascii", "replace").partition("(")[0].split()),
    )
