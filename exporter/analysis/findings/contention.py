"""The finding about waiting for CPUs that others use."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.analysis import text, thresholds
from exporter.analysis.advice import Advice, set_request
from exporter.analysis.findings.finding import Evidence, Finding, finding
from exporter.analysis.findings.throttled import own_throttling
from exporter.analysis.ledger import Ledger, Takers, known, takers_of
from exporter.analysis.nodeview import NodeView
from exporter.model import CgroupName, CgroupRow

_ADVICE = {
    "neighbours": "Raise its CPU request (its share when CPUs are short) to what it uses and waits for, move it or the "
    "neighbours to another node, limit the neighbours, or pin it (Guaranteed, whole CPUs, static CPU manager).",
    "outside": "Find the host's own load (top on the node, outside of kubepods; real-time processes run before all "
    "others) and reserve CPUs for it (reservedSystemCPUs with the policy option strict-cpu-reservation).",
    "own_threads": "Run fewer threads at once or give it more CPUs: nobody else takes them.",
    "": "Look at what else runs on its CPUs: nothing that the exporter sees explains the waiting.",
}


def contention(view: NodeView, row: CgroupRow, ledger: Ledger | None) -> Finding | None:
    """It waits for CPUs, and no quota is the reason."""
    waited = None if ledger is None else known(ledger.waited)
    # Most containers of most nodes end here.
    if ledger is None or waited is None or not _matters(waited, known(ledger.used)):
        return None
    takers, cpus = takers_of(view, row, waited), 0 if row.cpuset is None else len(row.cpuset.cpus)
    reason = _largest(takers, waited, cpus)
    if reason not in {"neighbours", "outside"} and _is_throttled(row, ledger):
        # What shares a quota waits for each other while it lasts: that is the throttling's own story.
        return None
    used = known(ledger.used)
    counts_share = row.placement_deltas is not None and row.placement_deltas.waiting_seconds is not None
    summed = "" if counts_share else ", summed over threads,"
    using = "" if used is None else f" while it used {text.cpus(used)}"
    wanted = None if used is None else used + min(waited, float(cpus))
    return finding(
        "contention",
        row,
        summary=f"It waited for a CPU for {text.amount(waited)} s per second{summed}{using}, and no quota was the "
        f"cause{_explanation(reason, takers, cpus)}.",
        advice=Advice(_ADVICE[reason], set_request(row, wanted) if reason == "neighbours" and wanted else ()),
        reason=reason,
        evidence=_evidence(row, ledger, takers, cpus, waited),
        severity="info" if reason == "own_threads" else "warning",
        impact=min(1.0, waited),
    )


def _matters(waited: float, used: float | None) -> bool:
    """Whether that much waiting a second matters to a container that runs that much."""
    # Without the use it may have run all the time.
    running = 1.0 if used is None else min(1.0, used)
    return waited >= thresholds.WAITING_RATE and waited / (waited + running) >= thresholds.WAITING_SHARE


def _largest(takers: Takers, waited: float, cpus: int) -> str:
    """Return the largest taker; a neighbour's CPU time bounds the waiting it can cause, so it must explain half."""
    amounts = {
        "neighbours": known(takers.others) if takers.named else None,
        "outside": known(takers.outside),
        "own_threads": known(takers.itself),
    }
    found = {name: amount for name, amount in amounts.items() if amount is not None}
    largest = max(found, key=lambda name: found[name], default="")
    enough = max(thresholds.EXPLAINED * waited, thresholds.NEIGHBOUR_USE * cpus)
    return largest if largest and found[largest] >= enough else ""


def _is_throttled(row: CgroupRow, ledger: Ledger) -> bool:
    """Whether a quota, its own or another, throttles it so much that there is a finding."""
    others = (known(ledger.above.lost) or 0.0) + (known(ledger.inside) or 0.0)
    return own_throttling(row, ledger) is not None or others >= thresholds.ANCESTOR_LOST


def _explanation(reason: str, takers: Takers, cpus: int) -> str:
    if reason == "neighbours":
        return f"; on the same CPUs: {_listing(takers.named)}"
    if reason == "outside":
        outside = text.cpus(known(takers.outside) or 0.0)
        return f"; at least {outside} of its {cpus} go to processes outside of all containers"
    return f"; its own threads want more than its {text.cpus(cpus)}" if reason == "own_threads" else ""


def _listing(named: Sequence[tuple[CgroupName, float]]) -> str:
    return text.listing(f"{text.full_name(name)} with {text.cpus(cores)}" for name, cores in named)


def _evidence(row: CgroupRow, ledger: Ledger, takers: Takers, cpus: int, waited: float) -> Evidence:
    evidence: Evidence = {
        "window_seconds": None if row.placement_deltas is None else row.placement_deltas.seconds,
        "waiting_seconds_per_second": waited,
        "usage_cores": known(ledger.used),
        "cpuset_cpus": cpus or None,
        "neighbours_usage_cores": known(takers.others),
        "outside_usage_cores": known(takers.outside),
        "own_waiting_seconds_per_second": known(takers.itself),
    }
    for number, (name, cores) in enumerate(takers.named, 1):
        evidence[f"neighbour_{number}"] = text.full_name(name)
        evidence[f"neighbour_{number}_usage_cores"] = cores
    return evidence
