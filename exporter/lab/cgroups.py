"""Cgroups of pods and containers in the machine's hierarchy, below a directory of one process, their owner.

Its lock tells whether the owner lives, so that a later start removes what a killed one left.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from itertools import accumulate
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self

from exporter.cgroupfs.discover import detect
from exporter.cgroupfs.readers import ReaderFactory
from exporter.cpulist import format_cpu_list
from exporter.errors import ExporterError
from exporter.lab.spec import CpuSettings, Pod, weight
from exporter.model import Driver

DEFAULT_ROOT = Path("/sys/fs/cgroup")
_REMOVAL_SECONDS = 10.0
_OWNED = re.compile(r"kte-[a-z]+-[0-9]+-[0-9a-f]{6}")


class LabError(ExporterError):
    """A cgroup or a process of the lab could not be made."""

    stage: ClassVar[str] = "lab"


class Hierarchy(NamedTuple):
    """The mounts of the controllers ``cpu``, ``cpuacct`` and ``cpuset``; on v2 one mount serves all."""

    version: Literal["v1", "v2"]
    root: Path
    mounts: Mapping[str, Path]

    def directories(self, relative: str) -> tuple[Path, ...]:
        """Return the cgroup's directory in each distinct mount."""
        return tuple(dict.fromkeys(mount / relative for mount in self.mounts.values()))

    def cpus(self) -> frozenset[int]:
        """Return the CPUs that cgroups below the root may use."""
        return ReaderFactory(detect(str(self.root))).root_cpus() or frozenset(os.sched_getaffinity(0))


def find_hierarchy(root: Path = DEFAULT_ROOT) -> Hierarchy:
    """Return the hierarchy below ``root`` that has the cpu controller; raise ``ReadError`` or :class:`LabError`."""
    found = detect(str(root))
    mounts = {"cpu": found.cpu, "cpuacct": found.cpuacct, "cpuset": found.cpuset}
    if None in mounts.values() or found.cpuset_is_v2 != found.cpu_is_v2:
        raise LabError(f"{root}: cpu, cpuacct and cpuset are not in one hierarchy", reason="no_controller")
    paths = {name: Path(mount) for name, mount in mounts.items() if mount}
    return Hierarchy("v2" if found.cpu_is_v2 else "v1", root, paths)


def writable_hierarchy(root: Path = DEFAULT_ROOT) -> Hierarchy:
    """Return the hierarchy after making a cgroup with a quota in it, and removing what dead owners left."""
    if os.geteuid() != 0:
        raise LabError("only root may make cgroups here", reason="not_root")
    hierarchy = find_hierarchy(root)
    with CgroupTree(hierarchy, "probe") as tree:
        tree.set("", CpuSettings(quota_cores=1.0))
    for mount in hierarchy.directories(""):
        for name in filter(_OWNED.fullmatch, os.listdir(mount)):
            with suppress(OSError):  # locked, or gone meanwhile
                os.close(_lock(mount / name))
                _remove(mount / name)
    return hierarchy


def _lock(directory: Path) -> int:
    """Lock a cgroup for as long as this process lives, whatever its pid namespace; raise if another one holds it."""
    with ExitStack() as failing:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        failing.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        failing.pop_all()
    return descriptor


def write_control(path: Path, value: str) -> None:
    """Write a control file that is there; raise a :class:`LabError` that names file and value if it is refused."""
    try:
        with open(path, "r+b", buffering=0) as file:
            file.write(value.encode("ascii"))
    except OSError as error:
        raise LabError(f"{path} <- {value!r}: {error.strerror}", reason="control") from error


