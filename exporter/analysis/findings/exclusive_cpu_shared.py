"""Findings about who else is on CPUs that belong to a container."""

from __future__ import annotations

from exporter.analysis import text, thresholds
from exporter.analysis.findings.finding import Finding, finding
from exporter.analysis.ledger import Ledger
from exporter.analysis.nodeview import NodeView, name_of
from exporter.cpulist import format_cpu_list
from exporter.model import CgroupRow


def exclusive_cpu_shared(view: NodeView, row: CgroupRow, _ledger: Ledger | None) -> Finding | None:
    """Other containers may run on CPUs that it should own."""
    found = view.overlaps.get(name_of(row)) if view.overlaps else None
    if not found:
        return None
    cpus = frozenset[int]().union(*(one.cpus for one in found))
    longest = max(one.seconds for one in found)
    names = [text.full_name(one.other) for one in found[: thresholds.MAX_NEIGHBOURS]]
    more = len(found) - len(names)
    listing = text.listing([*names, *([f"{more} more"] if more else [])])
    return finding(
        "exclusive_cpu_shared",
        row,
        summary=f"{listing} may run on {text.numbered(cpus)}, which it should own, for {longest:.0f} s by now.",
        advice="Look for what rewrote the cpusets (systemctl daemon-reload, a second CPU manager), and restart the "
        "kubelet, which sets them again.",
        evidence={
            "overlapping_containers": len(found),
            "overlap_seconds": longest,
            "cpus": format_cpu_list(cpus),
            **{f"other_{number}": name for number, name in enumerate(names, 1)},
        },
        impact=float(len(found)),
    )


def exclusive_cpu_disturbed(view: NodeView, row: CgroupRow, _ledger: Ledger | None) -> Finding | None:
    """Its CPUs do more than it does."""
    if not row.exclusive:
        return None
    cpus = view.owned.get(name_of(row))
    if not cpus or row.cpuset is None or row.cpuset.cpus != cpus:
        return None
    busy = view.busy(cpus)
    own = None if busy is None else busy.at_most(row)
    if busy is None or own is None:
        return None
    others = busy.busy - own
    if others < thresholds.DISTURBED * len(cpus):
        return None
    interrupts = busy.interrupts >= thresholds.INTERRUPT_SHARE * others
    what = "interrupts" if interrupts else "processes outside of all containers"
    return finding(
        "exclusive_cpu_disturbed",
        row,
        summary=f"It owns {text.numbered(cpus)}, busy for {text.cpus(busy.busy)}, of which it used "
        f"{text.amount(own)} at most: {text.amount(others)} went to {what}.",
        advice="Move interrupts away from these CPUs (/proc/irq/*/smp_affinity_list, irqbalance's banned CPUs)."
        if interrupts
        else "Keep the host's daemons on reserved CPUs (reservedSystemCPUs, systemd's CPUAffinity), or isolate these.",
        reason="interrupts" if interrupts else "outside",
        evidence={
            "cpus": format_cpu_list(cpus),
            "cpus_busy_cores": busy.busy,
            "usage_cores": own,
            "disturbance_cores": others,
            "interrupts_cores": busy.interrupts,
        },
        impact=others,
    )
