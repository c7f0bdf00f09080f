"""The findings about a container's own quota: used up, or throttled far below it."""

from __future__ import annotations

import math

from exporter.analysis import thresholds
from exporter.analysis.advice import set_limit, set_threads
from exporter.analysis.findings.container import ContainerView, Throttling
from exporter.analysis.findings.finding import TEXTS, Evidence, Finding, finding, say
from exporter.analysis.ledger import UpperBoundWindow
from exporter.analysis.recommend import SLICE_SECONDS


def throttled(view: ContainerView) -> Finding | None:
    """It uses up its limit, or is throttled although it uses far less than it on average."""
    found = view.throttling
    if found is None:
        return None
    window, texts = found.window, TEXTS["limit_advice"]
    evidence: Evidence = {
        "window_seconds": window.seconds,
        "periods": window.periods,
        "throttled_periods": window.throttled_periods,
        "throttled_ratio": window.ratio,
        "throttled_ratio_peak": window.peak,
        "throttled_time_share": found.share,
        "stopped_share": found.stopped,
        **view.evidence("throttled_seconds_per_second", "limit_cores", "recommended_limit_cores", "period_seconds"),
        **view.evidence("burst_seconds", "usage_cores", "threads"),
    }
    bursts = _mostly_below_limit(view, found)
    reason = _reason(view, found) if bursts else ""
    evidence |= bursts
    advice, commands = _limit_advice(view, found)
    quota = found.limit * found.period
    values = evidence | {"up_to": "up to " if isinstance(window, UpperBoundWindow) else None, "quota": quota}
    return finding(
        "throttled_below_limit" if bursts else "throttled",
        view.row,
        evidence,
        reason=reason,
        severity=found.severity,
        impact=found.stopped,
        commands=() if reason in {"kernel", "ancestor"} else commands,
        limit_advice=advice,
        throttled=say(texts["throttled"], values),
        slot=say(texts["slot"], values),
        above=view.ledger.quota_above,
        release=view.node.kernel_release,
        rest=found.period - quota,
        slice=SLICE_SECONDS,
    )


def _mostly_below_limit(view: ContainerView, found: Throttling) -> Evidence:
    """Return the evidence that most throttling is in sample intervals that used far less than the limit.

    Empty also where that is unknown: then nothing contradicts that the limit is used up.
    """
    count = below = throttled = throttled_below = 0
    usage = total = 0.0
    for seconds, _, stopped, used in view.row.intervals:
        if stopped <= 0 or not seconds > 0 or not math.isfinite(used):
            continue
        count += 1
        throttled += stopped
        usage += used
        total += seconds
        if used / seconds < thresholds.BELOW_LIMIT * found.limit:
            below += 1
            throttled_below += stopped
    if not count or throttled_below / throttled < thresholds.BELOW_LIMIT_PERIODS:
        return {}
    return {
        "throttled_intervals": count,
        "intervals_below_limit": below,
        "usage_while_throttled_cores": usage / total,
    }


def _reason(view: ContainerView, found: Throttling) -> str:
    """What is certain comes first: a broken kernel, a short period. Threads may all sleep, so they come late."""
    own, above = view.ledger.own_quota, view.ledger.quota_above or 0.0
    if view.node.cfs_quota_bug == "affected" and view.node.kernel_release is not None:
        return "kernel"
    if view.ledger.quota_above_is_exact and own is not None and above >= thresholds.ANCESTOR_LOST and above > own:
        return "ancestor"
    if found.period <= thresholds.SHORT_PERIOD_SECONDS:
        return "short_period"
    # Throttled seconds are summed over CPUs: more of them than the throttled periods lasted means several CPUs.
    lasted = found.window.throttled_periods * found.period / found.window.seconds
    if found.limit < 1 and (own is None or own <= lasted):
        return "below_one_cpu"
    return "threads" if view.row.threads is not None and view.row.threads > math.ceil(found.limit) else "burst"


def _limit_advice(view: ContainerView, found: Throttling) -> tuple[str, list[str]]:
    """Return the advice with its number, and its commands: the limit first, fewer threads only where that can help."""
    wanted, threads, texts = view.ledger.recommendation, view.row.threads, TEXTS["limit_advice"]
    if wanted is None:
        return texts["unknown"], []
    commands, fewer = set_limit(view.row, wanted.next_cores), ""
    if found.limit >= 1 and threads is not None and threads > math.ceil(found.limit):
        at_once = math.floor(found.limit)
        fewer = say(texts["fewer_threads"], {"threads": threads, "at_once": at_once})
        commands += set_threads(view.row, at_once)
    values: dict[str, object] = {
        "next": wanted.limit_cores or wanted.next_cores,
        "high": wanted.high_cores,
        "limit_cores": found.limit,
        "why": "nearly every period is throttled" if found.window.ratio >= 0.9 else "too few bursts were seen",
        "threads": fewer,
    }
    return say(texts["next_step" if wanted.limit_cores is None else "recommended"], values), commands
