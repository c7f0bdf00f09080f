"""The parent of all workers: a small single-threaded process that forks them into their cgroups.

It runs as a script (``python -I -S keeper.py``) so that it imports next to nothing and a fork costs about a
millisecond; forking the exporter's own process, with its threads, would be unsafe. One JSON object a line:

- in: ``{"start": KEY, "kind": ..., "members": [FILE, ...], "at": T, "lifetime": S, ...}``, ``{"stop": KEY}``
- out: ``{"key": KEY, "pids": [...]}`` when the workers stand in their cgroup, ``{"key", "pid", "error"}``,
  ``{"key", "pid", "report": {...}}`` when a worker is through, ``{"key", "pid", "status": N}`` when it has ended.

The end of its input means that its owner is gone: it kills every worker and ends. Should it be killed itself, the
kernel kills the workers (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
SLOW_ITERATIONS = 100
SLOW_SLEEP_SECONDS = 0.01
_FIBONACCI_STEPS = 90  # the last one that a 64-bit integer holds is the 93rd


class Meter:
    """What one worker did: finished units, their wall times, its CPU time."""

    def __init__(self) -> None:
        self.units = 0
        self.sum_seconds = 0.0
        self.max_seconds = 0.0
        self.started = time.monotonic()
        self.cpu_started = time.thread_time()

    def unit(self, wall_seconds: float) -> None:
        """Counts one finished unit."""
        self.units += 1
        self.sum_seconds += wall_seconds
        self.max_seconds = max(self.max_seconds, wall_seconds)

    def report(self) -> dict[str, float]:
        """As sent to the owner; times in seconds."""
        return {
            "units": self.units,
            "latency_sum_seconds": self.sum_seconds,
            "latency_max_seconds": self.max_seconds,
            "wall_seconds": time.monotonic() - self.started,
            "cpu_seconds": time.thread_time() - self.cpu_started,
        }


def fibonacci() -> int:
    """One iteration of the known reproducer's work."""
    low, high = 0, 1
    for _ in range(_FIBONACCI_STEPS):
        low, high = high, low + high
    return high


def burn(cpu_seconds: float, until: float) -> bool:
    """Uses so much CPU time of this thread; false when ``until`` (monotonic) came first."""
    end = time.thread_time() + cpu_seconds
    while time.thread_time() < end:
        if time.monotonic() >= until:
            return False
        fibonacci()
    return True


def idle(_job: dict[str, Any], _meter: Meter, until: float) -> None:
    """Sleeps."""
    _sleep_until(until)


def busy(job: dict[str, Any], meter: Meter, until: float) -> None:
    """One unit after the other."""
    started = time.monotonic()
    while burn(job["unit_seconds"], until):
        now = time.monotonic()
        meter.unit(now - started)
        started = now


def bursty(job: dict[str, Any], meter: Meter, until: float) -> None:
    """One unit at each multiple of ``every_seconds`` since the common start; being late counts as latency."""
    due = meter.started
    while due < until:
        _sleep_until(min(due, until))
        if not burn(job["unit_seconds"], until):
            return
        meter.unit(time.monotonic() - due)
        due += job["every_seconds"]
        # Units whose time came while this one was held up are dropped, as a client with a timeout would.
        while due < time.monotonic():
            due += job["every_seconds"]
    _sleep_until(until)


def fixed(job: dict[str, Any], meter: Meter, until: float) -> None:
    """One unit, then the end."""
    started = time.monotonic()
    if burn(job["unit_seconds"], until):
        meter.unit(time.monotonic() - started)


def fib_slow(_job: dict[str, Any], meter: Meter, until: float) -> None:
    """100 iterations, then 10 ms of sleep."""
    while time.monotonic() < until:
        started = time.monotonic()
        for _ in range(SLOW_ITERATIONS):
            fibonacci()
        meter.unit(time.monotonic() - started)
        time.sleep(SLOW_SLEEP_SECONDS)


