"""Where this machine keeps its CPU controllers, and whether groups may be made there.

The page: https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/cgroups.html.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from exporter.cgroupfs.discover import detect
from exporter.cpulist import cpu_list
from exporter.errors import ExporterError, ReadError
from exporter.lab.owner import own_prefix

CONTROLLERS = ("cpu", "cpuacct", "cpuset")
DEFAULT_ROOT = Path("/sys/fs/cgroup")


class LabError(ExporterError):
    """A group, a process or a server of the lab could not be made; ``reason`` is an errno's name or one word."""

    stage: ClassVar[str] = "lab"

    @classmethod
    def from_os_error(cls, doing: str, error: OSError) -> LabError:
        """The named form of ``error``; chain it with ``from error``."""
        name = errno.errorcode.get(error.errno or 0, "unknown")
        return cls(f"{doing}: {error.strerror or name}", reason=name.lower())


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The mounts that hold the controllers ``cpu``, ``cpuacct`` and ``cpuset``."""

    version: Literal["v1", "v2"]
    root: Path
    mounts: Mapping[str, Path]
    """By controller; on v2 one mount serves all, and ``cpuacct`` is part of ``cpu``."""

    def directories(self, relative: str) -> tuple[Path, ...]:
        """The group's directory in each distinct mount."""
        return tuple(dict.fromkeys(mount / relative for mount in self.mounts.values()))

    def cpus(self) -> frozenset[int]:
        """The CPUs that groups below the root may use."""
        for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
            file = self.mounts["cpuset"] / name
            if file.exists():
                return cpu_list(read_control(file), str(file))
        # The root of v2 need not say it.
        return frozenset(os.sched_getaffinity(0))

    def file(self, controller: str, relative: str, name: str) -> Path:
        """One control file of the group ``relative``."""
        return self.mounts[controller] / relative / name


def write_control(path: Path, value: str) -> None:
    """One write call, as the kernel wants it; a refused value is a :class:`LabError` that names file and value."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode("ascii"))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LabError.from_os_error(f"{path} <- {value!r}", error) from error


def read_control(path: Path) -> str:
    """The file's text without the newline at its end."""
    try:
        return path.read_text(encoding="ascii").rstrip("\n")
    except OSError as error:
        raise LabError.from_os_error(str(path), error) from error


def find_hierarchy(root: Path = DEFAULT_ROOT) -> Hierarchy:
    """The hierarchy below ``root`` that holds the cpu controller; on a hybrid machine that is mostly the v1 one."""
    try:
        found = detect(str(root))
    except ReadError as error:
        raise LabError(str(error), reason=error.reason) from error
    mounts = {"cpu": found.cpu, "cpuacct": found.cpuacct, "cpuset": found.cpuset}
    present = {controller: Path(mount) for controller, mount in mounts.items() if mount is not None}
    missing = sorted(mounts.keys() - present.keys())
    if missing or found.cpuset_is_v2 != found.cpu_is_v2:
        raise LabError(f"{root}: {' and '.join(missing) or 'cpuset'} is not where cpu is", reason="no_controller")
    return Hierarchy("v2" if found.cpu_is_v2 else "v1", root, present)


def writable_hierarchy(root: Path = DEFAULT_ROOT) -> Hierarchy:
    """The hierarchy, after a trial group with a quota was made and removed; else a :class:`LabError` says why not.

    On v2 the controllers stay switched on for the root's children: switching them off again could take them from
    somebody who began to use them meanwhile.
    """
    if os.geteuid() != 0:
        raise LabError("only root may make cgroups here", reason="not_root")
    hierarchy = find_hierarchy(root)
    if hierarchy.version == "v2":
        _hand_down_controllers(hierarchy.mounts["cpu"])
    probe = own_prefix("probe")
    made: list[Path] = []
    try:
        for directory in hierarchy.directories(probe):
            directory.mkdir()
            made.append(directory)
        if hierarchy.version == "v1":
            write_control(hierarchy.file("cpu", probe, "cpu.cfs_quota_us"), "100000")
        else:
            write_control(hierarchy.file("cpu", probe, "cpu.max"), "100000 100000")
    except OSError as error:
        raise LabError.from_os_error(f"making {error.filename}", error) from error
    finally:
        for directory in made:
            directory.rmdir()
    return hierarchy


def _hand_down_controllers(root: Path) -> None:
    offered = set(read_control(root / "cgroup.controllers").split())
    missing = {"cpu", "cpuset"} - offered
    if missing:
        raise LabError(f"{root}: no {' and no '.join(sorted(missing))} controller on v2", reason="no_controller")
    enabled = set(read_control(root / "cgroup.subtree_control").split())
    for controller in sorted({"cpu", "cpuset"} - enabled):
        write_control(root / "cgroup.subtree_control", f"+{controller}")
