"""From a snapshot, its findings and the exporter's health to the documents of the API. Pure.

The same snapshot gives the same documents; :mod:`exporter.report.schema` says what each field means.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import isfinite, nan
from typing import Final
from urllib.parse import quote

from exporter.analysis.findings import Finding, Name
from exporter.analysis.isolation import reserved_cpus
from exporter.analysis.ledger import Entry, Ledger, known, ledger_of
from exporter.analysis.nodeview import NodeView
from exporter.cpulist import format_cpu_list
from exporter.model import CgroupName, CgroupRow, CpuManagerState, Interval, NodeRow, Snapshot
from exporter.report import schema
from exporter.report.history import History
from exporter.report.impact import impact, rank, worst

DOCS: Final = "https://github.com/kube-throttle-exporter/kube-throttle-exporter/blob/main/"
"""Where the repository's pages are, for people who have no checkout; the alerts' runbooks are beside them."""
NO_NAMESPACE: Final = "-"
"""Stands for the empty namespace of a container whose pod is not known: no Kubernetes name is a lone dash."""
DIGITS: Final = 6
"""Behind the point: a microsecond, and a millionth of a core."""


class Report:
    """All documents of one moment, each made when first asked for."""

    def __init__(
        self,
        snapshot: Snapshot,
        findings: Sequence[Finding],
        exporter: schema.Exporter,
        history: History | None = None,
    ) -> None:
        """``snapshot`` is a detailed one; ``exporter`` is the exporter's own health."""
        self.snapshot, self.exporter = snapshot, exporter
        self.history = History() if history is None else history
        self._findings: dict[CgroupName | None, list[Finding]] = {}
        for finding in sorted(findings, key=lambda finding: rank(finding["severity"])):
            subject = finding["subject"]
            self._findings.setdefault(None if subject is None else CgroupName(**subject), []).append(finding)

    def containers(self, *, with_series: bool = True) -> schema.ContainersDocument:
        """Every container, worst first; without their series where only numbers are wanted."""
        found = [self._container(row, with_series=with_series) for row in self.snapshot.containers]
        return schema.ContainersDocument(
            schema=schema.SCHEMA,
            taken_at=self._taken_at,
            containers=sorted(found, key=impact),
            node_findings=self._found(None),
            exporter=self.exporter,
        )

    def container(self, name: CgroupName) -> schema.ContainerDocument | None:
        """One container; ``None`` where no such is on the node."""
        row = next((row for row in self.snapshot.containers if row[:3] == name), None)
        if row is None:
            return None
        return schema.ContainerDocument(
            schema=schema.SCHEMA,
            taken_at=self._taken_at,
            container=self._container(row, with_series=True),
            node_findings=self._found(None),
            exporter=self.exporter,
        )

    def node(self) -> schema.NodeDocument:
        """The node."""
        return schema.NodeDocument(
            schema=schema.SCHEMA,
            taken_at=self._taken_at,
            node=node_document(self.snapshot.node, self.exporter["node"], self._found(None)),
            exporter=self.exporter,
        )

    @cached_property
    def _view(self) -> NodeView:
        return NodeView(self.snapshot)

    @cached_property
    def _pods(self) -> dict[str, CgroupRow]:
        return {row.ref.pod_path: row for row in self.snapshot.pods}

    @property
    def _taken_at(self) -> float:
        return rounded(self.snapshot.taken_at)

    def _found(self, subject: CgroupName | None) -> list[Finding]:
        return self._findings.get(subject, [])

    def _container(self, row: CgroupRow, *, with_series: bool) -> schema.Container:
        name = CgroupName(row.namespace, row.pod, row.container or "")
        pod_row = self._pods.get(row.ref.pod_path)
        ledger = ledger_of(self._view, row) if row.live else None
        return container_document(row, pod_row, ledger, self._found(name), with_series=with_series)


def escaped_path(namespace: str, pod: str, container: str) -> str:
    """``shop/checkout-x2k9p/app``, fit for a URL; what :func:`unescaped_segments` undoes after the URL's decoding."""
    return "/".join(quote(part, safe="") for part in (namespace or NO_NAMESPACE, pod, container))


def unescaped_segments(namespace: str, pod: str, container: str) -> CgroupName:
    """The name behind a path's three decoded segments."""
    return CgroupName("" if namespace == NO_NAMESPACE else namespace, pod, container)


