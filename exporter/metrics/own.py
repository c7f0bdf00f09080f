"""The exporter's metrics of itself and its process, in a registry of their own."""

from __future__ import annotations

import os
import resource
import sys
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from typing_extensions import override

from exporter import __version__
from exporter.kube.cache import PodCacheStatus
from exporter.metrics.exposition import Format
from exporter.model import Snapshot

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_PROC = "/proc"  # the exporter's own, not the host's that --path.proc may name
# prometheus_client does not annotate these.
_disable_created: Callable[[], None] = prometheus_client.disable_created_metrics
_openmetrics: Callable[[CollectorRegistry], bytes] = generate_openmetrics


class OwnMetrics(Collector):
    """``throttle_exporter_*`` and ``process_*``."""

    def __init__(
        self, *, interval: float, window: float, directory: Callable[[], PodCacheStatus], process: bool = True
    ) -> None:
        """With ``process``, add ``process_*``, which a page served by another exporter must not contain."""
        _disable_created()
        self.registry = registry = CollectorRegistry(auto_describe=False)
        self._snapshot: Snapshot | None = None
        self._errors: Counts[tuple[str, str]] = Counts()
        self._directory = directory

        def durations(name: str, text: str) -> Histogram:
            return Histogram(f"throttle_exporter_{name}_duration_seconds", text, buckets=_SECONDS, registry=registry)

        self.sample_seconds = durations("sample", "Duration of one sample of the cgroups.")
        self.scan_seconds = durations("scan", "Duration of one scan of the cgroup tree.")
        self.render_seconds = durations("render", "Time to read and render one page.")
        text = "Samples skipped because the previous one had not ended."
        self.overruns = Counter("throttle_exporter_sample_overruns", text, registry=registry)
        text, labels = "Version of the exporter.", ("version", "python_version")
        build = Gauge("throttle_exporter_build_info", text, labels, registry=registry)
        build.labels(__version__, ".".join(map(str, sys.version_info[:3]))).set(1)
        text = "Length of the window (--sample.window)."
        Gauge("throttle_exporter_window_seconds", text, registry=registry).set(window)
        text = "Time between samples (--sample.interval)."
        Gauge("throttle_exporter_sample_interval_seconds", text, registry=registry).set(interval)
        registry.register(self)
        if process:
            registry.register(ProcessCollector())

    def count(self, stage: str, reason: str, number: int = 1) -> None:
        """Count errors by stage and reason, which come from the small fixed sets of :mod:`exporter.errors`."""
        self._errors[stage, reason] += number

    def errors(self) -> Counts[tuple[str, str]]:
        """Return the errors since start, by stage and reason."""
        errors = Counts(self._errors)
        status = self._directory()
        for failures in (*(source.failures for source in status.sources), status.config_failures, status.problems):
            for reason, number in failures.items():
                errors["pods", reason] += number
        return errors

    def publish(self, snapshot: Snapshot) -> None:
        """Set the snapshot that the next page describes."""
        self._snapshot = replace(snapshot, containers=(), pods=())  # not kept in memory until the next one

    def render(self, style: Format) -> bytes:
        """Return the exporter's own part of the page, for OpenMetrics with the end mark."""
        return (_openmetrics if style == "openmetrics" else prometheus_client.generate_latest)(self.registry)

    @override
    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the families whose values are kept elsewhere: snapshot, pod sources, errors."""
        if self._snapshot is not None:
            text = "Time at which the values of this page were read, in seconds since the epoch."
            yield GaugeMetricFamily("throttle_exporter_snapshot_timestamp_seconds", text, self._snapshot.taken_at)
            text = "Number of container cgroups by state."
            yield _gauge("cgroups", text, ("state",), self._snapshot.cgroups.items())
            text = "1 if an input of the node can be read, 0 if it is missing, unreadable or late."
            yield _gauge("input_available", text, ("input",), self._snapshot.inputs.items())
        sources = self._directory().sources
        text = "1 if the last read of the pod source succeeded, 0 if it failed; no sample before the first."
        yield _gauge("pods_source_up", text, ("source",), ((one.name, one.up) for one in sources))
        text = "1 for the pod source in use."
        yield _gauge("pods_source_active", text, ("source",), ((one.name, one.active) for one in sources))
        text = "Why the last read of the pod source failed; reason is empty after a success. A later source may serve."
        reasons = (((one.name, one.reason), None if one.up is None else 1) for one in sources)
        yield _gauge("pods_source_info", text, ("source", "reason"), reasons)
        text = "Time of the last successful read of the pod source, in seconds since the epoch."
        successes = ((one.name, one.last_success) for one in sources)
        yield _gauge("pods_last_success_timestamp_seconds", text, ("source",), successes)
        labels = ("stage", "reason")
        errors = CounterMetricFamily("throttle_exporter_errors", "Errors by stage and reason.", labels=labels)
        for key, number in sorted(self.errors().items()):
            errors.add_metric(key, number)
        yield errors


def _gauge(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[str | tuple[str, ...], float | None]]
) -> GaugeMetricFamily:
    """Return a gauge; a value of ``None`` gives no sample."""
    family = GaugeMetricFamily(f"throttle_exporter_{name}", text, labels=labels)
    for key, number in values:
        if number is not None:
            family.add_metric((key,) if isinstance(key, str) else key, float(number))
    return family


class ProcessCollector(Collector):
    """Collects ``process_*`` from ``proc(5)``, as prometheus_client does; a value that cannot be read gives no sample.

    prometheus_client's own collector lists ``/proc/self/fd`` to count descriptors. With three thousand cgroup files
    open that takes longer than half of the rest of a scrape.
    """

    def __init__(self, proc: str = _PROC) -> None:
        self._self = f"{proc}/self"
        self._booted: float | None = None
        with suppress(OSError), open(f"{proc}/stat", "rb") as stat:
            self._booted = next((float(line.split()[1]) for line in stat if line.startswith(b"btime ")), None)

    @override
    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        with suppress(OSError, LookupError, ValueError):
            with open(f"{self._self}/stat", "rb") as stat:
                # The command name, in brackets, may hold blanks and brackets.
                fields = stat.read().rpartition(b")")[2].split()
            started, virtual = float(fields[19]) / os.sysconf("SC_CLK_TCK"), float(fields[20])
            resident = float(fields[21]) * resource.getpagesize()
            yield GaugeMetricFamily("process_virtual_memory_bytes", "Virtual memory size in bytes.", virtual)
            yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory size in bytes.", resident)
            if self._booted is not None:
                text = "Start time of the process since unix epoch in seconds."
                yield GaugeMetricFamily("process_start_time_seconds", text, self._booted + started)
        text = "Total user and system CPU time spent in seconds."
        yield CounterMetricFamily("process_cpu_seconds_total", text, used.ru_utime + used.ru_stime)
        with suppress(OSError):
            number = float(open_files(f"{self._self}/fd"))
            yield GaugeMetricFamily("process_open_fds", "Number of open file descriptors.", number)
        most = float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        yield GaugeMetricFamily("process_max_fds", "Maximum number of open file descriptors.", most)


def open_files(path: str) -> int:
    """Return the number of entries of ``/proc/PID/fd``."""
    # The directory's size is their number since kernel 6.2, and 0 before.
    return os.stat(path).st_size or len(os.listdir(path))
