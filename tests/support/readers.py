"""Readers of single directories, whatever hierarchy they are in."""

from __future__ import annotations

from pathlib import Path

from exporter.cgroupfs.discover import NO_REF, Hierarchy
from exporter.cgroupfs.files import Descriptors
from exporter.cgroupfs.readers import ReaderFactory, V1Files, V2Files


def v1_files(cpu: Path, cpuacct: Path | None, cpuset: Path | None, budget: Descriptors) -> V1Files:
    """The cgroup at ``cpu``, and the same one in the parents of the other directories."""
    roots = [None if folder is None else str(folder.parent) for folder in (cpuacct, cpuset)]
    readers = ReaderFactory(Hierarchy("v1", False, str(cpu.parent), roots[0], roots[1]), budget)
    return V1Files(str(cpu), str(cpu), NO_REF._replace(path=cpu.name), readers)


def v2_files(root: Path, *, leaf: Path | None = None, budget: Descriptors | None = None) -> V2Files:
    """The cgroup at ``root``; ``leaf``: the subgroup that crun made in it."""
    hierarchy = Hierarchy("v2", True, str(root.parent), None, str(root.parent), cpuset_is_v2=True)
    readers = ReaderFactory(hierarchy, budget or Descriptors(8))
    return V2Files(str(root), str(leaf or root), NO_REF._replace(path=root.name), readers)
