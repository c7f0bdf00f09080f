"""Detects the hierarchy under a root, and walks its pods and containers.

Detection looks at the tree alone, so a recorded tree needs no mount table.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from exporter.cgroupfs.names import NO_OWNERS, SUBGROUP, Owners, decode
from exporter.errors import ReadError
from exporter.model import CgroupRef, HierarchyVersion

NO_REF = CgroupRef("", "", "", None, "Guaranteed", "", "cgroupfs")
"""The reference of a cgroup that is no pod's; its path is replaced."""
_MARKS = {"cpu": "cpu.shares", "cpuacct": "cpuacct.usage", "cpuset": "cpuset.cpus", "pids": "cgroup.procs"}
"""v1 controller -> a file that its root has; that of pids has none of its own."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The root directory of each controller's tree; on v2 (and for controllers handed to v2) the same directory."""

    version: HierarchyVersion
    cpu_is_v2: bool
    cpu: str
    cpuacct: str | None
    cpuset: str | None
    cpuset_is_v2: bool = False
    pids: str | None = None
    root: str = field(default="", compare=False)  # the directory in which it was detected; empty when it was not


@dataclass(slots=True, eq=False)
class Found:
    """One cgroup of a walk."""

    ref: CgroupRef
    inode: int  # grows with the time of creation (kernfs ids)
    subgroup: bool  # whether crun keeps its processes in a child of it


NOTHING_KNOWN: Mapping[str, Found] = MappingProxyType({})


class Walk(NamedTuple):
    """One pass over a tree."""

    found: Mapping[str, Found]  # by path; a cgroup that was known already is the same object
    problems: Mapping[str, int]
    """Directories that could not be listed, by errno name; a vanished one is a problem only when it is the root."""


def detect(root: str) -> Hierarchy:
    """The cgroup hierarchy under ``root``. Raises ``ReadError`` when there is none with a cpu controller."""
    available = _words(f"{root}/cgroup.controllers")
    if available is not None:
        if "cpu" in available:
            return Hierarchy("v2", True, root, root, root, True, root, root)
        missing = " and ".join(f"no {name}" for name in ("cpu", "cpuset") if name not in available)
        raise ReadError(root, f"a cgroup v2 tree with {missing} controller", reason="not_cgroup")
    controllers = _v1_controllers(root)
    unified = f"{root}/unified"
    in_unified = _words(f"{unified}/cgroup.controllers")
    version: HierarchyVersion = "v1" if in_unified is None else "hybrid"
    handed_over = in_unified or set()
    cpuset_is_v2 = "cpuset" in handed_over
    cpuset = unified if cpuset_is_v2 else controllers.get("cpuset")
    others = (cpuset, cpuset_is_v2, unified if "pids" in handed_over else controllers.get("pids"), root)
    if "cpu" in controllers:
        return Hierarchy(version, False, controllers["cpu"], controllers.get("cpuacct"), *others)
    if "cpu" in handed_over:
        return Hierarchy(version, True, unified, unified, *others)
    raise ReadError(root, "not a cgroup tree with a cpu controller", reason="not_cgroup")


def _v1_controllers(root: str) -> dict[str, str]:
    """Controller -> its mount. Distributions name joint mounts ``cpu,cpuacct`` and link ``cpu`` to them, or not."""
    try:
        entries = sorted(os.listdir(root))
    except OSError as error:
        raise ReadError.from_os_error(root, error) from error
    return {
        controller: os.path.realpath(f"{root}/{entry}")
        for entry in entries
        for controller in entry.split(",")
        if controller in _MARKS and os.path.exists(f"{root}/{entry}/{_MARKS[controller]}")
    }


def _words(path: str) -> set[str] | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return set(file.read(4096).split())
    except OSError:
        return None


def walk(root: str, below: str = "", known: Mapping[str, Found] = NOTHING_KNOWN, owners: Owners = NO_OWNERS) -> Walk:
    """Find every pod's and container's cgroup under ``root``: one controller's mount, or v2's.

    With ``below``, only the one at that path and those under it. A cgroup that is ``known``, by path, is returned as
    the same object while its inode is the same, and not looked at again. ``owners`` are looked for by id where no path
    names a pod.
    """
    found: dict[str, Found] = {}
    problems = Counter[str]()
    pending = [(below, -1)]
    while pending:
        path, inode = pending.pop()
        one, is_leaf = known.get(path), False
        try:
            if one is None or one.inode != inode or one.ref.runtime == "cri-o":
                status = os.lstat(f"{root}/{path}")
                # kernfs keeps the link count at 2 plus the subdirectories, which spares listing a leaf's fifty files.
                is_leaf = status.st_nlink == 2
                # What was an owner's stays it: a later list may leave it out.
                ref = one.ref if one is not None and one.inode == status.st_ino else decode(path, owners)
                one = None if ref is None else _look_at(root, ref, status.st_ino, is_leaf=is_leaf)
            if one is not None:
                found[path] = one
            # Cgroups inside a container are not containers of the kubelet.
            if not is_leaf and (one is None or one.ref.container_id is None):
                prefix = f"{path}/" if path else ""
                with os.scandir(f"{root}/{path}") as entries:
                    inside = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
                pending += [(prefix + entry.name, entry.inode()) for entry in inside]
        except OSError as error:
            if not path or not isinstance(error, FileNotFoundError | NotADirectoryError):
                problems[ReadError.from_os_error(path, error).reason] += 1
    return Walk(found, problems)


def _look_at(root: str, ref: CgroupRef, inode: int, *, is_leaf: bool) -> Found:
    # A path that names no runtime is none that crun makes a child in.
    may_have = not is_leaf and ref.container_id is not None and ref.runtime != ""
    return Found(ref, inode, subgroup=may_have and os.path.isdir(f"{root}/{ref.path}/{SUBGROUP}"))
