"""The finding about a limit that is used up, and how hard a quota throttles a cgroup."""

from __future__ import annotations

import math
from dataclasses import dataclass

from exporter.analysis import text, thresholds
from exporter.analysis.findings.finding import Evidence, Finding, Severity, finding
from exporter.analysis.findings.nodeview import NodeView, UpperBoundWindow, rate, use
from exporter.model import CgroupRow, Window


def throttled(_view: NodeView, row: CgroupRow) -> Finding | None:
    """It uses up its limit, and wants more."""
    found = throttling(row)
    if found is None or mostly_below_limit(row, found) is not None:
        return None
    cores, limit = use(row), text.limit(found.limit)
    who, having, first, last = f"It uses up its limit of {limit}", "", "Raise", ""
    if has_too_many_threads(row, found.limit):
        threads, fewer = text.count(row.threads or 0, "thread"), fewer_threads(found.limit)
        if ran_in_parallel(row, found):
            who, first = f"{threads} under a limit of {limit} use it up", f"Run {fewer}, then raise"
        else:
            having, last = f" and has {threads}", f"; if many of its threads want to run at once, run {fewer}"
    using = "" if cores is None else f" (use: {text.cpus(cores)})"
    return finding(
        "throttled",
        row,
        summary=f"{who}{using}{having}: throttled {found.told}, it stood still for up to "
        f"{text.percent(found.stopped)} of the time.",
        advice=f"{first} the limit to what it needs, or spread the work over more replicas{last}; nothing is wrong "
        "when the limit is there to slow it down.",
        evidence=evidence_of(row, found),
        severity=found.severity,
        impact=found.stopped,
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
        f"no more than {text.count(at_once, 'thread')} at once (OMP_NUM_THREADS={at_once}, GOMAXPROCS={at_once}, "
        f"-XX:ActiveProcessorCount={at_once})"
    )


@dataclass(frozen=True)
class Throttling:
    """A quota that hurts."""

    window: Window
    limit: float
    """Cores."""
    period: float
    """Seconds."""
    stopped: float
    """Share of wall time: at most this much it stood still."""

    @property
    def severity(self) -> Severity:
        """By how much of its time is lost."""
        worst = min(self.window.ratio, self.stopped) >= thresholds.CRITICAL_SHARE
        return "critical" if worst else "warning"

    @property
    def told(self) -> str:
        """``in 87 % of 540 active periods of the last 60 s``."""
        window = self.window
        ratio = text.percent(window.ratio)
        share = f"up to {ratio}" if isinstance(window, UpperBoundWindow) else ratio
        return f"in {share} of {window.periods} active periods of the last {window.seconds:.0f} s"


def throttling(row: CgroupRow) -> Throttling | None:
    """How the quota of ``row`` stops it; ``None`` where it does not or not enough.

    The ratio alone misleads: idle containers have few periods. Throttled seconds alone mislead too: they are summed
    over CPUs. Wall time lost is below the throttled periods' length, and below the seconds.
    """
    window, limits = row.window, row.limits
    if window is None or limits is None or limits.limit_cores is None or limits.period_seconds is None:
        return None
    if window.throttled_periods < thresholds.MIN_THROTTLED_PERIODS or not window.ratio >= thresholds.THROTTLED_RATIO:
        return None
    if not window.seconds > 0:
        return None
    stopped = min(1.0, window.throttled_periods * limits.period_seconds / window.seconds)
    seconds = lost(row)
    if seconds is not None:
        stopped = min(stopped, seconds)
    if not stopped >= thresholds.STOPPED_SHARE:
        return None
    return Throttling(window, limits.limit_cores, limits.period_seconds, stopped)


def lost(row: CgroupRow) -> float | None:
    """Seconds per second that its own quota took, summed over CPUs."""
    return None if row.deltas is None else rate(row.deltas.throttled_seconds, row.deltas)


def ran_in_parallel(row: CgroupRow, found: Throttling) -> bool:
    """Throttled seconds are summed over CPUs: more of them than the throttled periods lasted means several CPUs."""
    seconds = lost(row)
    stopped = found.window.throttled_periods * found.period / found.window.seconds
    return seconds is not None and seconds > stopped and row.threads is not None and row.threads > 1


def lost_to_ancestor(row: CgroupRow) -> float | None:
    """Seconds per second that a quota above took, from ``cpu.stat.local``; ``None`` where the kernel has none."""
    deltas = row.deltas
    if deltas is None or deltas.local_throttled_seconds is None or row.limits is None:
        return None
    own = 0.0 if row.limits.quota_state == "none" else lost(row)
    local = rate(deltas.local_throttled_seconds, deltas)
    return None if own is None or local is None else max(0.0, local - own)


@dataclass(frozen=True)
class Bursts:
    """Use against the limit in the sample intervals in which the quota stopped a container."""

    intervals: int
    below: int
    """Those of them in which it used far less than its limit."""
    usage: float
    """Cores, over all of them."""
    below_share: float
    """Of the throttled periods: how many lie in :attr:`below`."""


def bursts(row: CgroupRow, limit: float) -> Bursts | None:
    """The window interval by interval; ``None`` without a detailed snapshot or without usage."""
    count = below = throttled = throttled_below = 0
    usage = seconds = 0.0
    for one in row.intervals:
        if one.throttled_periods <= 0 or not one.seconds > 0 or not math.isfinite(one.usage_seconds):
            continue
        count += 1
        throttled += one.throttled_periods
        usage += one.usage_seconds
        seconds += one.seconds
        if one.usage_seconds / one.seconds < thresholds.BELOW_LIMIT * limit:
            below += 1
            throttled_below += one.throttled_periods
    return Bursts(count, below, usage / seconds, throttled_below / throttled) if count else None


def evidence_of(row: CgroupRow, found: Throttling) -> Evidence:
    """What every finding about a quota rests on."""
    limits, window = row.limits, found.window
    return {
        "window_seconds": window.seconds,
        "periods": window.periods,
        "throttled_periods": window.throttled_periods,
        "throttled_ratio": window.ratio,
        "throttled_ratio_peak": window.peak,
        "stopped_share": found.stopped,
        "throttled_seconds_per_second": lost(row),
        "limit_cores": found.limit,
        "period_seconds": found.period,
        "burst_seconds": None if limits is None else limits.burst_seconds,
        "usage_cores": use(row),
        "threads": row.threads,
    }
