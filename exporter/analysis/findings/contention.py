"""The finding about waiting for CPUs that others use."""

from __future__ import annotations

from exporter.analysis import text, thresholds
from exporter.analysis.advice import set_request
from exporter.analysis.findings.container import ContainerView
from exporter.analysis.findings.finding import Evidence, Finding, finding


def contention(view: ContainerView) -> Finding | None:
    """It waits for CPUs, and no quota is the reason."""
    waited, used, placement = view.ledger.waited, view.ledger.used, view.row.placement_deltas
    # Most containers of most nodes end here. Without the use it may have run all the time.
    running = 1.0 if used is None else min(1.0, used)
    if waited is None or waited < thresholds.WAITING_RATE or waited / (waited + running) < thresholds.WAITING_SHARE:
        return None
    cpus, others = len(view.cpus), view.neighbours
    busiest = sorted(others.items(), key=lambda one: (-one[1], one[0]))[: thresholds.MAX_NEIGHBOURS]
    named = [one for one in busiest if one[1] >= thresholds.MIN_USE]
    outside, busy = view.of_node.outside(view.cpus), view.of_node.busy(view.cpus)
    rest = None if busy is None else busy.without(view.row)
    # Of its waiting, what nobody else can have caused.
    itself = None if busy is None or rest is None else max(0.0, waited - rest - busy.error)
    amounts = {"neighbours": sum(others.values()) if named else None, "outside": outside, "own_threads": itself}
    found = {name: amount for name, amount in amounts.items() if amount is not None}
    reason = max(found, key=lambda name: found[name], default="")
    # A neighbour's CPU time bounds the waiting it can cause, so it must explain half.
    if reason and not found[reason] >= max(thresholds.EXPLAINED * waited, thresholds.NEIGHBOUR_USE * cpus):
        reason = ""
    lost_elsewhere = (view.ledger.quota_above or 0.0) + (view.ledger.quota_inside or 0.0)
    is_throttled = view.throttling is not None or lost_elsewhere >= thresholds.ANCESTOR_LOST
    if is_throttled and reason not in {"neighbours", "outside"}:
        # What shares a quota waits for each other while it lasts: that is the throttling's own story.
        return None
    wanted = None if used is None or reason != "neighbours" else used + min(waited, float(cpus))
    evidence: Evidence = {
        "window_seconds": None if placement is None else placement.seconds,
        "waiting_seconds_per_second": waited,
        **view.evidence("usage_cores", "cpuset_cpus"),
        "neighbours_usage_cores": sum(others.values()) if cpus else None,
        "outside_usage_cores": outside,
        "own_waiting_seconds_per_second": itself,
    }
    for number, (name, cores) in enumerate(named, 1):
        evidence[f"neighbour_{number}"] = text.full_name(name)
        evidence[f"neighbour_{number}_usage_cores"] = cores
    return finding(
        "contention",
        view.row,
        evidence,
        reason=reason,
        impact=min(1.0, waited),
        commands=set_request(view.row, wanted) if wanted else (),
        neighbours=text.listing(f"{text.full_name(name)} with {text.cpus(cores)}" for name, cores in named),
        summed=", summed over threads," if placement is None or placement.waiting_seconds is None else "",
    )
