"""Detects the hierarchy under a root, walks its pods and containers, and opens readers for them.

Detection looks at the tree alone, so a recorded tree needs no mount table.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from exporter.cgroupfs import names, v1, v2
from exporter.cgroupfs.files import CgroupFiles, Descriptors, read_optional
from exporter.errors import ReadError
from exporter.model import CgroupRef, Cpuset, HierarchyVersion

MAX_DEPTH = 16
"""Directories above a pod; kind inside docker inside a systemd slice needs nine."""
MAX_DIRECTORIES = 200_000

NO_REF = CgroupRef("", "", "", None, "Guaranteed", "", "cgroupfs")
"""The reference of a cgroup that is no pod's; its path is replaced."""


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
    root: str = field(default="", compare=False)
    """The directory in which it was detected; empty when it was not."""


@dataclass(slots=True, eq=False)
class Found:
    """One cgroup of a walk."""

    ref: CgroupRef
    inode: int
    """Grows with the time of creation (kernfs ids)."""
    subgroup: bool
    """Whether crun keeps its processes in a child of it."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One pass over a tree."""

    found: Mapping[str, Found]
    """By path; a cgroup that was known already is the same object."""
    problems: Mapping[str, int] = field(default_factory=dict)
    """Directories that could not be listed, by errno name; a vanished one is a problem only when it is the root."""


def detect(root: str) -> Hierarchy:
    """The cgroup hierarchy under ``root``. Raises ``ReadError`` when there is none with a cpu controller."""
    if os.path.exists(f"{root}/cgroup.controllers"):
        available = _words(f"{root}/cgroup.controllers")
        if "cpu" in available:
            return Hierarchy("v2", True, root, root, root, True, root, root)
        missing = " and ".join(f"no {name}" for name in ("cpu", "cpuset") if name not in available)
        raise ReadError(root, f"a cgroup v2 tree with {missing} controller", reason="not_cgroup")
    controllers = _v1_controllers(root)
    unified = f"{root}/unified"
    has_unified = os.path.exists(f"{unified}/cgroup.controllers")
    version: HierarchyVersion = "hybrid" if has_unified else "v1"
    in_unified = _words(f"{unified}/cgroup.controllers") if has_unified else set()
    cpuset_is_v2 = "cpuset" not in controllers and "cpuset" in in_unified
    cpuset = unified if cpuset_is_v2 else controllers.get("cpuset")
    others = (cpuset, cpuset_is_v2, unified if "pids" in in_unified else controllers.get("pids"), root)
    if "cpu" in controllers:
        return Hierarchy(version, False, controllers["cpu"], controllers.get("cpuacct"), *others)
    if "cpu" in in_unified:
        return Hierarchy(version, True, unified, unified, *others)
    raise ReadError(root, "not a cgroup tree with a cpu controller", reason="not_cgroup")


def _v1_controllers(root: str) -> dict[str, str]:
    """Controller -> its mount. Distributions name joint mounts ``cpu,cpuacct`` and link ``cpu`` to them, or not."""
    mounts: dict[str, str] = {}
    # The root of the pids controller has no file of its own.
    marks = {"cpu": "cpu.shares", "cpuacct": "cpuacct.usage", "cpuset": "cpuset.cpus", "pids": "cgroup.procs"}
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
    """Tell whether a mount without readable files of its own holds pods (a partial bind mount)."""
    return any(True for _ in _walk(path, Counter()))


