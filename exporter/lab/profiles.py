"""The stress profiles: a load, what CFS bandwidth control should do to it, and what the kernel counted.

The prediction is the kernel's rule (``Documentation/scheduler/sched-bwc.rst``): in each period the group may use its
quota, summed over CPUs, and is stopped until the next one. Slices, the timer's start and other load are left out. The
example known in this field is 200 ms of CPU in one thread under 40 ms of every 100 ms:

>>> one = predict_burst(work_seconds=0.2, workers=1, place=Place(cpus=2, limit_cores=0.4))
>>> one.periods, one.throttled_periods, round(one.throttled_seconds, 3), round(one.latency_seconds, 3)
(5, 4, 0.24, 0.44)
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from exporter.cgroupfs.discover import detect
from exporter.cgroupfs.files import Descriptors
from exporter.cgroupfs.readers import CgroupFiles, ReaderFactory, read_limits
from exporter.lab.hierarchy import Hierarchy
from exporter.lab.spec import CpuSettings, Workload
from exporter.lab.stale_marker import own_prefix
from exporter.lab.tree import CgroupTree
from exporter.lab.worker import SLOW_ITERATIONS, SLOW_SLEEP_SECONDS, fibonacci
from exporter.lab.workloads import Workforce
from exporter.model import CpuLimits, CpuStat

MIN_THROTTLED_PERIODS = 0.5
"""Below this share of throttled periods the quota was hardly the limit, and nothing can be said about it."""
MIN_USED_QUOTA = 0.75
"""A kernel that stops a group which used less of its quota throttles below the limit: a healthy one loses at most what
is stranded on other CPUs at the very end, an affected one most of it."""
MIN_PREDICTED_USAGE = 0.8
"""With less of the CPU time that the quota allows, other processes kept the workers from the CPUs."""
_GRACE_SECONDS = 10.0
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """CPUs that the work may use, and its quota; ``None``: no quota."""

    cpus: int
    limit_cores: float | None
    period_seconds: float = 0.1

    @property
    def quota_seconds(self) -> float:
        """CPU time of one period; infinite without a quota."""
        return math.inf if self.limit_cores is None else self.limit_cores * self.period_seconds

    def throttles(self, demand_cores: float) -> bool:
        """Return whether this demand, kept up for a whole period, exceeds the quota."""
        return demand_cores * self.period_seconds > self.quota_seconds + _ROUNDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run, predicted or measured. Without a quota no periods are counted: then the first three are ``None``."""

    periods: int | None
    throttled_periods: int | None
    throttled_seconds: float | None
    usage_seconds: float | None
    latency_seconds: float | None
    """Of a unit of work; ``None`` if none was finished."""

    @property
    def throttled_ratio(self) -> float | None:
        """Share of the counted periods that were throttled."""
        if not self.periods or self.throttled_periods is None:
            return None
        return self.throttled_periods / self.periods


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run: predicted beside measured."""

    title: str
    predicted: Figures
    measured: Figures
    workers_seconds: float = math.inf
    """CPU time of the workers alone: others may run in their cgroup too."""

    @property
    def starved(self) -> bool:
        """Whether the workers got clearly less CPU time than their quota and CPUs allow."""
        return self.workers_seconds < MIN_PREDICTED_USAGE * (self.predicted.usage_seconds or 0.0)


def predict_burst(*, work_seconds: float, workers: int, place: Place, bursts: int = 1) -> Figures:
    """Predict ``bursts``, far apart, in each of which ``workers`` wake together and use ``work_seconds`` each."""
    total, parallel = work_seconds * workers, min(workers, place.cpus)
    stops = 0
    if place.throttles(parallel):
        # The last part of the work, up to a whole quota, ends without a stop.
        stops = max(0, math.ceil(total / place.quota_seconds - _ROUNDING) - 1)
    rest = total - (stops * place.quota_seconds if stops else 0)
    latency = stops * place.period_seconds + rest / parallel
    limited = place.limit_cores is not None
    stopped = parallel * place.period_seconds - place.quota_seconds if stops else 0.0
    return Figures(
        periods=bursts * max(1, math.ceil(latency / place.period_seconds - _ROUNDING)) if limited else None,
        throttled_periods=bursts * stops if limited else None,
        throttled_seconds=bursts * stops * stopped if limited else None,
        usage_seconds=total * bursts,
        latency_seconds=latency,
    )


def predict_steady(
    *, unit_seconds: float, workers: int, place: Place, seconds: float, slow_seconds: float | None = None
) -> Figures:
    """Predict ``workers`` that do one unit after the other for so long; the latency is the mean.

    With ``slow_seconds``, the CPU time of 100 iterations, a slow worker runs on every other CPU, on a kernel without
    the bug: when the quota is used up it goes on with what was left on its CPU, up to a millisecond, and stops some
    wake-ups later; half the rest is taken.
    """
    parallel = min(workers, place.cpus)
    limited, throttled = place.limit_cores is not None, place.throttles(parallel)
    periods = round(seconds / place.period_seconds)
    stopped, used, latency = 0.0, parallel * seconds, unit_seconds * workers / parallel
    if throttled:
        demand: float = parallel
        slow_workers = 0 if slow_seconds is None else place.cpus - 1
        if slow_seconds is not None:
            demand += slow_workers * slow_seconds / (slow_seconds + SLOW_SLEEP_SECONDS)
        awake = place.quota_seconds / demand
        still = place.period_seconds - awake
        stopped = parallel * still + slow_workers * still / 2
        used, latency = periods * place.quota_seconds, latency * place.period_seconds / awake
    return Figures(
        periods=periods if limited else None,
        throttled_periods=periods * throttled if limited else None,
        throttled_seconds=periods * stopped if limited else None,
        usage_seconds=used,
        latency_seconds=latency,
    )


@dataclass(frozen=True, slots=True)
class TestCgroup:
    """The cgroup that a profile runs in."""

    __test__ = False

    name: str
    place: Place
    members: tuple[Path, ...]
    """Files through which workers join; none where they are inside already."""
    files: CgroupFiles

    def stat(self) -> CpuStat:
        """Return the counters."""
        return self.files.stat() or CpuStat()


@contextmanager
def new_cgroup(hierarchy: Hierarchy, limit_cores: float, period_seconds: float) -> Iterator[TestCgroup]:
    """Yield a new cgroup with this quota."""
    with CgroupTree(hierarchy, own_prefix("stress")) as tree:
        settings = CpuSettings(quota_cores=limit_cores, period_seconds=period_seconds)
        tree.set("", settings)
        # What the kernel was given, after rounding to whole microseconds.
        limit = (settings.quota_us or 0) / settings.period_us
        place = Place(cpus=len(hierarchy.cpus()), limit_cores=limit, period_seconds=period_seconds)
        with _opened(hierarchy, tree.prefix) as files:
            yield TestCgroup(str(hierarchy.mounts["cpu"] / tree.prefix), place, tree.members(""), files)


@contextmanager
def present_cgroup(hierarchy: Hierarchy, path: str) -> Iterator[TestCgroup]:
    """Yield the cgroup at ``path`` that this process runs in, or the ancestor in sight with the smallest limit.

    The kernel counts throttling in the group whose quota is used up.
    """
    mount, is_v2 = hierarchy.mounts["cpu"], hierarchy.version != "v1"
    own, found, limits = mount / path, mount / path, CpuLimits("none")
    for directory in (own, *(parent for parent in own.parents if parent.is_relative_to(mount))):
        seen = read_limits(str(directory), is_v2=is_v2)
        if seen.limit_cores is not None and seen.limit_cores < (limits.limit_cores or math.inf):
            found, limits = directory, seen
    place = Place(
        cpus=len(os.sched_getaffinity(0)),
        limit_cores=limits.limit_cores,
        period_seconds=limits.period_seconds or 0.1,
    )
    with _opened(hierarchy, str(found.relative_to(mount))) as files:
        yield TestCgroup(str(found), place, (), files)


def _opened(hierarchy: Hierarchy, path: str) -> closing[CgroupFiles]:
    return closing(ReaderFactory(detect(str(hierarchy.root)), Descriptors(0)).open_path(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The profile's size."""

    workers: int
    unit_seconds: float
    every_seconds: float
    seconds: float


