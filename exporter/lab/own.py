"""The cgroup this process runs in: where its directories are, seen from here.

The pages: cgroups(7) for ``/proc/PID/cgroup``, proc_pid_mountinfo(5) for the mounts. A container may see only its own
part of the tree, mounted as if it were the root; the two files together say which part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from exporter.lab.hierarchy import CONTROLLERS, Hierarchy, LabError


@dataclass(frozen=True, slots=True)
class _Mount:
    root: PurePosixPath
    point: Path
    kind: str
    options: frozenset[str]


@dataclass(frozen=True, slots=True)
class OwnCgroup:
    """A hierarchy as mounted here, and this process's groups in it by controller (relative to the mount)."""

    hierarchy: Hierarchy
    paths: dict[str, str]

    def ancestors(self, controller: str) -> list[Path]:
        """The group's directory and those above it up to the mount, nearest first."""
        mount = self.hierarchy.mounts[controller]
        path = PurePosixPath(self.paths[controller])
        return [mount / parent for parent in (path, *path.parents)]


def parse_memberships(text: str) -> dict[str, PurePosixPath]:
    r"""``/proc/PID/cgroup`` -> path by controller; the unified hierarchy's line (``0::``) has the key ``""``.

    >>> parse_memberships("2:cpu,cpuacct:/a\n0::/b\n")["cpuacct"]
    PurePosixPath('/a')
    """
    memberships: dict[str, PurePosixPath] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            memberships[controller] = PurePosixPath(path)
    return memberships


def parse_cgroup_mounts(text: str) -> list[_Mount]:
    """``/proc/PID/mountinfo`` -> the mounts of type ``cgroup`` and ``cgroup2``."""
    mounts = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        if not separator:
            continue
        kind, _, options = after.split(" ", 2)
        if kind not in {"cgroup", "cgroup2"}:
            continue
        fields = before.split(" ")
        # Spaces in paths are written \040.
        root, point = (field.encode("ascii").decode("unicode_escape") for field in fields[3:5])
        mounts.append(_Mount(PurePosixPath(root), Path(point), kind, frozenset(options.split(","))))
    return mounts


def own_cgroup(proc: Path = Path("/proc")) -> OwnCgroup:
    """The group ``proc``'s reader runs in; a :class:`LabError` when it is not mounted here."""
    memberships = parse_memberships((proc / "self/cgroup").read_text(encoding="utf-8"))
    mounts = parse_cgroup_mounts((proc / "self/mountinfo").read_text(encoding="utf-8"))
    if "cpu" in memberships:
        located = {name: _locate_v1(name, memberships, mounts) for name in CONTROLLERS if name in memberships}
        points = {name: point for name, (point, _) in located.items()}
        hierarchy = Hierarchy("v1", points["cpu"].parent, points)
        return OwnCgroup(hierarchy, {name: path for name, (_, path) in located.items()})
    if "" not in memberships:
        raise LabError("this process is in no cgroup with a cpu controller", reason="no_controller")
    for mount in mounts:
        if mount.kind == "cgroup2":
            path = _inside(mount, memberships[""])
            return OwnCgroup(
                Hierarchy("v2", mount.point, dict.fromkeys(CONTROLLERS, mount.point)), dict.fromkeys(CONTROLLERS, path)
            )
    raise LabError("no cgroup2 file system is mounted here", reason="not_mounted")


def _locate_v1(name: str, memberships: dict[str, PurePosixPath], mounts: list[_Mount]) -> tuple[Path, str]:
    for mount in mounts:
        if mount.kind == "cgroup" and name in mount.options:
            return mount.point, _inside(mount, memberships[name])
    raise LabError(f"the {name} controller is not mounted here", reason="not_mounted")


def _inside(mount: _Mount, path: PurePosixPath) -> str:
    if path.is_relative_to(mount.root):
        return str(path.relative_to(mount.root))
    raise LabError(f"the own cgroup {path} lies outside of what is mounted at {mount.point}", reason="not_mounted")
