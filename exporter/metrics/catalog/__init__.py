"""THE TABLE: every metric of the observed containers, pods and node. Adding a metric is adding a row.

Rendering, ``docs/metrics.md``, golden pages and the checks of dashboards and alerts all read it; no metric name is
spelled anywhere else in Python. No I/O, no clock, no prometheus_client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.metrics.catalog.cadvisor import CADVISOR_METRICS
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


def _families(metrics: tuple[Metric[Any], ...], prefixes: Mapping[RowType, str]) -> tuple[Family, ...]:
    return tuple(
        Family(
            prefix + metric.name, row_type, (*LABELS[row_type], *metric.label_names), metric, metric in SETTING_METRICS
        )
        for row_type, prefix in prefixes.items()
        for metric in metrics
        if row_type in metric.of
    )


FAMILIES: tuple[Family, ...] = _families(CATALOG, PREFIXES)
"""Every family of the page, in its order."""

CADVISOR_FAMILIES: tuple[Family, ...] = _families(CADVISOR_METRICS, {"cadvisor": "container_"})
"""What ``--web.cadvisor-names`` adds."""
