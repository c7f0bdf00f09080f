"""Where a container's CPU time went: one account for each container and epoch, which every finding reads. Pure.

All entries are per second of wall time. A loss to quotas is summed over CPUs, as the kernel counts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from exporter.analysis import thresholds
from exporter.analysis.nodeview import NodeView, name_of, rate, use
from exporter.model import Ancestor, CgroupName, CgroupRow, CpuLimits, Deltas, Interval, Recommendation, Window


class Unknown(NamedTuple):
    """An entry that nothing tells."""

    reason: str
    """Why, as the end of a sentence."""


Entry = float | Unknown
NO_COUNTER = Unknown("the kernel does not count it here")
NO_LIMIT = Unknown("a limit could not be read")
TOO_YOUNG = Unknown("it was placed on its CPUs a moment ago")
NO_WAITING = Unknown("this kernel counts no waiting (no PSI, no schedstats)")


class UpperBoundWindow(Window):
    """A window whose throttled periods, and what follows from them, are a bound."""

    __slots__ = ()


class Above(NamedTuple):
    """What quotas above the container took."""

    lost: Entry
    exact: bool
    """Whether it is the container's own loss (``cpu.stat.local``), or that of the whole cgroup above: "up to"."""
    source: Literal["pod", "above_pod", ""]
    """Whose quota took most of it."""
    path: str = ""
    """Its cgroup."""


class Takers(NamedTuple):
    """Who ran on its CPUs while it waited; cores."""

    others: Entry
    """All other containers."""
    named: Sequence[tuple[CgroupName, float]]
    """The busiest of them."""
    outside: Entry
    """What is no container, at least."""
    itself: Entry
    """Of its waiting: what nobody else can have caused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One container's account."""

    seconds: float
    """Length of the epoch, or of the window."""
    used: Entry
    own_quota: Entry
    above: Above
    inside: Entry
    """Lost to quotas of cgroups below the container."""
    waited: Entry
    """For a CPU, at least: what no quota explains."""
    window: Window | None
    """Throttled periods by its own quota, and by its pod's where that is the same one."""
    recommendation: Recommendation | None
    """See :attr:`exporter.model.CgroupRow.recommendation`."""

    @property
    def lost(self) -> Entry:
        """To quotas, as far as it is the container's own loss."""
        above = self.above.lost if self.above.exact else 0.0
        total = 0.0
        for entry in (self.own_quota, self.inside, above):
            if isinstance(entry, Unknown):
                return entry
            total += entry
        return total

    @property
    def throttled_time_share(self) -> Entry:
        """Of the time in which its tasks could have run, the share in which a quota stopped them."""
        lost, used = self.lost, self.used
        if isinstance(lost, Unknown) or isinstance(used, Unknown):
            return lost if isinstance(lost, Unknown) else used
        return lost / (used + lost) if used + lost > 0 else 0.0

    @property
    def unknowns(self) -> dict[str, str]:
        """Entry -> why it is unknown."""
        entries = {
            "used": self.used,
            "own_quota": self.own_quota,
            "quota_above": self.above.lost,
            "quota_inside": self.inside,
            "waited": self.waited,
        }
        return {name: entry.reason for name, entry in entries.items() if isinstance(entry, Unknown)}


def known(entry: Entry) -> float | None:
    """Return the amount, or None."""
    return None if isinstance(entry, Unknown) else entry


def ledger_of(view: NodeView, row: CgroupRow) -> Ledger | None:
    """Return the account of a live container; ``None`` while this epoch is too young."""
    deltas = row.deltas
    if deltas is None or not deltas.seconds >= thresholds.MIN_SECONDS:
        return None
    own, above, inside = _quotas(view, row, deltas)
    used = use(row)
    window = row.window
    pod = view.pod_of(row)
    if pod is not None and repeats_quota(view, row, pod) and window is not None and pod.window is not None:
        window = either_window(window, pod.window)
    return Ledger(
        seconds=deltas.seconds,
        used=NO_COUNTER if used is None else used,
        own_quota=own,
        above=above,
        inside=inside,
        waited=_waited(view, row),
        window=window,
        recommendation=row.recommendation,
    )


def _quotas(view: NodeView, row: CgroupRow, deltas: Deltas) -> tuple[Entry, Above, Entry]:
    """Own quota, quota above, quota inside, of the window of ``deltas``."""
    own, above = _own(row.limits, deltas), _above(view, row, deltas)
    pod = view.pod_of(row)
    if pod is not None and repeats_quota(view, row, pod) and above.source != "above_pod":
        # One quota, written twice: which of the two cgroups the kernel stops in a period is chance.
        parts = (own, above.lost)
        total = 0.0
        for part in parts:
            total += part if isinstance(part, float) else 0.0
        own = own if isinstance(own, Unknown) else total
        above = Above(0.0, exact=True, source="")
    inside = rate(deltas.nested_throttled_seconds, deltas)
    return own, above, 0.0 if inside is None else inside


def _own(limits: CpuLimits | None, deltas: Deltas | None) -> Entry:
    if limits is None:
        return NO_LIMIT
    if limits.quota_state == "none":
        return 0.0
    lost = None if deltas is None else rate(deltas.throttled_seconds, deltas)
    if lost is None and limits.quota_state == "unsupported":
        return 0.0
    return NO_COUNTER if lost is None else lost


