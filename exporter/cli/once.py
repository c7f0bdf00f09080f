"""``throttle-exporter once``: one page, then exit."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from contextlib import suppress

from exporter.app import Exporter
from exporter.errors import ConfigError
from exporter.metrics.exposition import Format
from exporter.settings import Settings
from exporter.values import parse_duration


def add_arguments(parser: ArgumentParser) -> None:
    """Where to, in which format, and how long to watch first."""
    parser.add_argument(
        "--output", metavar="FILE", help="write FILE atomically, for node_exporter's textfile collector"
    )
    parser.add_argument("--for", dest="watch", metavar="DURATION", help="sample so long first; windowed gauges need it")
    parser.add_argument("--openmetrics", action="store_true", help="OpenMetrics instead of the text format")


def run(settings: Settings, args: Namespace) -> int:
    """Print or write the page."""
    style: Format = "openmetrics" if args.openmetrics else "text"
    # node_exporter serves process_* of its own beside a text file's samples.
    page = asyncio.run(one_page(settings, _seconds(args.watch), style, process_metrics=args.output is None))
    if args.output is None:
        sys.stdout.write(page.decode())
    else:
        write_atomically(args.output, page)
    return 0


def _seconds(text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--for: {error}, not {text!r}") from error


async def one_page(settings: Settings, watch_seconds: float, style: Format, *, process_metrics: bool = True) -> bytes:
    """The page after ``watch_seconds`` of sampling."""
    exporter = Exporter(settings, process_metrics=process_metrics)
    sampling: asyncio.Task[None] | None = None
    try:
        await exporter.resolve_pods_once()
        if watch_seconds > 0:
            sampling = asyncio.create_task(exporter.loop.run(), name="sampling")
            await asyncio.sleep(watch_seconds)
        return await exporter.page(style)
    finally:
        if sampling is not None:
            sampling.cancel()
            with suppress(asyncio.CancelledError):
                await sampling
        await exporter.close()


def write_atomically(path: str, page: bytes) -> None:
    """Replace ``path`` in one step: its reader never sees half a page."""
    directory = os.path.dirname(path) or "."
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".", suffix=".tmp", delete=False) as file:
            try:
                file.write(page)
                file.flush()
                os.fchmod(file.fileno(), 0o644)  # node_exporter runs as another user
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise ConfigError(f"--output: {path}: {error.strerror}") from error
