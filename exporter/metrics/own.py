"""The exporter's metrics of itself, in a registry of their own: few samples, direct instrumentation."""

from __future__ import annotations

import sys
from collections import Counter as Counts
from collections.abc import Callable, Iterator

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from typing_extensions import override

from exporter import __version__
from exporter.kube.directory import DirectoryStatus, SourceStatus
from exporter.metrics.exposition import Format
from exporter.metrics.process import ProcessCollector
from exporter.model import Snapshot

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
# prometheus_client's own annotations stop short of these.
_disable_created: Callable[[], None] = prometheus_client.disable_created_metrics
_openmetrics: Callable[[CollectorRegistry], bytes] = generate_openmetrics


class OwnMetrics:
    """What the exporter says of itself."""

    def __init__(
        self, *, interval: float, window: float, directory: Callable[[], DirectoryStatus], process: bool = True
    ) -> None:
        """``process`` adds ``process_*``, which a page that another exporter serves must not have."""
        _disable_created()
        self.registry = registry = CollectorRegistry(auto_describe=False)
        self._snapshot: Snapshot | None = None
        self._sample_duration = Histogram(
            "throttle_exporter_sample_duration_seconds",
            "Time one sample of all throttled cgroups took.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._scan_duration = Histogram(
            "throttle_exporter_scan_duration_seconds",
            "Time one walk of the cgroup tree took.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._render_duration = Histogram(
            "throttle_exporter_render_duration_seconds",
            "Time one page took to read and render.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._overruns = Counter(
            "throttle_exporter_sample_overruns",
            "Sample times that were missed because the one before had not ended.",
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
        registry.register(_SnapshotCollector(lambda: self._snapshot))
        registry.register(_SourcesCollector(directory))
        registry.register(_ErrorsCollector(self.errors))
        if process:
            registry.register(ProcessCollector())

    def count(self, stage: str, reason: str, number: int = 1) -> None:
        """More survived failures. Both words come from small fixed sets, see :mod:`exporter.errors`."""
        self._errors[stage, reason] += number

    def errors(self) -> Counts[tuple[str, str]]:
        """Failures survived so far, by stage and reason."""
        errors = Counts(self._errors)
        status = self._directory()
        for failures in (*(source.failures for source in status.sources), status.config_failures):
            for reason, number in failures.items():
                errors["pods", reason] += number
        return errors

    def sampled(self, seconds: float) -> None:
        """One tick took so long."""
        self._sample_duration.observe(seconds)

    def scanned(self, seconds: float) -> None:
        """One scan took so long."""
        self._scan_duration.observe(seconds)

    def rendered(self, seconds: float) -> None:
        """One page took so long, from the request to its text."""
        self._render_duration.observe(seconds)

    def missed(self, ticks: int) -> None:
        """So many ticks were due while one before ran."""
        self._overruns.inc(ticks)

    def publish(self, snapshot: Snapshot) -> None:
        """The snapshot the next page is made of."""
        self._snapshot = snapshot

    def render(self, style: Format) -> bytes:
        """The own part of the page; for OpenMetrics it carries the end mark."""
        if style == "openmetrics":
            return _openmetrics(self.registry)
        return prometheus_client.generate_latest(self.registry)


class _SnapshotCollector(Collector):
    def __init__(self, latest: Callable[[], Snapshot | None]) -> None:
        self._latest = latest

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        snapshot = self._latest()
        if snapshot is None:
            return
        yield GaugeMetricFamily(
            "throttle_exporter_snapshot_timestamp_seconds",
            "When this page's values were read, seconds since the epoch.",
            value=snapshot.taken_at,
        )
        cgroups = GaugeMetricFamily(
            "throttle_exporter_cgroups", "Container cgroups by what is known of them.", labels=("state",)
        )
        for state, number in snapshot.cgroups.items():
            cgroups.add_metric((state,), number)
        yield cgroups
        inputs = GaugeMetricFamily(
            "throttle_exporter_input_available",
            "1 when the node gives what metrics are made of, 0 when it is missing, unreadable or late.",
            labels=("input",),
        )
        for name, is_there in snapshot.inputs.items():
            inputs.add_metric((name,), float(is_there))
        yield inputs


class _SourcesCollector(Collector):
    _FAMILIES: tuple[tuple[str, str, Callable[[SourceStatus], float | None]], ...] = (
        (
            "throttle_exporter_pods_source_up",
            "1 when the last read of the pod source succeeded, 0 when it failed; no sample before the first.",
            lambda status: status.up,
        ),
        (
            "throttle_exporter_pods_source_active",
            "1 for the pod source whose last answer is in use.",
            lambda status: status.active,
        ),
        (
            "throttle_exporter_pods_last_success_timestamp_seconds",
            "When the pod source last answered, seconds since the epoch.",
            lambda status: status.last_success,
        ),
    )

    def __init__(self, directory: Callable[[], DirectoryStatus]) -> None:
        self._directory = directory

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        sources = self._directory().sources
        for name, text, value_of in self._FAMILIES:
            family = GaugeMetricFamily(name, text, labels=("source",))
            for status in sources:
                value = value_of(status)
                if value is not None:
                    family.add_metric((status.name,), float(value))
            yield family


class _ErrorsCollector(Collector):
    def __init__(self, errors: Callable[[], Counts[tuple[str, str]]]) -> None:
        self._errors = errors

    @override
    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(
            "throttle_exporter_errors", "Failures survived, by the stage and the reason.", labels=("stage", "reason")
        )
        for (stage, reason), number in sorted(self._errors().items()):
            family.add_metric((stage, reason), number)
        yield family
