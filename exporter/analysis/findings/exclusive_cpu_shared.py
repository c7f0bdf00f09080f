"""Findings about exclusive CPUs that are not: others on them, or a checkpoint that knows other ones."""

from __future__ import annotations

from exporter.analysis import text, thresholds
from exporter.analysis.findings.container import ContainerView
from exporter.analysis.findings.finding import Finding, finding
from exporter.cpulist import format_cpu_list


def exclusive_cpu_shared(view: ContainerView) -> Finding | None:
    """Other containers may run on CPUs that it should own."""
    found = view.of_node.overlaps.get(view.name)
    if not found:
        return None
    names = [text.full_name(one.other) for one in found[: thresholds.MAX_NEIGHBOURS]]
    more = [f"{len(found) - len(names)} more"] if len(found) > len(names) else []
    return finding(
        "exclusive_cpu_shared",
        view.row,
        {
            "overlapping_containers": len(found),
            "overlap_seconds": max(one.seconds for one in found),
            "cpus": format_cpu_list(frozenset[int]().union(*(one.cpus for one in found))),
            **{f"other_{number}": name for number, name in enumerate(names, 1)},
        },
        impact=float(len(found)),
        others=text.listing(names + more),
    )


def exclusive_cpu_disturbed(view: ContainerView) -> Finding | None:
    """Its CPUs do more than it does."""
    cpus = view.cpus
    if not view.row.exclusive or not cpus or cpus != set(view.of_node.owned.get(view.name, ())):
        return None
    busy = view.of_node.busy(cpus)
    own = None if busy is None else busy.at_most(view.row)
    if busy is None or own is None or busy.busy - own < thresholds.DISTURBED * len(cpus):
        return None
    others = busy.busy - own
    return finding(
        "exclusive_cpu_disturbed",
        view.row,
        {
            **view.evidence("cpus"),
            "cpus_busy_cores": busy.busy,
            "usage_cores": own,
            "disturbance_cores": others,
            "interrupts_cores": busy.interrupts,
        },
        reason="interrupts" if busy.interrupts >= thresholds.INTERRUPT_SHARE * others else "outside",
        impact=others,
    )


def cpuset_disagrees(view: ContainerView) -> Finding | None:
    """A container's cpuset is not what the CPU manager believes it to be (``cpu_manager_disagrees``).

    A container without a window is too young: the kubelet narrows its cpuset just after the start.
    """
    checkpoint, cpus, entry = view.node.checkpoint, view.cpus, view.checkpointed
    if checkpoint is None or not cpus or view.row.deltas is None or entry == cpus:
        return None
    # CRI-O's mixed CPUs: shared ones are added to its own.
    is_exclusive = view.row.isolation == "exclusive"
    if (entry is None and not is_exclusive) or (entry is not None and entry < cpus and is_exclusive):
        return None
    return finding(
        "cpu_manager_disagrees",
        view.row,
        {
            "checkpoint_cpus": None if entry is None else format_cpu_list(entry),
            **view.evidence("cpus"),
            "checkpoint_policy": checkpoint.policy if entry is None else None,
        },
        reason="not_in_checkpoint" if entry is None else "cpuset",
        impact=float(len(cpus if entry is None else entry ^ cpus)),
    )
