"""``process_*``: what every Prometheus client says of its process, under the names they all use.

prometheus_client's own collector lists ``/proc/self/fd`` to count it. With three thousand cgroup files kept open that
takes longer than half of the rest of a scrape.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

_PROC = "/proc"
"""Never the host's, which ``--path.proc`` may be."""


class ProcessCollector(Collector):
    """Of this process, from ``proc(5)``; what cannot be read gives no sample."""

    def __init__(self, proc: str = _PROC) -> None:
        self._self = f"{proc}/self"
        self._ticks, self._page = os.sysconf("SC_CLK_TCK"), resource.getpagesize()
        self._booted = _boot_time(f"{proc}/stat")

    @override
    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        try:
            with open(f"{self._self}/stat", "rb") as stat:
                # The name, in brackets, may have blanks and brackets itself.
                fields = stat.read().rpartition(b")")[2].split()
            open_fds = open_files(f"{self._self}/fd")
        except OSError:
            return
        used = resource.getrusage(resource.RUSAGE_SELF)
        yield GaugeMetricFamily("process_virtual_memory_bytes", "Virtual memory size in bytes.", float(fields[20]))
        resident = float(fields[21]) * self._page
        yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory size in bytes.", resident)
        if self._booted is not None:
            text = "Start time of the process since unix epoch in seconds."
            yield GaugeMetricFamily("process_start_time_seconds", text, self._booted + float(fields[19]) / self._ticks)
        text = "Total user and system CPU time spent in seconds."
        yield CounterMetricFamily("process_cpu_seconds_total", text, used.ru_utime + used.ru_stime)
        yield GaugeMetricFamily("process_open_fds", "Number of open file descriptors.", float(open_fds))
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        yield GaugeMetricFamily("process_max_fds", "Maximum number of open file descriptors.", float(most))


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
