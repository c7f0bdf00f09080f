"""What ``top`` shows on a terminal: its state, what each key does to it, and its lines. Pure; knows no terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, Final, Literal

from rich.text import Text

from exporter.cli.explain import container_lines
from exporter.cli.table import Table, escaped
from exporter.report.schema import Container, ContainersDocument
from exporter.report.summary import full_name, headline, impact, lost_seconds_per_second, throttled_ratio

FRAME_LINES: Final = 4  # two lines above the table, its head, and the one below
HELP: Final = "q quit  Enter explain  / filter  s sort  ? help"
_MAX_FILTER: Final = 60
_FAR: Final = 1 << 30
_MOVES: Final = {
    "up": -1, "k": -1, "down": 1, "j": 1, "pageup": -1, "pagedown": 1, " ": 1, "home": -_FAR, "end": _FAR,
}  # fmt: skip
_PAGE_KEYS: Final = {"pageup", "pagedown", " "}


def _descending(value: Callable[[Container], float | None]) -> Callable[[Container], Any]:
    def key(one: Container) -> tuple[float, Any]:
        found = value(one)
        return (1.0 if found is None else -found), impact(one)

    return key


SORTS: Final[dict[str, Callable[[Container], Any]]] = {
    "impact": impact,
    "throttled": _descending(lambda one: throttled_ratio(one)[0]),
    "lost": _descending(lost_seconds_per_second),
    "cpu": _descending(lambda one: one["usage_cores"]),
    "waiting": _descending(lambda one: one["pressure"]["waiting_share"]),
    "name": full_name,
}  # the first letter chooses the order
_BY_LETTER: Final = {name[0]: name for name in SORTS}


class Board:
    """The table, with an explanation or the help over it."""

    def __init__(self, *, namespace: str = "", sort: str = "impact") -> None:
        self.document: ContainersDocument | None = None
        self.problem = ""  # why there is nothing newer; one line
        self._namespace = namespace
        self._sort = sort
        self._reversed = self._typing = False
        self._offset = self._cursor = self._panel_offset = 0
        self._selected = self._filter = ""  # a cgroup, which new numbers may move; what names must contain
        self._panel: Literal["", "explain", "help"] = ""
        self._page = 1

    def press(self, key: str) -> bool:
        """Handle a key, a character or a word such as ``pageup``; return false when the user wants to leave."""
        if self._typing:
            self._type(key)
        elif key in _MOVES:
            self._move(_MOVES[key] * (self._page if key in _PAGE_KEYS else 1))
        elif self._panel:
            self._panel = "" if key in {"q", "escape", "enter", "?"} else self._panel
        elif key in {"q", "Q"}:
            return False
        elif key in {"enter", "?"}:
            self._panel, self._panel_offset = "help" if key == "?" else "explain", 0
        else:
            self._arrange(key)
        return True

    def _arrange(self, key: str) -> None:
        if key in _BY_LETTER:
            self._sort, self._reversed = _BY_LETTER[key], False
        elif key == "s":
            names = list(SORTS)
            self._sort = names[(names.index(self._sort) + 1) % len(names)]
        elif key == "r":
            self._reversed = not self._reversed
        elif key == "/":
            self._typing, self._offset, self._cursor, self._selected = True, 0, 0, ""
        elif key == "escape":
            self._filter = ""

    def _type(self, key: str) -> None:
        self._typing = key not in {"enter", "escape"}
        if key == "escape":
            self._filter = ""
        elif key == "backspace":
            self._filter = self._filter[:-1]
        elif len(key) == 1 and key.isprintable() and len(self._filter) < _MAX_FILTER:
            self._filter += key

    def _move(self, lines: int) -> None:
        if self._panel:
            self._panel_offset = max(0, self._panel_offset + lines)
            return
        containers = self.shown()
        self._cursor = max(0, min(self._cursor + lines, len(containers) - 1))
        self._selected = containers[self._cursor]["cgroup"] if containers else ""

    def shown(self) -> list[Container]:
        """Return the containers that pass the filter, in their order."""
        found = [
            one
            for one in ([] if self.document is None else self.document["containers"])
            if self._namespace in {"", one["namespace"]} and self._filter.lower() in full_name(one).lower()
        ]
        return sorted(found, key=SORTS[self._sort], reverse=self._reversed)

    def lines(self, width: int, height: int, status: str) -> list[Text]:
        """Return exactly ``height`` lines of at most ``width`` characters; ``status`` names source and time."""
        self._page = max(1, height - FRAME_LINES)
        containers = self._shown_with_cursor()
        waiting = "no numbers" if self.problem else "waiting for the first numbers"
        lines = [
            _sentence(waiting if self.document is None else headline(self.document), width, "bold"),
            _sentence(self.problem, width, "red") if self.problem else _sentence(status, width, "dim"),
        ]
        if self._panel:
            page = height - len(lines) - 1
            body = self._panel_lines(containers, width)
            self._panel_offset = max(0, min(self._panel_offset, len(body) - page))
            lines += body[self._panel_offset : self._panel_offset + page]
            foot = "Enter, Esc or q back  up down PgUp PgDn"
        else:
            visible = containers[self._offset : self._offset + self._page]
            table = Table.fitting(width, [] if self.document is None else self.document["containers"])
            rows = [table.row(escaped(one)) for one in visible]
            if rows:
                row = rows[self._cursor - self._offset]
                row.align("left", width)
                row.stylize("reverse")
            lines += [table.head, *rows]
            foot = self._foot(len(visible), len(containers))
        lines += [Text() for _ in range(height - 1 - len(lines))]
        lines.append(_sentence(foot, width, "dim"))
        for line in lines:
            line.truncate(width)
        return lines[:height]

    def _shown_with_cursor(self) -> list[Container]:
        """Return the containers, with the cursor on the one that was selected and the page around it."""
        containers = self.shown()
        places = {one["cgroup"]: at for at, one in enumerate(containers)}
        self._cursor = max(0, min(places.get(self._selected, self._cursor), len(containers) - 1))
        self._offset = max(self._cursor - self._page + 1, min(self._offset, self._cursor))
        self._offset = max(0, min(self._offset, len(containers) - self._page))
        return containers

    def _panel_lines(self, containers: Sequence[Container], width: int) -> list[Text]:
        if self._panel == "help":
            text = files("exporter.cli").joinpath("top_help.txt").read_text(encoding="utf-8")
            return [Text(line, "" if line.startswith(" ") else "bold") for line in text.splitlines()]
        lines = container_lines(escaped(containers[self._cursor]), width) if containers else [Text("no container")]
        # Commands and addresses go on in the next line: they are there to be copied.
        return [part for line in lines for part in line.divide(range(width, line.cell_len, width))]

    def _foot(self, visible: int, total: int) -> str:
        if self._typing:
            return f"filter: {self._filter}_  (Enter keeps it, Esc clears it)"
        order = self._sort + (" reversed" if self._reversed else "")
        where = f"{self._offset + 1}-{self._offset + visible} of {total}" if visible else "none"
        kept = f"  filter {self._filter!r}" if self._filter else ""
        return f"{where}  by {order}{kept}  |  {HELP}"


def _sentence(text: str, width: int, style: str) -> Text:
    return Text(text if len(text) <= width else f"{text[: width - 1]}~", style)
