"""Starts worker processes (:mod:`~exporter.lab.worker`) in cgroups and collects their reports."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from exporter.lab.hierarchy import LabError
from exporter.lab.spec import Workload

_WORKER = Path(__file__).with_name("worker.py")
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Report:
    """One worker's work until it ended by itself; times in seconds."""

    units: int
    latency_sum_seconds: float
    latency_max_seconds: float
    wall_seconds: float
    cpu_seconds: float


@dataclass(slots=True)
class Job:
    """The workers of one started workload."""

    processes: list[subprocess.Popen[bytes]]
    output: int
    """Read end of the pipe that they write to, which ends with the last of them."""
    gate: int
    """Write end of the pipe whose end they wait for, or -1 once they began."""
    ready: int = 0
    reports: dict[int, Report] = field(default_factory=dict)
    ended: bool = False
    _pending: bytes = b""

    @property
    def pids(self) -> tuple[int, ...]:
        """The workers' pids."""
        return tuple(process.pid for process in self.processes)

    def read_until(self, done: Callable[[Job], bool], timeout: float) -> None:
        """Take in messages until ``done``; raise :class:`LabError` after ``timeout`` seconds, or if a worker fails."""
        deadline = time.monotonic() + timeout
        while not done(self) and not self.ended:
            if not select.select([self.output], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise LabError(f"the workers gave no answer for {timeout:g} s", reason="timeout")
            chunk = os.read(self.output, 65536)
            *lines, self._pending = (self._pending + chunk).split(b"\n")
            self.ended = not chunk
            for message in map(json.loads, lines):
                if "error" in message:
                    raise LabError(f"a worker could not start: {message['error']}", reason="worker")
                if "report" in message:
                    self.reports[message["pid"]] = Report(**message["report"])
                else:
                    self.ready += 1
        if self.ended:
            for process in self.processes:
                process.wait()

    def begin(self) -> None:
        """Let held workers begin."""
        if self.gate >= 0:
            os.close(self.gate)
        self.gate = -1

    def kill(self) -> None:
        """Kill the workers and wait for their end."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


class Workforce:
    """The workers of one thread; leaving this context manager, or the thread's end, ends them all."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for job in self._jobs:
            job.kill()
            job.begin()
            os.close(job.output)

    def start(self, workload: Workload, members: Sequence[Path], *, lifetime: float, hold: bool = False) -> Job:
        """Start the workers in the cgroup with these ``cgroup.procs`` files; return when all are in it.

        ``lifetime`` bounds each worker, in seconds; with ``hold`` they wait for :meth:`Job.begin`.
        """
        (output, stdout), (stdin, gate) = os.pipe(), os.pipe()
        job = Job([], output, gate)
        self._jobs.append(job)
        order = {**asdict(workload), "members": [str(one) for one in members], "lifetime": lifetime}
        try:
            for index in range(workload.workers):
                cpu = workload.cpus[index % len(workload.cpus)] if workload.cpus else None
                text = json.dumps({**order, "parent": os.getpid(), "cpu": cpu})
                command = [sys.executable, "-I", "-S", str(_WORKER), text]
                # A session of its own: Ctrl-C in a terminal is for the owner, who ends the workers in order.
                process = subprocess.Popen(command, stdin=stdin, stdout=stdout, start_new_session=True)  # noqa: S603 - our file
                job.processes.append(process)
        finally:
            os.close(stdin)
            os.close(stdout)
        job.read_until(lambda job: job.ready == workload.workers, _ANSWER_SECONDS)
        if job.ready < workload.workers:
            raise LabError(f"a {workload.kind} worker ended before it started", reason="worker")
        if not hold:
            job.begin()
        return job

    def wait(self, jobs: Sequence[Job], timeout: float) -> list[Report]:
        """Return the reports of the jobs' workers when all have ended; a killed worker has none."""
        for job in jobs:
            job.read_until(lambda job: job.ended, timeout)
        return [report for job in jobs for _, report in sorted(job.reports.items())]

    def stop(self, job: Job) -> None:
        """Kill the job's workers and wait for their end."""
        job.kill()
