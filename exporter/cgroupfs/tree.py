"""Which hierarchy lies under a root, and which pods and containers are in it.

Detection looks at the tree alone, so that a recorded tree and a host's mount are told apart by nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from exporter.cgroupfs import names
from exporter.errors import ReadError
from exporter.model import CgroupRef, HierarchyVersion

MAX_DEPTH = 16
"""Directories above a pod; kind inside docker inside a systemd slice needs nine."""
MAX_DIRECTORIES = 200_000


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where each controller's tree begins; on v2 (and for controllers handed to v2) all are the same directory."""

    version: HierarchyVersion
    cpu_is_v2: bool
    cpu: str
    cpuacct: str | None
    cpuset: str | None
    cpuset_is_v2: bool = False
    root: str = field(default="", compare=False)
    """Below which all of it was found; empty where nobody looked."""


@dataclass(frozen=True, slots=True)
class Found:
    """One cgroup of a walk."""

    ref: CgroupRef
    inode: int
    """Grows with the time a cgroup was made (kernfs ids are handed out in order), so it tells older from newer."""
    subgroup: bool
    """It has the child directory that crun keeps a container's processes in."""


class Known(Protocol):
    """What a walk tells of a cgroup, and is told of those that were there before."""

    @property
    def ref(self) -> CgroupRef:
        """See :class:`Found`."""

    @property
    def inode(self) -> int:
        """See :class:`Found`."""

    @property
    def subgroup(self) -> bool:
        """See :class:`Found`."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One pass over a tree."""

    found: Mapping[str, Known]
    """By path; what was known already is the same object."""
    problems: Mapping[str, int] = field(default_factory=dict)
    """Directories that could not be listed, by errno name; vanished ones are none, but the root is one."""


def detect(root: str) -> Hierarchy:
    """The cgroup hierarchy under ``root``. Raises ``ReadError`` when there is none with a cpu controller."""
    if os.path.exists(f"{root}/cgroup.controllers"):
        available = _words(f"{root}/cgroup.controllers")
        if "cpu" in available:
            return Hierarchy("v2", True, root, root, root, True, root)
        missing = " and ".join(f"no {name}" for name in ("cpu", "cpuset") if name not in available)
        raise ReadError(root, f"a cgroup v2 tree with {missing} controller", reason="not_cgroup")
    controllers = _v1_controllers(root)
    unified = f"{root}/unified"
    has_unified = os.path.exists(f"{unified}/cgroup.controllers")
    version: HierarchyVersion = "hybrid" if has_unified else "v1"
    in_unified = _words(f"{unified}/cgroup.controllers") if has_unified else set()
    cpuset_is_v2 = "cpuset" not in controllers and "cpuset" in in_unified
    cpuset = unified if cpuset_is_v2 else controllers.get("cpuset")
    if "cpu" in controllers:
        return Hierarchy(version, False, controllers["cpu"], controllers.get("cpuacct"), cpuset, cpuset_is_v2, root)
    if "cpu" in in_unified:
        return Hierarchy(version, True, unified, unified, cpuset, cpuset_is_v2, root)
    raise ReadError(root, "not a cgroup tree with a cpu controller", reason="not_cgroup")


def _v1_controllers(root: str) -> dict[str, str]:
    """Controller -> its mount. Distributions name joint mounts ``cpu,cpuacct`` and link ``cpu`` to them, or not."""
    mounts: dict[str, str] = {}
    marks = {"cpu": "cpu.shares", "cpuacct": "cpuacct.usage", "cpuset": "cpuset.cpus"}
    try:
        entries = sorted(os.listdir(root))
    except OSError as error:
        raise ReadError.from_os_error(root, error) from error
    for entry in entries:
        for controller in entry.split(","):
            path = f"{root}/{entry}"
            if controller in marks and (os.path.exists(f"{path}/{marks[controller]}") or controller not in mounts):
                mounts[controller] = path
    return {
        controller: os.path.realpath(path)
        for controller, path in mounts.items()
        if os.path.exists(f"{path}/{marks[controller]}") or _has_pods(path)
    }


def _has_pods(path: str) -> bool:
    """A mount whose own files are not readable to us may still hold pods (a partial bind mount)."""
    return any(True for _ in _walk(path, Counter()))


def _words(path: str) -> set[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return set(file.read(4096).split())
    except OSError:
        return set()


def walk(root: str, below: str = "", known: Mapping[str, Known] = MappingProxyType({})) -> Walk:
    """Every pod's and container's cgroup under ``root`` (one controller's mount, or v2's).

    With ``below``, only the one at that path and those under it. What the walk before has ``known`` and is still the
    same directory is not looked at again, only listed.
    """
    problems: Counter[str] = Counter()
    found = {one.ref.path: one for one in _walk(root, problems, below, known)}
    if below:
        found |= {one.ref.path: one for one in _itself(root, below)}
    return Walk(found, dict(problems))


def _itself(root: str, path: str) -> Iterator[Found]:
    ref = names.decode(path)
    if ref is not None:
        try:
            inode = os.stat(f"{root}/{path}").st_ino
        except OSError:
            return
        yield Found(ref, inode, ref.runtime == "cri-o" and os.path.isdir(f"{root}/{path}/{names.SUBGROUP}"))


def _walk(
    root: str, problems: Counter[str], below: str = "", known: Mapping[str, Known] = MappingProxyType({})
) -> Iterator[Known]:
    ref = names.decode(below) if below else None
    if ref is not None and ref.container_id is not None:
        return
    pending = [(below, 0)]
    seen = 0
    while pending:
        directory, depth = pending.pop()
        seen += 1
        if seen > MAX_DIRECTORIES:
            problems["too_many_directories"] += 1
            return
        try:
            children = _directories(root, directory, known)
        except OSError as error:
            if directory and isinstance(error, FileNotFoundError | NotADirectoryError):
                continue
            problems[ReadError.from_os_error(directory, error).reason] += 1
            continue
        for path, inode, leaf in children:
            before = known.get(path)
            if before is not None and before.inode == inode and before.ref.runtime != "cri-o":
                yield before
                ref = before.ref
            else:
                ref = names.decode(path)
                if ref is not None:
                    subgroup = not leaf and ref.container_id is not None and ref.runtime == "cri-o"
                    yield Found(ref, inode, subgroup and os.path.isdir(f"{root}/{path}/{names.SUBGROUP}"))
            # What lies inside a container is its own business; a leaf has nothing inside.
            if not leaf and depth < MAX_DEPTH and (ref is None or ref.container_id is None):
                pending.append((path, depth + 1))


def _directories(root: str, directory: str, known: Mapping[str, Known]) -> list[tuple[str, int, bool]]:
    """Path, inode and "has no subdirectories" of each child directory.

    kernfs keeps a directory's link count at 2 plus its subdirectories. Asking it spares listing a leaf's fifty files;
    a known cgroup that is no leaf as far as we know is not asked.
    """
    children = []
    prefix = f"{directory}/" if directory else ""
    with os.scandir(f"{root}/{directory}") as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                path, inode = prefix + entry.name, entry.inode()
                before = known.get(path)
                leaf = False
                if before is None or before.inode != inode or before.ref.runtime == "cri-o":
                    try:
                        leaf = entry.stat(follow_symlinks=False).st_nlink == 2
                    except FileNotFoundError:
                        continue
                children.append((path, inode, leaf))
    return children
