"""``throttle-exporter top``: the node's containers in a live table, worst first.

Asks the exporter that runs on this node; else samples by itself. Without a terminal, or with ``--once``, it prints one
table. Exit code 0, however it is left; 2 when it cannot show anything.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple

from rich.text import Text

from exporter.cli.client import ANSWER_SECONDS, fetch_containers
from exporter.cli.explain import container_lines
from exporter.cli.source import Answer, add_source_arguments, ask, duration, sample_here, sampling, watch_seconds
from exporter.cli.table import Table, console_for, escaped, finding_text, has_symbols, history_column
from exporter.report.impact import impact, lost_seconds_per_second, throttled_ratio
from exporter.report.schema import Container, ContainersDocument
from exporter.report.summary import full_name, headline
from exporter.settings import Settings
from exporter.values import format_duration

FRAME_LINES: Final = 4
"""Two lines above the table, its head, and the one below."""
HELP: Final = "q quit  Enter explain  / filter  s sort  ? help"
HELP_LINES: Final = (
    "Keys",
    "  up down k j PgUp PgDn space Home End   select a container",
    "  Enter            explain it; Enter, Esc or q goes back",
    "  /                show only names that contain what is typed; Esc shows all",
    "  i t l c w n      sort by impact, throttled, lost, CPU, waiting, name",
    "  s, r             next order, reverse it",
    "  ?                this help",
    "  q, Ctrl-C        leave",
    "Columns",
    "  THR, PEAK        throttled share of active periods: window, worst sample",
    "                   ^ its pod's quota, which stops it as its own would",
    "  LOST/S           CPU seconds lost to quotas each second, summed over CPUs",
    "  CPU, LIMIT, REQ  CPUs used, limit and request",
    "  WAIT             share of time in which a task waited for a CPU (PSI)",
    "  THRDS            threads, only where it was throttled",
    "  QOS, CPUS        QoS class, the CPUs it may run on",
    "  ISOLATION        exclusive, shared, or eligible for exclusive CPUs",
    "  LAST WINDOW      throttled ratio of each sample, the newest at the right",
    "  FINDING          the worst finding, and how many more",
    "A dash is unknown or does not apply. Times are UTC.",
)
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
    letter: str
    """The key that chooses it."""


def _descending(value: Callable[[Container], float | None]) -> Callable[[Container], Any]:
    """Sort key: the highest first, unknown last, then by impact."""

    def key(one: Container) -> tuple[float, Any]:
        found = value(one)
        return (1.0 if found is None else -found), impact(one)

    return key


SORTS: Final = (
    Sort("impact", impact, "i"),
    Sort("throttled", _descending(lambda one: throttled_ratio(one)[0]), "t"),
    Sort("lost", _descending(lost_seconds_per_second), "l"),
    Sort("cpu", _descending(lambda one: one["usage_cores"]), "c"),
    Sort("waiting", _descending(lambda one: one["pressure"]["waiting_share"]), "w"),
    Sort("name", full_name, "n"),
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


_FAR: Final = 1 << 30
_MOVES: Final = {
    "up": -1, "k": -1, "down": 1, "j": 1, "pageup": -1, "pagedown": 1, " ": 1, "home": -_FAR, "end": _FAR,
}  # fmt: skip
_PAGE_KEYS: Final = {"pageup", "pagedown", " "}


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
        self._offset = self._cursor = 0
        self._selected = ""
        """The cgroup of the selected container, which new numbers may move."""
        self._panel: Literal["", "explain", "help"] = ""
        self._panel_offset = 0
        self._filter = ""
        self._typing = False
        self._page = 1
        self._keys: dict[str, Callable[[], None]] = {
            "s": self._next_sort,
            "r": self._reverse,
            "/": self._start_typing,
            "escape": self._clear_filter,
            "enter": lambda: self._open("explain"),
            "?": lambda: self._open("help"),
            **{sort.letter: partial(self._sort_by, at) for at, sort in enumerate(SORTS)},
        }

    def press(self, key: str) -> bool:
        """Handle a key, a character or a word such as ``pageup``; return false when the user wants to leave."""
        if self._typing:
            self._type(key)
        elif key in _MOVES:
            self._move(_MOVES[key] * (self._page if key in _PAGE_KEYS else 1))
        elif self._panel:
            if key in {"q", "escape", "enter", "?"}:
                self._panel = ""
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
        self._page = max(1, height - FRAME_LINES)
        containers = self._shown_with_cursor()
        lines = [
            _sentence(self._summary(), width, "bold"),
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
            every = [] if self.document is None else self.document["containers"]
            table = Table.fitting(width, every, extra=[history_column(symbols=self._symbols)])
            rows = [table.row(one) for one in visible]
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
            return [Text(line, "" if line.startswith(" ") else "bold") for line in HELP_LINES]
        lines = container_lines(containers[self._cursor], width) if containers else [Text("no container")]
        # Commands and addresses go on in the next line: they are there to be copied.
        return [part for line in lines for part in line.divide(range(width, line.cell_len, width))]

    def _open(self, panel: Literal["explain", "help"]) -> None:
        self._panel, self._panel_offset = panel, 0

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
        self._typing, self._offset, self._cursor, self._selected = True, 0, 0, ""

    def _clear_filter(self) -> None:
        self._filter, self._typing = "", False

    def _sort_by(self, sort: int) -> None:
        self._sort, self._reversed = sort, False

    def _move(self, lines: int) -> None:
        if self._panel:
            self._panel_offset = max(0, self._panel_offset + lines)
            return
        containers = self.shown()
        self._cursor = max(0, min(self._cursor + lines, len(containers) - 1))
        self._selected = containers[self._cursor]["cgroup"] if containers else ""

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
