"""Findings about quotas that stop a container: its own, one above it, one inside it."""

from __future__ import annotations

import math

from exporter.analysis import thresholds
from exporter.analysis.advice import kubectl_set, set_limit, set_pod_limit
from exporter.analysis.findings.finding import TEXTS, ContainerView, Evidence, Finding, Throttling, say, throttling
from exporter.analysis.ledger import UpperBoundWindow
from exporter.analysis.nodeview import rate, use
from exporter.analysis.recommend import SLICE_SECONDS, rounded_up
from exporter.model import CgroupRow


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
    return view.finding(
        "throttled_below_limit" if bursts else "throttled",
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
    known = (one for one in view.row.intervals if one.seconds > 0 and math.isfinite(one.usage_seconds))
    stopped = [one for one in known if one.throttled_periods > 0]
    below = [one for one in stopped if one.usage_seconds / one.seconds < thresholds.BELOW_LIMIT * found.limit]
    enough = thresholds.BELOW_LIMIT_PERIODS * sum(one.throttled_periods for one in stopped)
    if not stopped or sum(one.throttled_periods for one in below) < enough:
        return {}
    usage = seconds = 0.0  # Python 3.12's sum() rounds otherwise than 3.11's
    for one in stopped:
        usage, seconds = usage + one.usage_seconds, seconds + one.seconds
    return {
        "throttled_intervals": len(stopped),
        "intervals_below_limit": len(below),
        "usage_while_throttled_cores": usage / seconds,
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
        # For runtimes which size themselves by the node.
        commands += kubectl_set(view.row, "env", f"OMP_NUM_THREADS={at_once} GOMAXPROCS={at_once}")
    values: dict[str, object] = {
        "next": wanted.limit_cores or wanted.next_cores,
        "high": wanted.high_cores,
        "limit_cores": found.limit,
        "why": "nearly every period is throttled" if found.window.ratio >= 0.9 else "too few bursts were seen",
        "threads": fewer,
    }
    return say(texts["next_step" if wanted.limit_cores is None else "recommended"], values), commands


def ancestor_throttled(view: ContainerView) -> Finding | None:
    """The pod's quota, or one above it, is used up."""
    ledger, pod = view.ledger, view.pod
    lost, source, path = ledger.quota_above, ledger.above_source, ledger.above_path
    if lost is None or lost < thresholds.ANCESTOR_LOST:
        return None
    of_pod = None if pod is None or pod.deltas is None else rate(pod.deltas.throttled_seconds, pod.deltas)
    found = None if pod is None else throttling(pod.window, pod.limits, of_pod)
    if not ledger.quota_above_is_exact and not _is_stopped(view, pod if found is not None else None):
        return None
    limit = None if pod is None or pod.limits is None else pod.limits.limit_cores
    wanted = min(2 * limit, float(len(view.node.online_cpus or ())) or 2 * limit) if limit else None
    window = None if pod is None else pod.window
    at_most = "" if ledger.quota_above_is_exact else "_at_most"
    evidence: Evidence = {
        f"ancestor_lost{at_most}_seconds_per_second": lost,
        "ancestor": path if path and source == "above_pod" else None,
        "pod_limit_cores": limit,
        "pod_periods": None if window is None else window.periods,
        "pod_throttled_periods": None if window is None else window.throttled_periods,
        "pod_throttled_ratio": None if window is None else window.ratio,
        "pod_usage_cores": None if pod is None else use(pod.deltas),
        **view.evidence("effective_limit_cores", "limit_cores", "throttled_ratio", "usage_cores"),
    }
    return view.finding(
        "ancestor_throttled",
        evidence,
        reason=source,
        severity=found.severity if found is not None and source == "pod" else "warning",
        impact=min(1.0, lost),
        commands=set_pod_limit(view.row, wanted) if wanted and source == "pod" else (),
        lost=lost,
        up_to="up to " if at_most else None,
        cgroup=f"the cgroup {path}" if path else "a cgroup above it",
        slice=path.rpartition("/")[2] if path.endswith(".slice") else None,
        others=view.of_node.containers_of_pod[view.row.ref.pod_path] - 1 or None,
        wanted=wanted and rounded_up(wanted),
    )


def _is_stopped(view: ContainerView, throttled_pod: CgroupRow | None) -> bool:
    """Whether a cgroup above that is out of quota stopped this container: its own file does not say which."""
    used, own, pod = view.ledger.used, view.row.window, throttled_pod
    if used is None or used < thresholds.MIN_USE:
        return False
    if view.ledger.above_source != "pod":
        return True
    of_pod = None if pod is None else use(pod.deltas)
    if pod is None or of_pod is None or used < thresholds.ANCESTOR_USE * of_pod:
        return False
    # The kubelet gives a pod the sum of its containers' limits: alone in it, both run out in the same periods.
    limit, above = view.limits.limit_cores, None if pod.limits is None else pod.limits.limit_cores
    if limit is None or above is None or own is None or pod.window is None:
        return True
    return limit > above * (1 + thresholds.DRIFT_RATIO) or own.ratio < pod.window.ratio


def nested_throttled(view: ContainerView) -> Finding | None:
    """A quota inside the container is used up."""
    lost = view.ledger.quota_inside
    if lost is None or lost < thresholds.ANCESTOR_LOST:
        return None
    numbers = view.evidence("usage_cores", "limit_cores", "throttled_time_share")
    evidence = {"nested_lost_seconds_per_second": lost, **numbers}
    return view.finding("nested_throttled", evidence, impact=min(1.0, lost), path=view.row.ref.path)
