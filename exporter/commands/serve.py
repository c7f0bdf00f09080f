"""``throttle-exporter serve``: the DaemonSet's process."""

from __future__ import annotations

import asyncio
import ctypes
from argparse import ArgumentParser, Namespace
from contextlib import suppress

from exporter import app
from exporter.settings import Settings

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""glibc ``malloc.h``."""
_LARGE = 128 << 10


def add_arguments(parser: ArgumentParser) -> None:
    """It has none of its own."""
    del parser


def run(settings: Settings, args: Namespace) -> int:
    """Serve until told to stop."""
    del args
    give_memory_back()
    asyncio.run(app.run(settings))
    return 0


def give_memory_back() -> None:
    """Let what a page or a pod list took for a moment go back to the node.

    glibc gives each thread a heap of its own and keeps what was freed in all of them; and after the first large block
    was freed it keeps large ones as well. One heap, and large blocks that come and go: 7 MB of 70 at 750 containers.
    Another C library has no such switch, nor the need.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, 4 * _LARGE)
