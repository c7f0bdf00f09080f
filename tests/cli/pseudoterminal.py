"""A program in a pseudo terminal: typed at, resized, and looked at as the bytes it sends."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.process import ROOT, environment

ENTER = "\x1b[?1049h"
LEAVE = "\x1b[?1049l"
SHOW_CURSOR = "\x1b[?25h"
_WAIT_SECONDS = 20.0


@dataclass
class Terminal:
    """The master's end."""

    process: subprocess.Popen[bytes]
    master: int
    slave: int
    seen: str = ""
    """All that was sent so far."""

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def modes(self) -> list[Any]:
        """What ``stty`` would print."""
        return termios.tcgetattr(self.slave)

    def until(self, holds: Callable[[str], object], since: int = 0) -> str:
        """What was sent after position ``since``, once ``holds`` of it."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while not holds(self.seen[since:]):
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"not within {_WAIT_SECONDS:g} s; sent so far: {self.seen[since:]!r}"
            self._take()
        return self.seen[since:]

    def wait(self) -> int:
        """The exit code; all that is sent until then is taken."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while (code := self.process.poll()) is None:
            assert time.monotonic() < deadline, f"still running; sent so far: {self.seen!r}"
            if select.select([self.master], [], [], 0.02)[0]:
                self._take()
        while select.select([self.master], [], [], 0)[0]:
            self._take()
        return code

    def _take(self) -> None:
        self.seen += os.read(self.master, 65536).decode("utf-8", "replace")


@contextmanager
def in_terminal(arguments: Sequence[str], **variables: str) -> Iterator[Terminal]:
    """``arguments`` with a controlling terminal of their own; killed at the end if they still run."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    variables = environment() | {"TERM": "xterm-256color"} | variables
    process = subprocess.Popen(
        arguments, cwd=ROOT, env=variables, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        # A session without a controlling terminal gets no signals from one: Ctrl-C, resizing.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one system call, no lock
    )  # fmt: skip
    try:
        yield Terminal(process, master, slave)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(slave)
        os.close(master)