class CgroupTree:
    """Cgroups of pods below a directory of our own; a context manager that removes them with whatever runs in them."""

    def __init__(self, hierarchy: Hierarchy, purpose: str, driver: Driver = "cgroupfs") -> None:
        self.hierarchy, self.driver = hierarchy, driver
        self.prefix = f"kte-{purpose}-{os.getpid()}-{secrets.token_hex(3)}"
        self._locks: list[int] = []

    def __enter__(self) -> Self:
        try:
            self.make("")
            self._locks = [_lock(directory) for directory in self.hierarchy.directories(self.prefix)]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.remove()
        except KeyboardInterrupt:  # the first signal; its handler has turned the others off
            self.remove()
            raise
        finally:
            for descriptor in self._locks:
                os.close(descriptor)

    def path(self, group: str = "") -> str:
        """Return the group's path relative to the mounts."""
        return f"{self.prefix}/{group}".rstrip("/")

    def file(self, controller: str, group: str, name: str) -> Path:
        """Return the path of a control file."""
        return self.hierarchy.mounts[controller] / self.path(group) / name

    def members(self, group: str) -> tuple[Path, ...]:
        """Return the files into which a process writes its pid (0: its own) to run in the group."""
        return tuple(directory / "cgroup.procs" for directory in self.hierarchy.directories(self.path(group)))

    def own_root(self, folder: Path) -> Path:
        """Return a root for ``--path.cgroup`` that shows this tree alone; on v1 links in ``folder``."""
        if self.hierarchy.version == "v2":
            return self.hierarchy.mounts["cpu"] / self.prefix
        for controller, mount in self.hierarchy.mounts.items():
            (folder / controller).symlink_to(mount / self.prefix)
        return folder

    def make(self, group: str, settings: CpuSettings | None = None) -> None:
        """Make the group and those above it, then write ``settings``."""
        is_v2 = self.hierarchy.version == "v2"
        for above in accumulate(group.split("/"), "{}/{}".format):
            directories = self.hierarchy.directories(self.path(above))
            if all(map(Path.exists, directories)):
                continue
            if is_v2:
                write_control(directories[0].parent / "cgroup.subtree_control", "+cpu +cpuset")
            for directory in directories:
                directory.mkdir(exist_ok=True)
            # A v1 group has no CPUs and no memory at first, and nothing can run in it.
            for name in () if is_v2 else ("cpuset.cpus", "cpuset.mems"):
                file = self.file("cpuset", above, name)
                write_control(file, (file.parent.parent / name).read_text())
        if settings is not None:
            self.set(group, settings)

    def set(self, group: str, settings: CpuSettings) -> None:
        """Write ``settings``, also to a group in use (a resize)."""
        quota, period, shares = settings.quota_us, settings.period_us, settings.shares
        values: dict[str, object] = {
            "cpu.shares": shares, "cpu.cfs_period_us": period, "cpu.cfs_quota_us": quota or -1,
            "cpu.cfs_burst_us": settings.burst_us,
        }  # fmt: skip
        if self.hierarchy.version == "v2":
            values = {"cpu.weight": shares and weight(shares), "cpu.max": f"{quota or 'max'} {period}",
                      "cpu.max.burst": settings.burst_us}  # fmt: skip
        for name, value in (*values.items(), ("cpuset.cpus", format_cpu_list(settings.cpus or ()))):
            if value:
                write_control(self.file(name.partition(".")[0], group, name), str(value))

    def remove(self, group: str = "") -> None:
        """Kill what runs in the group, wait for it and remove the group with all below it."""
        for directory in self.hierarchy.directories(self.path(group)):
            _remove(directory)

    def add_pod(self, pod: Pod, shared_cpus: frozenset[int] | None = None) -> None:
        """Make the groups of an identified pod, its sandbox and its containers, which get the shared CPUs."""
        for path, settings, _ in pod.cgroups(self.driver, shared_cpus):
            self.make(path, settings)


def _remove(directory: Path) -> None:
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while directory.exists():
        if time.monotonic() > deadline:
            raise LabError(f"{directory} stays busy", reason="busy")
        for group, _, _ in os.walk(directory, topdown=False):
            with suppress(OSError):  # gone meanwhile
                # 0: a process of a pid namespace that cannot be seen from here.
                for pid in set(Path(group, "cgroup.procs").read_text(encoding="ascii").split()) - {"0"}:
                    os.kill(int(pid), signal.SIGKILL)
            with suppress(OSError):
                os.rmdir(group)
        time.sleep(0.005)  # exiting processes leave a group some time after the kill; v1 sends no event
