"""What keeps a process small that runs for months on every node: habits of C libraries, changed once at the start."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""glibc ``malloc.h``."""
_LARGE: Final = 128 << 10
_AUTHORITIES: Final = "SSL_CERT_FILE"


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


@contextmanager
def without_authorities() -> Iterator[None]:
    """Import aiohttp in it: it reads the machine's certificate authorities at once, 2 MB, for clients that name none.

    Ours name theirs: the cluster's CA, or the user's file. ``SSL_CERT_FILE`` is OpenSSL's own variable.
    """
    if _AUTHORITIES in os.environ:
        yield
        return
    os.environ[_AUTHORITIES] = os.devnull
    try:
        yield
    finally:
        del os.environ[_AUTHORITIES]
