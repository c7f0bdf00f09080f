"""Rows under cAdvisor's names and labels (``--web.cadvisor-names``), for dashboards and alerts that exist already.

Kubelets may leave these out (KEP-2371 calls them optional) and charts drop them. cAdvisor shows no CFS series without a
quota, and neither do these.
"""

from __future__ import annotations

from exporter.metrics.metric import CgroupMetric, Labels, Metric
from exporter.model import CgroupRow

MICROSECONDS = 1_000_000


def cadvisor_labels(row: CgroupRow) -> Labels:
    """``container, id, image, name, namespace, pod``; the first and fourth are empty for a pod's own cgroup."""
    image = row.identity.image if row.identity else ""
    return (row.container or "", f"/{row.ref.path}", image, row.ref.container_id or "", row.namespace, row.pod)


def _quota(row: CgroupRow) -> float | None:
    limits = row.limits
    if limits is None or limits.limit_cores is None or limits.period_seconds is None:
        return None
    return round(limits.limit_cores * limits.period_seconds * MICROSECONDS)


def _period(row: CgroupRow) -> float | None:
    seconds = row.limits.period_seconds if row.limits else None
    return None if seconds is None else round(seconds * MICROSECONDS)


CADVISOR_METRICS: tuple[CgroupMetric, ...] = (
    Metric(
        name="cpu_cfs_periods_total",
        kind="counter",
        of=("cadvisor",),
        collector=None,
        help="Number of elapsed enforcement period intervals.",
        source="cpu.stat nr_periods",
        value=lambda row: row.stat.periods if row.counts_periods else None,
    ),
    Metric(
        name="cpu_cfs_throttled_periods_total",
        kind="counter",
        of=("cadvisor",),
        collector=None,
        help="Number of throttled period intervals.",
        source="cpu.stat nr_throttled",
        value=lambda row: row.stat.throttled_periods if row.counts_periods else None,
    ),
    Metric(
        name="cpu_cfs_throttled_seconds_total",
        kind="counter",
        of=("cadvisor",),
        collector=None,
        help="Total time duration the container has been throttled.",
        source="cpu.stat throttled_usec (v2), throttled_time (v1)",
        value=lambda row: row.stat.throttled_seconds if row.counts_periods else None,
    ),
    Metric(
        name="cpu_usage_seconds_total",
        kind="counter",
        of=("cadvisor",),
        collector=None,
        help="Cumulative cpu time consumed in seconds.",
        source="cpu.stat usage_usec (v2), cpuacct.usage (v1)",
        label_names=("cpu",),
        label_values=lambda _: ("total",),
        value=lambda row: row.stat.usage_seconds,
    ),
    Metric(
        name="spec_cpu_quota",
        kind="gauge",
        of=("cadvisor",),
        collector=None,
        help="CPU quota of the container.",
        source="cpu.max (v2), cpu.cfs_quota_us (v1)",
        value=_quota,
    ),
    Metric(
        name="spec_cpu_period",
        kind="gauge",
        of=("cadvisor",),
        collector=None,
        help="CPU period of the container.",
        source="cpu.max (v2), cpu.cfs_period_us (v1)",
        value=_period,
    ),
    Metric(
        name="spec_cpu_shares",
        kind="gauge",
        of=("cadvisor",),
        collector=None,
        help="CPU share of the container.",
        source="cpu.shares (v1)",
        value=lambda row: row.limits.shares if row.limits else None,
    ),
)
