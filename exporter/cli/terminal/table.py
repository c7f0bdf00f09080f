"""Containers as lines of a table: which columns fit a width, and how a cell is written. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, NamedTuple

from exporter.cli.terminal.names import full_name
from exporter.cli.terminal.text import SEVERITY_STYLE, harmless, shortened
from exporter.report.impact import lost_seconds_per_second
from exporter.report.schema import Container

NAME: Final = "CONTAINER"
LEAST_NAME: Final = 32
ABSENT: Final = "-"
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS: Final = " .:-=+*#"
SERIES_WIDTH: Final = 20
_GAP: Final = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """One column after the name."""

    title: str
    width: int
    wanted: int
    """1 is shown before all others where there is little room."""
    value: Callable[[Container], str]
    """Not yet made harmless."""
    left: bool = False
    style: Callable[[Container], str] = lambda _: ""


class Cell(NamedTuple):
    """A piece of a line, padded to its column."""

    text: str
    style: str = ""


Line = list[Cell]


def percent(share: float | None) -> str:
    """``42%``, in four characters."""
    return ABSENT if share is None else f"{100 * share:.0f}%"


def cores(value: float | None) -> str:
    """``0.25``, ``16.0``, in five characters."""
    return ABSENT if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _finding(container: Container) -> str:
    first, *rest = [finding["name"] for finding in container["findings"]] or [""]
    return f"{first} +{len(rest)}" if rest else first


def _severity_style(container: Container) -> str:
    return SEVERITY_STYLE.get(container["severity"] or "", "")


def sparkline(values: Sequence[float], *, symbols: bool, width: int = SERIES_WIDTH) -> str:
    """Shares as blocks, the newest last: each block is the highest of the values it stands for."""
    if not values:
        return ""
    blocks = _BLOCKS if symbols else _ASCII_BLOCKS
    count = min(width, len(values))
    highest = [max(values[at * len(values) // count : (at + 1) * len(values) // count]) for at in range(count)]
    # Only nothing at all is the lowest block.
    return "".join(blocks[min(len(blocks) - 1, max(0, ceil(share * (len(blocks) - 1))))] for share in highest)


THROTTLED: Final = Column("THR", 4, 1, lambda one: percent(one["throttling"]["ratio"]), style=_severity_style)
LOST: Final = Column("LOST/S", 6, 2, lambda one: cores(lost_seconds_per_second(one)))
USE: Final = Column("CPU", 5, 3, lambda one: cores(one["usage_cores"]))
FINDING: Final = Column("FINDING", 24, 4, _finding, left=True, style=_severity_style)
WAITING: Final = Column("WAIT", 4, 7, lambda one: percent(one["pressure"]["waiting_share"]))
COLUMNS: Final = (
    THROTTLED,
    Column("PEAK", 4, 6, lambda one: percent(one["throttling"]["peak"])),
    LOST,
    USE,
    Column("LIMIT", 5, 5, lambda one: cores(one["limit_cores"])),
    Column("REQ", 5, 12, lambda one: cores(one["request_cores"])),
    WAITING,
    Column("THRDS", 5, 11, lambda one: ABSENT if one["threads"] is None else str(one["threads"])),
    Column("QOS", 10, 13, lambda one: one["qos_class"], left=True),
    Column("CPUS", 9, 9, lambda one: one["cpuset"]["cpus"] if one["cpuset"] else ABSENT, left=True),
    Column("ISOLATION", 9, 10, lambda one: one["isolation"] or ABSENT, left=True),
    FINDING,
)
"""From left to right."""


def history(*, symbols: bool) -> Column:
    """The throttled ratio over the window."""
    return Column(
        "LAST WINDOW", SERIES_WIDTH, 8, lambda one: sparkline(one["series"]["ratio"], symbols=symbols), left=True
    )


def columns_for(width: int, *, extra: Sequence[Column] = ()) -> list[Column]:
    """Those that fit, the most wanted first, in the order in which they are shown."""
    fitting = set()
    for column in sorted((*COLUMNS, *extra), key=lambda one: one.wanted):
        width -= column.width + len(_GAP)
        if width < 0:
            break
        fitting.add(column.title)
    return [column for column in (*COLUMNS[:-1], *extra, FINDING) if column.title in fitting]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, and the width of the names before them."""

    columns: Sequence[Column]
    name_width: int

    @classmethod
    def fitting(cls, width: int, containers: Sequence[Container], *, extra: Sequence[Column] = ()) -> Table:
        """As much as ``width`` holds, beside names of these containers."""
        longest = _longest(containers)
        columns = columns_for(width - min(longest, LEAST_NAME), extra=extra)
        return cls(columns, min(longest, width - sum(column.width + len(_GAP) for column in columns)))

    @classmethod
    def whole(cls, containers: Sequence[Container]) -> Table:
        """Every column, and every name in full: for pipes."""
        return cls(COLUMNS, _longest(containers))

    @property
    def head(self) -> Line:
        """The titles."""
        return self._line(NAME, "", [(column.title, "") for column in self.columns])

    def row(self, container: Container) -> Line:
        """One container."""
        cells = [(column.value(container), column.style(container)) for column in self.columns]
        return self._line(full_name(container), "" if container["live"] else "dim", cells)

    def _line(self, name: str, style: str, cells: Sequence[tuple[str, str]]) -> Line:
        line = [Cell(f"{shortened(harmless(name), self.name_width):{self.name_width}}", style)]
        for column, (text, cell_style) in zip(self.columns, cells, strict=True):
            fit = shortened(harmless(text), column.width)
            line.append(Cell(_GAP + (f"{fit:{column.width}}" if column.left else f"{fit:>{column.width}}"), cell_style))
        line[-1] = Cell(line[-1].text.rstrip(), line[-1].style)
        return line


def _longest(containers: Sequence[Container]) -> int:
    return max([len(NAME), *(len(harmless(full_name(one))) for one in containers)])


def plain(line: Line) -> str:
    """Without styles, and without blanks at its end."""
    return "".join(cell.text for cell in line).rstrip()