def _above(view: NodeView, row: CgroupRow, deltas: Deltas) -> Above:
    pod = view.pod_of(row)
    witnesses = list(_witnesses(view, row, pod))
    biggest = max(witnesses, key=lambda one: known(one[2]) or 0.0, default=None)
    source: Literal["pod", "above_pod", ""] = ""
    path = ""
    if biggest is not None and known(biggest[2]):
        source, path = biggest[0], biggest[1]
    local, own = rate(deltas.local_throttled_seconds, deltas), known(_own(row.limits, deltas))
    if local is not None and own is not None:
        if not source and isinstance(witnesses[0][2], float):
            source = "above_pod"  # the pod is known not to be it
        return Above(max(0.0, local - own), exact=True, source=source, path=path)
    unknown = next((one[2] for one in witnesses if isinstance(one[2], Unknown)), None)
    if unknown is not None and (pod is not None or not _nothing_above(row)):
        return Above(unknown, exact=False, source=source, path=path)
    return Above(0.0 if biggest is None else known(biggest[2]) or 0.0, exact=False, source=source, path=path)


def _witnesses(
    view: NodeView, row: CgroupRow, pod: CgroupRow | None
) -> list[tuple[Literal["pod", "above_pod"], str, Entry]]:
    """Every cgroup above, with what its own quota took from all that is in it."""
    path = row.ref.pod_path
    entry: Entry = NO_LIMIT if pod is None else _own(pod.limits, pod.deltas)
    found: list[tuple[Literal["pod", "above_pod"], str, Entry]] = [("pod", path, entry)]
    while (path := path.rpartition("/")[0]) and view.node.ancestors:
        ancestor = view.node.ancestors.get(path, Ancestor(None, None))
        found.append(("above_pod", path, _own(ancestor.limits, ancestor.deltas)))
    return found


def _nothing_above(row: CgroupRow) -> bool:
    """Whether the effective limit, as wide as the cpuset or the own limit, shows that no quota above binds."""
    return row.cpuset is not None and row.effective_limit_cores == float(len(row.cpuset.cpus))


def _waited(view: NodeView, row: CgroupRow) -> Entry:
    """Waiting beyond what quotas explain.

    PSI counts throttled tasks as waiting, whoever's quota it is. v1's ``wait_sum`` stops while the container's own
    quota or one inside holds it, and runs on while one above does. Losses are subtracted whole, though summed over
    CPUs: what is left is certain.
    """
    deltas = row.placement_deltas
    if deltas is None or not deltas.seconds >= thresholds.MIN_SECONDS:
        return TOO_YOUNG
    counts_own = deltas.waiting_seconds is not None
    waiting = rate(deltas.waiting_seconds if counts_own else deltas.runqueue_wait_seconds, deltas)
    if waiting is None:
        return NO_WAITING
    own, above, inside = _quotas(view, row, deltas)
    for loss in (own, above.lost, inside) if counts_own else (above.lost,):
        if isinstance(loss, Unknown):
            return loss
        waiting -= loss
    return max(0.0, waiting)


def repeats_quota(view: NodeView, row: CgroupRow, pod: CgroupRow) -> bool:
    """Whether the pod's quota is the container's own, written twice.

    The kubelet gives a pod the sum of its containers' limits. Several containers have the pod's quota each where only
    the pod has a limit (KEP-2837): there it is the pod's that they use up together.
    """
    return view.containers_of_pod.get(row.ref.pod_path) == 1 and is_same_quota(row.limits, pod.limits)


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


def takers_of(view: NodeView, row: CgroupRow, waited: float) -> Takers:
    """Return who ran on the CPUs of ``row`` while it waited."""
    users = view.neighbours(row)
    if users is None or row.cpuset is None:
        unknown = Unknown("its cpuset could not be read")
        return Takers(unknown, (), unknown, unknown)
    others = {name: cores for name, cores in users.items() if name != name_of(row)}
    busiest = sorted(others.items(), key=lambda one: (-one[1], one[0]))[: thresholds.MAX_NEIGHBOURS]
    outside, busy = view.outside(row.cpuset.cpus), view.busy(row.cpuset.cpus)
    rest = None if busy is None else busy.without(row)
    no_times = Unknown("what its CPUs did in the same time is not known")
    return Takers(
        others=sum(others.values()),
        named=[one for one in busiest if one[1] >= thresholds.MIN_USE],
        outside=no_times if outside is None else outside,
        itself=no_times if rest is None or busy is None else max(0.0, waited - rest - busy.error),
    )


def either_intervals(own: Sequence[Interval], pod: Sequence[Interval]) -> list[Interval]:
    """Return :func:`either_window` of each sample interval; both end with the same sample."""
    unpaired = len(own) - len(pod)
    paired = zip(own[max(0, unpaired) :], pod[max(0, -unpaired) :], strict=True)
    merged = [
        one._replace(throttled_periods=min(one.periods, one.throttled_periods + other.throttled_periods))
        for one, other in paired
    ]
    return [*own[: max(0, unpaired)], *merged]
