"""Online CPUs and NUMA nodes, from sysfs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.cpulist import cpu_list
from exporter.errors import ParseError

_NODE = re.compile(r"node(\d{1,5})\Z")


@dataclass(frozen=True, slots=True)
class Topology:
    """Which CPUs run and where they sit; absent parts mean that sysfs does not say."""

    online: frozenset[int] | None = None
    numa_node: Mapping[int, int] = field(default_factory=dict)
    """CPU -> NUMA node."""
    problems: tuple[ParseError, ...] = ()

    def numa_nodes_of(self, cpus: frozenset[int]) -> int | None:
        """How many NUMA nodes ``cpus`` touch; ``None`` where none of them is known to be on any."""
        nodes = {self.numa_node[cpu] for cpu in cpus if cpu in self.numa_node}
        return len(nodes) or None


def read_topology(sys: str) -> Topology:
    """``devices/system/cpu/online`` and ``devices/system/node/node*/cpulist`` under ``sys``."""
    problems: list[ParseError] = []
    base = f"{sys}/devices/system"
    online = _read_list(f"{base}/cpu/online", problems)
    numa: dict[int, int] = {}
    try:
        entries = os.listdir(f"{base}/node")
    except OSError:
        entries = []
    for entry in entries:
        match = _NODE.match(entry)
        if match:
            for cpu in _read_list(f"{base}/node/{entry}/cpulist", problems) or ():
                numa[cpu] = int(match[1])
    return Topology(online, numa, tuple(problems))


def _read_list(path: str, problems: list[ParseError]) -> frozenset[int] | None:
    try:
        with open(path, "rb") as file:
            return cpu_list(file.read(65536), path)
    except OSError:
        return None
    except ParseError as error:
        problems.append(error)
        return None
