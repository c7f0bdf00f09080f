"""One row of the snapshot as a container's document."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.cpulist import format_cpu_list
from exporter.model import CgroupRow, Interval
from exporter.report import schema
from exporter.report.numbers import per_second, rounded
from exporter.report.pain import worst


def container_document(
    row: CgroupRow, pod_row: CgroupRow | None, findings: list[schema.Finding], *, with_series: bool = True
) -> schema.Container:
    """``row`` of a detailed snapshot, with the row of its pod's cgroup and what was found, worst first."""
    identity, pod, limits = row.identity, row.pod_identity, row.limits
    deltas = row.deltas
    return schema.Container(
        namespace=row.namespace,
        pod=row.pod,
        container=row.container or "",
        mapped=identity is not None,
        live=row.live,
        pod_uid=row.ref.pod_uid,
        container_id=row.ref.container_id or "",
        cgroup=row.ref.path,
        qos_class=row.ref.qos_class if pod is None else pod.qos_class,
        container_type=None if identity is None else identity.container_type,
        runtime=row.ref.runtime if identity is None else identity.runtime,
        workload_kind=None if pod is None else pod.workload_kind,
        workload=None if pod is None else pod.workload,
        request_cores=None if identity is None else identity.request_cores,
        spec_limit_cores=None if identity is None else identity.limit_cores,
        limit_cores=None if limits is None else limits.limit_cores,
        quota_state=None if limits is None else limits.quota_state,
        period_seconds=None if limits is None else limits.period_seconds,
        burst_seconds=None if limits is None else limits.burst_seconds,
        effective_limit_cores=row.effective_limit_cores,
        limit_drift=row.limit_drift,
        usage_cores=None if deltas is None else per_second(deltas.usage_seconds, deltas.seconds),
        throttling=_throttling(row),
        pod_cgroup=None if pod_row is None else _pod(pod_row),
        pressure=_pressure(row),
        cpuset=_cpuset(row),
        isolation=row.isolation,
        exclusive=row.exclusive,
        threads=row.threads,
        severity=worst(findings),
        findings=findings,
        series=_series(row.intervals if with_series else (), None if limits is None else limits.limit_cores),
    )


def _throttling(row: CgroupRow) -> schema.Throttling:
    window, deltas = row.window, row.deltas
    return schema.Throttling(
        window_seconds=None if window is None else rounded(window.seconds),
        periods=None if window is None else window.periods,
        throttled_periods=None if window is None else window.throttled_periods,
        ratio=None if window is None else rounded(window.ratio),
        peak=None if window is None else rounded(window.peak),
        lost_seconds_per_second=_own_loss(row),
        local_lost_seconds_per_second=(
            None if deltas is None else per_second(deltas.local_throttled_seconds, deltas.seconds)
        ),
    )


def _own_loss(row: CgroupRow) -> float | None:
    # Without a quota the kernel's counter stays 0 for ever, which says nothing.
    if row.deltas is None or not row.counts_periods:
        return None
    return per_second(row.deltas.throttled_seconds, row.deltas.seconds)


def _pod(row: CgroupRow) -> schema.Pod:
    window, deltas = row.window, row.deltas
    return schema.Pod(
        limit_cores=None if row.limits is None else row.limits.limit_cores,
        usage_cores=None if deltas is None else per_second(deltas.usage_seconds, deltas.seconds),
        ratio=None if window is None else rounded(window.ratio),
        peak=None if window is None else rounded(window.peak),
        lost_seconds_per_second=_own_loss(row),
    )


def _pressure(row: CgroupRow) -> schema.Pressure:
    deltas = row.deltas
    if deltas is None:
        return schema.Pressure(waiting_share=None, stalled_share=None, runqueue_seconds_per_second=None)
    return schema.Pressure(
        waiting_share=per_second(deltas.waiting_seconds, deltas.seconds),
        stalled_share=per_second(deltas.stalled_seconds, deltas.seconds),
        runqueue_seconds_per_second=per_second(deltas.runqueue_wait_seconds, deltas.seconds),
    )


def _cpuset(row: CgroupRow) -> schema.Cpuset | None:
    cpuset = row.cpuset
    if cpuset is None:
        return None
    return schema.Cpuset(
        cpus=format_cpu_list(cpuset.cpus),
        count=len(cpuset.cpus),
        mems=format_cpu_list(cpuset.mems),
        numa_nodes=row.numa_nodes,
        partition=cpuset.partition,
    )


def _series(intervals: Sequence[Interval], limit_cores: float | None) -> schema.Series:
    """A node of 750 containers has 45,000 intervals, so this is arithmetic, without ``round`` and properties."""
    if not intervals:
        return schema.Series(interval_seconds=None, ratio=[], usage_share=[])
    ratios = [
        int(1000 * min(throttled, periods) / periods + 0.5) / 1000 if throttled > 0 and periods > 0 else 0.0
        for _, periods, throttled, _ in intervals
    ]
    shares = [
        int(1000 * usage / (limit_cores * seconds) + 0.5) / 1000 if limit_cores and seconds > 0 and usage >= 0 else None
        for seconds, _, _, usage in intervals  # nan is not >= 0
    ]
    length = sum(interval.seconds for interval in intervals) / len(intervals)
    return schema.Series(interval_seconds=rounded(length), ratio=ratios, usage_share=shares)
