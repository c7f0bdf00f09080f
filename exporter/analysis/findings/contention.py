"""The finding about waiting for CPUs that others use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.analysis import text, thresholds
from exporter.analysis.findings.finding import Evidence, Finding, finding
from exporter.analysis.findings.nodeview import Busy, NodeView, rate, use
from exporter.analysis.findings.throttled import lost, lost_to_ancestor, throttling
from exporter.model import CgroupName, CgroupRow

_ADVICE = {
    "neighbours": "Give it a larger CPU request (its share when CPUs are short), move it or the neighbours to another "
    "node, limit the neighbours, or pin it (Guaranteed, whole CPUs, static CPU manager).",
    "outside": "Find the host's own load (top on the node, outside of kubepods) and reserve CPUs for it "
    "(reservedSystemCPUs with the policy option strict-cpu-reservation).",
    "own_threads": "Run fewer threads at once or give it more CPUs: nobody else takes them.",
    "": "Look at what else runs on its CPUs; the exporter sees no container that does.",
}


@dataclass(frozen=True)
class Surroundings:
    """Whom the CPUs of a container went to."""

    neighbours: Sequence[tuple[CgroupName, float]] | None
    """With their use in cores on these CPUs; ``None`` when not known."""
    others: float | None
    """Cores used by all neighbours together."""
    busy: Busy | None
    own: float | None
    rest: float | None
    """Busy cores that are not its own, at least; ``None`` when not known."""
    outside: float | None
    """Busy cores that no container can have used; ``None`` when not known."""

    def named(self, cpus: int) -> Sequence[tuple[CgroupName, float]]:
        """The busiest neighbours, where all of them together use enough of ``cpus`` CPUs to matter."""
        if self.neighbours is None or (self.others or 0.0) < thresholds.NEIGHBOUR_USE * cpus:
            return ()
        return [one for one in self.neighbours[: thresholds.MAX_NEIGHBOURS] if one[1] >= thresholds.MIN_USE]


def contention(view: NodeView, row: CgroupRow) -> Finding | None:
    """It waits for CPUs, and no quota is the reason."""
    deltas = row.deltas
    if deltas is None:
        return None
    waiting = deltas.runqueue_wait_seconds if deltas.waiting_seconds is None else deltas.waiting_seconds
    if waiting is None:
        return _saturated(view, row)
    # Most containers of most nodes end here.
    return None if waiting < thresholds.WAITING_RATE * deltas.seconds else _waits(view, row)


def _waits(view: NodeView, row: CgroupRow) -> Finding | None:
    waiting, own = _unexplained(view, row), use(row)
    if waiting is None or not _hurts(waiting, own):
        return None
    around, cpus = _surroundings(view, row), _cpus(row)
    named = around.named(cpus)
    reason = _reason(around, named, waiting, cpus)
    if reason not in {"neighbours", "outside"} and _is_stopped(view, row):
        # What shares a quota waits for each other while it lasts: that is the throttling's own story.
        return None
    summed = "" if row.deltas is None or row.deltas.waiting_seconds is not None else ", summed over threads,"
    using = "" if own is None else f" while it used {text.cpus(own)}"
    return finding(
        "contention",
        row,
        summary=f"It waited for a CPU for {text.amount(waiting)} s per second{summed}{using}, and no quota was the "
        f"cause{_told(reason, around, named, cpus)}.",
        advice=_ADVICE[reason],
        reason=reason,
        evidence={**_evidence(row, around, named), "waiting_seconds_per_second": waiting},
        severity="info" if reason == "own_threads" else "warning",
        impact=min(1.0, waiting),
    )


def _hurts(waiting: float, own: float | None) -> bool:
    """Whether that much waiting a second matters to a container that runs that much."""
    # Without the use it may have run all the time.
    running = 1.0 if own is None else min(1.0, own)
    return waiting >= thresholds.WAITING_RATE and waiting / (waiting + running) >= thresholds.WAITING_SHARE


def _told(reason: str, around: Surroundings, named: Sequence[tuple[CgroupName, float]], cpus: int) -> str:
    if reason == "neighbours":
        return f"; on the same CPUs: {_listing(named)}"
    if reason == "outside":
        return f"; at least {text.cpus(around.outside or 0.0)} of its {cpus} go to processes outside of all containers"
    return f"; its own threads want more than its {text.cpus(cpus)}" if reason == "own_threads" else ""


def _unexplained(view: NodeView, row: CgroupRow) -> float | None:
    """Waiting per second beyond what quotas explain; ``None`` when it is not known what they explain.

    PSI counts throttled tasks as waiting, whoever's quota it is. v1's ``wait_sum`` stops while the container's own
    quota holds it, and runs on while the pod's does. Both are subtracted whole, though summed over CPUs: what is left
    is certain.
    """
    deltas = row.deltas
    if deltas is None:
        return None
    above = _stopped_above(view, row)
    if deltas.waiting_seconds is None:
        waiting = rate(deltas.runqueue_wait_seconds, deltas)
        return None if waiting is None or above is None else waiting - above
    waiting, local = rate(deltas.waiting_seconds, deltas), rate(deltas.local_throttled_seconds, deltas)
    if waiting is None:
        return None
    if local is not None:
        return waiting - local
    own = _stopped(row)
    return None if own is None or above is None else waiting - own - above


def _is_stopped(view: NodeView, row: CgroupRow) -> bool:
    """Whether a quota, its own or one above it, stops it so much that it is told of."""
    above = lost_to_ancestor(row)
    if above is None:
        above = _stopped_above(view, row)
    return throttling(row) is not None or (above is not None and above >= thresholds.ANCESTOR_LOST)


def _stopped(row: CgroupRow) -> float | None:
    """Seconds per second that the quota of one cgroup took; 0.0 is known where it has none."""
    if row.limits is not None and row.limits.quota_state == "none":
        return 0.0
    return lost(row)


def _stopped_above(view: NodeView, row: CgroupRow) -> float | None:
    pod = view.pod_of(row)
    if pod is not None:
        return _stopped(pod)
    # No row of the pod: then only an effective limit as wide as the cpuset shows that no quota is above.
    return 0.0 if row.cpuset is not None and row.effective_limit_cores == float(len(row.cpuset.cpus)) else None


def _saturated(view: NodeView, row: CgroupRow) -> Finding | None:
    """The kernel counts no waiting: full CPUs, used mostly by others, make it likely."""
    around = _surroundings(view, row)
    cpus, others, own, busy = _cpus(row), around.others, around.own, around.busy
    if own is None or own < thresholds.SATURATED_USE or others is None or busy is None or _is_stopped(view, row):
        return None
    if busy.busy < thresholds.SATURATED * cpus or others < thresholds.SATURATED_NEIGHBOURS * busy.busy:
        return None
    named = around.named(cpus)
    if not named:
        return None
    full = text.percent(busy.busy / cpus)
    return finding(
        "contention",
        row,
        summary=f"It likely waits for a CPU: where it may run ({text.cpus(cpus)}) was {full} busy, and it "
        f"used {text.amount(own)} of that; on the same CPUs: {_listing(named)}.",
        advice=_ADVICE["neighbours"] + " This kernel counts no waiting (schedstats, PSI), so make sure first.",
        reason="saturated",
        evidence=_evidence(row, around, named),
        impact=others / cpus,
    )


def _cpus(row: CgroupRow) -> int:
    return 0 if row.cpuset is None else len(row.cpuset.cpus)


def _surroundings(view: NodeView, row: CgroupRow) -> Surroundings:
    busy = None if row.cpuset is None else view.busy(row.cpuset.cpus)
    neighbours = view.neighbours(row)
    others = None if neighbours is None else sum(cores for _, cores in neighbours)
    rest = None if busy is None else busy.without(row)
    return Surroundings(neighbours, others, busy, use(row), rest, view.outside(row))


def _reason(around: Surroundings, named: Sequence[tuple[CgroupName, float]], waiting: float, cpus: int) -> str:
    """Nobody makes others wait for longer than he runs himself: who ran too little for it is not accused."""
    others, outside, own = around.others, around.outside, around.own
    enough = thresholds.NEIGHBOUR_USE * cpus

    def is_to_blame(used: float) -> bool:
        return used >= enough and _hurts(min(waiting, used), own)

    if named and others is not None and _hurts(min(waiting, others), own):
        return "neighbours"
    if outside is not None and is_to_blame(outside):
        return "outside"
    # Whoever the others are: all of them together ran too little.
    nobody_else = around.rest is not None and not is_to_blame(around.rest)
    return "own_threads" if nobody_else and own and own >= enough else ""


def _listing(named: Sequence[tuple[CgroupName, float]]) -> str:
    return text.listing(f"{text.full_name(name)} with {text.cpus(cores)}" for name, cores in named)


def _evidence(row: CgroupRow, around: Surroundings, named: Sequence[tuple[CgroupName, float]]) -> Evidence:
    evidence: Evidence = {
        "window_seconds": None if row.deltas is None else row.deltas.seconds,
        "usage_cores": around.own,
        "cpuset_cpus": _cpus(row) or None,
        "neighbours_usage_cores": around.others,
        "outside_usage_cores": around.outside,
        "cpus_busy_cores": None if around.busy is None else around.busy.busy,
    }
    for number, (name, cores) in enumerate(named, 1):
        evidence[f"neighbour_{number}"] = text.full_name(name)
        evidence[f"neighbour_{number}_usage_cores"] = cores
    return evidence
