"""Snapshots by hand: a healthy node and containers on it, of which a test changes what it is about.

All of it is known: windows of 60 s, PSI, ``cpu.stat.local``, ``/proc/stat``. What is not known is set to ``None``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from exporter.analysis.findings import Finding, Name, Severity
from exporter.analysis.recommend import recommend
from exporter.cpulist import cpu_list
from exporter.identities import ContainerIdentity, ContainerSpec, KubeletConfig, PodIdentity, PodSpec, QosClass
from exporter.model import (
    CgroupName,
    CgroupRef,
    CgroupRow,
    CpuLimits,
    Cpuset,
    CpuStat,
    CpuTimes,
    Deltas,
    Interval,
    NodeRow,
    Recommendation,
    Snapshot,
    Window,
)

WINDOW = 60.0
PERIOD = 0.1
CPUS = cpu_list("0-7", "")
POOL = "0-7"


def named(name: str) -> CgroupName:
    """The name of :func:`container`'s row."""
    return CgroupName("shop", name, "app")


def limits(cores: float | None, period: float = PERIOD) -> CpuLimits:
    return CpuLimits("none" if cores is None else "set", cores, period, None if cores is None else 0.0)


def window(ratio: float, periods: int = 600) -> Window:
    """60 s of which ``periods`` were active and ``ratio`` of those throttled."""
    return Window(WINDOW, periods, round(ratio * periods), ratio, ratio)


def deltas(**changes: Any) -> Deltas:
    """Growth over 60 s: a tenth of a CPU used, nothing waited for, nothing throttled."""
    return Deltas(WINDOW, 6.0, 0.0, 0.0, 0.3, 0.1, None)._replace(**changes)


def intervals(usage: float, ratio: float, seconds: int = 60) -> tuple[Interval, ...]:
    """Sample intervals of 1 s, each with ``usage`` cores and ``ratio`` of its 10 periods throttled."""
    return tuple(Interval(1.0, 10, round(10 * ratio), usage) for _ in range(seconds))


def container(
    name: str = "web",
    *,
    limit: float | None = None,
    request: float | None = 0.5,
    qos_class: QosClass = "Burstable",
    cpus: str = POOL,
    pod_limit: float | None = None,
    **changes: Any,
) -> CgroupRow:
    """A live, mapped container that uses a tenth of a CPU; ``changes`` are fields of the row.

    ``pod_limit``: of the pod's spec (KEP-2837).
    """
    uid = f"uid-{name}"
    pod_path = f"kubepods/{qos_class.lower()}/pod{uid}"
    identity = ContainerIdentity(f"id-{name}", "app", "container", "containerd", True, ContainerSpec(request, limit))
    row = CgroupRow(
        "shop",
        name,
        "app",
        True,
        CgroupRef(f"{pod_path}/id-{name}", pod_path, uid, f"id-{name}", qos_class, "containerd", "cgroupfs"),
        limits(limit),
        Cpuset(cpu_list(cpus, ""), frozenset({0}), "member"),
        identity,
        PodIdentity(uid, "shop", name, PodSpec(qos_class, limit_cores=pod_limit), "Pod", name),
        effective_limit_cores=float(len(cpu_list(cpus, ""))) if limit is None else limit,
        numa_nodes=1,
        isolation="shared",
        exclusive=False,
        limit_drift=False,
        stat=CpuStat(),
        local_throttled_seconds=0.0,
        pressure=None,
        window=None if limit is None else window(0.0),
        recommendation=None,
        distribution=None,
        threads=4,
        deltas=deltas(),
        intervals=() if limit is None else intervals(0.1, 0.0),
    )
    return row._replace(**changes)


def recommended(row: CgroupRow, burst: float | None) -> Recommendation | None:
    """What is recommended to a container that needs ``burst`` CPU seconds at once."""
    own, window, grown = row.limits, row.window, row.deltas
    if own is None or not own.limit_cores or not own.period_seconds or window is None or not window.seconds > 0:
        return None
    return recommend(
        burst,
        limit=own.limit_cores,
        period=own.period_seconds,
        window=window,
        lost=grown.throttled_seconds / grown.seconds if grown and grown.throttled_seconds and grown.seconds else None,
        threads=row.threads,
        cpus=None if row.cpuset is None else len(row.cpuset.cpus),
    )


def with_spec(row: CgroupRow, **changes: Any) -> CgroupRow:
    assert row.identity is not None
    assert row.identity.spec is not None
    return row._replace(identity=replace(row.identity, spec=replace(row.identity.spec, **changes)))


