"""The findings about a container's own quota: used up, or throttled far below it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from exporter.analysis import text, thresholds
from exporter.analysis.advice import Advice, set_limit, set_threads, threads_within
from exporter.analysis.findings.finding import Evidence, Finding, Severity, finding
from exporter.analysis.ledger import Ledger, UpperBoundWindow, known
from exporter.analysis.nodeview import NodeView
from exporter.analysis.recommend import SLICE_SECONDS
from exporter.model import CgroupRow, CpuLimits, Window


@dataclass(frozen=True)
class Throttling:
    """A quota that takes enough to be a problem."""

    window: Window
    limit: float
    """Cores."""
    period: float
    """Seconds."""
    stopped: float
    """Share of wall time in throttled periods, at most."""
    share: float | None
    """Throttled time share; ``None`` when unknown."""

    @property
    def severity(self) -> Severity:
        """By how much of its time is lost."""
        return "critical" if min(self.window.ratio, self.stopped) >= thresholds.CRITICAL_SHARE else "warning"

    @property
    def text(self) -> str:
        """``in 87 % of 540 active periods of the last 60 s (throttled time share 42 %)``."""
        window = self.window
        ratio = text.percent(window.ratio)
        upper = f"up to {ratio}" if isinstance(window, UpperBoundWindow) else ratio
        share = "" if self.share is None else f" (throttled time share {text.percent(self.share)})"
        return f"in {upper} of {window.periods} active periods of the last {window.seconds:.0f} s{share}"


def throttling(
    window: Window | None, limits: CpuLimits | None, lost: float | None, share: float | None = None
) -> Throttling | None:
    """Return how hard a quota throttles a cgroup; ``None`` where it does not or not enough.

    The ratio alone misleads: an idle container has few periods. Throttled seconds alone mislead too: they are summed
    over CPUs. Wall time lost is below the throttled periods' length, and below the seconds.
    """
    if window is None or limits is None or limits.limit_cores is None or limits.period_seconds is None:
        return None
    if window.throttled_periods < thresholds.MIN_THROTTLED_PERIODS or not window.seconds > 0:
        return None
    if not max(window.ratio, share or 0.0) >= thresholds.THROTTLED_RATIO:
        return None
    stopped = min(1.0, window.throttled_periods * limits.period_seconds / window.seconds)
    if lost is not None:
        stopped = min(stopped, lost)
    if not stopped >= thresholds.STOPPED_SHARE:
        return None
    return Throttling(window, limits.limit_cores, limits.period_seconds, stopped, share)


def own_throttling(row: CgroupRow, ledger: Ledger | None) -> Throttling | None:
    """Return how hard the container's own quota throttles it."""
    if ledger is None:
        return throttling(row.window, row.limits, None)
    own, used = known(ledger.own_quota), known(ledger.used)
    share = own / (own + used) if own is not None and used is not None and own + used > 0 else None
    return throttling(ledger.window, row.limits, own, share)


def throttled(_view: NodeView, row: CgroupRow, ledger: Ledger | None) -> Finding | None:
    """It uses up its limit."""
    found = own_throttling(row, ledger)
    if found is None or mostly_below_limit(row, found) is not None:
        return None
    used = None if ledger is None else known(ledger.used)
    using = "" if used is None else f" (use: {text.cpus(used)})"
    return finding(
        "throttled",
        row,
        summary=f"It uses up its limit of {text.limit(found.limit)}{using}: throttled {found.text}.",
        advice=limit_advice(row, found, ledger),
        evidence=evidence_of(row, found, ledger),
        severity=found.severity,
        impact=found.stopped,
    )


def throttled_below_limit(view: NodeView, row: CgroupRow, ledger: Ledger | None) -> Finding | None:
    """It is throttled although it uses far less than its limit on average."""
    found = own_throttling(row, ledger)
    seen = None if found is None else mostly_below_limit(row, found)
    if found is None or seen is None:
        return None
    reason = _reason(view, row, found, ledger)
    advised = limit_advice(row, found, ledger)
    if reason == "kernel":
        advised = Advice("Upgrade the kernel to 5.4 or a patched stable release, or remove the limit until then.")
    elif reason == "ancestor":
        advised = Advice(
            "Raise the limit of the pod or of what lies above it first: most of the time it waits for that."
        )
    elif reason == "short_period":
        advised = advised._replace(text=f"Set the kubelet's cpuCFSQuotaPeriod back to 100ms. {advised.text}")
    return finding(
        "throttled_below_limit",
        row,
        summary=f"{_cause(view, row, found, reason, ledger)}; throttled {found.text}, though in those seconds it used "
        f"{text.amount(seen.usage)} of {text.limit(found.limit)} on average.",
        advice=advised,
        reason=reason,
        evidence={
            **evidence_of(row, found, ledger),
            "throttled_intervals": seen.intervals,
            "intervals_below_limit": seen.below,
            "usage_while_throttled_cores": seen.usage,
        },
        severity=found.severity,
        impact=found.stopped,
    )


def _reason(view: NodeView, row: CgroupRow, found: Throttling, ledger: Ledger | None) -> str:
    """What is certain comes first: a broken kernel, a short period. Threads may all sleep, so they come late."""
    if view.node.cfs_quota_bug == "affected" and view.node.kernel_release is not None:
        return "kernel"
    if ledger is not None and ledger.above.exact:
        above, own = known(ledger.above.lost) or 0.0, known(ledger.own_quota)
        if own is not None and above >= thresholds.ANCESTOR_LOST and above > own:
            return "ancestor"
    if found.period <= thresholds.SHORT_PERIOD_SECONDS:
        return "short_period"
    if found.limit < 1 and not _used_several_cpus(found, ledger):
        return "below_one_cpu"
    return "threads" if row.threads is not None and row.threads > math.ceil(found.limit) else "burst"


