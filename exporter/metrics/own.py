"""The exporter's metrics of itself, in a registry of their own: few samples, direct instrumentation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from exporter import __version__
from exporter.errors import ExporterError
from exporter.metrics.exposition import Format
from exporter.metrics.status import SourceStatus
from exporter.snapshot import Snapshot

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
END = b"# EOF\n"


class OwnMetrics:
    """What the exporter says of itself."""

    def __init__(self, *, interval: float, window: float, sources: Callable[[], tuple[SourceStatus, ...]]) -> None:
        prometheus_client.disable_created_metrics()
        self.registry = registry = CollectorRegistry(auto_describe=False)
        self._snapshot: Snapshot | None = None
        self.sample_duration = Histogram(
            "throttle_exporter_sample_duration_seconds",
            "Time one sample of all throttled cgroups took.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.scan_duration = Histogram(
            "throttle_exporter_scan_duration_seconds",
            "Time one walk of the cgroup tree took.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.render_duration = Histogram(
            "throttle_exporter_render_duration_seconds",
            "Time one page took to read and render.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.overruns = Counter(
            "throttle_exporter_sample_overruns",
            "Sample times that were missed because the one before had not ended.",
            registry=registry,
        )
        self._errors = Counter(
            "throttle_exporter_errors",
            "Failures survived, by the stage and the reason.",
            ("stage", "reason"),
            registry=registry,
        )
        build = Gauge(
            "throttle_exporter_build_info", "Version of the exporter.", ("version", "python_version"), registry=registry
        )
        build.labels(__version__, ".".join(map(str, sys.version_info[:3]))).set(1)
        Gauge("throttle_exporter_window_seconds", "Length of the window (--sample.window).", registry=registry).set(window)
        Gauge(
            "throttle_exporter_sample_interval_seconds", "Time between samples (--sample.interval).", registry=registry
        ).set(interval)
        registry.register(_SnapshotCollector(lambda: self._snapshot))
        registry.register(_SourcesCollector(sources))
        ProcessCollector(registry=registry)

    def count(self, error: ExporterError) -> None:
        """One more survived failure."""
        self._errors.labels(error.stage, error.reason).inc()

    def publish(self, snapshot: Snapshot) -> None:
        """The snapshot the next page is made of."""
        self._snapshot = snapshot

    def render(self, style: Format) -> bytes:
        """The own part of the page; for OpenMetrics it carries the end mark."""
        if style == "openmetrics":
            return bytes(generate_openmetrics(self.registry))
        return prometheus_client.generate_latest(self.registry)


class _SnapshotCollector(Collector):
    def __init__(self, latest: Callable[[], Snapshot | None]) -> None:
        self._latest = latest

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


class _SourcesCollector(Collector):
    def __init__(self, sources: Callable[[], tuple[SourceStatus, ...]]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[GaugeMetricFamily]:
        families = (
            ("up", "1 when the last read of the pod source succeeded.", lambda status: status.up),
            ("active", "1 for the pod source whose answer is in use.", lambda status: status.active),
            (
                "last_success_timestamp_seconds",
                "When the pod source last answered, seconds since the epoch.",
                lambda status: status.last_success,
            ),
        )
        for suffix, text, value_of in families:
            prefix = "throttle_exporter_pods_source_" if suffix in {"up", "active"} else "throttle_exporter_pods_"
            family = GaugeMetricFamily(prefix + suffix, text, labels=("source",))
            for status in self._sources():
                value = value_of(status)
                if value is not None:
                    family.add_metric((status.name,), float(value))
            yield family
