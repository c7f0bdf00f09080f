"""A kubepods tree of plain files in cgroup v2's layout, whose counters follow CFS bandwidth control's rule.

For machines where no cgroup can be made. Time passes in enforcement periods.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from exporter.lab.scenario import Node, Scenario
from exporter.lab.spec import CpuSettings, Workload, weight
from exporter.model import Driver

PERIOD_US = 100_000
_STAT = ("usage_usec", "nr_periods", "nr_throttled", "throttled_usec", "nr_bursts", "burst_usec")


class Group:
    """One container's cgroup, or a pod's, with its counters in counts and microseconds."""

    def __init__(self, settings: CpuSettings, cpus: int, workload: Workload) -> None:
        self.settings, self.cpus, self.workload = settings, cpus, workload
        self.parallel = min(workload.workers, cpus)  # CPUs that it can keep busy at once
        self.stat = dict.fromkeys(_STAT, 0)  # `cpu.stat`; times are summed over CPUs
        self.local = self.waiting = self.stalled = 0  # `cpu.stat.local`; `cpu.pressure`, some and full
        self.backlog = self.saved = 0  # work of a burst that is not done yet; unused quota that a burst may use
        self.timer_runs = False  # the period timer stops at the end of an idle period, which still counts as one

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
        return min(demand, quota + self.saved) if quota else demand

    def account(self, used: int, wanted: int, parallel: int) -> None:
        """Count one period; it is throttled if less than ``wanted`` was used."""
        quota = self.settings.quota_us or 0
        self.stat["usage_usec"] += used
        # The kernel counts periods only under a quota, and only while the timer runs
        # (kernel/sched/fair.c, do_sched_cfs_period_timer).
        if quota and (wanted or self.timer_runs):
            self.stat["nr_periods"] += 1
            self.timer_runs = bool(wanted)
            if used < wanted:
                self.stat["nr_throttled"] += 1
                self.stat["throttled_usec"] += max(0, parallel * PERIOD_US - used)
            if used > quota:
                self.stat["nr_bursts"] += 1
                self.stat["burst_usec"] += used - quota
        self.saved = max(0, min(self.settings.burst_us, self.saved + quota - used))

    def write(self, directory: Path) -> None:
        """Write the files that move."""
        averages = "avg10=0.00 avg60=0.00 avg300=0.00"
        pressure = f"some {averages} total={self.waiting}\nfull {averages} total={self.stalled}\n"
        _write(directory / "cpu.stat", "".join(f"{name} {value}\n" for name, value in self.stat.items()))
        _write(directory / "cpu.stat.local", f"throttled_usec {self.local}\n")
        _write(directory / "cpu.pressure", pressure)


def advance(pod: Group, containers: Sequence[Group], period: int) -> None:
    """Let one period of a pod pass: each container within its own quota, all together within the pod's."""
    wanted = [one.demand(period) for one in containers]
    granted = [one.granted(want) for one, want in zip(containers, wanted, strict=True)]
    total = sum(granted)
    ceiling = pod.granted(min(total, pod.cpus * PERIOD_US))
    ran = granted if total <= ceiling else [share * ceiling // total for share in granted]
    active = sum(one.parallel for one, want in zip(containers, wanted, strict=True) if want)
    pod.account(sum(ran), total, min(pod.cpus, active))
    for one, want, own, used in zip(containers, wanted, granted, ran, strict=True):
        # Only its own quota throttles it.
        one.account(used, want if used == own < want else used, one.parallel)
        one.backlog = max(0, one.backlog - used)
        if used < want:
            lost = max(0, one.parallel * PERIOD_US - used)
            one.local += lost
            one.waiting += lost // one.parallel
            one.stalled += lost // one.parallel
        elif want and one.workload.workers > one.parallel:
            one.waiting += used // one.parallel


@contextmanager
def synthetic_node(
    scenario: Scenario,
    cpus: frozenset[int],
    *,
    driver: Driver = "cgroupfs",
    directory: Path | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Node]:
    """Yield the scenario in plain files whose counters advance with ``now``, a monotonic clock in seconds."""
    with TemporaryDirectory(prefix="cgroup-", dir=directory) as folder:
        root, shared, started, passed = Path(folder), scenario.shared_cpus, now(), 0
        (root / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        pods = [
            {root / path: _add(root / path, asked, load, cpus) for path, asked, load in one.cgroups(driver, shared)}
            for one in scenario.pods
        ]

        def move() -> None:
            nonlocal passed
            before, passed = passed, max(passed, int((now() - started) * 1e6) // PERIOD_US)
            for groups in pods:
                pod, *containers = groups.values()
                for period in range(before, passed):
                    advance(pod, containers, period)
                for path, group in groups.items():
                    group.write(path)

        yield Node(root, scenario, f"a synthetic tree of files in {root}", move)


def _add(directory: Path, settings: CpuSettings, workload: Workload, cpus: frozenset[int]) -> Group:
    cpus = settings.cpus or cpus
    group = Group(settings, len(cpus), workload)
    directory.mkdir(parents=True)
    group.write(directory)
    for name, text in {
        "cgroup.threads": "".join(f"{1_000_000 + one}\n" for one in range(workload.workers)),
        "cpu.max": f"{settings.quota_us or 'max'} {settings.period_us}\n",
        "cpu.max.burst": f"{settings.burst_us}\n",
        "cpu.weight": f"{weight(settings.shares or 2)}\n",
        "cpuset.cpus.effective": f"{','.join(map(str, sorted(cpus)))}\n",
        "cpuset.cpus.partition": "member\n",
        "cpuset.mems.effective": "0\n",
    }.items():
        _write(directory / name, text)
    return group


def _write(path: Path, text: str) -> None:
    # In place, with one write, and never shorter than before: who keeps a file open never reads half of one.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.write(descriptor, text.encode("ascii"))
    os.close(descriptor)
