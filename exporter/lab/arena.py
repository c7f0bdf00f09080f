"""A place to run a workload and to read, through the exporter's own readers, what the kernel counted there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.cgroupfs import discover, v1, v2
from exporter.cgroupfs.discover import ReaderFactory
from exporter.cgroupfs.files import CgroupFiles, Descriptors
from exporter.lab.hierarchy import Hierarchy
from exporter.lab.own import OwnCgroup
from exporter.lab.owner import own_prefix
from exporter.lab.prediction import Place
from exporter.lab.spec import CpuSettings
from exporter.lab.tree import CgroupTree
from exporter.model import CpuLimits, CpuStat


@dataclass(frozen=True, slots=True)
class Arena:
    """One cgroup, and what theory needs to know of it."""

    name: str
    place: Place
    members: tuple[Path, ...]
    """Files through which workers enter; none where they already are inside."""
    files: CgroupFiles

    def stat(self) -> CpuStat:
        """The group's counters now."""
        return self.files.stat() or CpuStat()


@contextmanager
def made_arena(hierarchy: Hierarchy, limit_cores: float, period_seconds: float) -> Iterator[Arena]:
    """A new group below the root with this quota, removed at the end."""
    with CgroupTree(hierarchy, own_prefix("stress")) as tree:
        settings = CpuSettings(quota_cores=limit_cores, period_seconds=period_seconds)
        tree.set("", settings)
        # What the kernel was given, after rounding to whole microseconds.
        limit = (settings.quota_us or 0) / settings.period_us
        place = Place(cpus=len(hierarchy.cpus()), limit_cores=limit, period_seconds=period_seconds)
        with closing(_open(hierarchy, tree.prefix)) as files:
            yield Arena(str(hierarchy.mounts["cpu"] / tree.prefix), place, tree.members(""), files)


@contextmanager
def own_arena(own: OwnCgroup) -> Iterator[Arena]:
    """The group this process runs in; where an ancestor that can be seen has a smaller limit, that ancestor.

    Throttling is counted in the group whose quota is used up, so that is where it must be read.
    """
    found: tuple[Path, CpuLimits] | None = None
    for directory in own.ancestors("cpu"):
        limits = (v1 if own.hierarchy.version == "v1" else v2).read_limits(str(directory))
        if limits.limit_cores is not None and (found is None or limits.limit_cores < (found[1].limit_cores or 0.0)):
            found = directory, limits
    directory, limits = found or (own.ancestors("cpu")[0], CpuLimits("none"))
    place = Place(
        cpus=len(os.sched_getaffinity(0)),
        limit_cores=limits.limit_cores,
        period_seconds=limits.period_seconds or 0.1,
    )
    relative = str(directory.relative_to(own.hierarchy.mounts["cpu"]))
    with closing(_open(own.hierarchy, relative)) as files:
        yield Arena(str(directory), place, (), files)


def _open(hierarchy: Hierarchy, relative: str) -> CgroupFiles:
    def root(controller: str) -> str | None:
        mount = hierarchy.mounts.get(controller)
        return None if mount is None else str(mount)

    is_v2, cpu = hierarchy.version == "v2", str(hierarchy.mounts["cpu"])
    mounts = (cpu, cpu) if is_v2 else (root("cpuacct"), root("cpuset"))
    trees = discover.Hierarchy("v2" if is_v2 else "v1", is_v2, cpu, *mounts, cpuset_is_v2=is_v2)
    return ReaderFactory(trees, Descriptors(0)).open_path(relative)
