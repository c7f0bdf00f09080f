"""``process_*``: what every Prometheus client says of its process, under the names they all use.

prometheus_client's own collector lists ``/proc/self/fd`` to count it. With three thousand cgroup files kept open that
takes longer than half of the rest of a scrape.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

_PROC = "/proc"
"""Never the host's, which ``--path.proc`` may be."""


class ProcessCollector(Collector):
    """Of this process, from ``proc(5)``; what cannot be read gives no sample."""

    def __init__(self, proc: str = _PROC) -> None:
        self._self = f"{proc}/self"
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._booted = _boot_time(f"{proc}/stat")

    @override
    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(OSError, LookupError, ValueError):
            started, virtual, resident = _memory(f"{self._self}/stat")
            yield GaugeMetricFamily("process_virtual_memory_bytes", "Virtual memory size in bytes.", virtual)
            yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory size in bytes.", resident)
            if self._booted is not None:
                text = "Start time of the process since unix epoch in seconds."
                yield GaugeMetricFamily("process_start_time_seconds", text, self._booted + started / self._ticks)
        text = "Total user and system CPU time spent in seconds."
        yield CounterMetricFamily("process_cpu_seconds_total", text, used.ru_utime + used.ru_stime)
        with suppress(OSError):
            number = float(open_files(f"{self._self}/fd"))
            yield GaugeMetricFamily("process_open_fds", "Number of open file descriptors.", number)
        yield GaugeMetricFamily("process_max_fds", "Maximum number of open file descriptors.", float(most))


def _memory(path: str) -> tuple[float, float, float]:
    """Start in clock ticks since boot, bytes of address space, resident bytes (``proc(5)``, ``stat``)."""
    with open(path, "rb") as stat:
        # The name, in brackets, may have blanks and brackets itself.
        fields = stat.read().rpartition(b")")[2].split()
    return float(fields[19]), float(fields[20]), float(fields[21]) * resource.getpagesize()


def open_files(path: str) -> int:
    """How many entries ``/proc/PID/fd`` has."""
    # Since kernel 6.2 the directory's size is what it holds, and 0 before.
    return os.stat(path).st_size or len(os.listdir(path))


def _boot_time(path: str) -> float | None:
    try:
        with open(path, "rb") as stat:
            return next((float(line.split()[1]) for line in stat if line.startswith(b"btime ")), None)
    except OSError:
        return None
