"""Starts workloads in cgroups and collects what they report: the owner's side of the keeper."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from exporter.lab.hierarchy import LabError
from exporter.lab.spec import Workload

_KEEPER = Path(__file__).with_name("keeper.py")
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Report:
    """What one worker did until it ended by itself; times in seconds."""

    units: int
    latency_sum_seconds: float
    latency_max_seconds: float
    wall_seconds: float
    cpu_seconds: float


@dataclass(slots=True)
class Job:
    """One started workload; filled by :class:`Workforce` as messages come in."""

    key: int
    pids: tuple[int, ...] = ()
    reports: dict[int, Report] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)

    @property
    def running(self) -> bool:
        """Whether any worker has not ended yet."""
        return not self.pids or len(self.ended) < len(self.pids)


class Workforce:
    """The workers of one owner. A context manager; leaving it, or the owner's death, ends every worker.

    For one thread: messages are read only while a method waits for them.
    """

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        self._keys = itertools.count(1)
        self._pending = b""
        # A session of its own: Ctrl-C in a terminal is for the owner alone, who ends the workers in order.
        self._keeper = subprocess.Popen(  # noqa: S603 - our own interpreter on our own file
            [sys.executable, "-I", "-S", str(_KEEPER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,  # a dead keeper is met where it is written to, not again when its pipe is closed
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The keeper's."""
        return self._keeper.pid

    def start(self, workload: Workload, members: Sequence[Path], *, lifetime: float, at: float | None = None) -> Job:
        """Starts the workers in the cgroup whose ``members`` files are given; returns when all stand in it.

        ``lifetime`` bounds each worker whatever happens, in seconds; ``at`` (CLOCK_MONOTONIC) is when all begin.
        """
        job = Job(next(self._keys))
        self._jobs[job.key] = job
        self._send(
            {
                **dataclasses.asdict(workload),
                "start": job.key,
                "members": [str(file) for file in members],
                "lifetime": lifetime,
                "at": at,
            }
        )
        self._read_until(lambda: bool(job.pids), _ANSWER_SECONDS)
        if job.errors:
            raise LabError(f"a {workload.kind} worker could not start: {job.errors[0]}", reason="worker")
        return job

    def wait(self, jobs: Sequence[Job], timeout: float) -> list[Report]:
        """The reports of the jobs' workers when all have ended; a worker that was stopped has none."""
        self._read_until(lambda: not any(job.running for job in jobs), timeout)
        return [report for job in jobs for _, report in sorted(job.reports.items())]

    def stop(self, job: Job) -> None:
        """Kills the job's workers and waits for their end."""
        self._send({"stop": job.key})
        self._read_until(lambda: not job.running, _ANSWER_SECONDS)

    def close(self) -> None:
        """Ends every worker and the keeper."""
        keeper = self._keeper
        if keeper.stdin and not keeper.stdin.closed:
            keeper.stdin.close()
        try:
            keeper.wait(_ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()
        if keeper.stdout:
            keeper.stdout.close()

    def _send(self, command: dict[str, Any]) -> None:
        assert self._keeper.stdin is not None  # noqa: S101 - asked for above
        try:
            self._keeper.stdin.write(json.dumps(command).encode() + b"\n")
        except OSError as error:
            raise LabError.from_os_error("speaking to the keeper of the workers", error) from error

    def _read_until(self, done: Any, timeout: float) -> None:
        assert self._keeper.stdout is not None  # noqa: S101 - asked for above
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._keeper.stdout, selectors.EVENT_READ)
            while not done():
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise LabError(f"the workers gave no answer for {timeout:g} s", reason="timeout")
                chunk = os.read(self._keeper.stdout.fileno(), 65536)
                if not chunk:
                    raise LabError("the keeper of the workers has ended", reason="keeper_gone")
                *lines, self._pending = (self._pending + chunk).split(b"\n")
                for line in lines:
                    self._note(json.loads(line))

    def _note(self, message: dict[str, Any]) -> None:
        job = self._jobs[message["key"]]
        if "pids" in message:
            job.pids = tuple(message["pids"])
        elif "report" in message:
            job.reports[message["pid"]] = Report(**message["report"])
        elif "error" in message:
            job.errors.append(message["error"])
        else:
            job.ended.add(message["pid"])
