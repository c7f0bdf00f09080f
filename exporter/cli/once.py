"""``throttle-exporter once``: one page, then exit."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from contextlib import suppress

from exporter.app import Exporter
from exporter.cli import argument
from exporter.errors import ConfigError
from exporter.settings import Settings
from exporter.values import parse_duration


def add_arguments(parser: ArgumentParser) -> None:
    """Where to, in which format, and how long to watch first."""
    add, text = parser.add_argument, "sample so long first; windowed gauges need it"
    add("--output", metavar="FILE", help="write FILE atomically, for node_exporter's textfile collector")
    add("--for", dest="watch", type=argument(parse_duration), default="0", metavar="DURATION", help=text)
    add("--openmetrics", action="store_true", help="OpenMetrics instead of the text format")


def run(settings: Settings, args: Namespace) -> int:
    """Print or write the page."""
    page = asyncio.run(_page(settings, args))
    if args.output is None:
        sys.stdout.write(page.decode())
    else:
        _write_atomically(args.output, page)
    return 0


async def _page(settings: Settings, args: Namespace) -> bytes:
    # node_exporter serves process_* of its own beside a text file's samples.
    exporter = Exporter(settings, process_metrics=args.output is None)
    try:
        await exporter.resolve_pods_once()
        if args.watch > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(exporter.loop.run(), args.watch)
        return await exporter.page(("openmetrics" if args.openmetrics else "text", False))
    finally:
        await exporter.close()


def _write_atomically(path: str, page: bytes) -> None:
    try:
        with tempfile.TemporaryDirectory(dir=os.path.dirname(path) or ".", prefix=".") as folder:
            new = os.path.join(folder, "page")
            with open(new, "wb") as file:
                file.write(page)
            os.chmod(new, 0o644)  # node_exporter runs as another user
            os.replace(new, path)
    except OSError as error:
        raise ConfigError(f"--output: {path}: {error.strerror}") from error