def steady(cgroup: TestCgroup, workforce: Workforce, load: Load) -> list[Comparison]:
    """Run busy workers for the whole time."""
    predicted = predict_steady(
        unit_seconds=load.unit_seconds, workers=load.workers, place=cgroup.place, seconds=load.seconds
    )
    workload = Workload(kind="busy", workers=load.workers, unit_seconds=load.unit_seconds, seconds=load.seconds)
    title = f"{plural(load.workers, 'busy worker')}, units of {load.unit_seconds * 1000:g} ms CPU"
    return [Comparison(title, predicted, *_measure(cgroup, workforce, [workload]))]


def burst(cgroup: TestCgroup, workforce: Workforce, load: Load) -> list[Comparison]:
    """Run all workers at once every so often; the latency is that of the slowest one."""
    bursts = max(1, int(load.seconds / load.every_seconds + _ROUNDING))
    predicted = predict_burst(work_seconds=load.unit_seconds, workers=load.workers, place=cgroup.place, bursts=bursts)
    workload = Workload(
        kind="bursty",
        workers=load.workers,
        unit_seconds=load.unit_seconds,
        every_seconds=load.every_seconds,
        seconds=load.seconds,
    )
    work = f"{load.unit_seconds * 1000:g} ms CPU of work every {load.every_seconds:g} s"
    title = f"{plural(load.workers, 'worker')}, each with {work}"
    return [Comparison(title, predicted, *_measure(cgroup, workforce, [workload]))]


