"""Findings about the node as a whole."""

from __future__ import annotations

from exporter.analysis import text, thresholds
from exporter.analysis.findings.finding import Finding, finding
from exporter.analysis.findings.nodeview import NodeView


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
