"""Cgroup files whose counters follow CFS bandwidth control's rule, for machines where no cgroup can be made.

Time passes in enforcement periods; microseconds are integers, as in v2's files, so that sums stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from exporter.lab.spec import CpuSettings, Workload

PERIOD_US = 100_000


@dataclass(slots=True)
class Counters:
    """Microseconds and counts of one cgroup since it was made; ``throttled`` is summed over CPUs."""

    usage: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled: int = 0
    bursts: int = 0
    burst: int = 0
    local: int = 0
    """Time stopped by its own or an ancestor's quota."""
    waiting: int = 0
    stalled: int = 0


@dataclass(slots=True)
class Group:
    """One container's cgroup, or a pod's."""

    settings: CpuSettings
    cpus: int
    """Size of its cpuset."""
    workload: Workload = field(default_factory=Workload)
    counters: Counters = field(default_factory=Counters)
    backlog: int = 0
    """Work of a burst that is not done yet."""
    saved: int = 0
    """Unused quota that a burst may use."""
    timer_runs: bool = False
    """Whether the period timer runs: it stops at the end of an idle period, which still counts as one."""

    @property
    def parallel(self) -> int:
        """CPUs that it can keep busy at once."""
        return min(self.workload.workers, self.cpus)

    def demand(self, period: int) -> int:
        """Return the CPU time it would use in the ``period``-th period without a quota."""
        work = self.workload
        if work.kind == "busy":
            self.backlog = self.parallel * PERIOD_US
        elif work.kind == "bursty" and not self.backlog:
            every = max(1, round(work.every_seconds * 1e6 / PERIOD_US))
            self.backlog = 0 if period % every else round(work.unit_seconds * 1e6) * work.workers
        return min(self.backlog, self.parallel * PERIOD_US)

    def granted(self, demand: int) -> int:
        """Return the part of ``demand`` that its own quota and what it saved allow."""
        quota = self.settings.quota_us
        return demand if quota is None else min(demand, quota + self.saved)

    def account(self, used: int, wanted: int, parallel: int) -> None:
        """Count one period; it is throttled if less than ``wanted`` was used."""
        counters, quota = self.counters, self.settings.quota_us or 0
        counters.usage += used
        # The kernel counts periods only under a quota, and only while the timer runs
        # (kernel/sched/fair.c, do_sched_cfs_period_timer).
        if quota and (wanted or self.timer_runs):
            counters.periods += 1
            self.timer_runs = bool(wanted)
            if used < wanted:
                counters.throttled_periods += 1
                counters.throttled += max(0, parallel * PERIOD_US - used)
            if used > quota:
                counters.bursts += 1
                counters.burst += used - quota
        self.saved = max(0, min(self.settings.burst_us, self.saved + quota - used))


def advance(pod: Group, containers: list[Group], period: int) -> None:
    """Let one period of a pod pass: each container within its own quota, all together within the pod's."""
    wanted = [one.demand(period) for one in containers]
    granted = [one.granted(want) for one, want in zip(containers, wanted, strict=True)]
    total = sum(granted)
    ceiling = pod.granted(min(total, pod.cpus * PERIOD_US))
    ran = granted if total <= ceiling else [share * ceiling // total for share in granted]
    active = sum(one.parallel for one, want in zip(containers, wanted, strict=True) if want)
    pod.account(sum(ran), total, min(pod.cpus, active))
    for one, want, own, used in zip(containers, wanted, granted, ran, strict=True):
        own_quota_is_used_up = used == own < want
        one.account(used, want if own_quota_is_used_up else used, one.parallel)
        one.backlog = max(0, one.backlog - used)
        counters = one.counters
        if used < want:
            lost = max(0, one.parallel * PERIOD_US - used)
            counters.local += lost
            counters.waiting += lost // one.parallel
            counters.stalled += lost // one.parallel
        elif want and one.workload.workers > one.parallel:
            counters.waiting += used // one.parallel
