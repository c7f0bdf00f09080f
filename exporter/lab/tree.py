"""A kubepods tree in the machine's real cgroup hierarchy, under a prefix of its own that names its owner.

So several trees live side by side, and a later start removes what a killed one left. Pods below a prefix are nothing
odd: kind and docker-in-docker have them too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

from exporter.lab import placing
from exporter.lab.hierarchy import Hierarchy, LabError, read_control, write_control
from exporter.lab.owner import names_owner, owner_is_dead
from exporter.lab.spec import Container, CpuSettings, Pod, weight
from exporter.model import Driver

_REMOVAL_SECONDS = 10.0


class CgroupTree:
    """Groups of our own below one prefix; a context manager that removes them all, whoever still runs in them."""

    def __init__(self, hierarchy: Hierarchy, prefix: str) -> None:
        if not names_owner(prefix):
            raise LabError(f"{prefix} names no owner", reason="bad_prefix")
        self.hierarchy = hierarchy
        self.prefix = prefix

    def __enter__(self) -> Self:
        self.make("")
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def path(self, group: str = "") -> str:
        """Relative to the mounts."""
        return f"{self.prefix}/{group}".rstrip("/")

    def file(self, controller: str, group: str, name: str) -> Path:
        """One control file of a group of this tree."""
        return self.hierarchy.file(controller, self.path(group), name)

    def make(self, group: str, settings: CpuSettings | None = None) -> None:
        """The group with all those above it; on v1 each gets its parent's CPUs and memory, else nothing can run."""
        below = ""
        for part in (self.prefix, *filter(None, group.split("/"))):
            above, below = below, f"{below}/{part}".lstrip("/")
            self._make_one(above, below)
        if settings is not None:
            self.set(group, settings)

    def set(self, group: str, settings: CpuSettings) -> None:
        """Writes what ``settings`` says; also on a living group, in an order the kernel accepts (a resize)."""
        (self._set_v1 if self.hierarchy.version == "v1" else self._set_v2)(self.path(group), settings)
        if settings.cpus is not None:
            write_control(self.file("cpuset", group, "cpuset.cpus"), ",".join(map(str, sorted(settings.cpus))))

    def members(self, group: str) -> tuple[Path, ...]:
        """The files into which a process writes its pid (0: itself) to run in the group."""
        return tuple(directory / "cgroup.procs" for directory in self.hierarchy.directories(self.path(group)))

    def attach(self, group: str, pid: int) -> None:
        """Moves a process with all its threads into the group."""
        for file in self.members(group):
            write_control(file, str(pid))

    def remove(self, group: str = "") -> None:
        """Kills what runs in the group, waits for it and removes the group with all below it."""
        remove_group(self.hierarchy, self.path(group))

    def _make_one(self, above: str, below: str) -> None:
        for directory in self.hierarchy.directories(below):
            try:
                directory.mkdir(exist_ok=True)
            except OSError as error:
                raise LabError.from_os_error(f"making {directory}", error) from error
        if self.hierarchy.version == "v1":
            for name in ("cpuset.cpus", "cpuset.mems"):
                file = self.hierarchy.file("cpuset", below, name)
                if not read_control(file):
                    write_control(file, read_control(self.hierarchy.file("cpuset", above, name)))
        elif above:
            write_control(self.hierarchy.file("cpu", above, "cgroup.subtree_control"), "+cpu +cpuset")

    def _set_v1(self, path: str, settings: CpuSettings) -> None:
        def write(name: str, value: int) -> None:
            file = self.hierarchy.file("cpu", path, name)
            # Writing the same quota or period again would unthrottle the group and restart its period.
            if read_control(file) != str(value):
                write_control(file, str(value))

        if settings.shares is not None:
            write("cpu.shares", settings.shares)
        quota = settings.quota_us
        burst = round((settings.burst_seconds or 0.0) * 1e6)
        # A quota below an existing burst is refused.
        if self.hierarchy.file("cpu", path, "cpu.cfs_burst_us").exists():
            write("cpu.cfs_burst_us", 0)
        write("cpu.cfs_period_us", settings.period_us)
        write("cpu.cfs_quota_us", -1 if quota is None else quota)
        if burst:
            write("cpu.cfs_burst_us", burst)

    def _set_v2(self, path: str, settings: CpuSettings) -> None:
        if settings.shares is not None:
            write_control(self.hierarchy.file("cpu", path, "cpu.weight"), str(weight(settings.shares)))
        quota = settings.quota_us
        limit = f"{'max' if quota is None else quota} {settings.period_us}"
        burst_file = self.hierarchy.file("cpu", path, "cpu.max.burst")
        if burst_file.exists() and read_control(burst_file) != "0":
            write_control(burst_file, "0")
        limit_file = self.hierarchy.file("cpu", path, "cpu.max")
        if read_control(limit_file) != limit:
            write_control(limit_file, limit)
        if settings.burst_seconds:
            write_control(burst_file, str(round(settings.burst_seconds * 1e6)))


