"""From a snapshot, its findings and the exporter's health to the documents of the API (:mod:`.schema`). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite, nan
from typing import Final, cast

from exporter.analysis.findings import Finding, Name, find
from exporter.analysis.isolation import reserved_cpus
from exporter.analysis.ledger import Ledger, ledger_of
from exporter.analysis.nodeview import NodeView, grouped, name_of
from exporter.cpulist import format_cpu_list
from exporter.model import CgroupName, CgroupRow, Cpuset, CpuTimes, Deltas, Interval, NodeRow, Snapshot, Window
from exporter.report import SCHEMA, schema
from exporter.report.history import MinuteHistory
from exporter.report.summary import impact, rank

DOCS: Final = "https://github.com/kube-throttle-exporter/kube-throttle-exporter/blob/main/"
DIGITS: Final = 6  # behind the point: a microsecond, and a millionth of a core
_formatted: Final = lru_cache(maxsize=256)(format_cpu_list)  # hundreds of containers may run on the same CPUs


class Report:
    """All documents of one moment, each made when asked for."""

    def __init__(
        self,
        snapshot: Snapshot,
        findings: Sequence[Finding] | None,
        exporter: schema.Exporter,
        history: MinuteHistory | None = None,
    ) -> None:
        """``snapshot`` is a detailed one, which gives the findings for ``None``; ``exporter``: its own health."""
        self.snapshot, self.exporter, self.history = snapshot, exporter, history or MinuteHistory()
        self._view, self._taken_at = NodeView(snapshot), round(snapshot.taken_at, DIGITS)
        self._rows = {row.ref.path: row for row in snapshot.subjects}
        self._pods = {row.ref.pod_path: row for row in snapshot.pods}
        worst_first = sorted(find(snapshot) if findings is None else findings, key=lambda one: rank(one["severity"]))
        self._findings = grouped((one["subject"] and CgroupName(**one["subject"]), one) for one in worst_first)
        self._node_findings = self._findings.get(None, [])

    def containers(self, *, with_series: bool = True) -> schema.ContainersDocument:
        """Every container, worst first; without their series where only numbers are wanted."""
        found = [self._container(row, with_series=with_series) for row in self._rows.values()]
        return schema.ContainersDocument(
            schema=SCHEMA,
            taken_at=self._taken_at,
            containers=sorted(found, key=impact),
            node_findings=self._node_findings,
            exporter=self.exporter,
        )

    def series(self, one: schema.Container) -> schema.Series:
        """The series of a container of :meth:`containers`, for who shows a few of them."""
        return _series(self._rows[one["cgroup"]].intervals, one["limit_cores"])

    def container(self, name: CgroupName) -> schema.ContainerDocument | None:
        """One container; ``None`` where no such is on the node."""
        row = next((row for row in self._rows.values() if name_of(row) == name), None)
        if row is None:
            return None
        return schema.ContainerDocument(
            schema=SCHEMA,
            taken_at=self._taken_at,
            container=self._container(row, with_series=True),
            node_findings=self._node_findings,
            exporter=self.exporter,
        )

    def node(self) -> schema.NodeDocument:
        """The node."""
        node = _node(self.snapshot.node, self.exporter["node"], self._node_findings)
        return schema.NodeDocument(schema=SCHEMA, taken_at=self._taken_at, node=node, exporter=self.exporter)

    def _container(self, row: CgroupRow, *, with_series: bool) -> schema.Container:
        identity, owner, limits, spec = row.identity, row.pod_identity, row.limits, row.container_spec
        pod = None if row.container is None else self._pods.get(row.ref.pod_path)
        ledger = ledger_of(self._view, row) if row.live else None
        recommended = None if ledger is None else ledger.recommendation
        rates, findings = _rates(row.deltas), self._findings.get(name_of(row), [])
        limit_cores = None if limits is None else limits.limit_cores
        return schema.Container(
            namespace=row.namespace,
            pod=row.pod,
            container=row.container or "",
            mapped=identity is not None or (row.container is None and owner is not None),
            live=row.live,
            pod_uid=row.ref.pod_uid,
            container_id=row.ref.container_id or "",
            cgroup=row.ref.path,
            qos_class=row.qos_class,
            container_type=None if identity is None else identity.container_type,
            runtime=row.ref.runtime if identity is None else identity.runtime,
            workload_kind=None if owner is None else owner.workload_kind,
            workload=None if owner is None else owner.workload,
            request_cores=None if spec is None else spec.request_cores,
            spec_limit_cores=None if spec is None else spec.limit_cores,
            resizable=row.resizable,
            limit_cores=limit_cores,
            quota_state=None if limits is None else limits.quota_state,
            period_seconds=None if limits is None else limits.period_seconds,
            burst_seconds=None if limits is None else limits.burst_seconds,
            effective_limit_cores=row.effective_limit_cores,
            limit_drift=row.limit_drift,
            usage_cores=rates.usage_seconds,
            throttling=_throttling(row, rates),
            ledger=None if ledger is None else _ledger(ledger),
            recommended=None if recommended is None else cast("schema.RecommendedLimit", recommended._asdict()),
            pod_cgroup=None if pod is None else _pod(pod),
            pressure=schema.Pressure(
                waiting_share=rates.waiting_seconds,
                stalled_share=rates.stalled_seconds,
                runqueue_seconds_per_second=rates.runqueue_wait_seconds,
            ),
            cpuset=None if row.cpuset is None else _cpuset(row.cpuset, row.numa_nodes),
            isolation=row.isolation,
            exclusive=row.exclusive,
            threads=row.threads,
            severity=findings[0]["severity"] if findings else None,
            findings=findings,
            series=_series(row.intervals if with_series else (), limit_cores),
        )


def _throttling(row: CgroupRow, rates: Deltas) -> schema.Throttling:
    seconds, periods, throttled, ratio, peak = row.window or (None,) * len(Window._fields)
    return schema.Throttling(
        window_seconds=_rounded(seconds),
        periods=periods,
        throttled_periods=throttled,
        ratio=_rounded(ratio),
        peak=_rounded(peak),
        # Without a quota the kernel's counter stays 0 for ever, which says nothing.
        lost_seconds_per_second=rates.throttled_seconds if row.counts_periods else None,
        local_lost_seconds_per_second=rates.local_throttled_seconds,
    )


def _ledger(ledger: Ledger) -> schema.Ledger:
    values = {name: getattr(ledger, name) for name in schema.Ledger.__annotations__}
    rounded = {name: _rounded(value) if isinstance(value, float) else value for name, value in values.items()}
    return cast("schema.Ledger", rounded)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _pod(row: CgroupRow) -> schema.Pod:
    rates = _rates(row.deltas)
    own = _throttling(row, rates)
    return schema.Pod(
        limit_cores=None if row.limits is None else row.limits.limit_cores,
        usage_cores=rates.usage_seconds,
        ratio=own["ratio"],
        peak=own["peak"],
        lost_seconds_per_second=own["lost_seconds_per_second"],
    )


def _cpuset(cpuset: Cpuset, numa_nodes: int | None) -> schema.Cpuset:
    return schema.Cpuset(
        cpus=_formatted(cpuset.cpus),
        count=len(cpuset.cpus),
        mems=format_cpu_list(cpuset.mems),
        numa_nodes=numa_nodes,
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
    return schema.Series(interval_seconds=round(length, DIGITS), ratio=ratios, usage_share=shares)


def _node(row: NodeRow, name: str, findings: list[Finding]) -> schema.Node:
    kubelet, checkpoint, reserved = row.kubelet, row.checkpoint, reserved_cpus(row.kubelet)
    options = None if kubelet is None else kubelet.cpu_manager_policy_options
    return schema.Node(
        name=name,
        hierarchy=row.hierarchy,
        driver=row.driver,
        kernel_release=row.kernel_release,
        cfs_quota_bug=row.cfs_quota_bug,
        cpu_manager=None
        if kubelet is None
        else schema.CpuManager(
            policy=kubelet.cpu_manager_policy,
            policy_options=None if options is None else dict(options),
            topology_policy=kubelet.topology_manager_policy,
            topology_scope=kubelet.topology_manager_scope,
            cfs_quota=kubelet.cpu_cfs_quota,
            cfs_period_seconds=kubelet.cpu_cfs_quota_period_seconds,
            reserved_cpus=kubelet.reserved_system_cpus,
        ),
        checkpoint=None
        if checkpoint is None
        else schema.Checkpoint(
            policy=checkpoint.policy,
            default_cpus=format_cpu_list(checkpoint.default_cpus),
            containers=len(checkpoint.entries),
        ),
        cpus=[_cpu(row, cpu, reserved) for cpu in sorted(row.online_cpus or ())],
        overlaps=[
            schema.Overlap(
                owner=_name(overlap.owner),
                other=_name(overlap.other),
                cpus=format_cpu_list(overlap.cpus),
                seconds=round(overlap.seconds, DIGITS),
            )
            for overlap in row.overlaps
        ],
        findings=findings,
    )


def _cpu(row: NodeRow, cpu: int, reserved: frozenset[int] | None) -> schema.Cpu:
    owner, times = row.owners.get(cpu), row.cpu_times.get(cpu, CpuTimes(0.0, nan, nan, nan))
    return schema.Cpu(
        cpu=cpu,
        numa_node=row.numa_node.get(cpu),
        state=None if row.shared_cpus is None else "shared" if owner is None else "exclusive",
        reserved=None if reserved is None else cpu in reserved,
        owner=None if owner is None else _name(owner),
        busy_share=_per_second(times.busy_seconds, times.seconds),
        steal_share=_per_second(times.steal_seconds, times.seconds),
        irq_share=_per_second(times.irq_seconds, times.seconds),
    )


def _name(name: CgroupName) -> Name:
    return cast("Name", name._asdict())


def _rates(deltas: Deltas | None) -> Deltas:
    seconds, *grown = deltas or Deltas(0.0)
    return Deltas(1.0, *[_per_second(one, seconds) for one in grown])


def _per_second(grown: float | None, seconds: float) -> float | None:
    rate = grown / seconds if grown is not None and seconds > 0 else nan
    return round(rate, DIGITS) if isfinite(rate) else None
