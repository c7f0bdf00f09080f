"""The finding that a container waits for CPUs, and who uses them: neighbours, the host, its own threads."""

from __future__ import annotations

import math

from exporter.analysis import text, thresholds
from exporter.analysis.advice import kubectl_set, set_request
from exporter.analysis.findings.finding import ContainerView, Evidence, Finding
from exporter.analysis.nodeview import use
from exporter.analysis.recommend import rounded_up


def contention(view: ContainerView) -> Finding | None:
    """It waits for CPUs, and no quota is the reason."""
    waited, placement = view.ledger.waited, view.row.placement_deltas
    used = use(placement)
    # Most containers of most nodes end here. Without the use it may have run all the time.
    running = 1.0 if used is None else min(1.0, used)
    if waited is None or waited < thresholds.WAITING_RATE or waited / (waited + running) < thresholds.WAITING_SHARE:
        return None
    cpus, others, busy = len(view.cpus), view.neighbours, view.of_node.busy(view.cpus)
    if busy is not None and placement is not None and placement.seconds >= thresholds.SAME_WINDOW * busy.seconds:
        has_room = busy.busy + busy.steal + busy.error < thresholds.ROOM * cpus
        if has_room and waited < thresholds.WAITING_RATE_WITH_ROOM:
            return None
    busiest = sorted(others.items(), key=lambda one: (-one[1], one[0]))[: thresholds.MAX_NEIGHBOURS]
    busiest = [one for one in busiest if one[1] >= thresholds.MIN_USE]
    used_by_others = sum(others.values())
    named = [one for one in busiest if one[1] >= thresholds.NAMED_SHARE * used_by_others]
    outside = view.of_node.outside(view.cpus)
    rest = None if busy is None else busy.without(view.row)
    # Of its waiting, what nobody else can have caused.
    itself = None if busy is None or rest is None else max(0.0, waited - rest - busy.error)
    amounts = {"neighbours": used_by_others if busiest else None, "outside": outside, "own_threads": itself}
    found = {name: amount for name, amount in amounts.items() if amount is not None}
    reason = max(found, key=lambda name: found[name], default="")
    # A neighbour's CPU time bounds the waiting it can cause, so it must explain half.
    if reason and not found[reason] >= max(thresholds.EXPLAINED * waited, thresholds.NEIGHBOUR_USE * cpus):
        reason = ""
    if reason == "neighbours" and sum(cores for _, cores in named) < thresholds.EXPLAINED * waited:
        reason = "many"
    lost_elsewhere = (view.ledger.quota_above or 0.0) + (view.ledger.quota_inside or 0.0)
    is_throttled = view.throttling is not None or lost_elsewhere >= thresholds.ANCESTOR_LOST
    if is_throttled and reason not in {"neighbours", "many", "outside"}:
        # What shares a quota waits for each other while it lasts: that is the throttling's own story.
        return None
    wanted = (1.0 if used is None else used) + min(waited, float(cpus))
    at_once = max(1, min(cpus, math.ceil(wanted)))
    request = _enough_request(view, at_once) if reason in {"neighbours", "many"} else None
    request = None if request is None else rounded_up(max(request, min(wanted, at_once)))
    is_enough = request is not None and request <= at_once
    pin = kubectl_set(view.row, "resources", f"--requests=cpu={at_once} --limits=cpu={at_once}")
    commands = set_request(view.row, request) if request is not None and is_enough else pin
    evidence: Evidence = {
        "window_seconds": None if placement is None else placement.seconds,
        "waiting_seconds_per_second": waited,
        "usage_cores": used,
        **view.evidence("cpuset_cpus"),
        "neighbours_usage_cores": used_by_others if cpus else None,
        "outside_usage_cores": outside,
        "own_waiting_seconds_per_second": itself,
    }
    for number, (name, cores) in enumerate(busiest, 1):
        evidence[f"neighbour_{number}"] = text.full_name(name)
        evidence[f"neighbour_{number}_usage_cores"] = cores
    return view.finding(
        "contention",
        evidence,
        reason=reason,
        impact=min(1.0, waited),
        commands=commands if reason in {"neighbours", "many"} else (),
        neighbours=text.listing(f"{text.full_name(name)} with {text.cpus(cores)}" for name, cores in named),
        number=sum(cores >= thresholds.MIN_USE for cores in others.values()),
        most=max(others.values(), default=0.0),
        request=request if is_enough else None,
        pinned=None if is_enough else at_once,
        weight=None if is_enough else request,
        summed=", summed over threads," if placement is None or placement.waiting_seconds is None else "",
    )


def _enough_request(view: ContainerView, at_once: int) -> float | None:
    """Return the CPU request that leaves it next to no waiting on ``at_once`` CPUs; ``None`` when unknown.

    Requests are weights. On each CPU that it uses, its own competes with those of the neighbours, spread over theirs.
    """
    weight = 0.0
    for name, cores in view.neighbours.items():
        row = view.of_node.rows[name]
        if cores >= thresholds.MIN_USE and row.cpuset is not None:
            if row.container_spec is None:
                return None
            common = len(row.cpuset.cpus & view.cpus) / len(row.cpuset.cpus)
            weight += (row.container_spec.request_cores or 0.0) * common
    share = thresholds.ENOUGH_WEIGHT
    return at_once * share / (1 - share) * weight / len(view.cpus)
