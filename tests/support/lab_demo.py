"""The real ``throttle-exporter demo`` process, as a terminal would run it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from tests.support.process import ROOT, START_SECONDS, command, environment

END_SECONDS = 10.0
SHORT_RUN_SECONDS = 60.0
"""Start, ``--for=500ms`` and end, on a machine that emulates its CPUs."""
_LAST_LINE = "demo: throttled periods:"


@dataclass
class Demo:
    """A running demo and what it printed so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    _told: threading.Event = field(default_factory=threading.Event)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return "".join(self.lines)

    @property
    def address(self) -> str:
        """``HOST:PORT`` of the exporter."""
        [found] = re.findall(r"^demo: metrics at http://([^/]+)/metrics$", self.text, re.MULTILINE)
        return str(found)

    @property
    def samples(self) -> list[str]:
        """``NAMESPACE/POD[/CONTAINER] RATIO`` of what it printed as throttled."""
        lines = re.findall(r"^demo: throttled periods: (.*)$", self.text, re.MULTILINE)
        return [one for line in lines for one in line.split(", ")]

    def wait_told(self) -> None:
        """Until it has printed some of its page."""
        if not self._told.wait(START_SECONDS) or self.process.poll() is not None:
            raise AssertionError(f"the demo told nothing; exit code {self.process.poll()}\n{self.text}")

    def interrupt(self) -> int:
        """Ctrl-C: the terminal signals the whole foreground process group. Returns the exit code."""
        os.killpg(self.pid, signal.SIGINT)
        return self.process.wait(END_SECONDS)

    def children(self) -> list[int]:
        """Processes it started, and theirs."""
        found, pending = list[int](), [self.pid]
        while pending:
            parent = pending.pop()
            try:
                with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
                    born = [int(word) for word in file.read().split()]
            except FileNotFoundError:
                continue
            found += born
            pending += born
        return found

    def read(self, stream: IO[str]) -> None:
        """Collect the output until its end; the thread's work."""
        for line in stream:
            self.lines.append(line)
            if line.startswith(_LAST_LINE):
                self._told.set()
        self._told.set()


@contextmanager
def demo(*options: str, uid: int | None = None) -> Iterator[Demo]:
    """The demo on a free port; killed at the end if it still runs."""
    arguments: Sequence[str] = command("demo", "--web.listen-address=127.0.0.1:0", "--log.level=warn", *options)
    with subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
    ) as process:
        running = Demo(process)
        if process.stdout is None:
            raise AssertionError("stdout is piped")
        reader = threading.Thread(target=running.read, args=(process.stdout,), daemon=True)
        reader.start()
        try:
            yield running
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            reader.join(END_SECONDS)