def fibtest(cgroup: TestCgroup, workforce: Workforce, load: Load) -> list[Comparison]:
    """Run a fast worker alone, then with a slow one on every other CPU; half of the time each."""
    cpus, seconds = sorted(os.sched_getaffinity(0)), load.seconds / 2
    fast = Workload(kind="busy", unit_seconds=load.unit_seconds, cpus=(cpus[0],), seconds=seconds)
    slow = Workload(kind="fib_slow", workers=len(cpus) - 1, cpus=tuple(cpus[1:]), seconds=seconds)
    began = time.thread_time()
    for _ in range(SLOW_ITERATIONS):
        fibonacci()
    slow_seconds = time.thread_time() - began
    beside = f"beside it {plural(len(cpus) - 1, 'slow worker')}, each on a CPU of its own"
    runs = [("a fast worker alone", [fast], None), (beside, [fast, slow], slow_seconds)]
    found = []
    for title, workloads, slow_part in runs[: len(cpus)]:
        predicted = predict_steady(
            unit_seconds=load.unit_seconds, workers=1, place=cgroup.place, seconds=seconds, slow_seconds=slow_part
        )
        found.append(Comparison(title, predicted, *_measure(cgroup, workforce, workloads)))
    return found


def throttles_below_limit(
    comparisons: Sequence[Comparison], quota_seconds: float
) -> tuple[Literal["yes", "no", "undecided"], str]:
    """Return whether this kernel stops a group before its quota is used up, and the reason for the answer."""
    if len(comparisons) < 2:
        return "undecided", "there is only one CPU, and the bug needs a second one"
    alone, together = (_share_of_quota(one.measured, quota_seconds) for one in comparisons)
    ratio = comparisons[-1].measured.throttled_ratio
    if ratio is None or alone is None or together is None:
        return "undecided", "there is no quota here; run deploy/fibtest-job.yaml, or give --limit as root"
    evidence = f"{ratio:.0%} of the periods were throttled, and {together:.0%} of the quota was used"
    if ratio < MIN_THROTTLED_PERIODS:
        return "undecided", f"{evidence}: something else kept the workers from their CPUs"
    if together >= MIN_USED_QUOTA:
        return "no", evidence
    if alone < MIN_USED_QUOTA:
        return "undecided", f"{evidence}, but the fast worker alone got no more than {alone:.0%}"
    return "yes", f"{evidence}, where the fast worker alone got {alone:.0%}"


def plural(count: int, noun: str) -> str:
    """Return ``1 CPU``, ``2 CPUs``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _share_of_quota(figures: Figures, quota_seconds: float) -> float | None:
    if not figures.periods or figures.usage_seconds is None:
        return None
    return figures.usage_seconds / (figures.periods * quota_seconds)


def _measure(cgroup: TestCgroup, workforce: Workforce, workloads: Sequence[Workload]) -> tuple[Figures, float]:
    lifetime = (workloads[0].seconds or 0.0) + _GRACE_SECONDS
    jobs = [workforce.start(one, cgroup.members, lifetime=lifetime, hold=True) for one in workloads]
    before = cgroup.stat()
    for job in jobs:
        job.begin()
    reports = workforce.wait(jobs, lifetime + _GRACE_SECONDS)
    after = cgroup.stat()
    counted = bool(after.periods)
    usage = workers_seconds = sum(report.cpu_seconds for report in reports)
    if before.usage_seconds is not None and after.usage_seconds is not None:
        usage = after.usage_seconds - before.usage_seconds
    # The latency that counts is the fast workers', not that of the slow ones beside them; of bursts the slowest's.
    first = [one for one in jobs[0].reports.values() if one.units]
    means = [one.latency_sum_seconds / one.units for one in first]
    units, total = sum(one.units for one in first), sum(one.latency_sum_seconds for one in first)
    latency = max(means, default=None) if workloads[0].kind == "bursty" else total / units if units else None
    figures = Figures(
        periods=(after.periods or 0) - (before.periods or 0) if counted else None,
        throttled_periods=(after.throttled_periods or 0) - (before.throttled_periods or 0) if counted else None,
        throttled_seconds=(after.throttled_seconds or 0) - (before.throttled_seconds or 0) if counted else None,
        usage_seconds=usage,
        latency_seconds=latency,
    )
    return figures, workers_seconds
