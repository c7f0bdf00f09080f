"""One worker process: joins its cgroup, works, reports. Run as a script: ``python -I -S worker.py JOB``.

JOB is JSON. It writes ``{}`` when it is in its cgroup, or ``{"error": TEXT}``; begins when its input ends; writes what
it did when it is through. The kernel kills it when its parent dies (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import sys
import time
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_SLOW_ITERATIONS, _SLOW_SLEEP_SECONDS = 100, 0.01


def work(job: dict[str, Any]) -> tuple[int, float, float]:
    """Do units of work until the worker's time is over; return their number, all their latency, and the CPU time."""
    kind, started, cpu_started = job["kind"], time.monotonic(), time.thread_time()
    until = math.inf if job["seconds"] is None else started + job["seconds"]
    units, latency, due = 0, 0.0, until if kind == "idle" else started
    while due < until:
        _sleep_until(due)
        # Of a burst the late start counts as well.
        since = due if kind == "bursty" else time.monotonic()
        if kind == "fib_slow":
            _fibonacci(_SLOW_ITERATIONS)
        elif not _unit(job["unit_seconds"], until):
            break
        now = time.monotonic()
        units, latency = units + 1, latency + now - since
        if kind == "bursty":
            # Bursts that were due meanwhile are dropped, as by a client with a timeout.
            due += job["every_seconds"] * math.ceil((now - due) / job["every_seconds"])
        else:
            due = now + (_SLOW_SLEEP_SECONDS if kind == "fib_slow" else 0.0)
    _sleep_until(until)
    return units, latency, time.thread_time() - cpu_started


def _unit(cpu_seconds: float, until: float) -> bool:
    end = time.thread_time() + cpu_seconds
    while time.thread_time() < end:
        if time.monotonic() >= until:
            return False
        _fibonacci(1)
    return True


def _fibonacci(times: int) -> None:
    for _ in range(times):
        # The 91st number, as in the known reproducer's iterations: its largest fits into 64 bits.
        low, high = 0, 1
        for _ in range(90):
            low, high = high, low + high


def _sleep_until(moment: float) -> None:
    while (left := moment - time.monotonic()) > 0:
        time.sleep(min(left, 3600.0))  # an endless worker's moment is infinitely far


def main(job: dict[str, Any]) -> None:
    """Run one worker."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NAME, f"kte-{job['kind']}".encode(), 0, 0, 0)
    if os.getppid() != job["parent"]:
        return
    try:
        for file in job["members"]:
            with open(file, "r+b", buffering=0) as members:
                members.write(b"0")
        if job["cpu"] is not None:
            # After joining: before 6.2 a cpuset overwrites the affinity of a process that joins.
            os.sched_setaffinity(0, [job["cpu"]])
    except OSError as error:
        _send({"error": f"{error.filename or 'joining the cgroup'}: {error.strerror}"})
        return
    _send({})
    os.read(0, 1)
    _send(work(job))


def _send(message: object) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")  # below PIPE_BUF it is whole, whoever else writes


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
