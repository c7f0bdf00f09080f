"""From a found cgroup to its files, whatever the hierarchy."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from exporter.cgroupfs import names, v1, v2
from exporter.cgroupfs.files import Descriptors
from exporter.cgroupfs.group import CgroupFiles
from exporter.cgroupfs.tree import Hierarchy, Known, detect, walk
from exporter.errors import ReadError
from exporter.model import CgroupRef, CpuLimits, Cpuset

Key = tuple[str, str | None]


class Opener:
    """Opens cgroups of one hierarchy; keeps an index of each v1 controller whose paths differ from the cpu tree's."""

    def __init__(self, hierarchy: Hierarchy, budget: Descriptors | None = None) -> None:
        self.hierarchy = hierarchy
        self._budget = budget or Descriptors()
        self._indexes: dict[str, dict[Key, str]] = {}

    def open(self, found: Known) -> CgroupFiles:
        """The files of one cgroup."""
        hierarchy, ref = self.hierarchy, found.ref
        path = f"{hierarchy.cpu}/{ref.path}"
        if hierarchy.cpu_is_v2:
            leaf = f"{path}/{names.SUBGROUP}" if found.subgroup else path
            return v2.V2Files(path, leaf, ref, self, self._budget)
        return v1.V1Files(path, ref, self, self._budget)

    def ancestor_limits(self, path: str) -> CpuLimits:
        """The limits of a directory above the pods, relative to the cpu tree's root."""
        read: Callable[[str], CpuLimits] = v2.read_limits if self.hierarchy.cpu_is_v2 else v1.read_limits
        return read(f"{self.hierarchy.cpu}/{path}")

    def new_scan(self) -> None:
        """Forget the indexes, cgroups may have come since; look again for a controller that was not mounted yet."""
        self._indexes.clear()
        known = self.hierarchy
        if known.root and (known.cpuacct is None or known.cpuset is None):
            with suppress(ReadError):
                fresh = detect(known.root)
                if fresh.cpu == known.cpu:
                    self.hierarchy = fresh

    def _locate(self, root: str | None, ref: CgroupRef) -> str | None:
        """The same cgroup in another controller's tree: at the same path, else wherever its ids are."""
        if root is None:
            return None
        path = f"{root}/{ref.path}"
        if root == self.hierarchy.cpu or os.path.isdir(path):
            return path
        if root not in self._indexes:
            found = walk(root).found.values()
            self._indexes[root] = {(one.ref.pod_uid, one.ref.container_id): one.ref.path for one in found}
        other = self._indexes[root].get((ref.pod_uid, ref.container_id))
        return None if other is None else f"{root}/{other}"

    def cpuacct_of(self, ref: CgroupRef) -> str | None:
        """Where ``ref`` is in the cpuacct tree; ``None`` while it is not."""
        return self._locate(self.hierarchy.cpuacct, ref)

    def cpuset_of(self, ref: CgroupRef, *, leaf: bool) -> str | None:
        """Where ``ref`` is in the cpuset tree; with ``leaf`` its subgroup, where that tree has it."""
        path = self._locate(self.hierarchy.cpuset, ref)
        inner = f"{path}/{names.SUBGROUP}"
        return inner if leaf and path is not None and os.path.isdir(inner) else path

    def read_cpuset(self, path: str) -> Cpuset | None:
        """The cpuset of a directory in the cpuset tree, whose version may be another than the cpu tree's."""
        return (v2.read_cpuset if self.hierarchy.cpuset_is_v2 else v1.read_cpuset)(path)

    def is_mounted(self, path: str) -> bool:
        """Whether the tree that ``path`` was in is still mounted."""
        roots = {self.hierarchy.cpu, self.hierarchy.cpuacct, self.hierarchy.cpuset}
        return any(root is not None and path.startswith(f"{root}/") and _is_mounted(root) for root in roots)


def _is_mounted(root: str) -> bool:
    """An unmounted tree leaves an empty directory, or none."""
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
