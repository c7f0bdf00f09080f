"""Forty containers of known state in real cgroups, several repaired on the way: what the exporter says of each.

``python -m tests.live.mixed_load --minutes 10``, as root. It prints cause against finding, a column for each look, and
ends with 1 after a false accusation, a wrong culprit or a missed cause. What this kernel cannot tell has to be unknown.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from exporter.lab.cgroups import Hierarchy, writable_hierarchy
from exporter.lab.spec import Container, CpuSettings, Pod, Workload
from exporter.lab.workloads import Job
from tests.support.lab import group_of, pod
from tests.support.lab_stage import Stage, stage
from tests.support.lab_truth import Looks, Truth, say

MAX_WINDOW_SECONDS = 30.0
PHASES = 6
SLOWEST = 4.0
"""A slow machine's loads are made so much lighter, at most: there a wake-up costs more than the work."""
FOUR_THREADS = Workload(kind="bursty", workers=4, unit_seconds=0.026, every_seconds=2.0)
SELDOM = Workload(kind="bursty", unit_seconds=0.008, every_seconds=15.0)
ONCE = Workload(kind="bursty", unit_seconds=0.05, every_seconds=86400.0)
STARVED = Workload(kind="bursty", unit_seconds=0.03, every_seconds=0.1)
HOST = Workload(kind="bursty", unit_seconds=0.08, every_seconds=0.1)
BUSY = Workload(kind="busy")


HEALTHY = Truth()
OWN = Truth("own quota, saturated", "throttled")
BURSTY = Truth("own quota, bursts", "throttled_below_limit", ("threads", "below_one_cpu", "burst"))
OF_POD = Truth("quota of the pod", "ancestor_throttled", ("pod",))
OF_SLICE = Truth("quota of the QoS slice", "ancestor_throttled", ("above_pod",), "kubepods/besteffort")
NESTED = Truth("quota inside", "nested_throttled")
LOWERED = Truth("limit lowered", "throttled")
DRIFT = Truth("limit drift", "limit_drift", ("different",))
MISSING = Truth("limit lost", "limit_drift", ("missing",))
UNPINNED = Truth("not pinned", "eligible_not_pinned", ("before_policy",))
NEIGHBOUR = Truth("a neighbour", "contention", ("neighbours",), "live/hog/burn", is_waiting=True)
BY_HOST = Truth("a host process", "contention", ("outside",), is_waiting=True)
BESIDE = ("throttled", "limit_drift", "contention")
LIMITED = Truth("pinned and limited", "pinned_but_limited", ("throttled",), tolerated=BESIDE)
INTRUDED = Truth("pinned CPU shared", "exclusive_cpu_shared", culprit="live/free-0/app", tolerated=("contention",))


