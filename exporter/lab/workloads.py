"""Starts worker processes (:mod:`~exporter.lab.worker`) in cgroups and collects their reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

from exporter.lab.cgroups import LabError
from exporter.lab.spec import Workload

_WORKER = Path(__file__).with_name("worker.py")


class Report(NamedTuple):
    """One worker's work until it ended by itself; latency is the sum over its units."""

    units: int
    latency_seconds: float
    cpu_seconds: float


class Job:
    """The workers of one started workload."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        # What they all write, a message a line: it ends with the last of them. They begin when their input ends.
        (output, self._stdout), (self._stdin, gate) = os.pipe(), os.pipe()
        self._output, self._gate = open(output, "rb"), open(gate, "wb")  # noqa: SIM115 - closed in stop

    def start(self, workload: Workload, members: Iterable[Path]) -> None:
        """Start the workers; return when all are in their cgroup."""
        order = {**asdict(workload), "members": list(map(str, members)), "parent": os.getpid()}
        for _, cpu in zip(range(workload.workers), cycle(workload.cpus or (None,)), strict=False):
            command = [sys.executable, "-I", "-S", str(_WORKER), json.dumps({**order, "cpu": cpu})]
            # A session of its own: Ctrl-C in a terminal is for the owner, who ends the workers in order.
            new = subprocess.Popen(command, stdin=self._stdin, stdout=self._stdout, start_new_session=True)  # noqa: S603 - our file
            self.processes.append(new)
        os.close(self._stdin)
        os.close(self._stdout)
        for _ in self.processes:
            error = json.loads(self._output.readline() or '{"error": "it ended before it began"}').get("error")
            if error:
                raise LabError(f"a {workload.kind} worker could not start: {error}", reason="worker")

    def begin(self) -> None:
        """Let held workers begin."""
        self._gate.close()

    def wait(self) -> list[Report]:
        """Return the reports of all workers when they are through; a killed one has none."""
        return [Report(*json.loads(line)) for line in islice(self._output, len(self.processes))]

    def stop(self) -> None:
        """Kill the workers and wait for their end."""
        for process in self.processes:
            process.kill()
            process.wait()
        self._gate.close()
        self._output.close()


class Workforce(ExitStack):
    """The workers of one thread; leaving this context manager, or the thread's end, ends them all."""

    def start(self, workload: Workload, members: Iterable[Path], *, hold: bool = False) -> Job:
        """Start workers in the cgroup with these ``cgroup.procs``, and wait for them; held ones begin by ``begin``."""
        job = Job()
        self.callback(job.stop)
        job.start(workload, members)
        if not hold:
            job.begin()
        return job
