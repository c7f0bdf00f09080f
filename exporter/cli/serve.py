"""``throttle-exporter serve``: the DaemonSet's process."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace

from exporter.cli.frugal import give_memory_back, without_authorities
from exporter.settings import Settings

with without_authorities():
    from exporter import app


def add_arguments(parser: ArgumentParser) -> None:
    """It has none of its own."""
    del parser


def run(settings: Settings, args: Namespace) -> int:
    """Serve until told to stop."""
    del args
    give_memory_back()
    asyncio.run(app.run(settings))
    return 0
