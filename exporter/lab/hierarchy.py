"""The machine's CPU controllers: where they are mounted, and whether cgroups may be made there.

See https://docs.kernel.org/admin-guide/cgroup-v2.html, .../cgroup-v1/cgroups.html and cgroups(7).
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
from exporter.lab.stale_marker import own_prefix

CONTROLLERS = ("cpu", "cpuacct", "cpuset")
DEFAULT_ROOT = Path("/sys/fs/cgroup")


class LabError(ExporterError):
    """A cgroup, a process or a server of the lab could not be made; ``reason`` is an errno's name or one word."""

    stage: ClassVar[str] = "lab"

    @classmethod
    def from_os_error(cls, doing: str, error: OSError) -> LabError:
        """Return the named form of ``error``; chain it with ``from error``."""
        name = errno.errorcode.get(error.errno or 0, "unknown")
        return cls(f"{doing}: {error.strerror or name}", reason=name.lower())


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The mounts of the controllers ``cpu``, ``cpuacct`` and ``cpuset``; on v2 one mount serves all."""

    version: Literal["v1", "v2"]
    root: Path
    mounts: Mapping[str, Path]

    def directories(self, relative: str) -> tuple[Path, ...]:
        """Return the cgroup's directory in each distinct mount."""
        return tuple(dict.fromkeys(mount / relative for mount in self.mounts.values()))

    def file(self, controller: str, relative: str, name: str) -> Path:
        """Return the path of a control file."""
        return self.mounts[controller] / relative / name

    def cpus(self) -> frozenset[int]:
        """Return the CPUs that cgroups below the root may use."""
        for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
            file = self.mounts["cpuset"] / name
            if file.exists():
                return cpu_list(read_control(file), str(file))
        # The root of v2 need not have the file.
        return frozenset(os.sched_getaffinity(0))


def write_control(path: Path, value: str) -> None:
    """Write a control file with one call; raise a :class:`LabError` that names file and value if it is refused."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode("ascii"))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LabError.from_os_error(f"{path} <- {value!r}", error) from error


def read_control(path: Path) -> str:
    """Return a control file's text without the newline at its end."""
    try:
        return path.read_text(encoding="ascii").rstrip("\n")
    except OSError as error:
        raise LabError.from_os_error(str(path), error) from error


def find_hierarchy(root: Path = DEFAULT_ROOT) -> Hierarchy:
    """Return the hierarchy below ``root`` that has the cpu controller; on a hybrid machine mostly that of v1."""
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
    """Return the hierarchy after making and removing a cgroup with a quota; a :class:`LabError` says why it failed.

    On v2 the controllers stay enabled for the root's children: others may have begun to use them.
    """
    if os.geteuid() != 0:
        raise LabError("only root may make cgroups here", reason="not_root")
    hierarchy = find_hierarchy(root)
    if hierarchy.version == "v2":
        _enable_controllers(hierarchy.mounts["cpu"])
    probe, made = own_prefix("probe"), list[Path]()
    name, value = ("cpu.max", "100000 100000") if hierarchy.version == "v2" else ("cpu.cfs_quota_us", "100000")
    try:
        for directory in hierarchy.directories(probe):
            directory.mkdir()
            made.append(directory)
        write_control(hierarchy.file("cpu", probe, name), value)
    except OSError as error:
        raise LabError.from_os_error(f"making {error.filename}", error) from error
    finally:
        for directory in made:
            directory.rmdir()
    return hierarchy


def own_cgroup(root: Path = DEFAULT_ROOT, proc: Path = Path("/proc")) -> tuple[Hierarchy, str]:
    """Return the hierarchy and the path in it of the cpu cgroup that ``proc``'s reader runs in.

    In a container the root may be its own cgroup: the path of ``/proc/self/cgroup`` is not there then.
    """
    hierarchy = find_hierarchy(root)
    controller = "" if hierarchy.version == "v2" else "cpu"
    for line in (proc / "self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            relative = path.strip("/")
            return hierarchy, relative if (hierarchy.mounts["cpu"] / relative).is_dir() else ""
    raise LabError("this process is in no cgroup with a cpu controller", reason="no_controller")


def _enable_controllers(root: Path) -> None:
    missing = {"cpu", "cpuset"} - set(read_control(root / "cgroup.controllers").split())
    if missing:
        raise LabError(f"{root}: no {' and no '.join(sorted(missing))} controller on v2", reason="no_controller")
    enabled = set(read_control(root / "cgroup.subtree_control").split())
    for controller in sorted({"cpu", "cpuset"} - enabled):
        write_control(root / "cgroup.subtree_control", f"+{controller}")
