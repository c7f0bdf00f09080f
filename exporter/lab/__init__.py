"""A node made of real cgroups, worker processes and a kubelet API, or of files that a simulation moves.

``demo``, ``stress``, the tests and the benchmark build on it; nothing here reads the exporter's counters for it. Below:
directories whose lock tells whether their owner lives, so that a later start removes what a killed one left.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from exporter.errors import ExporterError

_OWNED = re.compile(r"kte-[a-z]+-[0-9]+-[0-9a-f]{6}")


class LabError(ExporterError):
    """A cgroup or a process of the lab could not be made."""

    stage: ClassVar[str] = "lab"


def own_name(purpose: str) -> str:
    """Return a new ``kte-PURPOSE-PID-RANDOM``."""
    return f"kte-{purpose}-{os.getpid()}-{secrets.token_hex(3)}"


def lock(directory: Path) -> int:
    """Lock a directory, a cgroup or another, and return the descriptor that holds the lock; raise if it is locked.

    The kernel ends the lock with the process; it is seen across pid namespaces.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def abandoned(folder: Path) -> Iterator[Path]:
    """Yield the directories in ``folder`` with a name of ours that nobody holds any more."""
    for name in filter(_OWNED.fullmatch, os.listdir(folder)):
        with suppress(OSError):  # locked, or gone meanwhile
            os.close(lock(folder / name))
            yield folder / name


@contextmanager
def scratch_folder(purpose: str, where: Path | None = None) -> Iterator[Path]:
    """Yield a new folder, in that for temporary files unless said otherwise, after removing abandoned ones there."""
    where = where or Path(tempfile.gettempdir())
    for left in abandoned(where):
        shutil.rmtree(left, ignore_errors=True)
    folder = where / own_name(purpose)
    folder.mkdir()
    held = lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        os.close(held)
