"""``throttle-exporter serve``: the DaemonSet's process."""

from __future__ import annotations

import asyncio
import ctypes
import os
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from typing import Final

from exporter.settings import Settings

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_HEAPS_MAX = -1, -3, -8  # mallopt(3); the last one bounds the number of heaps
_LARGE_BYTES: Final = 128 << 10

# aiohttp's import would read the machine's CA certificates, 2 MB, unless the variable names some.
_IS_NAMED: Final = "SSL_CERT_FILE" in os.environ
os.environ.setdefault("SSL_CERT_FILE", os.devnull)
try:
    from exporter import app
finally:
    if not _IS_NAMED:
        del os.environ["SSL_CERT_FILE"]


def add_arguments(_: ArgumentParser) -> None:
    """Add nothing: ``serve`` has no options of its own."""


def run(settings: Settings, _: Namespace) -> int:
    """Serve until a signal ends the process."""
    _tune_malloc()
    asyncio.run(app.run(settings))
    return 0


def _tune_malloc() -> None:
    # Each thread would keep a heap with all that a page or a pod list needed once: 7 MB of 70 at 750 containers.
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_HEAPS_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 4 * _LARGE_BYTES)
