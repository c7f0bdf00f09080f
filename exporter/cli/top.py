"""``throttle-exporter top``: the node's containers, what hurts most first, again and again.

Asks the exporter that runs on this node; else samples by itself. Without a terminal, or with ``--once``, it prints one
table. Exit code 0, however it is left; 2 when it cannot show anything.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Final

from exporter.cli.terminal.asking import (
    Answer,
    add_source_arguments,
    ask,
    duration,
    sampled_here,
    watch_seconds,
)
from exporter.cli.terminal.overview import painted
from exporter.cli.terminal.table import Table
from exporter.cli.terminal.text import Look
from exporter.report.schema import Container
from exporter.settings import Settings
from exporter.values import format_duration

_SHORTEST_SECONDS: Final = 0.2
_LONGEST_SECONDS: Final = 600.0


def add_arguments(parser: ArgumentParser) -> None:
    """How often, and who is asked."""
    parser.add_argument("--once", action="store_true", help="print one table and exit, as without a terminal")
    parser.add_argument("--interval", default="2s", metavar="DURATION", help="time between two looks (2s)")
    add_source_arguments(parser)


def run(settings: Settings, args: Namespace) -> int:
    """Show the table until the user leaves."""
    interval = duration(args.interval, "--interval", _SHORTEST_SECONDS, _LONGEST_SECONDS)
    seconds = watch_seconds(args)
    answer = ask(settings, args)
    if not args.once and sys.stdout.isatty():
        return _live(settings, answer, interval)
    document = answer.document
    if document is None:
        document = sampled_here(settings, seconds, answer.reason)
    print("\n".join(_table(document["containers"], Look.of(sys.stdout), fits=sys.stdout.isatty())))
    return 0


def _table(containers: list[Container], look: Look, *, fits: bool) -> list[str]:
    table = Table.fitting(look.width, containers) if fits else Table.whole(containers)
    return [painted(line, look) for line in (table.head, *(table.row(one) for one in containers))]


def _live(settings: Settings, answer: Answer, interval: float) -> int:
    import asyncio  # noqa: PLC0415 - only a terminal pays for it

    from exporter.cli.terminal.live import watch_local, watch_remote  # noqa: PLC0415 - and for rich

    if answer.document is not None:
        return asyncio.run(watch_remote(answer.url, answer.credentials, interval))
    why = f" ({answer.reason})" if answer.reason else ""
    return asyncio.run(watch_local(settings, interval, f"sampling here{why}, every {format_duration(interval)}"))