class KubepodsTree(CgroupTree):
    """Pods and containers in the layout of one cgroup driver."""

    def __init__(self, hierarchy: Hierarchy, prefix: str, driver: Driver = "cgroupfs") -> None:
        super().__init__(hierarchy, prefix)
        self.driver: Driver = driver

    def pod_group(self, pod: Pod) -> str:
        """The pod's group in this tree."""
        return placing.pod_group(self.driver, pod.qos_class, pod.uid)

    def container_group(self, pod: Pod, container: Container | None = None) -> str:
        """A container's group in this tree; without one, the sandbox's."""
        name = pod.sandbox_id if container is None else container.container_id
        return placing.container_group(self.driver, pod.qos_class, pod.uid, name)

    def add_pod(self, pod: Pod, shared_cpus: frozenset[int] | None = None) -> None:
        """The groups of an identified pod, of its sandbox and of its containers, outermost first.

        ``shared_cpus`` is the CPU manager's shared pool; as with a real kubelet only containers are narrowed to it.
        """
        self.make(self.pod_group(pod), pod.settings())
        self.make(self.container_group(pod), CpuSettings(shares=2))
        for container in pod.containers:
            if not container.finished:
                self.make(self.container_group(pod, container), pod.container_settings(container, shared_cpus))

    def remove_pod(self, pod: Pod) -> None:
        """The pod's groups with whatever runs in them."""
        self.remove(self.pod_group(pod))


def sweep(hierarchy: Hierarchy) -> list[str]:
    """Removes trees whose owner, a process of this pid namespace, is dead; returns their prefixes."""
    names = {entry for mount in set(hierarchy.mounts.values()) for entry in os.listdir(mount)}
    swept = sorted(filter(owner_is_dead, names))
    for name in swept:
        remove_group(hierarchy, name)
    return swept


def remove_group(hierarchy: Hierarchy, path: str) -> None:
    """Kills, waits, removes bottom-up, in each mount; a group that is gone already is fine."""
    deadline = time.monotonic() + _REMOVAL_SECONDS
    for top in hierarchy.directories(path):
        _until(deadline, f"processes in {top} outlive SIGKILL", partial(_is_empty_after_kill, top))
        for directory in sorted(_groups(top), key=lambda one: len(one.parts), reverse=True):
            _until(deadline, f"{directory} stays busy", partial(_rmdir, directory))


def _until(deadline: float, complaint: str, done: Callable[[], bool]) -> None:
    # Exiting processes leave a group some time after the kill; nothing on v1 tells when.
    while not done():
        if time.monotonic() > deadline:
            raise LabError(complaint, reason="busy")
        time.sleep(0.005)


def _groups(top: Path) -> Iterator[Path]:
    for path, _, _ in os.walk(top):
        yield Path(path)


def _is_empty_after_kill(top: Path) -> bool:
    empty = True
    for group in _groups(top):
        with contextlib.suppress(OSError):  # gone meanwhile
            for line in (group / "cgroup.procs").read_text(encoding="ascii").split():
                # 0: a process of a pid namespace that cannot be seen from here.
                if line != "0":
                    empty = False
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(line), signal.SIGKILL)
    return empty


def _rmdir(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
