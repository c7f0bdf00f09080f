"""``throttle-exporter serve``: the DaemonSet's process."""

from __future__ import annotations

import asyncio
import ctypes
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from exporter.settings import Settings

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_HEAPS_MAX = -1, -3, -8
"""mallopt(3); the last one bounds the number of heaps."""
_LARGE_BYTES: Final = 128 << 10
_CA_VARIABLE: Final = "SSL_CERT_FILE"


@contextmanager
def no_default_cas() -> Iterator[None]:
    """Keep aiohttp's import from reading the machine's CA certificates, 2 MB, unless ``SSL_CERT_FILE`` names some."""
    named = _CA_VARIABLE in os.environ
    os.environ.setdefault(_CA_VARIABLE, os.devnull)
    try:
        yield
    finally:
        if not named:
            del os.environ[_CA_VARIABLE]


with no_default_cas():
    from exporter import app


def add_arguments(_: ArgumentParser) -> None:
    """Add nothing: ``serve`` has no options of its own."""


def run(settings: Settings, _: Namespace) -> int:
    """Serve until a signal ends the process."""
    _tune_malloc()
    asyncio.run(app.run(settings))
    return 0


def _tune_malloc() -> None:
    """Make glibc return freed memory to the node: one heap, and large blocks of their own.

    Each thread would keep a heap with all that a page or a pod list needed for a moment: 7 MB of 70 at 750 containers.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_HEAPS_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 4 * _LARGE_BYTES)