def _words(path: str) -> set[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return set(file.read(4096).split())
    except OSError:
        return set()


_NOTHING_KNOWN: Mapping[str, Found] = MappingProxyType({})
_NO_OWNERS: names.Owners = MappingProxyType({})


def walk(
    root: str, below: str = "", known: Mapping[str, Found] = _NOTHING_KNOWN, owners: names.Owners = _NO_OWNERS
) -> Walk:
    """Find every pod's and container's cgroup under ``root``: one controller's mount, or v2's.

    With ``below``, only the one at that path and those under it. A cgroup that is ``known``, by path, is returned as
    the same object while its inode is the same, and not looked at again. ``owners`` are looked for by id where no path
    names a pod.
    """
    problems: Counter[str] = Counter()
    found = {one.ref.path: one for one in _walk(root, problems, below, known, owners)}
    if below:
        found |= {one.ref.path: one for one in _itself(root, below, owners)}
    return Walk(found, dict(problems))


def _itself(root: str, path: str, owners: names.Owners) -> Iterator[Found]:
    ref = names.decode(path) or names.decode_by_id(path, owners)
    if ref is not None:
        try:
            inode = os.stat(f"{root}/{path}").st_ino
        except OSError:
            return
        yield Found(ref, inode, subgroup=_has_subgroup(root, ref))


def _has_subgroup(root: str, ref: CgroupRef) -> bool:
    """Tell whether crun runs it; a path that names no runtime is none that crun makes a child in."""
    return ref.container_id is not None and ref.runtime != "" and os.path.isdir(f"{root}/{ref.path}/{names.SUBGROUP}")


def _walk(
    root: str,
    problems: Counter[str],
    below: str = "",
    known: Mapping[str, Found] = _NOTHING_KNOWN,
    owners: names.Owners = _NO_OWNERS,
) -> Iterator[Found]:
    ref = names.decode(below) or names.decode_by_id(below, owners) if below else None
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
                ref = names.decode(path) or names.decode_by_id(path, owners)
                if ref is not None:
                    yield Found(ref, inode, subgroup=not leaf and _has_subgroup(root, ref))
            # Cgroups inside a container are not containers of the kubelet.
            if not leaf and depth < MAX_DEPTH and (ref is None or ref.container_id is None):
                pending.append((path, depth + 1))


def _directories(root: str, directory: str, known: Mapping[str, Found]) -> list[tuple[str, int, bool]]:
    """Return path, inode and "has no subdirectories" of each child directory.

    kernfs keeps a directory's link count at 2 plus its subdirectories, which spares listing a leaf's fifty files.
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


class ReaderFactory:
    """Opens readers for the cgroups of one hierarchy; implements ``ControllerPaths`` for them."""

    def __init__(self, hierarchy: Hierarchy, budget: Descriptors | None = None) -> None:
        self.hierarchy = hierarchy
        self._budget = budget or Descriptors()
        # By controller root: only of controllers whose paths differ from the cpu tree's.
        self._indexes: dict[str, dict[tuple[str, str | None], str]] = {}

    def open(self, found: Found) -> CgroupFiles:
        """Open the reader of one cgroup."""
        hierarchy, ref = self.hierarchy, found.ref
        path = f"{hierarchy.cpu}/{ref.path}"
        if hierarchy.cpu_is_v2:
            leaf = f"{path}/{names.SUBGROUP}" if found.subgroup else path
            return v2.V2Files(path, leaf, ref, self, self._budget)
        return v1.V1Files(path, ref, self, self._budget)

    def open_path(self, path: str) -> CgroupFiles:
        """Open the reader of a cgroup that is no pod's, at ``path`` below each controller's root."""
        return self.open(Found(NO_REF._replace(path=path), 0, subgroup=False))

    def root_cpus(self) -> frozenset[int] | None:
        """Read the effective CPUs of the cpuset tree's root: on an LXC node fewer than the online ones."""
        cpuset = read_optional(self.read_cpuset, self.hierarchy.cpuset, self)
        return None if cpuset is None or not cpuset.cpus else cpuset.cpus

    def new_scan(self) -> None:
        """Forget the indexes, and detect a controller that was not mounted yet."""
        self._indexes.clear()
        known = self.hierarchy
        if known.root and (known.cpuacct is None or known.cpuset is None):
            with suppress(ReadError):
                fresh = detect(known.root)
                if fresh.cpu == known.cpu:
                    self.hierarchy = fresh

    def _locate(self, root: str | None, ref: CgroupRef) -> str | None:
        """Find the same cgroup in another controller's tree: at the same path, else by its ids."""
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
        """Return the directory of ``ref`` in the cpuacct tree; ``None`` while it is not there."""
        return self._locate(self.hierarchy.cpuacct, ref)

    def cpuset_of(self, ref: CgroupRef, *, leaf: bool) -> str | None:
        """Return the directory of ``ref`` in the cpuset tree; with ``leaf`` its subgroup's, where that tree has it."""
        path = self._locate(self.hierarchy.cpuset, ref)
        inner = f"{path}/{names.SUBGROUP}"
        return inner if leaf and path is not None and os.path.isdir(inner) else path

    def pids_of(self, ref: CgroupRef) -> str | None:
        """Return the directory of ``ref`` in the pids tree; ``None`` while it is not there."""
        return self._locate(self.hierarchy.pids, ref)

    def read_cpuset(self, path: str) -> Cpuset | None:
        """Read the cpuset of a directory in the cpuset tree, whose version may be another than the cpu tree's."""
        return (v2.read_cpuset if self.hierarchy.cpuset_is_v2 else v1.read_cpuset)(path)

    def is_mounted(self, path: str) -> bool:
        """Tell whether the tree that holds ``path`` is still mounted: an unmounted one leaves an empty directory."""
        for root in {self.hierarchy.cpu, self.hierarchy.cpuacct, self.hierarchy.cpuset} - {None}:
            if path.startswith(f"{root}/"):
                with suppress(OSError), os.scandir(root) as entries:
                    return next(entries, None) is not None
        return False
