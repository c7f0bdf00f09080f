"""Cgroups of pods and containers in the machine's hierarchy, below a prefix that names their owner.

Pods below a prefix are what kind and docker-in-docker have too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Self

from exporter.lab.hierarchy import Hierarchy, LabError, read_control, write_control
from exporter.lab.spec import Container, CpuSettings, Pod, weight
from exporter.lab.stale_marker import has_owner, is_stale
from exporter.model import Driver

_REMOVAL_SECONDS = 10.0


class CgroupTree:
    """Cgroups below one prefix; a context manager that removes them all with whatever runs in them."""

    def __init__(self, hierarchy: Hierarchy, prefix: str) -> None:
        if not has_owner(prefix):
            raise LabError(f"{prefix} names no owner", reason="bad_prefix")
        self.hierarchy = hierarchy
        self.prefix = prefix
        self._made: set[str] = set()

    def __enter__(self) -> Self:
        self.make("")
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def path(self, group: str = "") -> str:
        """Return the group's path relative to the mounts."""
        return f"{self.prefix}/{group}".rstrip("/")

    def file(self, controller: str, group: str, name: str) -> Path:
        """Return the path of a control file."""
        return self.hierarchy.file(controller, self.path(group), name)

    def members(self, group: str) -> tuple[Path, ...]:
        """Return the files into which a process writes its pid (0: its own) to run in the group."""
        return tuple(directory / "cgroup.procs" for directory in self.hierarchy.directories(self.path(group)))

    def attach(self, group: str, pid: int) -> None:
        """Move a process with all its threads into the group."""
        for file in self.members(group):
            write_control(file, str(pid))

    def own_root(self, folder: Path) -> Path:
        """Return a root for ``--path.cgroup`` that shows this tree alone; on v1 links in ``folder``."""
        if self.hierarchy.version == "v2":
            return self.hierarchy.mounts["cpu"] / self.prefix
        root = folder / "cgroup"
        root.mkdir()
        for controller, mount in self.hierarchy.mounts.items():
            (root / controller).symlink_to(mount / self.prefix)
        return root

    def make(self, group: str, settings: CpuSettings | None = None) -> None:
        """Make the group and those above it, on v1 with their parent's CPUs and memory, without which none can run."""
        v1, below = self.hierarchy.version == "v1", ""
        for part in (self.prefix, *filter(None, group.split("/"))):
            above, below = below, f"{below}/{part}".lstrip("/")
            if below in self._made:
                continue
            for directory in self.hierarchy.directories(below):
                try:
                    directory.mkdir(exist_ok=True)
                except OSError as error:
                    raise LabError.from_os_error(f"making {directory}", error) from error
            for name in ("cpuset.cpus", "cpuset.mems") if v1 else ():
                file = self.hierarchy.file("cpuset", below, name)
                if not read_control(file):
                    write_control(file, read_control(self.hierarchy.file("cpuset", above, name)))
            if above and not v1:
                write_control(self.hierarchy.file("cpu", above, "cgroup.subtree_control"), "+cpu +cpuset")
            self._made.add(below)
        if settings is not None:
            self.set(group, settings)

    def set(self, group: str, settings: CpuSettings) -> None:
        """Write ``settings``, also to a group in use (a resize), in an order that the kernel accepts."""
        quota = -1 if settings.quota_us is None else settings.quota_us
        burst_file = "cpu.max.burst" if self.hierarchy.version == "v2" else "cpu.cfs_burst_us"
        burst = {burst_file: 0} if self.file("cpu", group, burst_file).exists() else {}
        # A quota below an existing burst is refused: the burst is cleared first and set last.
        if self.hierarchy.version == "v2":
            shares = {} if settings.shares is None else {"cpu.weight": weight(settings.shares)}
            limit = f"{'max' if quota < 0 else quota} {settings.period_us}"
            values: list[Mapping[str, object]] = [shares, burst, {"cpu.max": limit}]
        else:
            shares = {} if settings.shares is None else {"cpu.shares": settings.shares}
            values = [shares, burst, {"cpu.cfs_period_us": settings.period_us}, {"cpu.cfs_quota_us": quota}]
        values += [{burst_file: settings.burst_us}] if settings.burst_us else []
        for name, value in (item for one in values for item in one.items()):
            file = self.file("cpu", group, name)
            # To write the same quota again would unthrottle the group and restart its period.
            if read_control(file) != str(value):
                write_control(file, str(value))
        if settings.cpus is not None:
            write_control(self.file("cpuset", group, "cpuset.cpus"), ",".join(map(str, sorted(settings.cpus))))

    def remove(self, group: str = "") -> None:
        """Kill what runs in the group, wait for it and remove the group with all below it."""
        path = self.path(group)
        _remove(self.hierarchy, path)
        self._made = {one for one in self._made if one != path and not one.startswith(f"{path}/")}


class KubepodsTree(CgroupTree):
    """Pods and containers in the layout of one cgroup driver."""

    def __init__(self, hierarchy: Hierarchy, prefix: str, driver: Driver = "cgroupfs") -> None:
        super().__init__(hierarchy, prefix)
        self.driver: Driver = driver

    def pod_group(self, pod: Pod) -> str:
        """Return the pod's group."""
        return pod.cgroup(self.driver)

    def container_group(self, pod: Pod, container: Container | None = None) -> str:
        """Return a container's group; without one, the sandbox's."""
        return pod.cgroup(self.driver, pod.sandbox_id if container is None else container.container_id)

    def add_pod(self, pod: Pod, shared_cpus: frozenset[int] | None = None) -> None:
        """Make the groups of an identified pod, its sandbox and its containers, which get the shared CPUs."""
        self.make(self.pod_group(pod), pod.settings())
        self.make(self.container_group(pod), CpuSettings(shares=2))
        for container in pod.running:
            self.make(self.container_group(pod, container), pod.container_settings(container, shared_cpus))

    def remove_pod(self, pod: Pod) -> None:
        """Remove the pod's groups with whatever runs in them."""
        self.remove(self.pod_group(pod))


def remove_stale(hierarchy: Hierarchy) -> list[str]:
    """Remove the trees of dead owners of this pid namespace, and return their prefixes."""
    names = {entry for mount in set(hierarchy.mounts.values()) for entry in os.listdir(mount)}
    stale = sorted(filter(is_stale, names))
    for name in stale:
        _remove(hierarchy, name)
    return stale


def _remove(hierarchy: Hierarchy, path: str) -> None:
    deadline = time.monotonic() + _REMOVAL_SECONDS
    for top in hierarchy.directories(path):
        _until(deadline, f"processes in {top} outlive SIGKILL", partial(_is_empty_after_kill, top))
        for directory in sorted(_groups(top), key=lambda one: len(one.parts), reverse=True):
            _until(deadline, f"{directory} stays busy", partial(_rmdir, directory))


def _until(deadline: float, complaint: str, done: Callable[[], bool]) -> None:
    # Exiting processes leave a group some time after the kill; v1 sends no event.
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
