"""Readers of single directories, whatever hierarchy they are in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.cgroupfs import v1, v2
from exporter.cgroupfs.discover import NO_REF
from exporter.cgroupfs.files import Descriptors
from exporter.model import CgroupRef, Cpuset


@dataclass(frozen=True)
class FixedPaths:
    """The directories of one cgroup in the other controllers' trees."""

    cpuacct: Path | None
    cpuset: Path | None
    is_v2: bool

    def cpuacct_of(self, _: CgroupRef) -> str | None:
        return None if self.cpuacct is None else str(self.cpuacct)

    def cpuset_of(self, _: CgroupRef, *, leaf: bool) -> str | None:
        return None if self.cpuset is None else str(self.cpuset)

    def pids_of(self, _: CgroupRef) -> str | None:
        return None

    def read_cpuset(self, path: str) -> Cpuset | None:
        return v2.read_cpuset(path) if self.is_v2 else v1.read_cpuset(path)

    def is_mounted(self, _: str) -> bool:
        return True


def v1_files(cpu: Path, cpuacct: Path | None, cpuset: Path | None, budget: Descriptors) -> v1.V1Files:
    return v1.V1Files(str(cpu), NO_REF, FixedPaths(cpuacct, cpuset, is_v2=False), budget)


def v2_files(root: Path, *, leaf: Path | None = None, budget: Descriptors | None = None) -> v2.V2Files:
    inner = leaf or root
    return v2.V2Files(str(root), str(inner), NO_REF, FixedPaths(None, inner, is_v2=True), budget or Descriptors(8))