def with_pod_spec(row: CgroupRow, **changes: Any) -> CgroupRow:
    assert row.pod_identity is not None
    assert row.pod_identity.spec is not None
    return row._replace(pod_identity=replace(row.pod_identity, spec=replace(row.pod_identity.spec, **changes)))


def pinned(name: str = "owner", cpus: str = "6-7", **changes: Any) -> CgroupRow:
    """A Guaranteed container with CPUs of its own, without a quota as Kubernetes 1.33 makes it."""
    count = float(len(cpu_list(cpus, "")))
    row = container(name, request=count, qos_class="Guaranteed", cpus=cpus, isolation="exclusive", exclusive=True)
    return with_spec(row, limit_cores=count)._replace(**changes)


def pod(of: CgroupRow, *, limit: float | None = None, **changes: Any) -> CgroupRow:
    """The row of a container's pod: no quota, or an idle one."""
    return of._replace(
        container=None,
        identity=None,
        ref=of.ref._replace(path=of.ref.pod_path, container_id=None),
        local_throttled_seconds=None,
        limits=limits(limit),
        window=None if limit is None else window(0.0),
        deltas=deltas(local_throttled_seconds=None),
        isolation=None,
        exclusive=None,
        limit_drift=None,
        threads=None,
        cpuset=None,
        numa_nodes=None,
        intervals=(),
    )._replace(**changes)


def busy(share: float, **changes: Any) -> CpuTimes:
    return CpuTimes(WINDOW, share * WINDOW, 0.0, 0.0, exact=True)._replace(**changes)


def node(**changes: Any) -> NodeRow:
    """Eight CPUs, each half idle, on two NUMA nodes; a kubelet that pins nobody."""
    healthy = NodeRow(
        hierarchy="v2",
        driver="cgroupfs",
        kernel_release="6.12.8",
        cfs_quota_bug="fixed",
        online_cpus=CPUS,
        kubelet=KubeletConfig(cpu_manager_policy="none", cpu_cfs_quota=True, topology_manager_policy="none"),
        numa_node={cpu: cpu // 4 for cpu in CPUS},
        shared_cpus=CPUS,
        cpu_times={cpu: busy(0.1) for cpu in CPUS},
    )
    return replace(healthy, **changes)


def static(**changes: Any) -> KubeletConfig:
    return replace(
        KubeletConfig(cpu_manager_policy="static", cpu_cfs_quota=True, topology_manager_policy="none"), **changes
    )


def owning(row: CgroupRow, times: Mapping[int, CpuTimes] | None = None, **changes: Any) -> NodeRow:
    """A node on which the CPUs of ``row`` are its own, and by default busy for nobody else."""
    cpus = row.cpuset.cpus if row.cpuset else frozenset[int]()
    usage = (row.deltas and row.deltas.usage_seconds) or 0.0
    quiet = dict(node().cpu_times) | {cpu: busy(usage / WINDOW / len(cpus)) for cpu in cpus}
    name = CgroupName(row.namespace, row.pod, row.container or "")
    return node(
        kubelet=static(),
        owners=dict.fromkeys(cpus, name),
        shared_cpus=CPUS - cpus,
        cpu_times=quiet if times is None else times,
        **changes,
    )


def snapshot(*containers: CgroupRow, on: NodeRow | None = None, pods: tuple[CgroupRow, ...] | None = None) -> Snapshot:
    """``containers`` with their pods, on a healthy node; none of them was moved to other CPUs."""
    containers = tuple(
        one._replace(
            placement_deltas=one.placement_deltas or one.deltas,
            recommendation=one.recommendation or recommended(one, burst=None),
        )
        for one in containers
    )
    return Snapshot(
        taken_at=1_800_000_000.0,
        tick=100,
        settings_version=1,
        containers=containers,
        pods=tuple(pod(one) for one in containers) if pods is None else pods,
        node=on or node(),
    )


def finding(
    name: str, subject: CgroupName | None, severity: Severity = "warning", *, summary: str = "s", advice: str = "a"
) -> Finding:
    """A finding that no rule made."""
    return Finding(
        name=name,
        severity=severity,
        subject=subject and Name(namespace=subject.namespace, pod=subject.pod, container=subject.container),
        summary=summary,
        advice=advice,
        commands=[],
        reason="",
        evidence={},
        docs=f"docs/findings/{name}.md",
        impact=0.0,
    )
