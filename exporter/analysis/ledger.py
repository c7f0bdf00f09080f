"""Where a container's CPU time went: one account for each container and epoch, which every finding reads. Pure.

All entries are per second of wall time. A loss to quotas is summed over CPUs, as the kernel counts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from exporter.analysis import thresholds
from exporter.analysis.nodeview import NodeView, rate
from exporter.model import Ancestor, CgroupRow, CpuLimits, Deltas, Interval, Recommendation, Window

NO_COUNTER: Final = "the kernel does not count it here"
NO_LIMIT: Final = "a limit could not be read"
TOO_YOUNG: Final = "it was placed on its CPUs a moment ago"
NO_WAITING: Final = "this kernel counts no waiting (no PSI, no schedstats)"

Entry = float | str  # an amount, or why it is unknown
Source = Literal["pod", "above_pod", ""]


class UpperBoundWindow(Window):
    """A window whose throttled periods, and what follows from them, are a bound."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One container's account; ``None`` is unknown."""

    seconds: float = 0.0  # length of the epoch, or of the window
    used: float | None = None
    own_quota: float | None = None
    quota_above: float | None = None
    quota_above_is_exact: bool = False  # its own loss (``cpu.stat.local``), else up to that of the whole cgroup above
    above_source: Source = ""  # whose quota took most of it, and the path of that cgroup
    above_path: str = ""
    quota_inside: float | None = None  # lost to quotas of cgroups below the container
    waited: float | None = None  # for a CPU, at least: what no quota explains
    window: Window | None = None  # throttled periods by its own quota, and by its pod's where that is the same one
    recommendation: Recommendation | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)  # entry -> why it is unknown, as the end of a sentence

    @property
    def throttled_time_share(self) -> float | None:
        """Of the time in which its tasks could have run, the share in which a quota stopped them."""
        above = self.quota_above if self.quota_above_is_exact else 0.0
        if self.used is None or self.own_quota is None or self.quota_inside is None or above is None:
            return None
        lost = self.own_quota + self.quota_inside + above
        return lost / (self.used + lost) if self.used + lost > 0 else 0.0


class _Quotas(NamedTuple):
    own: Entry
    above: Entry
    is_exact: bool
    source: Source
    path: str
    inside: float


def ledger_of(view: NodeView, row: CgroupRow) -> Ledger | None:
    """Return the account of a live container; ``None`` while this epoch is too young."""
    deltas, placement, window = row.deltas, row.placement_deltas, row.window
    pod = view.pod_of(row)
    if deltas is None or not deltas.seconds >= thresholds.MIN_SECONDS:
        return None
    # The kubelet gives a pod the sum of its containers' limits. Several containers have the pod's quota each where only
    # the pod has a limit (KEP-2837): there it is the pod's that they use up together.
    is_alone = view.containers_of_pod[row.ref.pod_path] == 1
    repeated = pod if is_alone and pod is not None and is_same_quota(row.limits, pod.limits) else None
    if repeated is not None and window is not None and repeated.window is not None:
        window = either_window(window, repeated.window)
    quotas = _quotas(view, row, deltas, pod, repeats=repeated is not None)
    waited: Entry = TOO_YOUNG
    if placement is not None and placement.seconds >= thresholds.MIN_SECONDS:
        since = quotas if placement is deltas else _quotas(view, row, placement, pod, repeats=repeated is not None)
        waited = _waited(placement, since)
    used = rate(deltas.usage_seconds, deltas)
    entries: dict[str, Entry] = {
        "used": NO_COUNTER if used is None else used,
        "own_quota": quotas.own,
        "quota_above": quotas.above,
        "waited": waited,
    }
    return Ledger(
        seconds=deltas.seconds,
        quota_above_is_exact=quotas.is_exact,
        above_source=quotas.source,
        above_path=quotas.path,
        quota_inside=quotas.inside,
        window=window,
        recommendation=row.recommendation,
        unknown={name: entry for name, entry in entries.items() if isinstance(entry, str)},
        **{name: entry for name, entry in entries.items() if not isinstance(entry, str)},
    )


def _known(entry: Entry) -> float | None:
    return None if isinstance(entry, str) else entry


