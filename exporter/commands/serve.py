"""``throttle-exporter serve``: the DaemonSet's process."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace

from exporter import app
from exporter.settings import Settings


def add_arguments(parser: ArgumentParser) -> None:
    """It has none of its own."""
    del parser


def run(settings: Settings, args: Namespace) -> int:
    """Serve until told to stop."""
    del args
    asyncio.run(app.run(settings))
    return 0
