"""One worker process: joins its cgroup, works, reports. Run as a script: ``python -I -S worker.py JOB``.

JOB is a JSON object. It writes ``{"pid": N}`` when it is in its cgroup, or ``{"error": TEXT}``; begins when its input
ends; and writes ``{"pid": N, "report": {...}}`` when it is through. The kernel kills it when its
parent dies (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
SLOW_ITERATIONS = 100
SLOW_SLEEP_SECONDS = 0.01


class Worker:
    """One worker's work and what it reports; times in seconds, ``until`` on the monotonic clock."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.latencies: list[float] = []
        """Of the finished units."""
        self.started = time.monotonic()
        self.cpu_started = time.thread_time()
        self.until = float("inf") if job["seconds"] is None else self.started + job["seconds"]

    def report(self) -> dict[str, float]:
        """Return what was done."""
        return {
            "units": len(self.latencies),
            "latency_sum_seconds": sum(self.latencies),
            "latency_max_seconds": max(self.latencies, default=0.0),
            "wall_seconds": time.monotonic() - self.started,
            "cpu_seconds": time.thread_time() - self.cpu_started,
        }

    def unit(self, since: float) -> bool:
        """Use a unit's CPU time; return false if the worker's time ended first. Its latency counts from ``since``."""
        end = time.thread_time() + self.job["unit_seconds"]
        while time.thread_time() < end:
            if time.monotonic() >= self.until:
                return False
            fibonacci()
        self.finish(since)
        return True

    def finish(self, since: float) -> None:
        """Note a finished unit if the worker will report."""
        if self.job["seconds"] is not None or self.job["kind"] == "fixed":
            self.latencies.append(time.monotonic() - since)

    def idle(self) -> None:
        """Sleep."""
        _sleep_until(self.until)

    def busy(self) -> None:
        """Do one unit after the other."""
        while self.unit(time.monotonic()):
            pass

    def bursty(self) -> None:
        """Do one unit at each multiple of ``every_seconds`` since the start; being late counts as latency."""
        due = self.started
        while due < self.until:
            _sleep_until(due)
            if not self.unit(due):
                return
            # Units that were due meanwhile are dropped, as by a client with a timeout.
            while due < time.monotonic():
                due += self.job["every_seconds"]
        _sleep_until(self.until)

    def fixed(self) -> None:
        """Do one unit."""
        self.unit(self.started)

    def fib_slow(self) -> None:
        """Do 100 iterations and sleep 10 ms, again and again."""
        while (since := time.monotonic()) < self.until:
            for _ in range(SLOW_ITERATIONS):
                fibonacci()
            self.finish(since)
            time.sleep(SLOW_SLEEP_SECONDS)


def fibonacci() -> int:
    """Return the 91st Fibonacci number, as the known reproducer's iterations do: its largest fits into 64 bits."""
    low, high = 0, 1
    for _ in range(90):
        low, high = high, low + high
    return high


def main(job: dict[str, Any]) -> None:
    """Run one worker."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != job["parent"]:
        return
    libc.prctl(_PR_SET_NAME, f"kte-{job['kind']}".encode(), 0, 0, 0)
    signal.alarm(max(1, int(job["lifetime"])))
    try:
        for file in job["members"]:
            descriptor = os.open(file, os.O_WRONLY)
            os.write(descriptor, b"0")
            os.close(descriptor)
        if job["cpu"] is not None:
            # After joining: before 6.2 a cpuset overwrites the affinity of a process that joins.
            os.sched_setaffinity(0, [job["cpu"]])
    except OSError as error:
        _send(error=f"{error.filename or 'joining the cgroup'}: {error.strerror}")
        return
    _send(pid=os.getpid())
    os.read(0, 1)
    worker = Worker(job)
    getattr(worker, job["kind"])()
    _send(pid=os.getpid(), report=worker.report())


def _sleep_until(moment: float) -> None:
    while (left := moment - time.monotonic()) > 0:
        time.sleep(min(left, 3600.0))  # an endless worker's moment is infinitely far


def _send(**message: object) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")  # below PIPE_BUF it is whole, whoever else writes


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