def _quotas(view: NodeView, row: CgroupRow, deltas: Deltas, pod: CgroupRow | None, *, repeats: bool) -> _Quotas:
    """Return what quotas took; ``repeats``: the pod's is the container's own, written twice."""
    own, inside = _own(row.limits, deltas), rate(deltas.nested_throttled_seconds, deltas) or 0.0
    of_pod, path = NO_LIMIT if pod is None else _own(pod.limits, pod.deltas), row.ref.pod_path
    witnesses: list[tuple[Entry, Source, str]] = [(of_pod, "pod", path)]
    while (path := path.rpartition("/")[0]) and view.node.ancestors:
        ancestor = view.node.ancestors.get(path, Ancestor(None, None))
        witnesses.append((_own(ancestor.limits, ancestor.deltas), "above_pod", path))
    biggest, source, path = max(witnesses, key=lambda witness: _known(witness[0]) or 0.0)
    above = _known(biggest) or 0.0
    if not above:
        source, path = "", ""
    local = rate(deltas.local_throttled_seconds, deltas)
    is_exact = local is not None and not isinstance(own, str)
    if local is not None and not isinstance(own, str):
        above = max(0.0, local - own)
        if not source and not isinstance(of_pod, str):
            source = "above_pod"  # the pod is known not to be it
    if repeats and source != "above_pod":
        # Which of the two cgroups the kernel stops in a period is chance.
        return _Quotas(own if isinstance(own, str) else own + above, 0.0, True, "", "", inside)
    unknown = next((entry for entry, _, _ in witnesses if isinstance(entry, str)), None)
    # An effective limit as wide as the cpuset shows that no quota above binds.
    binds = pod is not None or row.cpuset is None or row.effective_limit_cores != float(len(row.cpuset.cpus))
    return _Quotas(own, unknown if unknown and binds and not is_exact else above, is_exact, source, path, inside)


def _own(limits: CpuLimits | None, deltas: Deltas | None) -> Entry:
    """Return what a cgroup's own quota took from all that is in it."""
    if limits is None:
        return NO_LIMIT
    if limits.quota_state == "none":
        return 0.0
    lost = None if deltas is None else rate(deltas.throttled_seconds, deltas)
    unknown = 0.0 if limits.quota_state == "unsupported" else NO_COUNTER
    return unknown if lost is None else lost


def _waited(deltas: Deltas, quotas: _Quotas) -> Entry:
    """Return the waiting beyond what quotas explain.

    PSI counts throttled tasks as waiting, whoever's quota it is. v1's ``wait_sum`` stops while the container's own
    quota or one inside holds it, and runs on while one above does. Losses are subtracted whole, though summed over
    CPUs: what is left is certain.
    """
    counts_own = deltas.waiting_seconds is not None
    waiting = rate(deltas.waiting_seconds if counts_own else deltas.runqueue_wait_seconds, deltas)
    if waiting is None:
        return NO_WAITING
    for loss in (quotas.own, quotas.above, quotas.inside) if counts_own else (quotas.above,):
        if isinstance(loss, str):
            return loss
        waiting -= loss
    return max(0.0, waiting)


def is_same_quota(limits: CpuLimits | None, pod: CpuLimits | None) -> bool:
    """Whether two cgroups have the same limit."""
    own = None if limits is None else limits.limit_cores
    above = None if pod is None else pod.limit_cores
    return own is not None and above is not None and abs(own - above) <= thresholds.DRIFT_RATIO * own


def either_window(own: Window, pod: Window) -> Window:
    """Return the periods in which one of two quotas stopped it; on several CPUs both may, in the same period."""
    throttled = min(own.periods, own.throttled_periods + pod.throttled_periods)
    ratio = throttled / own.periods if own.periods else 0.0
    both = own._replace(throttled_periods=throttled, ratio=ratio, peak=max(own.peak, pod.peak, ratio))
    return both if throttled <= max(own.throttled_periods, pod.throttled_periods) else UpperBoundWindow(*both)


def either_intervals(own: Sequence[Interval], pod: Sequence[Interval]) -> list[Interval]:
    """Return :func:`either_window` of each sample interval; both end with the same sample."""
    of_pod = [one.throttled_periods for one in pod[-len(own) :]]
    missing = [0] * (len(own) - len(of_pod))
    return [
        one._replace(throttled_periods=min(one.periods, one.throttled_periods + more))
        for one, more in zip(own, missing + of_pod, strict=True)
    ]