@dataclass
class Play:
    """The pods, what works in them, and what is true of them now."""

    node: Stage
    pool: frozenset[int]
    place: int
    """A CPU apart from the pool, for those who compete for it, and then for the one that owns it."""
    slow: float
    """How much slower this CPU is than an ordinary one, within bounds."""
    truth: dict[str, Truth] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)

    @property
    def steady(self) -> Workload:
        """Return 5 ms of work in each period, on a slow CPU less often."""
        return Workload(kind="bursty", unit_seconds=0.005, every_seconds=0.1 * self.slow)

    def add(self, *made: Pod, on: frozenset[int] | None = None) -> None:
        """Add pods, with their containers on these CPUs; nothing runs in them yet."""
        for one in made:
            self.pods[one.name] = identified = one.identified(self.node.tree.prefix)
            self.node.tree.add_pod(identified, on or self.pool)
            for container in one.containers:
                self.truth.setdefault(f"{one.name}/{container.name}", HEALTHY)
        self.node.kubelet.pods = tuple(self.pods.values())

    def group(self, name: str) -> str:
        """Return the cgroup of a pod's first container."""
        return group_of(self.node.tree, self.pods[name])

    def work(self, name: str, workload: Workload, truth: Truth = HEALTHY, below: str = "") -> None:
        """Start work in the pod's first container, or in a cgroup below it."""
        self.jobs[name] = self.node.start(self.group(name) + below, workload)
        self.truth[f"{name}/{self.pods[name].containers[0].name}"] = truth

    def stop(self, *names: str) -> None:
        """End the work of pods, or of the host."""
        for name in names:
            self.jobs.pop(name).stop()

    def resize(self, name: str, cores: float) -> None:
        """Give the first container another limit, in spec and cgroup, as the kubelet does."""
        old = self.pods[name]
        first = replace(old.containers[0], limit_cores=cores)
        self.pods[name] = new = replace(old, containers=(first, *old.containers[1:]))
        self.node.kubelet.pods = tuple(self.pods.values())
        order = [(new.cgroup("cgroupfs"), new.settings()), (self.group(name), new.container_settings(first, None))]
        # v1 takes no quota larger than its parent's.
        for group, settings in order if cores > (old.containers[0].limit_cores or math.inf) else reversed(order):
            self.node.tree.set(group, settings)

    def host(self) -> None:
        """Run a process outside of all containers on the place's CPU, in real time where that is allowed."""
        self.node.tree.make("system.slice/backup", CpuSettings(shares=262144))
        self.jobs["host"] = self.node.start("system.slice/backup", replace(HOST, cpus=(self.place,)))
        for process in self.jobs["host"].processes:
            with suppress(OSError):
                os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(1))
                say("the host process has SCHED_FIFO")

    def begin(self) -> None:
        """Begin with all causes but those of the pinned CPU."""
        app, helper = Container(name="app", request_cores=0.5), Container(name="helper")

        def limited(name: str, cores: float, *more: Container) -> Pod:
            return pod(name, replace(app, limit_cores=cores), *more)

        self.add(limited("saturated", 0.02, helper), limited("bursty", 0.2, helper), limited("lowered", 0.5, helper))
        self.add(pod("report", Container(name="query"), Container(name="render"), limit_cores=0.02))
        self.add(pod("batch", helper), *(pod(f"best-effort-{n}", helper) for n in range(3)))
        self.add(pod("nested", app), limited("drift", 0.5), limited("missing", 0.5))
        self.add(pod("unpinned", Container(name="app", limit_cores=1.0)))
        self.add(pod("starved", app), pod("hog", replace(app, name="burn")), on=frozenset({self.place}))
        self.node.tree.set(self.pods["starved"].cgroup("cgroupfs"), CpuSettings(shares=2))
        healthy = {"seldom": 4, "light": 5, "close": 3, "once": 3, "resized": 2}
        limits = {"seldom": 0.05, "light": 1.0, "close": 0.1 * self.slow, "once": 0.1, "resized": 0.3}
        self.add(*(limited(f"{kind}-{n}", limits[kind]) for kind, number in healthy.items() for n in range(number)))
        self.add(*(pod(f"free-{n}", app) for n in range(4)))
        tree = self.node.tree
        tree.set("kubepods/besteffort", CpuSettings(quota_cores=0.02))
        for container in range(2):  # v1 refuses more than the pod's; without one only the pod's binds
            tree.set(group_of(tree, self.pods["report"], container), CpuSettings())
        tree.set(self.group("drift"), CpuSettings(quota_cores=0.25))
        for group in (self.group("missing"), self.pods["missing"].cgroup("cgroupfs")):
            tree.set(group, CpuSettings())
        tree.make(f"{self.group('nested')}/docker", CpuSettings(quota_cores=0.02))
        self.work("saturated", self.steady, OWN)
        self.work("bursty", FOUR_THREADS, BURSTY)
        self.work("lowered", self.steady)
        self.work("report", self.steady, OF_POD)
        self.work("batch", self.steady, OF_SLICE)
        self.work("nested", self.steady, NESTED, "/docker")
        self.truth |= {"drift/app": DRIFT, "missing/app": MISSING, "unpinned/app": UNPINNED}
        self.work("starved", STARVED, NEIGHBOUR)
        self.work("hog", BUSY, Truth(tolerated=("contention", "no_quota")))
        light = replace(self.steady, every_seconds=2.5 * self.steady.every_seconds)
        work = {"seldom": SELDOM, "light": light, "close": self.steady, "once": ONCE, "resized": light, "free": light}
        for name in self.pods:
            kind = name.rpartition("-")[0]
            if kind in work:
                self.work(name, work[kind])

    def resize_healthy(self, cores: float) -> None:
        """Change limits that do not matter."""
        self.resize("resized-0", cores)
        self.resize("resized-1", 0.9 - cores)

    def first_repairs(self) -> None:
        """Raise a limit, remove one, end a neighbour; lower another limit."""
        self.resize("bursty", 2.0)
        self.node.tree.set(f"{self.group('nested')}/docker", CpuSettings())
        self.stop("hog")
        self.resize("lowered", 0.02)
        self.truth |= {"bursty/app": HEALTHY, "nested/app": HEALTHY, "starved/app": HEALTHY, "lowered/app": LOWERED}
        self.resize_healthy(0.6)

    def host_process(self) -> None:
        """Let a host process take the CPU; raise the saturated limit."""
        self.host()
        self.resize("saturated", 1.0)
        self.truth |= {"starved/app": BY_HOST, "saturated/app": HEALTHY}
        self.resize_healthy(0.3)

    def pinned(self) -> None:
        """Give the CPU away: its users move into the pool. Raise the pod's limit."""
        self.stop("host", "starved")
        for name in ("starved", "hog"):
            self.node.tree.set(self.group(name), CpuSettings(cpus=self.pool))
        self.add(pod("pinned", Container(name="app", limit_cores=1.0, exclusive_cpus=frozenset({self.place}))))
        # As kubelets before 1.33 do it, and half of it, so that it matters.
        self.node.tree.set(self.group("pinned"), CpuSettings(quota_cores=0.5, shares=1024))
        self.work("pinned", replace(BUSY, workers=2), LIMITED)
        report = self.pods["report"] = replace(self.pods["report"], limit_cores=0.6)
        self.node.kubelet.pods = tuple(self.pods.values())
        self.node.tree.set(report.cgroup("cgroupfs"), report.settings())
        self.truth |= {"starved/app": HEALTHY, "report/query": HEALTHY}
        self.resize_healthy(0.6)

    def intruder(self) -> None:
        """Remove quotas, and let another container onto the pinned CPU; raise what was lowered, end the drift."""
        self.stop("pinned")
        self.node.tree.set(self.group("pinned"), CpuSettings(shares=1024))
        self.work("pinned", BUSY)
        self.node.tree.set(self.group("free-0"), CpuSettings(cpus=self.pool | {self.place}))
        self.node.tree.set("kubepods/besteffort", CpuSettings())
        self.node.tree.set(self.group("drift"), CpuSettings(quota_cores=0.5))
        self.resize("lowered", 1.0)
        self.truth |= {"pinned/app": INTRUDED, "batch/helper": HEALTHY, "drift/app": HEALTHY, "lowered/app": HEALTHY}
        self.truth["free-0/app"] = Truth(tolerated=("contention",))
        self.resize_healthy(0.3)

    def all_repaired(self) -> None:
        """Repair the rest."""
        self.node.tree.set(self.group("free-0"), CpuSettings(cpus=self.pool))
        self.resize("missing", 0.5)
        self.stop("pinned")
        self.work("pinned", STARVED)
        self.truth |= {"free-0/app": HEALTHY, "missing/app": HEALTHY}
        self.resize_healthy(0.6)

    def phases(self) -> list[Callable[[], None]]:
        """Return what happens, in order."""
        return [self.begin, self.first_repairs, self.host_process, self.pinned, self.intruder, self.all_repaired]


