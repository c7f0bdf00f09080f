"""Renders containers as lines of a table: which columns fit a width, and how a cell is written. Pure."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import ceil
from typing import Any, Final, NamedTuple, TextIO, TypeVar, cast

from rich.console import Console
from rich.text import Text
from typing_extensions import override

from exporter.errors import escape_control
from exporter.report.schema import Container
from exporter.report.summary import full_name, lost_seconds_per_second, throttled_ratio

NAME: Final = "CONTAINER"
LEAST_NAME: Final = 32
UNKNOWN: Final = "-"
SERIES_WIDTH: Final = 20
SEVERITY_STYLE: Final = {"critical": "red", "warning": "yellow", "info": "cyan", "ok": "green"}
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_GAP: Final = "  "
Document = TypeVar("Document")


class _Console(Console):
    @override
    def on_broken_pipe(self) -> None:
        """Raise it again: rich would exit with 1."""
        raise  # noqa: PLE0704 - called while it is handled


def console_for(stream: TextIO) -> Console:
    """Return the console of an output: colours where they are seen, ``NO_COLOR`` and ``COLUMNS`` obeyed."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")  # what its encoding lacks must not end a command
    return _Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)


def escaped(value: Document) -> Document:
    """Return a copy of a JSON document in which no text has control characters, keys included."""
    copy: Any = value
    if isinstance(value, str):
        copy = escape_control(value)
    elif isinstance(value, dict):
        copy = {escape_control(key): escaped(one) for key, one in value.items()}
    elif isinstance(value, list):
        copy = list(map(escaped, value))
    return cast("Document", copy)


def percent(share: float | None) -> str:
    """Return ``42%``, in four characters."""
    return UNKNOWN if share is None else f"{100 * share:.0f}%"


def cores(value: float | None) -> str:
    """Return ``0.25`` or ``16.0``, in five characters."""
    return UNKNOWN if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def finding_text(container: Container) -> str:
    """Return the worst finding's name, and how many more there are."""
    first, *rest = [finding["name"] for finding in container["findings"]] or [""]
    return f"{first} +{len(rest)}" if rest else first


def shortened(text: str, width: int) -> str:
    """Return at most ``width`` characters: the middle goes, since a name's ends say most."""
    if len(text) <= width or width <= 1:
        return text[:width]
    head = (width - 1) // 2
    return f"{text[:head]}~{text[len(text) - (width - 1 - head) :]}"


def sparkline(values: Sequence[float]) -> str:
    """Return shares as blocks, the newest last: each block is the highest of the values it stands for."""
    count = min(SERIES_WIDTH, len(values))
    highest = [max(values[at * len(values) // count : (at + 1) * len(values) // count]) for at in range(count)]
    # Only zero is the lowest block.
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, max(0, ceil(share * (len(_BLOCKS) - 1))))] for share in highest)


class Column(NamedTuple):
    """One column after the name."""

    title: str
    width: int
    priority: int  # 1 is shown before all others where there is little room
    value: Callable[[Container], str]
    left: bool = False
    coloured: bool = False  # whether it has the colour of the container's severity

    def cell(self, text: str) -> str:
        """Return ``text`` with the gap before it, at the column's width."""
        return f"{_GAP}{shortened(text, self.width):{'<' if self.left else '>'}{self.width}}"


HISTORY: Final = Column("LAST WINDOW", SERIES_WIDTH, 8, lambda one: sparkline(one["series"]["ratio"]), left=True)
COLUMNS: Final = (
    Column("THR", 5, 1, lambda one: percent(throttled_ratio(one)[0]) + " ^"[throttled_ratio(one)[1]], coloured=True),
    Column("PEAK", 4, 6, lambda one: percent(one["throttling"]["peak"])),
    Column("LOST/S", 6, 3, lambda one: cores(lost_seconds_per_second(one))),
    Column("CPU", 5, 4, lambda one: cores(one["usage_cores"])),
    Column("LIMIT", 5, 5, lambda one: cores(one["limit_cores"])),
    Column("REQ", 5, 12, lambda one: cores(one["request_cores"])),
    Column("WAIT", 4, 7, lambda one: percent(one["pressure"]["waiting_share"])),
    Column("THRDS", 5, 11, lambda one: UNKNOWN if one["threads"] is None else str(one["threads"])),
    Column("QOS", 10, 13, lambda one: one["qos_class"], left=True),
    Column("CPUS", 9, 9, lambda one: one["cpuset"]["cpus"] if one["cpuset"] else UNKNOWN, left=True),
    Column("ISOLATION", 9, 10, lambda one: one["isolation"] or UNKNOWN, left=True),
    HISTORY,
    Column("FINDING", 24, 2, finding_text, left=True, coloured=True),
)


class Table(NamedTuple):
    """Columns, and the width of the names before them."""

    columns: Sequence[Column]
    name_width: int

    @classmethod
    def fitting(cls, width: int, containers: Sequence[Container]) -> Table:
        """Return what ``width`` holds, with long names shortened: for a screen that is redrawn."""
        longest = _longest(containers)
        columns = columns_for(width - min(longest, LEAST_NAME))
        taken = sum(column.width + len(_GAP) for column in columns)
        return cls(columns, max(1, min(longest, width - taken)))

    @classmethod
    def whole_names(cls, width: int | None, containers: Sequence[Container]) -> Table:
        """Return what fits beside whole names, ratio and finding always; without a width all but the history."""
        longest, columns = _longest(containers), [column for column in COLUMNS if column is not HISTORY]
        return cls(columns if width is None else columns_for(width - longest, columns, always=2), longest)

    @property
    def head(self) -> Text:
        """The titles."""
        return _line(f"{NAME:{self.name_width}}", *(column.cell(column.title) for column in self.columns))

    def row(self, container: Container) -> Text:
        """One container."""
        style = SEVERITY_STYLE.get(container["severity"] or "", "")
        name = f"{shortened(full_name(container), self.name_width):{self.name_width}}"
        cells = [(column.cell(column.value(container)), style if column.coloured else "") for column in self.columns]
        return _line((name, "" if container["live"] else "dim"), *cells)


def columns_for(width: int, columns: Sequence[Column] = COLUMNS, always: int = 0) -> list[Column]:
    """Return those that fit, by priority, in the order in which they are shown; ``always`` is a number of them."""
    by_priority = sorted(columns, key=lambda one: one.priority)
    widths = accumulate(column.width + len(_GAP) for column in by_priority)
    count = max(always, sum(taken <= width for taken in widths))
    return [column for column in columns if column in by_priority[:count]]


def _longest(containers: Sequence[Container]) -> int:
    return max([len(NAME), *(len(full_name(one)) for one in containers)])


def _line(*cells: str | tuple[str, str]) -> Text:
    line = Text.assemble(*cells)
    line.rstrip()
    return line
