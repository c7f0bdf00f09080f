"""``top`` on a terminal, put together: whose numbers, on which screen."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable

from exporter.cli.terminal.board import Board
from exporter.cli.terminal.client import fetch_containers
from exporter.cli.terminal.credentials import Credentials
from exporter.cli.terminal.screen import screen_for
from exporter.cli.terminal.session import Session, beside
from exporter.cli.terminal.text import Look
from exporter.report.schema import ContainersDocument
from exporter.settings import Settings
from exporter.values import format_duration


async def watch_remote(url: str, credentials: Credentials, interval: float) -> int:
    """The numbers of a running exporter; the exit code."""

    async def fetch() -> ContainersDocument:
        return await beside(lambda: fetch_containers(url, credentials, with_series=True))

    return await _session(fetch, f"{url}, every {format_duration(interval)}", interval).run()


async def watch_local(settings: Settings, interval: float, source: str) -> int:
    """Numbers of our own; the exit code."""
    from exporter.cli.terminal.sampling import sampling  # noqa: PLC0415 - who asks an exporter needs no aiohttp

    # A log line would land in the middle of the table; what is survived is counted there.
    logging.disable(logging.ERROR)
    try:
        async with sampling(settings) as exporter:

            async def fetch() -> ContainersDocument:
                return (await exporter.report()).containers()

            return await _session(fetch, source, interval).run()
    finally:
        logging.disable(logging.NOTSET)


def _session(fetch: Callable[[], Awaitable[ContainersDocument]], source: str, interval: float) -> Session:
    board = Board(symbols=Look.of(sys.stdout).symbols)
    return Session(board, screen_for(), fetch, source=source, interval=interval)