def slowness() -> float:
    """Return how long some work takes, beside 10 ms, between 1 and :data:`SLOWEST`."""
    begun = time.process_time()
    for _ in range(300_000):
        pass
    return min(SLOWEST, max(1.0, (time.process_time() - begun) / 0.01))


def play_all(hierarchy: Hierarchy, minutes: float, folder: Path, *, shared: bool) -> Mapping[str, int]:
    """Run all phases and return the number of errors by kind."""
    cpus, looks = sorted(hierarchy.cpus()), Looks()
    tolerated = {"exclusive_cpu_disturbed"} if shared else set[str]()
    pool, place = frozenset(cpus[:-1]), cpus[-1]
    os.sched_setaffinity(0, pool)  # the exporter's, too: it stays off the place
    number = max(PHASES, round(minutes))
    step = 60 * minutes / number
    window = min(MAX_WINDOW_SECONDS, step / 2)
    slow = slowness()
    about = f"{len(cpus)} CPUs, {slow:.1f} x slow; {number} looks, windows of {window:.0f} s"
    say(f"{platform.release()}, cgroup {hierarchy.version}, {about}")
    interval = 1.0 if slow < SLOWEST else 2.0
    with stage(hierarchy, folder, window_seconds=window, interval_seconds=interval, pods_seconds=3.0) as node:
        node.restart_kubelet(static_cpus=True)
        play = Play(node, pool, place, slow)
        phases = play.phases()
        for look in range(number):
            while len(phases) > PHASES - 1 - look * PHASES // number:
                phases.pop(0)()
            time.sleep(step)
            looks.look(node.exporter, play.truth, tolerated)
    looks.report()
    return looks.errors


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--shared", action="store_true", help="others work on this machine, so on the pinned CPU, too")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return int(bool(play_all(writable_hierarchy(), chosen.minutes, Path(folder), shared=chosen.shared)))


if __name__ == "__main__":
    sys.exit(main())
