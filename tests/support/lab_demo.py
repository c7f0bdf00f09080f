"""The real ``throttle-exporter demo`` process, as a terminal would run it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.lab import eventually
from tests.support.process import ROOT, Exporter, command, environment, reading

END_SECONDS = 10.0
SHORT_RUN_SECONDS = 60.0
"""Start, first line or ``--for=500ms``, and end, on a machine that emulates its CPUs."""


class Demo(Exporter):
    """A running demo; its log is all that it printed so far."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_told(self) -> None:
        """Until it has printed what is throttled."""
        told = eventually(lambda: "\ndemo: throttled periods:" in self.log or not self.is_running, SHORT_RUN_SECONDS)
        if not told or not self.is_running:
            raise AssertionError(f"the demo told nothing; exit code {self.process.poll()}\n{self.log}")

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def interrupt(self) -> int:
        """Ctrl-C: the terminal signals the whole foreground process group. Returns the exit code."""
        os.killpg(self.pid, signal.SIGINT)
        return self.process.wait(END_SECONDS)

    def children(self) -> list[int]:
        """Processes it started."""
        return [int(word) for word in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


@contextmanager
def demo(*options: str) -> Iterator[Demo]:
    """The demo on a free port; killed at the end if it still runs."""
    arguments = command("demo", "--web.listen-address=127.0.0.1:0", "--log.level=warn", *options)
    pipe, everything = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(
        arguments, cwd=ROOT, env=environment(), stdout=pipe, stderr=everything, start_new_session=True
    ) as process:
        running = Demo(process)
        with reading(running, process.stdout):
            try:
                yield running
            finally:
                process.kill()
