"""The real ``throttle-exporter demo`` process, as a terminal would run it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.process import ROOT, command, environment

END_SECONDS = 10.0
SHORT_RUN_SECONDS = 60.0
"""Start, first line or ``--for=500ms``, and end, on a machine that emulates its CPUs."""


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

    def wait_told(self) -> None:
        """Until it has printed what is throttled."""
        if not self._told.wait(SHORT_RUN_SECONDS) or self.process.poll() is not None:
            raise AssertionError(f"the demo told nothing; exit code {self.process.poll()}\n{self.text}")

    def interrupt(self) -> int:
        """Ctrl-C: the terminal signals the whole foreground process group. Returns the exit code."""
        os.killpg(self.pid, signal.SIGINT)
        return self.process.wait(END_SECONDS)

    def children(self) -> list[int]:
        """Processes it started."""
        return [int(word) for word in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def read(self) -> None:
        """Collect the output until its end; the thread's work."""
        for line in self.process.stdout or ():
            self.lines.append(line)
            if line.startswith("demo: throttled periods:"):
                self._told.set()
        self._told.set()


@contextmanager
def demo(*options: str) -> Iterator[Demo]:
    """The demo on a free port; killed at the end if it still runs."""
    arguments = command("demo", "--web.listen-address=127.0.0.1:0", "--log.level=warn", *options)
    pipe, everything = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(
        arguments, cwd=ROOT, env=environment(), stdout=pipe, stderr=everything, text=True, start_new_session=True
    ) as process:
        running = Demo(process)
        reader = threading.Thread(target=running.read, daemon=True)
        reader.start()
        try:
            yield running
        finally:
            process.kill()
            process.wait()
            reader.join(END_SECONDS)
