"""The finding about a limit that is used up; :mod:`exporter.analysis.findings.bursting` has the one that is not."""

from __future__ import annotations

import math

from exporter.analysis import thresholds
from exporter.analysis.findings import words
from exporter.analysis.findings.finding import Cause
from exporter.analysis.findings.throttling import Bursts, Throttling, bursts, evidence_of, ran_in_parallel, throttling
from exporter.analysis.findings.view import View, use
from exporter.model import CgroupRow


def throttled(_view: View, row: CgroupRow) -> Cause | None:
    """It uses up its limit, and wants more."""
    found = throttling(row)
    if found is None or mostly_below_limit(row, found) is not None:
        return None
    cores, limit = use(row), words.limit(found.limit)
    who, having, first, last = f"It uses up its limit of {limit}", "", "Raise", ""
    if has_too_many_threads(row, found.limit):
        threads, fewer = words.count(row.threads or 0, "thread"), fewer_threads(found.limit)
        if ran_in_parallel(row, found):
            who, first = f"{threads} under a limit of {limit} use it up", f"Run {fewer}, then raise"
        else:
            having, last = f" and has {threads}", f"; if many of its threads want to run at once, run {fewer}"
    using = "" if cores is None else f" (use: {words.cpus(cores)})"
    return Cause(
        summary=f"{who}{using}{having}: throttled {found.told}, it stood still for up to "
        f"{words.percent(found.stopped)} of the time.",
        advice=f"{first} the limit to what it needs, or spread the work over more replicas{last}; nothing is wrong "
        "when the limit is there to slow it down.",
        evidence=evidence_of(row, found),
        severity=found.severity,
        weight=found.stopped,
    )


def mostly_below_limit(row: CgroupRow, found: Throttling) -> Bursts | None:
    """The window interval by interval, when most of the throttling is in intervals that used far less than the limit.

    ``None`` also where that is not known: then nothing contradicts that the limit is used up.
    """
    seen = bursts(row, found.limit)
    return seen if seen is not None and seen.below_share >= thresholds.BELOW_LIMIT_PERIODS else None


def has_too_many_threads(row: CgroupRow, limit: float) -> bool:
    """More threads than the limit has CPUs; how many of them want to run is another question."""
    return row.threads is not None and row.threads > math.ceil(limit)


def fewer_threads(limit: float) -> str:
    """The settings that mend it, with their number."""
    at_once = max(1, math.floor(limit))
    return (
        f"no more than {words.count(at_once, 'thread')} at once (OMP_NUM_THREADS={at_once}, GOMAXPROCS={at_once}, "
        f"-XX:ActiveProcessorCount={at_once})"
    )
