"""Findings about the node as a whole."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.analysis import text, thresholds
from exporter.analysis.advice import Advice
from exporter.analysis.findings.finding import Finding, finding
from exporter.analysis.ledger import NO_WAITING, TOO_YOUNG, Entry, ledger_of
from exporter.analysis.nodeview import NodeView, name_of
from exporter.cpulist import format_cpu_list
from exporter.model import CgroupName, CgroupRow


def cpu_steal(view: NodeView) -> Finding | None:
    """The hypervisor gives the node's CPUs to others."""
    times = view.node.cpu_times
    found = view.busy(times)
    if found is None or found.steal < thresholds.STEAL_SHARE * found.cpus:
        return None
    share = found.steal / found.cpus
    worst = max(times, key=lambda cpu: times[cpu].steal_seconds / times[cpu].seconds)
    most = times[worst].steal_seconds / times[worst].seconds
    return finding(
        "cpu_steal",
        None,
        summary=f"The hypervisor took {text.percent(share)} of this node's {text.cpus(found.cpus)} "
        f"({text.cpus(found.steal)}; CPU {worst} most, {text.percent(most)}).",
        advice="Move the machine to another host or to a type with dedicated CPUs; burstable types steal when their "
        "credit is used up.",
        evidence={
            "steal_cores": found.steal,
            "steal_share": share,
            "online_cpus": found.cpus,
            "worst_cpu": worst,
            "worst_cpu_steal_share": most,
        },
        severity="critical" if share >= thresholds.CRITICAL_STEAL_SHARE else "warning",
        impact=found.steal,
    )


def kernel_bug(view: NodeView) -> Finding | None:
    """The kernel throttles below the limit."""
    node = view.node
    if node.cfs_quota_bug != "affected" or node.kernel_release is None:
        return None
    limited = sum(row.limits is not None and row.limits.quota_state == "set" for row in view.live)
    return finding(
        "kernel_bug",
        None,
        summary=f"Kernel {node.kernel_release} throttles far below the limit (512ac999d275 without de53fd7aedb1); "
        f"{text.count(limited, 'container')} on this node {'is' if limited == 1 else 'are'} under a quota.",
        advice="Upgrade to kernel 5.4 or later, or to 4.14.154, 4.19.84 or 5.3.9; until then remove the limits of what "
        "must answer fast.",
        evidence={"kernel_release": node.kernel_release, "limited_containers": limited},
        impact=float(limited),
    )


def cpu_saturated(view: NodeView) -> Finding | None:
    """CPUs are full, and containers may run nowhere else."""
    full = {cpu for cpu in view.node.cpu_times if _is_full(view, cpu)}
    if not full:
        return None
    owned = view.node.owners.keys()
    affected = [
        row
        for row in view.live
        if row.cpuset is not None and row.cpuset.cpus and row.cpuset.cpus <= full and not row.cpuset.cpus <= owned
    ]
    # Whoever fills CPUs where nobody else runs is in nobody's way.
    users = {row.cpuset.cpus: view.neighbours(row) or {} for row in affected if row.cpuset is not None}
    shared = [row for row in affected if row.cpuset is not None and not _alone(view, row, users[row.cpuset.cpus])]
    if not shared:
        return None
    unknown = [row for row in shared if _waited(view, row) is NO_WAITING]
    if not unknown and not full >= (view.node.online_cpus or full):
        return None  # the findings of those who wait say more
    cpus = frozenset[int]().union(*(row.cpuset.cpus for row in shared if row.cpuset is not None))
    busy = view.busy(cpus)
    tail = (
        f"; whether {text.count(len(unknown), 'container')} on them wait is unknown, as this kernel counts no waiting"
        if unknown
        else ""
    )
    return finding(
        "cpu_saturated",
        None,
        summary=f"{text.numbered(cpus)} {'is' if len(cpus) == 1 else 'are'} full, and "
        f"{text.count(len(shared), 'container')} may run nowhere else{tail}.",
        advice=Advice(
            "Move load away from this node, or look for what runs outside of its containers (top on the node)."
            + (" Boot the kernel with psi=1 (v2) or turn schedstats on (v1) to see who waits." if unknown else ""),
            ["sysctl -w kernel.sched_schedstats=1"] if unknown and view.node.hierarchy == "v1" else (),
        ),
        reason="waiting_unknown" if unknown else "",
        evidence={
            "cpus": format_cpu_list(cpus),
            "cpus_busy_cores": None if busy is None else busy.busy,
            "containers": len(shared),
            "containers_waiting_unknown": len(unknown),
        },
        severity="warning" if unknown else "info",
        impact=float(len(cpus)),
    )


def _is_full(view: NodeView, cpu: int) -> bool:
    busy = view.busy((cpu,))
    return busy is not None and busy.busy + busy.steal >= thresholds.SATURATED


def _alone(view: NodeView, row: CgroupRow, users: Mapping[CgroupName, float]) -> bool:
    """Whether next to nothing but this container runs on its CPUs."""
    busy = None if row.cpuset is None else view.busy(row.cpuset.cpus)
    rest = None if busy is None else busy.without(row)
    others = sum(cores for name, cores in users.items() if name != name_of(row))
    return rest is not None and max(rest, others) < thresholds.NEIGHBOUR_USE * len(
        row.cpuset.cpus if row.cpuset else ()
    )


def _waited(view: NodeView, row: CgroupRow) -> Entry:
    ledger = ledger_of(view, row)
    return TOO_YOUNG if ledger is None else ledger.waited
