"""THE TABLE: every metric of the observed containers, pods and node. Adding a metric is adding a row.

Rendering, ``docs/metrics.md``, golden pages and the checks of dashboards and alerts all read it; no metric name is
spelled anywhere else in Python. No I/O, no clock, no prometheus_client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.metrics.catalog.node import CPU_METRICS, NODE_METRICS, POOL_METRICS
from exporter.metrics.catalog.settings import SETTING_METRICS
from exporter.metrics.catalog.time import TIME_METRICS
from exporter.metrics.metric import LABELS, Family, Metric, RowType

CATALOG: tuple[Metric[Any], ...] = (
    *TIME_METRICS,
    *SETTING_METRICS,
    *NODE_METRICS,
    *POOL_METRICS,
    *CPU_METRICS,
)
PREFIXES: Mapping[RowType, str] = {
    "container": "cgroup_container_",
    "pod": "cgroup_pod_",
    "node": "cgroup_node_",
    "pool": "cgroup_node_",
    "cpu": "cgroup_node_",
}

FAMILIES: tuple[Family, ...] = tuple(
    Family(
        PREFIXES[row_type] + metric.name,
        row_type,
        (*LABELS[row_type], *metric.label_names),
        metric,
        metric in SETTING_METRICS,
    )
    for row_type in PREFIXES
    for metric in CATALOG
    if row_type in metric.of
)
"""Every family of the page, in its order."""
