"""What ``top`` shows: its state, what each key does to it, and its lines. Pure; knows no terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from exporter.cli.terminal.names import full_name
from exporter.cli.terminal.overview import headline
from exporter.cli.terminal.table import Cell, Line, Table, history
from exporter.cli.terminal.text import harmless
from exporter.report.impact import impact, lost_seconds_per_second
from exporter.report.schema import Container, ContainersDocument

FRAME_LINES: Final = 4
"""Two lines above the table, its head, and the one below."""
HELP: Final = "q quit  s sort  r reverse  / filter  PgUp PgDn"
_LONGEST_FILTER: Final = 60


class Sort(NamedTuple):
    """One order, the most interesting first."""

    name: str
    key: Callable[[Container], Any]


def _most(value: Callable[[Container], float | None]) -> Callable[[Container], Any]:
    """The highest first, what is not known last, then what hurts most."""

    def key(one: Container) -> tuple[float, Any]:
        found = value(one)
        return (1.0 if found is None else -found), impact(one)

    return key


SORTS: Final = (
    Sort("pain", impact),
    Sort("throttled", _most(lambda one: one["throttling"]["ratio"])),
    Sort("lost", _most(lost_seconds_per_second)),
    Sort("cpu", _most(lambda one: one["usage_cores"])),
    Sort("waiting", _most(lambda one: one["pressure"]["waiting_share"])),
    Sort("name", full_name),
)


class Board:
    """The table, scrolled and sorted as the user wants it."""

    def __init__(self, *, symbols: bool) -> None:
        self.document: ContainersDocument | None = None
        self.problem = ""
        """Why there is nothing newer; one line."""
        self._symbols = symbols
        self._sort = 0
        self._reversed = False
        self._offset = 0
        self._filter = ""
        self._typing = False
        self._page = 1
        self._keys: dict[str, Callable[[], None]] = {
            "s": self._next_sort,
            "r": self._reverse,
            "/": self._start_typing,
            "escape": self._clear_filter,
            "up": lambda: self._scroll(-1),
            "down": lambda: self._scroll(1),
            "k": lambda: self._scroll(-1),
            "j": lambda: self._scroll(1),
            "pageup": lambda: self._scroll(-self._page),
            "pagedown": lambda: self._scroll(self._page),
            " ": lambda: self._scroll(self._page),
            "home": lambda: self._scroll(-self._offset),
            "end": lambda: self._scroll(1 << 30),
        }

    def press(self, key: str) -> bool:
        """What a key does: a character, or a word such as ``pageup``. False when the user wants to leave."""
        if self._typing:
            self._type(key)
        elif key in {"q", "Q"}:
            return False
        elif key in self._keys:
            self._keys[key]()
        return True

    def shown(self) -> list[Container]:
        """The containers that pass the filter, in their order."""
        if self.document is None:
            return []
        wanted = self._filter.lower()
        found = [one for one in self.document["containers"] if wanted in full_name(one).lower()]
        return sorted(found, key=SORTS[self._sort].key, reverse=self._reversed)

    def lines(self, width: int, height: int, status: str) -> list[Line]:
        """Exactly ``height`` lines of at most ``width`` characters; ``status`` tells source and time."""
        containers = self.shown()
        self._page = max(1, height - FRAME_LINES)
        self._offset = max(0, min(self._offset, len(containers) - self._page))
        visible = containers[self._offset : self._offset + self._page]
        everyone = [] if self.document is None else self.document["containers"]
        table = Table.fitting(width, everyone, extra=[history(symbols=self._symbols)])
        lines = [
            [Cell(self._summary(), "bold")],
            [Cell(self.problem, "red") if self.problem else Cell(status, "dim")],
            table.head,
            *(table.row(one) for one in visible),
        ]
        lines += [[]] * (height - 1 - len(lines))
        lines.append([Cell(self._foot(len(visible), len(containers)), "dim")])
        return [_cut(line, width) for line in lines[:height]]

    def _summary(self) -> str:
        if self.document is None:
            return "waiting for the first numbers" if not self.problem else "no numbers"
        return headline(self.document["containers"], self.document["node_findings"])

    def _foot(self, visible: int, total: int) -> str:
        if self._typing:
            return f"filter: {self._filter}_  (Enter keeps it, Esc clears it)"
        order = SORTS[self._sort].name + (" reversed" if self._reversed else "")
        where = f"{self._offset + 1}-{self._offset + visible} of {total}" if visible else "none"
        kept = f"  filter {self._filter!r}" if self._filter else ""
        return f"{where}  by {order}{kept}  |  {HELP}"

    def _next_sort(self) -> None:
        self._sort = (self._sort + 1) % len(SORTS)

    def _reverse(self) -> None:
        self._reversed = not self._reversed

    def _start_typing(self) -> None:
        self._typing, self._offset = True, 0

    def _clear_filter(self) -> None:
        self._filter, self._typing = "", False

    def _scroll(self, lines: int) -> None:
        self._offset = max(0, self._offset + lines)

    def _type(self, key: str) -> None:
        if key == "enter":
            self._typing = False
        elif key == "escape":
            self._clear_filter()
        elif key == "backspace":
            self._filter = self._filter[:-1]
        elif len(key) == 1 and key.isprintable() and len(self._filter) < _LONGEST_FILTER:
            self._filter += key


def _cut(line: Line, width: int) -> Line:
    """At most ``width`` characters; a sentence shows that it goes on."""
    if len(line) == 1 and len(text := harmless(line[0].text)) > width:
        return [Cell(f"{text[: width - 1]}~", line[0].style)]
    cut: Line = []
    for text, style in line:
        cut.append(Cell(harmless(text)[:width], style))
        width -= len(cut[-1].text)
    return cut
