"""``throttle-exporter top``: the node's containers in a live table, worst first; without a terminal in one table."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Final

from exporter.cli import argument
from exporter.cli.board import SORTS, Board
from exporter.cli.source import add_source_arguments, ask, sample_here
from exporter.cli.table import Table, console_for, escaped, finding_text
from exporter.errors import quoted
from exporter.report.schema import Container
from exporter.report.summary import full_name, lost_seconds_per_second
from exporter.settings import Settings
from exporter.values import duration


def add_arguments(parser: ArgumentParser) -> None:
    """Add how often, and the source."""
    add, interval = parser.add_argument, argument(duration(0.2, 600.0).parse)
    add("--once", action="store_true", help="print one table and exit, as without a terminal")
    add("-n", "--namespace", default="", help="containers of this namespace only")
    add("--sort", choices=list(SORTS), default="impact", help="order (impact)")
    text = "table, or tab-separated values with --once (table)"
    add("--output", choices=("table", "tsv"), default="table", help=text)
    add("--interval", type=interval, default="2s", metavar="DURATION", help="time between two updates (2s)")
    add_source_arguments(parser)


def run(settings: Settings, args: Namespace) -> int:
    """Show the table until the user leaves."""
    answer = ask(settings, args)
    board = Board(namespace=args.namespace, sort=args.sort)
    console = console_for(sys.stdout)
    can_redraw = sys.stdout.isatty() and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}
    if can_redraw and not (args.once or args.file):
        from exporter.cli.screen import watch  # noqa: PLC0415 - asyncio, for which only a terminal pays

        return watch(board, settings, answer, args.interval)
    document = board.document = escaped(answer.document or sample_here(settings, args, answer.reason))
    containers = board.shown()
    if args.output == "tsv":
        print("node", *TSV_COLUMNS, sep="\t")
        for one in containers:
            print(document["exporter"]["node"], *(value(one) for value in TSV_COLUMNS.values()), sep="\t")
        return 0
    table = Table.whole_names(console.width if console.is_terminal else None, containers)
    for line in (table.head, *map(table.row, containers)):
        console.print(line)
    if not containers:
        kind = f"container in namespace {quoted(args.namespace)}" if args.namespace else "container"
        print(f"no {kind} on node {document['exporter']['node']}", file=sys.stderr)
    return 0


def _number(value: Callable[[Container], float | None]) -> Callable[[Container], str]:
    return lambda one: "" if (found := value(one)) is None else f"{found:.6f}"


TSV_COLUMNS: Final[dict[str, Callable[[Container], str]]] = {
    "name": full_name,
    "severity": lambda one: one["severity"] or "",
    "throttled_ratio": _number(lambda one: one["throttling"]["ratio"]),
    "lost_seconds_per_second": _number(lost_seconds_per_second),
    "usage_cores": _number(lambda one: one["usage_cores"]),
    "limit_cores": _number(lambda one: one["limit_cores"]),
    "waiting_share": _number(lambda one: one["pressure"]["waiting_share"]),
    "finding": finding_text,
}
"""Plain decimals, so that any ``sort`` can merge the lines of several nodes; what is unknown is empty."""
