"""Catalogue of all metrics of containers, pods and the node. To add a metric, add a row.

The renderer, ``docs/metrics.md``, the golden pages and the checks of dashboards and alerts read it; metric names are
spelled nowhere else in Python. No I/O, no clock, no prometheus_client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from exporter.metrics.catalog.config import CONFIG_METRICS
from exporter.metrics.catalog.counters import COUNTER_METRICS
from exporter.metrics.catalog.node import CPU_METRICS, NODE_METRICS, POOL_METRICS
from exporter.metrics.metric import LABELS, CgroupMetric, Family, Metric, RowType
from exporter.model import CgroupRow

CATALOG: tuple[Metric[Any], ...] = (*COUNTER_METRICS, *CONFIG_METRICS, *NODE_METRICS, *POOL_METRICS, *CPU_METRICS)
PREFIXES: Mapping[RowType, str] = {
    "container": "cgroup_container_",
    "pod": "cgroup_pod_",
    "node": "cgroup_node_",
    "pool": "cgroup_node_",
    "cpu": "cgroup_node_",
}
_MICROSECONDS = 1_000_000


def _families(metrics: tuple[Metric[Any], ...], prefixes: Mapping[RowType, str]) -> tuple[Family, ...]:
    return tuple(
        Family(
            prefix + metric.name, row_type, (*LABELS[row_type], *metric.label_names), metric, metric in CONFIG_METRICS
        )
        for row_type, prefix in prefixes.items()
        for metric in metrics
        if row_type in metric.row_types
    )


FAMILIES: tuple[Family, ...] = _families(CATALOG, PREFIXES)
"""All families of the page, in page order."""


def _quota_us(row: CgroupRow) -> float | None:
    limits = row.limits
    if limits is None or limits.limit_cores is None or limits.period_seconds is None:
        return None
    return round(limits.limit_cores * limits.period_seconds * _MICROSECONDS)


def _period_us(row: CgroupRow) -> float | None:
    seconds = row.limits.period_seconds if row.limits else None
    return None if seconds is None else round(seconds * _MICROSECONDS)


def _shares(row: CgroupRow) -> float | None:
    """Return v1's shares, or v2's weight as cAdvisor converts it (``convertCPUWeightToCPULimit``): linear.

    kubelet and runtimes convert shares to weights differently, so that this need not be what the pod asked for.
    """
    if row.limits is None or not row.limits.weight:
        return row.limits.shares if row.limits else None
    return 2 + (row.limits.weight - 1) * 262_142 // 9_999


def _cadvisor(ours: str, name: str, text: str, **changes: Any) -> CgroupMetric:
    """Return our metric ``ours`` under cAdvisor's name and HELP text."""
    [metric] = [one for one in (*COUNTER_METRICS, *CONFIG_METRICS) if one.name == ours]
    return replace(metric, name=name, help=text, row_types=("cadvisor",), collector=None, **changes)


# Kubelets may leave these out (KEP-2371 lists them as optional) and charts drop them. cAdvisor serves no CFS series
# without a quota, and neither do these.
CADVISOR_FAMILIES: tuple[Family, ...] = _families(
    (
        _cadvisor("cpu_periods_total", "cpu_cfs_periods_total", "Number of elapsed enforcement period intervals."),
        _cadvisor(
            "cpu_throttled_periods_total", "cpu_cfs_throttled_periods_total", "Number of throttled period intervals."
        ),
        _cadvisor(
            "cpu_throttled_seconds_total",
            "cpu_cfs_throttled_seconds_total",
            "Total time duration the container has been throttled.",
        ),
        _cadvisor(
            "cpu_usage_seconds_total",
            "cpu_usage_seconds_total",
            "Cumulative cpu time consumed in seconds.",
            label_names=("cpu",),
            label_values=lambda _: ("total",),
        ),
        _cadvisor("cpu_limit_cores", "spec_cpu_quota", "CPU quota of the container.", value=_quota_us),
        _cadvisor("cpu_period_seconds", "spec_cpu_period", "CPU period of the container.", value=_period_us),
        _cadvisor("cpu_shares", "spec_cpu_shares", "CPU share of the container.", value=_shares),
    ),
    {"cadvisor": "container_"},
)
"""Families that ``--web.cadvisor-names`` adds, for dashboards and alerts that exist already."""