def _used_several_cpus(found: Throttling, ledger: Ledger | None) -> bool:
    """Throttled seconds are summed over CPUs: more of them than the throttled periods lasted means several CPUs."""
    lost = None if ledger is None else known(ledger.own_quota)
    return lost is not None and lost > found.window.throttled_periods * found.period / found.window.seconds


def _cause(view: NodeView, row: CgroupRow, found: Throttling, reason: str, ledger: Ledger | None) -> str:
    limit, quota, period = found.limit, found.limit * found.period, found.period
    cores, slot = text.limit(limit), f"{text.milliseconds(quota)} of CPU time in each {text.milliseconds(period)}"
    if reason == "kernel":
        return f"Kernel {view.node.kernel_release} lets unused quota expire (512ac999d275)"
    if reason == "ancestor":
        above = 0.0 if ledger is None else known(ledger.above.lost) or 0.0
        return f"A quota above the container stopped it for {text.amount(above)} s per second"
    if reason == "short_period":
        slices = text.milliseconds(SLICE_SECONDS)
        return f"A limit of {cores} is {slot}, and the kernel hands quota to each CPU {slices} at a time"
    if reason == "below_one_cpu":
        rest = text.milliseconds(period - quota)
        return f"A limit of {cores} is {slot}: even a single busy thread is stopped for the other {rest}"
    if reason == "threads":
        threads = text.count(row.threads or 0, "thread")
        return f"{threads} under a limit of {cores}: when they run at once they use up {slot} and wait for the next"
    return f"For moments it wants more than {cores}: it uses up {slot} and waits for the next"


def limit_advice(row: CgroupRow, found: Throttling, ledger: Ledger | None) -> Advice:
    """Return the advice with its number, and its commands: the limit first, fewer threads only where that can help."""
    wanted = None if ledger is None else ledger.recommendation
    if wanted is None:
        return Advice(
            "Raise the limit, and look again after a minute. Nothing is wrong when it is there to slow it down."
        )
    if wanted.limit_cores is not None:
        sentence = f"Set the limit to {text.limit(wanted.limit_cores)}, which serves 99 % of its bursts"
    else:
        high = "" if wanted.high_cores is None else f" and at most {text.limit(wanted.high_cores)}"
        why = "nearly every period is throttled" if found.window.ratio >= 0.9 else "too few bursts were seen"
        sentence = (
            f"Set the limit to {text.limit(wanted.next_cores)}, and look again after a minute: {why}, so all "
            f"that is known of its demand is that it is more than {text.limit(found.limit)}{high}"
        )
    commands = set_limit(row, wanted.next_cores)
    if found.limit >= 1 and row.threads is not None and row.threads > math.ceil(found.limit):
        at_once = threads_within(found.limit)
        sentence += (
            f". If its {row.threads} threads spin, wait for each other or are sized by the node's CPUs (OpenMP, BLAS, "
            f"PyTorch, Node.js, nginx, Go before 1.25), run {at_once} at once instead (OMP_NUM_THREADS={at_once}, "
            f"GOMAXPROCS={at_once}); the JVM, .NET and Go since 1.25 size themselves by the limit"
        )
        commands += set_threads(row, at_once)
    return Advice(f"{sentence}. Nothing is wrong when the limit is there to slow it down.", commands)


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


def mostly_below_limit(row: CgroupRow, found: Throttling) -> Bursts | None:
    """Return the window interval by interval, when most throttling is in intervals that used far less than the limit.

    ``None`` also where that is unknown: then nothing contradicts that the limit is used up.
    """
    count = below = throttled = throttled_below = 0
    usage = seconds = 0.0
    for one in row.intervals:
        if one.throttled_periods <= 0 or not one.seconds > 0 or not math.isfinite(one.usage_seconds):
            continue
        count += 1
        throttled += one.throttled_periods
        usage += one.usage_seconds
        seconds += one.seconds
        if one.usage_seconds / one.seconds < thresholds.BELOW_LIMIT * found.limit:
            below += 1
            throttled_below += one.throttled_periods
    if not count or throttled_below / throttled < thresholds.BELOW_LIMIT_PERIODS:
        return None
    return Bursts(count, below, usage / seconds, throttled_below / throttled)


def evidence_of(row: CgroupRow, found: Throttling, ledger: Ledger | None) -> Evidence:
    """Return what every finding about a quota rests on."""
    limits, window = row.limits, found.window
    wanted = None if ledger is None else ledger.recommendation
    return {
        "window_seconds": window.seconds,
        "periods": window.periods,
        "throttled_periods": window.throttled_periods,
        "throttled_ratio": window.ratio,
        "throttled_ratio_peak": window.peak,
        "throttled_time_share": found.share,
        "stopped_share": found.stopped,
        "throttled_seconds_per_second": None if ledger is None else known(ledger.own_quota),
        "limit_cores": found.limit,
        "recommended_limit_cores": None if wanted is None else wanted.limit_cores,
        "period_seconds": found.period,
        "burst_seconds": None if limits is None else limits.burst_seconds,
        "usage_cores": None if ledger is None else known(ledger.used),
        "threads": row.threads,
    }