def container_document(
    row: CgroupRow,
    pod_row: CgroupRow | None,
    ledger: Ledger | None,
    findings: list[Finding],
    *,
    with_series: bool = True,
) -> schema.Container:
    """``row`` of a detailed snapshot, with the row of its pod's cgroup and what was found, worst first."""
    identity, pod, limits = row.identity, row.pod_identity, row.limits
    spec, deltas = row.container_spec, row.deltas
    return schema.Container(
        namespace=row.namespace,
        pod=row.pod,
        container=row.container or "",
        mapped=identity is not None,
        live=row.live,
        pod_uid=row.ref.pod_uid,
        container_id=row.ref.container_id or "",
        cgroup=row.ref.path,
        qos_class=row.qos_class,
        container_type=None if identity is None else identity.container_type,
        runtime=row.ref.runtime if identity is None else identity.runtime,
        workload_kind=None if pod is None else pod.workload_kind,
        workload=None if pod is None else pod.workload,
        request_cores=None if spec is None else spec.request_cores,
        spec_limit_cores=None if spec is None else spec.limit_cores,
        limit_cores=None if limits is None else limits.limit_cores,
        quota_state=None if limits is None else limits.quota_state,
        period_seconds=None if limits is None else limits.period_seconds,
        burst_seconds=None if limits is None else limits.burst_seconds,
        effective_limit_cores=row.effective_limit_cores,
        limit_drift=row.limit_drift,
        usage_cores=None if deltas is None else per_second(deltas.usage_seconds, deltas.seconds),
        throttling=_throttling(row),
        ledger=None if ledger is None else _ledger(ledger),
        recommended=_recommended(ledger),
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


def _ledger(ledger: Ledger) -> schema.Ledger:
    return schema.Ledger(
        seconds=rounded(ledger.seconds),
        used=_amount(ledger.used),
        own_quota=_amount(ledger.own_quota),
        quota_above=_amount(ledger.above.lost),
        quota_above_is_exact=ledger.above.exact,
        quota_inside=_amount(ledger.inside),
        waited=_amount(ledger.waited),
        throttled_time_share=_amount(ledger.throttled_time_share),
        unknown=ledger.unknowns,
    )


def _amount(entry: Entry) -> float | None:
    amount = known(entry)
    return None if amount is None else rounded(amount)


def _recommended(ledger: Ledger | None) -> schema.RecommendedLimit | None:
    found = None if ledger is None else ledger.recommendation
    if found is None:
        return None
    return schema.RecommendedLimit(
        limit_cores=found.limit_cores,
        next_cores=found.next_cores,
        low_cores=found.low_cores,
        high_cores=found.high_cores,
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


def node_document(row: NodeRow, name: str, findings: list[Finding]) -> schema.Node:
    """``row`` of a detailed snapshot under the node's name."""
    return schema.Node(
        name=name,
        hierarchy=row.hierarchy,
        driver=row.driver,
        kernel_release=row.kernel_release,
        cfs_quota_bug=row.cfs_quota_bug,
        cpu_manager=_cpu_manager(row),
        checkpoint=None if row.checkpoint is None else _checkpoint(row.checkpoint),
        cpus=_cpus(row),
        overlaps=[
            schema.Overlap(
                owner=name_document(overlap.owner),
                other=name_document(overlap.other),
                cpus=format_cpu_list(overlap.cpus),
                seconds=rounded(overlap.seconds),
            )
            for overlap in row.overlaps
        ],
        findings=findings,
    )


def name_document(name: CgroupName) -> Name:
    """A container's name."""
    return Name(namespace=name.namespace, pod=name.pod, container=name.container)


def _cpus(row: NodeRow) -> list[schema.Cpu]:
    reserved = reserved_cpus(row.kubelet)
    return [_cpu(row, cpu, reserved) for cpu in sorted(row.online_cpus or ())]


def _cpu(row: NodeRow, cpu: int, reserved: frozenset[int] | None) -> schema.Cpu:
    owner, times = row.owners.get(cpu), row.cpu_times.get(cpu)
    return schema.Cpu(
        cpu=cpu,
        numa_node=row.numa_node.get(cpu),
        state=None if row.shared_cpus is None else "shared" if owner is None else "exclusive",
        reserved=None if reserved is None else cpu in reserved,
        owner=None if owner is None else name_document(owner),
        busy_share=None if times is None else per_second(times.busy_seconds, times.seconds),
        steal_share=None if times is None else per_second(times.steal_seconds, times.seconds),
        irq_share=None if times is None else per_second(times.irq_seconds, times.seconds),
    )


def _cpu_manager(row: NodeRow) -> schema.CpuManager | None:
    kubelet = row.kubelet
    if kubelet is None:
        return None
    options = kubelet.cpu_manager_policy_options
    return schema.CpuManager(
        policy=kubelet.cpu_manager_policy,
        policy_options=None if options is None else dict(options),
        topology_policy=kubelet.topology_manager_policy,
        topology_scope=kubelet.topology_manager_scope,
        cfs_quota=kubelet.cpu_cfs_quota,
        cfs_period_seconds=kubelet.cpu_cfs_quota_period_seconds,
        reserved_cpus=kubelet.reserved_system_cpus,
    )


def _checkpoint(state: CpuManagerState) -> schema.Checkpoint:
    return schema.Checkpoint(
        policy=state.policy, default_cpus=format_cpu_list(state.default_cpus), containers=len(state.entries)
    )


def rounded(value: float) -> float:
    """Without the noise of binary fractions."""
    return round(value, DIGITS)


def per_second(seconds: float | None, over: float) -> float | None:
    """A rate; ``None`` where the counter or the time is missing, or is no number."""
    rate = seconds / over if seconds is not None and over > 0 else nan
    return round(rate, DIGITS) if isfinite(rate) else None
