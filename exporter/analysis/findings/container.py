"""A container as the findings see it: its row, its ledger, and how hard quotas throttle it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Final, NamedTuple

from exporter.analysis import thresholds
from exporter.analysis.findings.finding import Evidence, Severity
from exporter.analysis.ledger import Ledger, ledger_of
from exporter.analysis.nodeview import NodeView, name_of
from exporter.cpulist import format_cpu_list
from exporter.model import CgroupName, CgroupRow, CpuLimits, Window

_UNKNOWN_LIMITS = CpuLimits("unsupported")


class Throttling(NamedTuple):
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
    severity: Severity


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
    severity: Severity = "critical" if min(window.ratio, stopped) >= thresholds.CRITICAL_SHARE else "warning"
    return Throttling(window, limits.limit_cores, limits.period_seconds, stopped, share, severity)


class ContainerView:
    """One live container; ``None`` is unknown."""

    def __init__(self, view: NodeView, row: CgroupRow) -> None:
        self.of_node, self.node, self.row = view, view.node, row
        self.name, self.pod = name_of(row), view.pod_of(row)
        self.ledger = ledger_of(view, row) or Ledger(window=row.window)
        self.limits, self.spec = row.limits or _UNKNOWN_LIMITS, row.container_spec
        self.cpus = frozenset[int]() if row.cpuset is None else row.cpuset.cpus

    @cached_property
    def throttling(self) -> Throttling | None:
        """How hard its own quota throttles it."""
        own, used = self.ledger.own_quota, self.ledger.used
        share = own / (own + used) if own is not None and used is not None and own + used > 0 else None
        return throttling(self.ledger.window, self.row.limits, own, share)

    @cached_property
    def neighbours(self) -> dict[CgroupName, float]:
        """The cores that other containers used on its CPUs since it was placed there; without those of longer windows.

        What they did before it came took nothing from it.
        """
        own = 0.0 if self.row.placement_deltas is None else self.row.placement_deltas.seconds
        users = self.of_node.users(self.cpus).items() if own >= thresholds.MIN_SECONDS else ()
        return {
            name: used / own
            for name, (used, seconds) in users
            if name != self.name and own >= thresholds.SAME_WINDOW * seconds
        }

    @property
    def checkpointed(self) -> frozenset[int] | None:
        """The CPUs that the CPU manager's checkpoint has for it."""
        entries = {} if self.node.checkpoint is None else self.node.checkpoint.entries
        ref = self.row.ref
        return entries.get((ref.pod_uid, self.name.container)) or entries.get(("", ref.container_id or ""))

    def evidence(self, *names: str) -> Evidence:
        """Return what it is known to have and to use, under the names of findings' evidence."""
        return {name: _FACTS[name](self) for name in names}


_FACTS: Final[dict[str, Callable[[ContainerView], float | str | None]]] = {
    "burst_seconds": lambda one: one.limits.burst_seconds,
    "cpus": lambda one: format_cpu_list(one.cpus),
    "cpuset_cpus": lambda one: len(one.cpus) or None,
    "effective_limit_cores": lambda one: one.row.effective_limit_cores,
    "limit_cores": lambda one: one.limits.limit_cores,
    "period_seconds": lambda one: one.limits.period_seconds,
    "periods": lambda one: one.row.window and one.row.window.periods,
    "recommended_limit_cores": lambda one: one.ledger.recommendation and one.ledger.recommendation.limit_cores,
    "spec_limit_cores": lambda one: None if one.spec is None else one.spec.limit_cores,
    "threads": lambda one: one.row.threads,
    "throttled_periods": lambda one: one.row.window and one.row.window.throttled_periods,
    "throttled_ratio": lambda one: one.row.window and one.row.window.ratio,
    "throttled_seconds_per_second": lambda one: one.ledger.own_quota,
    "throttled_time_share": lambda one: one.ledger.throttled_time_share,
    "usage_cores": lambda one: one.ledger.used,
}
