"""A kubepods tree of plain files in cgroup v2's layout, whose counters follow CFS bandwidth control's rule.

For machines where no cgroup can be made. Time passes in enforcement periods; microseconds are integers, as in v2's
files, so that sums stay exact.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from exporter.lab.spec import CpuSettings, Pod, Workload, weight
from exporter.model import Driver

PERIOD_US = 100_000
_CONTROLLERS = "cpuset cpu io memory pids\n"


@dataclass(slots=True)
class Group:
    """One container's cgroup, or a pod's, with its counters: counts, and microseconds summed over CPUs."""

    settings: CpuSettings
    cpus: int
    """Size of its cpuset."""
    workload: Workload = field(default_factory=Workload)
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
        quota = self.settings.quota_us or 0
        self.usage += used
        # The kernel counts periods only under a quota, and only while the timer runs
        # (kernel/sched/fair.c, do_sched_cfs_period_timer).
        if quota and (wanted or self.timer_runs):
            self.periods += 1
            self.timer_runs = bool(wanted)
            if used < wanted:
                self.throttled_periods += 1
                self.throttled += max(0, parallel * PERIOD_US - used)
            if used > quota:
                self.bursts += 1
                self.burst += used - quota
        self.saved = max(0, min(self.settings.burst_us, self.saved + quota - used))

    def files(self) -> dict[str, str]:
        """Return the texts of the files that move."""
        user, averages = self.usage * 4 // 5, "avg10=0.00 avg60=0.00 avg300=0.00"
        stat = {"usage_usec": self.usage, "user_usec": user, "system_usec": self.usage - user}
        stat |= {"nr_periods": self.periods, "nr_throttled": self.throttled_periods, "throttled_usec": self.throttled}
        stat |= {"nr_bursts": self.bursts, "burst_usec": self.burst}
        return {
            "cpu.stat": "".join(f"{name} {value}\n" for name, value in stat.items()),
            "cpu.stat.local": f"throttled_usec {self.local}\n",
            "cpu.pressure": f"some {averages} total={self.waiting}\nfull {averages} total={self.stalled}\n",
        }


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
        if used < want:
            lost = max(0, one.parallel * PERIOD_US - used)
            one.local += lost
            one.waiting += lost // one.parallel
            one.stalled += lost // one.parallel
        elif want and one.workload.workers > one.parallel:
            one.waiting += used // one.parallel


class SyntheticTree:
    """Pods as files below ``root``; time passes in :meth:`advance_to` only."""

    def __init__(self, root: Path, cpus: frozenset[int], driver: Driver = "cgroupfs") -> None:
        self._root, self._cpus, self._driver = root, cpus, driver
        self._pods: list[tuple[Group, list[Group]]] = []
        self._groups: list[tuple[Path, Group]] = []
        self._period = 0
        (root / "cgroup.controllers").write_text(_CONTROLLERS)

    def add_pod(self, pod: Pod, shared_cpus: frozenset[int] | None = None) -> None:
        """Add an identified pod with its sandbox and containers, which begin to work with the next period."""
        top, _, *containers = [self._add(*one) for one in pod.cgroups(self._driver, shared_cpus)]
        self._pods.append((top, containers))

    def advance_to(self, seconds: float) -> None:
        """Let whole periods pass up to so many seconds after the start, and rewrite the files."""
        target = int(seconds * 1e6) // PERIOD_US
        for period in range(self._period, target):
            for pod, containers in self._pods:
                advance(pod, containers, period)
        self._period = max(self._period, target)
        for directory, group in self._groups:
            _write(directory, group.files())

    def _add(self, path: str, settings: CpuSettings, workload: Workload) -> Group:
        cpus, directory = settings.cpus or self._cpus, self._root / path
        cpu_list = ",".join(map(str, sorted(cpus)))
        threads = "".join(f"{1_000_000 + one}\n" for one in range(workload.workers))
        group = Group(settings, len(cpus), workload)
        directory.mkdir(parents=True)
        _write(directory, group.files())
        still = {
            "cgroup.controllers": _CONTROLLERS,
            "cgroup.procs": threads,
            "cgroup.threads": threads,
            "cpu.max": f"{settings.quota_us or 'max'} {settings.period_us}\n",
            "cpu.max.burst": f"{settings.burst_us}\n",
            "cpu.weight": f"{weight(settings.shares or 2)}\n",
            "cpuset.cpus": f"{cpu_list if settings.cpus else ''}\n",
            "cpuset.cpus.effective": f"{cpu_list}\n",
            "cpuset.cpus.partition": "member\n",
            "cpuset.mems": "\n",
            "cpuset.mems.effective": "0\n",
        }
        _write(directory, still)
        self._groups.append((directory, group))
        return group


def _write(directory: Path, files: dict[str, str]) -> None:
    # In place, with one write, and never shorter than before: who keeps a file open never reads half of one.
    for name, text in files.items():
        descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.write(descriptor, text.encode("ascii"))
        os.close(descriptor)
