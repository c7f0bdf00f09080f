"""Where lines go: a descriptor whose reader may stand still, as a container runtime does that is short of disk."""

from __future__ import annotations

import os
from queue import SimpleQueue
from threading import Thread
from typing import Final

MOST_LINES: Final = 512
"""That wait for the reader; what comes beyond them is lost, and counted."""
CLOSE_SECONDS: Final = 1.0
"""How long the end of the process waits for the reader."""


class Outlet:
    """Writes in a thread of its own, which nobody waits for: a full pipe would stop the event loop.

    Writes past the interpreter's own stream, whose lock a thread that hangs would keep for good.
    """

    def __init__(self, descriptor: int, most: int = MOST_LINES) -> None:
        """Raises ``RuntimeError`` where no thread can be made."""
        self._descriptor, self._most = descriptor, most
        # A finalizer may log at any moment, also while this thread is putting a line: no other queue survives that.
        self._lines = SimpleQueue[str | None]()
        self.lost = 0
        """Lines that nobody took or could take."""
        # Not at the first line: to wait for a thread under the handler's lock is to wait for whoever logs in it.
        self._thread = Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Never waits."""
        if self._lines.qsize() < self._most:
            self._lines.put(text)
        else:
            self.lost += 1
        return len(text)

    @property
    def is_taken(self) -> bool:
        """Whether its reader keeps up."""
        return self._lines.qsize() < self._most // 2

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what waits, as long as the reader takes it."""
        self._lines.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (text := self._lines.get()) is not None:
            view = memoryview(text.encode("ascii", "backslashreplace"))
            try:
                while view:
                    view = view[os.write(self._descriptor, view) :]
            except OSError:
                self.lost += 1
