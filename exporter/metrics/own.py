"""The exporter's metrics of itself and its process, in a registry of their own."""

from __future__ import annotations

import os
import resource
import sys
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

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
_PROC = "/proc"
"""The exporter's own, not the host's that ``--path.proc`` may name."""
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
        self._sample_duration = Histogram(
            "throttle_exporter_sample_duration_seconds",
            "Duration of one sample of the cgroups.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._scan_duration = Histogram(
            "throttle_exporter_scan_duration_seconds",
            "Duration of one scan of the cgroup tree.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._render_duration = Histogram(
            "throttle_exporter_render_duration_seconds",
            "Time to read and render one page.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._overruns = Counter(
            "throttle_exporter_sample_overruns",
            "Samples skipped because the previous one had not ended.",
            registry=registry,
        )
        self._errors: Counts[tuple[str, str]] = Counts()
        self._directory = directory
        build = Gauge(
            "throttle_exporter_build_info", "Version of the exporter.", ("version", "python_version"), registry=registry
        )
        build.labels(__version__, ".".join(map(str, sys.version_info[:3]))).set(1)
        for name, text, value in (
            ("throttle_exporter_window_seconds", "Length of the window (--sample.window).", window),
            ("throttle_exporter_sample_interval_seconds", "Time between samples (--sample.interval).", interval),
        ):
            Gauge(name, text, registry=registry).set(value)
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
        for failures in (*(source.failures for source in status.sources), status.config_failures):
            for reason, number in failures.items():
                errors["pods", reason] += number
        return errors

    def sampled(self, seconds: float) -> None:
        """Observe the duration of one sample."""
        self._sample_duration.observe(seconds)

    def scanned(self, seconds: float) -> None:
        """Observe the duration of one scan."""
        self._scan_duration.observe(seconds)

    def rendered(self, seconds: float) -> None:
        """Observe the duration of one page, from the request to its text."""
        self._render_duration.observe(seconds)

    def missed(self, ticks: int) -> None:
        """Count ticks that were due while an earlier one ran."""
        self._overruns.inc(ticks)

    def publish(self, snapshot: Snapshot) -> None:
        """Set the snapshot that the next page describes."""
        self._snapshot = snapshot

    def render(self, style: Format) -> bytes:
        """Return the exporter's own part of the page, for OpenMetrics with the end mark."""
        if style == "openmetrics":
            return _openmetrics(self.registry)
        return prometheus_client.generate_latest(self.registry)

    @override
    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the families whose values are kept elsewhere: snapshot, pod sources, errors."""
        if self._snapshot is not None:
            yield GaugeMetricFamily(
                "throttle_exporter_snapshot_timestamp_seconds",
                "Time at which the values of this page were read, in seconds since the epoch.",
                value=self._snapshot.taken_at,
            )
            text = "Number of container cgroups by state."
            yield _gauge("throttle_exporter_cgroups", text, "state", self._snapshot.cgroups.items())
            text = "1 if an input of the node can be read, 0 if it is missing, unreadable or late."
            yield _gauge("throttle_exporter_input_available", text, "input", self._snapshot.inputs.items())
        sources = self._directory().sources
        text = "1 if the last read of the pod source succeeded, 0 if it failed; no sample before the first."
        yield _gauge("throttle_exporter_pods_source_up", text, "source", ((one.name, one.up) for one in sources))
        text = "1 for the pod source in use."
        yield _gauge(
            "throttle_exporter_pods_source_active", text, "source", ((one.name, one.active) for one in sources)
        )
        text = "Why the last read of the pod source failed; reason is empty after a success. A later source may serve."
        reasons = GaugeMetricFamily("throttle_exporter_pods_source_info", text, labels=("source", "reason"))
        for one in sources:
            if one.up is not None:
                reasons.add_metric((one.name, one.reason), 1)
        yield reasons
        text = "Time of the last successful read of the pod source, in seconds since the epoch."
        successes = ((one.name, one.last_success) for one in sources)
        yield _gauge("throttle_exporter_pods_last_success_timestamp_seconds", text, "source", successes)
        errors = CounterMetricFamily(
            "throttle_exporter_errors", "Errors by stage and reason.", labels=("stage", "reason")
        )
        for key, number in sorted(self.errors().items()):
            errors.add_metric(key, number)
        yield errors


def _gauge(name: str, text: str, label: str, values: Iterable[tuple[str, float | None]]) -> GaugeMetricFamily:
    """Return a gauge with one label; a value of ``None`` gives no sample."""
    family = GaugeMetricFamily(name, text, labels=(label,))
    for value, number in values:
        if number is not None:
            family.add_metric((value,), float(number))
    return family


class ProcessCollector(Collector):
    """Collects ``process_*`` from ``proc(5)``, as prometheus_client does; a value that cannot be read gives no sample.

    prometheus_client's own collector lists ``/proc/self/fd`` to count descriptors. With three thousand cgroup files
    open that takes longer than half of the rest of a scrape.
    """

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
    """Return start in clock ticks since boot, bytes of address space, resident bytes (``proc(5)``, ``stat``)."""
    with open(path, "rb") as stat:
        # The command name, in brackets, may hold blanks and brackets.
        fields = stat.read().rpartition(b")")[2].split()
    return float(fields[19]), float(fields[20]), float(fields[21]) * resource.getpagesize()


def open_files(path: str) -> int:
    """Return the number of entries of ``/proc/PID/fd``."""
    # The directory's size is their number since kernel 6.2, and 0 before.
    return os.stat(path).st_size or len(os.listdir(path))


def _boot_time(path: str) -> float | None:
    try:
        with open(path, "rb") as stat:
            return next((float(line.split()[1]) for line in stat if line.startswith(b"btime ")), None)
    except OSError:
        return None
