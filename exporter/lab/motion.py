"""How the counters of a pod's groups advance in one enforcement period, by CFS bandwidth control's own rule. Pure.

For nodes without cgroups of our own: the numbers are invented by nobody, they follow from workload and quota. Times in
integer microseconds, as v2's files have them, so that sums stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from exporter.lab.spec import CpuSettings, Workload

PERIOD_US = 100_000


@dataclass(slots=True)
class Counters:
    """What one group's files say, in microseconds since it was made."""

    usage: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled: int = 0
    """Summed over CPUs."""
    bursts: int = 0
    burst: int = 0
    local: int = 0
    """Stood still for its own or an ancestor's quota."""
    waiting: int = 0
    stalled: int = 0


@dataclass(slots=True)
class Group:
    """One container's group, or a pod's."""

    settings: CpuSettings
    cpus: int
    """Size of its cpuset."""
    workload: Workload = field(default_factory=Workload)
    counters: Counters = field(default_factory=Counters)
    backlog: int = 0
    """Work of a burst that is not done yet."""
    saved: int = 0
    """Unused quota that a burst may use."""

    def parallel(self) -> int:
        """CPUs it can keep busy at once."""
        return min(self.workload.workers, self.cpus)

    def want(self, period: int) -> int:
        """CPU time it would use in the ``period``-th period if nothing held it back."""
        work = self.workload
        if work.kind == "bursty":
            every = max(1, round(work.every_seconds * 1e6 / PERIOD_US))
            if period % every == 0 and self.backlog == 0:
                self.backlog = round(work.unit_seconds * 1e6) * work.workers
        elif work.kind == "busy":
            self.backlog = self.parallel() * PERIOD_US
        return min(self.backlog, self.parallel() * PERIOD_US)

    def allowance(self) -> int | None:
        """CPU time its own quota lets it use now; ``None`` without a quota."""
        quota = self.settings.quota_us
        return None if quota is None else quota + self.saved


def advance(pod: Group, containers: list[Group], period: int) -> None:
    """One period of a pod: each container within its own quota, all together within the pod's."""
    wanted = [one.want(period) for one in containers]
    granted = [_capped(want, one.allowance()) for want, one in zip(wanted, containers, strict=True)]
    ceiling = _capped(min(sum(granted), pod.cpus * PERIOD_US), pod.allowance())
    total = sum(granted)
    ran = granted if total <= ceiling else [share * ceiling // total for share in granted]
    active = [one for one, want in zip(containers, wanted, strict=True) if want]
    _account(pod, sum(ran), total, min(pod.cpus, sum(one.parallel() for one in active)))
    for one, want, own, used in zip(containers, wanted, granted, ran, strict=True):
        own_quota_is_used_up = own < want and used == own
        _account(one, used, want if own_quota_is_used_up else used, one.parallel())
        one.backlog = max(0, one.backlog - used)
        if want and used < want:
            lost = max(0, one.parallel() * PERIOD_US - used)
            one.counters.local += lost
            one.counters.waiting += lost // one.parallel()
            one.counters.stalled += lost // one.parallel()
        elif want and one.workload.workers > one.parallel():
            one.counters.waiting += used // one.parallel()


def _capped(wanted: int, allowance: int | None) -> int:
    return wanted if allowance is None else min(wanted, allowance)


def _account(group: Group, used: int, wanted: int, parallel: int) -> None:
    counters, quota = group.counters, group.settings.quota_us
    counters.usage += used
    # The kernel counts periods only under a quota, and only while the group is active.
    if quota is None or not wanted:
        group.saved = _refilled(group, 0)
        return
    counters.periods += 1
    if used < wanted:
        counters.throttled_periods += 1
        counters.throttled += max(0, parallel * PERIOD_US - used)
    if used > quota:
        counters.bursts += 1
        counters.burst += used - quota
    group.saved = _refilled(group, used)


def _refilled(group: Group, used: int) -> int:
    limit = round((group.settings.burst_seconds or 0.0) * 1e6)
    return max(0, min(limit, group.saved + (group.settings.quota_us or 0) - used))
