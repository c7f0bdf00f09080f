"""``throttle-exporter top``: the node's containers in a live table, worst first.

Asks the exporter that runs on this node; else samples by itself. Without a terminal, or with ``--once``, it prints one
table. Exit code 0, however it is left; 2 when it cannot show anything.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from rich.text import Text

from exporter.cli.client import ANSWER_SECONDS, fetch_containers
from exporter.cli.source import Answer, add_source_arguments, ask, duration, sample_here, sampling, watch_seconds
from exporter.cli.table import Table, console_for, escaped, finding_text, has_symbols, history_column
from exporter.report.impact import impact, lost_seconds_per_second
from exporter.report.schema import Container, ContainersDocument
from exporter.report.summary import full_name, headline
from exporter.settings import Settings
from exporter.values import format_duration

FRAME_LINES: Final = 4
"""Two lines above the table, its head, and the one below."""
HELP: Final = "q quit  s sort  r reverse  / filter  PgUp PgDn"
MIN_SECONDS: Final = 0.2
MAX_SECONDS: Final = 600.0
_MAX_FILTER: Final = 60


def add_arguments(parser: ArgumentParser) -> None:
    """Add how often, and the source."""
    parser.add_argument("--once", action="store_true", help="print one table and exit, as without a terminal")
    parser.add_argument("-n", "--namespace", default="", help="containers of this namespace only")
    parser.add_argument("--sort", choices=[sort.name for sort in SORTS], default=SORTS[0].name, help="order (impact)")
    parser.add_argument(
        "--output", choices=("table", "tsv"), default="table", help="table, or tab-separated values with --once (table)"
    )
    parser.add_argument("--interval", default="2s", metavar="DURATION", help="time between two updates (2s)")
    add_source_arguments(parser)


def run(settings: Settings, args: Namespace) -> int:
    """Show the table until the user leaves."""
    interval = duration(args.interval, option="--interval", low=MIN_SECONDS, high=MAX_SECONDS)
    seconds = watch_seconds(args)
    answer = ask(settings, args)
    if not args.once and sys.stdout.isatty():
        return _live(settings, answer, args, interval)
    document = answer.document or sample_here(settings, seconds, answer.reason)
    board = Board(symbols=False, namespace=args.namespace, sort=args.sort)
    board.document = document
    containers = board.shown()
    if args.output == "tsv":
        print("\t".join(("node", *TSV_COLUMNS)))
        for one in containers:
            print("\t".join((escaped(document["exporter"]["node"]), *(value(one) for value in TSV_COLUMNS.values()))))
        return 0
    console = console_for(sys.stdout)
    table = Table.whole_names(console.width if console.is_terminal else None, containers)
    for line in (table.head, *map(table.row, containers)):
        console.print(line)
    return 0


def _live(settings: Settings, answer: Answer, args: Namespace, interval: float) -> int:
    import asyncio  # noqa: PLC0415 - only a terminal pays for it

    from exporter.cli.screen import Session, Terminal  # noqa: PLC0415 - the same
    from exporter.threads import TimedCall  # noqa: PLC0415 - the same

    symbols = has_symbols(console_for(sys.stdout))
    board = Board(symbols=symbols, namespace=args.namespace, sort=args.sort)

    async def watch(fetch: Callable[[], Awaitable[ContainersDocument]], source: str) -> int:
        return await Session(board, Terminal(), fetch, source=source, interval=interval).run()

    async def watch_remote() -> int:
        # In a thread that the end of the program does not wait for.
        request = TimedCall(
            lambda: fetch_containers(answer.url, answer.credentials, with_series=True), 2 * ANSWER_SECONDS
        )
        return await watch(request.awaited, f"{answer.url}, every {format_duration(interval)}")

    async def watch_here() -> int:
        import logging  # noqa: PLC0415 - the same

        # A log line would land in the middle of the table; errors are counted there.
        logging.disable(logging.ERROR)
        why = f" ({answer.reason})" if answer.reason else ""
        try:
            async with sampling(settings) as exporter:

                async def fetch() -> ContainersDocument:
                    return (await exporter.report()).containers()

                return await watch(fetch, f"sampling here{why}, every {format_duration(interval)}")
        finally:
            logging.disable(logging.NOTSET)

    return asyncio.run(watch_here() if answer.document is None else watch_remote())


class Sort(NamedTuple):
    """One order."""

    name: str
    key: Callable[[Container], Any]


def _descending(value: Callable[[Container], float | None]) -> Callable[[Container], Any]:
    """Sort key: the highest first, unknown last, then by impact."""

    def key(one: Container) -> tuple[float, Any]:
        found = value(one)
        return (1.0 if found is None else -found), impact(one)

    return key


SORTS: Final = (
    Sort("impact", impact),
    Sort("throttled", _descending(lambda one: one["throttling"]["ratio"])),
    Sort("lost", _descending(lost_seconds_per_second)),
    Sort("cpu", _descending(lambda one: one["usage_cores"])),
    Sort("waiting", _descending(lambda one: one["pressure"]["waiting_share"])),
    Sort("name", full_name),
)


def _number(value: Callable[[Container], float | None]) -> Callable[[Container], str]:
    return lambda one: "" if (found := value(one)) is None else f"{found:.6f}"


TSV_COLUMNS: Final[dict[str, Callable[[Container], str]]] = {
    "name": lambda one: escaped(full_name(one)),
    "severity": lambda one: one["severity"] or "",
    "throttled_ratio": _number(lambda one: one["throttling"]["ratio"]),
    "lost_seconds_per_second": _number(lost_seconds_per_second),
    "usage_cores": _number(lambda one: one["usage_cores"]),
    "limit_cores": _number(lambda one: one["limit_cores"]),
    "waiting_share": _number(lambda one: one["pressure"]["waiting_share"]),
    "finding": finding_text,
}
"""Plain decimals, so that any ``sort`` can merge the lines of several nodes; what is unknown is empty."""


class Board:
    """What ``top`` shows: its state, what each key does to it, and its lines. Pure; knows no terminal."""

    def __init__(self, *, symbols: bool, namespace: str = "", sort: str = SORTS[0].name) -> None:
        """``namespace``: its containers only; ``sort``: the name of one of :data:`SORTS`."""
        self.document: ContainersDocument | None = None
        self.problem = ""
        """Why there is nothing newer; one line."""
        self._symbols, self._namespace = symbols, namespace
        self._sort = next(at for at, one in enumerate(SORTS) if one.name == sort)
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
        """Handle a key, a character or a word such as ``pageup``; return false when the user wants to leave."""
        if self._typing:
            self._type(key)
        elif key in {"q", "Q"}:
            return False
        elif key in self._keys:
            self._keys[key]()
        return True

    def shown(self) -> list[Container]:
        """Return the containers that pass the filter, in their order."""
        if self.document is None:
            return []
        text = self._filter.lower()
        found = [
            one
            for one in self.document["containers"]
            if self._namespace in {"", one["namespace"]} and text in full_name(one).lower()
        ]
        return sorted(found, key=SORTS[self._sort].key, reverse=self._reversed)

    def lines(self, width: int, height: int, status: str) -> list[Text]:
        """Return exactly ``height`` lines of at most ``width`` characters; ``status`` names source and time."""
        containers = self.shown()
        self._page = max(1, height - FRAME_LINES)
        self._offset = max(0, min(self._offset, len(containers) - self._page))
        visible = containers[self._offset : self._offset + self._page]
        every = [] if self.document is None else self.document["containers"]
        table = Table.fitting(width, every, extra=[history_column(symbols=self._symbols)])
        lines = [
            _sentence(self._summary(), width, "bold"),
            _sentence(self.problem, width, "red") if self.problem else _sentence(status, width, "dim"),
            table.head,
            *map(table.row, visible),
        ]
        lines += [Text() for _ in range(height - 1 - len(lines))]
        lines.append(_sentence(self._foot(len(visible), len(containers)), width, "dim"))
        for line in lines:
            line.truncate(width)
        return lines[:height]

    def _summary(self) -> str:
        if self.document is None:
            return "no numbers" if self.problem else "waiting for the first numbers"
        return headline(self.document)

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
        elif len(key) == 1 and key.isprintable() and len(self._filter) < _MAX_FILTER:
            self._filter += key


def _sentence(text: str, width: int, style: str) -> Text:
    """A line of prose; where it is cut it says so."""
    text = escaped(text)
    return Text(text if len(text) <= width else f"{text[: width - 1]}~", style)
