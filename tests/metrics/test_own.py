"""What the exporter says of itself."""

from __future__ import annotations

import pytest

from exporter import __version__
from exporter.kube.cache import PodCacheStatus, SourceStatus
from exporter.metrics.exposition import Format
from exporter.metrics.own import OwnMetrics
from exporter.model import Snapshot
from tests.support.pages import Page, duplicates, misplaced_families
from tests.support.snapshots import node

TYPES: dict[Format, str] = {"text": "text/plain", "openmetrics": "application/openmetrics-text"}


def own(status: PodCacheStatus | None = None) -> OwnMetrics:
    return OwnMetrics(interval=1.0, window=60.0, directory=lambda: status or PodCacheStatus(()))


def page(metrics: OwnMetrics, style: Format = "text") -> Page:
    return Page(metrics.render(style).decode(), TYPES[style])


def snapshot(**cgroups: int) -> Snapshot:
    return Snapshot(1234.5, 7, 1, (), (), node(), cgroups)


def test_settings_and_version_are_there_from_the_start() -> None:
    found = page(own())
    assert found.get("throttle_exporter_window_seconds") == 60.0
    assert found.get("throttle_exporter_sample_interval_seconds") == 1.0
    assert found.info("throttle_exporter_build_info")["version"] == __version__
    assert found.rows("process_cpu_seconds_total")


def test_a_snapshot_that_was_not_taken_has_no_time() -> None:
    metrics = own()
    assert page(metrics).rows("throttle_exporter_snapshot_timestamp_seconds") == {}
    assert page(metrics).rows("throttle_exporter_cgroups") == {}
    metrics.publish(snapshot(mapped=3, unmapped=0))
    assert page(metrics).get("throttle_exporter_snapshot_timestamp_seconds") == 1234.5
    assert page(metrics).get("throttle_exporter_cgroups", state="mapped") == 3
    assert page(metrics).get("throttle_exporter_cgroups", state="unmapped") == 0


def test_failures_are_counted_by_stage_and_reason() -> None:
    metrics = own()
    assert page(metrics).rows("throttle_exporter_errors_total") == {}
    metrics.count("read", "eacces")
    metrics.count("read", "eacces")
    metrics.count("parse", "malformed", 5)
    found = page(metrics)
    assert found.get("throttle_exporter_errors_total", stage="read", reason="eacces") == 2
    assert found.get("throttle_exporter_errors_total", stage="parse", reason="malformed") == 5


def test_failures_of_the_pod_sources_are_counted_among_them() -> None:
    status = PodCacheStatus(
        sources=(
            SourceStatus("kubelet", up=False, failures={"forbidden": 3, "timeout": 1}),
            SourceStatus("logs", up=True, active=True, last_success=99.0, failures={"timeout": 2}),
        ),
        config_failures={"forbidden": 4},
    )
    metrics = own(status)
    metrics.count("pods", "timeout", 10)
    found = page(metrics)
    assert found.get("throttle_exporter_errors_total", stage="pods", reason="forbidden") == 7
    assert found.get("throttle_exporter_errors_total", stage="pods", reason="timeout") == 13
    assert found.get("throttle_exporter_pods_source_up", source="kubelet") == 0
    assert found.get("throttle_exporter_pods_source_active", source="logs") == 1
    assert found.get("throttle_exporter_pods_last_success_timestamp_seconds", source="logs") == 99.0
    assert found.get("throttle_exporter_pods_last_success_timestamp_seconds", source="kubelet") is None


def test_a_source_that_was_never_asked_is_neither_up_nor_down() -> None:
    found = page(own(PodCacheStatus((SourceStatus("kubelet"),))))
    assert found.rows("throttle_exporter_pods_source_up") == {}
    assert found.get("throttle_exporter_pods_source_active", source="kubelet") == 0


def test_durations_and_missed_samples() -> None:
    metrics = own()
    metrics.sample_seconds.observe(0.002)
    metrics.scan_seconds.observe(0.02)
    metrics.render_seconds.observe(0.2)
    metrics.overruns.inc(3)
    found = page(metrics)
    for name, seconds in (("sample", 0.002), ("scan", 0.02), ("render", 0.2)):
        assert found.get(f"throttle_exporter_{name}_duration_seconds_count") == 1
        assert found.get(f"throttle_exporter_{name}_duration_seconds_sum") == seconds
    assert found.get("throttle_exporter_sample_overruns_total") == 3


@pytest.mark.parametrize("style", TYPES)
def test_page_is_well_formed_in_both_formats(style: Format) -> None:
    metrics = own(PodCacheStatus((SourceStatus("kubelet", up=True),)))
    metrics.publish(snapshot(mapped=1))
    metrics.count("read", "eio")
    found = page(metrics, style)
    assert found.families
    assert duplicates(found.text) == {}
    assert found.text.endswith("# EOF\n") is (style == "openmetrics")
    assert "_created" not in found.text
    if style == "text":
        assert misplaced_families(found.text) == []
