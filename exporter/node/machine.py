"""What kernel and sysfs say of the machine: the release and its CFS bandwidth bug, online CPUs, NUMA nodes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporter.cpulist import cpu_list
from exporter.errors import ParseError
from exporter.model import CfsQuotaBug

MAX_BYTES = 16 << 20  # above any file read here: a checkpoint has 100 bytes for each of some hundred containers
_NODE = re.compile(r"node(\d{1,5})")
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?!\d)(.*)", re.ASCII)

_BROKEN = (4, 18, 0)
_MENDED = (5, 4, 0)
_STABLE_LINES = {
    (4, 14): ((4, 14, 95), (4, 14, 154)),
    (4, 19): ((4, 19, 0), (4, 19, 84)),
    (5, 3): ((5, 3, 0), (5, 3, 9)),
}
"""Stable lines that took the fault or its fix: first broken and first mended release."""


def read_file(path: str) -> bytes | None:
    """Read at most :data:`MAX_BYTES` of a file; ``None`` where it is absent or may not be read."""
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return None


def read_release(proc: str) -> str | None:
    """``uname -r`` of the kernel behind ``proc``: ``sys/kernel/osrelease``, else the third word of ``version``."""
    for name, word in (("sys/kernel/osrelease", 0), ("version", 2)):
        words = (read_file(f"{proc}/{name}") or b"")[:4096].decode("utf-8", "replace").split()
        if len(words) > word:
            return words[word]
    return None


def cfs_quota_bug(release: str | None) -> CfsQuotaBug:
    """Whether ``release`` has 512ac999d275 (4.18), which throttles below the limit, without de53fd7aedb1 (5.4)."""
    match = _VERSION.match(release or "")
    if match is None:
        return "unknown"
    version = (int(match[1]), int(match[2]), int(match[3] or 0))
    if version >= _MENDED:
        return "fixed"
    if match[4] or match[3] is None:  # a vendor's number tells nothing of upstream's patches
        return "unknown"
    broken, mended = _STABLE_LINES.get(version[:2], (_BROKEN, _MENDED))
    return "affected" if broken <= version < mended else "fixed"


@dataclass(frozen=True, slots=True)
class Topology:
    """Which CPUs run and where they sit; absent parts mean that sysfs does not say."""

    online: frozenset[int] | None = None
    numa_node: Mapping[int, int] = field(default_factory=dict)  # CPU -> NUMA node
    problems: tuple[ParseError, ...] = ()

    def numa_nodes_of(self, cpus: frozenset[int]) -> int | None:
        """How many NUMA nodes ``cpus`` touch; ``None`` where none of them is known to be on any."""
        nodes = {self.numa_node[cpu] for cpu in cpus if cpu in self.numa_node}
        return len(nodes) or None


def read_topology(sys: str) -> Topology:
    """``devices/system/cpu/online`` and ``devices/system/node/node*/cpulist`` under ``sys``."""
    problems: list[ParseError] = []

    def read_list(path: str) -> frozenset[int] | None:
        data = read_file(path)
        try:
            return None if data is None else cpu_list(data, path)
        except ParseError as error:
            problems.append(error)
            return None

    base = Path(sys, "devices/system")
    online = read_list(f"{base}/cpu/online")
    numa = {
        cpu: int(match[1])
        for folder in base.glob("node/node*")
        if (match := _NODE.fullmatch(folder.name))
        for cpu in read_list(f"{folder}/cpulist") or ()
    }
    return Topology(online, numa, tuple(problems))