_KINDS: dict[str, Callable[[dict[str, Any], Meter, float], None]] = {
    one.__name__: one for one in (idle, busy, bursty, fixed, fib_slow)
}


def _sleep_until(moment: float) -> None:
    while (left := moment - time.monotonic()) > 0:
        time.sleep(min(left, 3600.0))  # an endless worker's moment is infinitely far


def _say(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")  # below PIPE_BUF it is whole, whoever else writes


def _join(members: list[str]) -> None:
    for file in members:
        descriptor = os.open(file, os.O_WRONLY)
        os.write(descriptor, b"0")
        os.close(descriptor)


def _work(job: dict[str, Any], index: int, ready: int, keeper: int) -> None:
    """A worker's life; runs in the child and never returns to the keeper's loop."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != keeper:
        return
    libc.prctl(_PR_SET_NAME, f"kte-{job['kind']}".encode(), 0, 0, 0)
    signal.alarm(max(1, int(job["lifetime"])))
    cpus = job.get("cpus")
    try:
        _join(job["members"])
        if cpus:
            # After joining: before 6.2 a cpuset overwrites the affinity of who enters it.
            os.sched_setaffinity(0, [cpus[index % len(cpus)]])
    except OSError as error:
        complaint = f"{error.filename or 'sched_setaffinity'}: {error.strerror}"
        _say({"key": job["start"], "pid": os.getpid(), "error": complaint})
        os.close(ready)
        return
    os.write(ready, b".")
    os.close(ready)
    _sleep_until(job.get("at") or 0.0)
    meter = Meter()
    seconds = job.get("seconds")
    _KINDS[job["kind"]](job, meter, float("inf") if seconds is None else meter.started + seconds)
    _say({"key": job["start"], "pid": os.getpid(), "report": meter.report()})


class Keeper:
    """The loop: reads commands, forks, reaps."""

    def __init__(self) -> None:
        self.running: dict[int, int] = {}
        """Key of each living worker's job, by pid."""

    def start(self, job: dict[str, Any]) -> None:
        """Forks the job's workers and says so once each stands in its cgroup, or has said why it cannot."""
        keeper = os.getpid()
        inner, ready = os.pipe()
        pids = []
        for index in range(job["workers"]):
            pid = os.fork()
            if pid == 0:
                try:
                    os.close(inner)
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _work(job, index, ready, keeper)
                finally:
                    os._exit(0)
            pids.append(pid)
            self.running[pid] = job["start"]
        os.close(ready)
        while os.read(inner, 64):  # each worker writes one byte, then closes its end
            pass
        os.close(inner)
        _say({"key": job["start"], "pids": pids})

    def stop(self, key: int) -> None:
        """Kills one job's workers; their ends are reported as they are reaped."""
        for pid, of in self.running.items():
            if of == key:
                os.kill(pid, signal.SIGKILL)

    def reap(self, *, block: bool = False) -> None:
        """Reports workers that ended."""
        while self.running:
            pid, status = os.waitpid(-1, 0 if block else os.WNOHANG)
            if pid == 0:
                return
            key = self.running.pop(pid)
            if not block:
                _say({"key": key, "pid": pid, "status": status})

    def run(self) -> None:
        """Until the input ends."""
        wake, poke = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(poke, False)
        signal.set_wakeup_fd(poke, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        pending = b""
        try:
            while True:
                readable, _, _ = select.select([0, wake], [], [])
                if wake in readable:
                    os.read(wake, 4096)
                    self.reap()
                if 0 in readable:
                    chunk = os.read(0, 65536)
                    if not chunk:
                        return
                    *lines, pending = (pending + chunk).split(b"\n")
                    for line in lines:
                        command = json.loads(line)
                        self.start(command) if "start" in command else self.stop(command["stop"])
        finally:
            for pid in self.running:
                os.kill(pid, signal.SIGKILL)
            self.reap(block=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    Keeper().run()
