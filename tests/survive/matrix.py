"""The fault matrix as a table: what a fault does to page and names, how it ends, and what tells of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import pytest

FAULTS: Final = ("absent at start", "dies", "hangs", "garbage", "returns")
DEPENDENCIES: Final = (
    "kubelet",
    "API server",
    "log directory",
    "cpu controller",
    "cpuset tree",
    "cpuacct tree",
    "cpu.pressure",
    "cpu.stat.local",
    "sysfs topology",
    "/proc/stat",
    "configz",
    "CPU manager checkpoint",
)


class Cell(NamedTuple):
    """What was seen of one fault of one dependency."""

    dependency: str
    fault: str
    page: str
    """What ``/metrics`` served meanwhile."""
    named: str
    """Containers under their own names meanwhile."""
    recovery: str
    """From the repair to the page of before, or what the return brought."""
    tells: str
    """The metric that changed."""


RECORD: Final = pytest.StashKey[list[Cell]]()


def table(cells: Iterable[Cell]) -> Iterator[str]:
    """One line for each cell, in the order of :data:`DEPENDENCIES` and :data:`FAULTS`."""
    found = {(cell.dependency, cell.fault): cell for cell in cells}
    rows = [Cell("dependency", "fault", "page", "named", "recovery", "the metric that tells")]
    rows += [found[key] for name in DEPENDENCIES for fault in FAULTS if (key := (name, fault)) in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
