"""``throttle-exporter stress``: makes throttling on purpose, and compares theory with what the kernel counts.

Exit codes: 0 it ran, 1 this kernel throttles below the limit (only ``fibtest`` can tell), 2 it could not run, 3
``fibtest`` could not decide. Theory is ``Documentation/scheduler/sched-bwc.rst``: in each period the group may use its
quota, summed over CPUs, and is stopped until the next one. Slices, the timer's start and other load are left out.
"""

from __future__ import annotations

import math
import os
import platform
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from typing_extensions import override

from exporter.analysis.text import count
from exporter.cgroupfs.discover import detect
from exporter.cgroupfs.files import Descriptors
from exporter.cgroupfs.readers import ReaderFactory, read_limits
from exporter.cli import argument
from exporter.errors import ConfigError
from exporter.lab.cgroups import CgroupTree, Hierarchy, LabError, find_hierarchy, writable_hierarchy
from exporter.lab.spec import CpuSettings, Workload
from exporter.lab.workloads import Workforce
from exporter.model import CpuStat
from exporter.settings import Settings
from exporter.values import duration, format_duration

EXIT_THROTTLES_BELOW_LIMIT: Final = 1
EXIT_UNDECIDED: Final = 3
MIN_THROTTLED_PERIODS: Final = 0.5  # below this share of throttled periods the quota was hardly the limit
MIN_USED_QUOTA: Final = 0.75  # a healthy kernel strands at most a part of it on other CPUs, an affected one most of it
MIN_PREDICTED_USAGE: Final = 0.8  # with less of what the quota allows, other processes had the CPUs
_ROUNDING: Final = 1e-9
_MOST: Final = 1024  # workers, and CPUs of a limit
_DEFAULTS: Final = {"steady": (1, 0.01), "burst": (4, 0.05), "fibtest": (1, 0.01)}  # workers a CPU, CPU time of a unit
_PROFILES: Final = (
    "steady: busy workers; burst: idle, then more workers than CPUs; fibtest: a fast worker beside slow ones, "
    "which shows whether the kernel throttles below the limit (steady)"
)
_ROWS = ("periods", "throttled periods", "throttled ratio", "throttled time", "CPU time used", "latency of a unit")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the profile and its size."""
    add, length = parser.add_argument, argument(duration(0.001, 3600.0).parse)
    add("profile", nargs="?", default="steady", choices=tuple(_DEFAULTS), help=_PROFILES)
    add("--duration", type=length, default=10.0, metavar="DURATION", help="how long to run, at most 1h (10s)")
    text = "run in a cgroup of its own with this quota (default: in the cgroup it is started in)"
    add("--limit", type=float, metavar="CORES", help=text)
    period = argument(duration(0.001, 1.0).parse)
    add("--period", type=period, default=0.1, metavar="DURATION", help="period of that quota, 1ms to 1s (100ms)")
    add("--workers", type=int, metavar="N", help="busy or bursting workers (steady: 1 a CPU, burst: 4 a CPU)")
    add("--unit", type=length, metavar="DURATION", help="CPU time of one unit of work (10ms; burst: 50ms a worker)")
    add("--every", type=length, default=1.0, metavar="DURATION", help="time between two bursts (1s)")


def run(settings: Settings, args: Namespace) -> int:
    """Run the profile, print the comparison, and return the exit code."""
    for option, number, least in (("--limit", args.limit, 0.001), ("--workers", args.workers, 1)):
        if number is not None and not least <= number <= _MOST:
            raise ConfigError(f"{option}: must be between {least:g} and {_MOST}, not {number}")
    workers_per_cpu, unit_seconds = _DEFAULTS[args.profile]
    if args.period != 0.1 and args.limit is None:
        raise ConfigError("--period: needs --limit")
    chosen = place(Path(settings.path_cgroup), Path(settings.path_proc), args.limit, args.period)
    with chosen as where, Workforce() as workforce:
        load = Workload("bursty" if args.profile == "burst" else "busy", args.workers or workers_per_cpu * where.cpus,
                        args.unit or unit_seconds, args.every, seconds=args.duration)  # fmt: skip
        print(f"{args.profile} for {format_duration(args.duration)} in {where.name}\n{where}", flush=True)
        runs = [
            Run(title, predicted, *_measure(where, workforce, loads))
            for title, predicted, loads in _plan(where, load, is_fibtest=args.profile == "fibtest")
        ]
    print(*map(table, runs), sep="\n")
    first, allowed = runs[0], runs[0].predicted.usage_seconds
    if args.profile == "burst" and first.measured.periods:
        print("\nAfter each burst the kernel's timer runs on for a period or two, which are counted and not throttled.")
    if first.workers_seconds < MIN_PREDICTED_USAGE * allowed:
        print(
            f"\nThe measurement means little: the workers got {first.workers_seconds:.3f} s of CPU time, and their "
            f"limit and CPUs allow {allowed:.3f} s. Other processes use this machine's CPUs."
        )
    if args.profile != "fibtest":
        return 0
    code, verdict = throttles_below_limit(runs, where.quota_seconds)
    print(f"\n{verdict.format(f'kernel {platform.release()}')}.")
    return code


class Place(NamedTuple):
    """The cgroup that a profile runs in: its CPUs, and the quota of each period; infinite: none."""

    cpus: int
    quota_seconds: float
    period_seconds: float = 0.1
    name: str = ""
    members: tuple[Path, ...] = ()  # files through which workers join; none where they are inside already
    stat: Callable[[], CpuStat | None] = lambda: None

    def throttles(self, cores: float) -> bool:
        """Return whether this demand, kept up for a whole period, exceeds the quota."""
        return cores * self.period_seconds > self.quota_seconds + _ROUNDING

    @override
    def __str__(self) -> str:
        limit, quota, period = "no CPU limit", 1000 * self.quota_seconds, 1000 * self.period_seconds
        if math.isfinite(self.quota_seconds):
            limit = f"limit {quota / period:g} CPU ({quota:.4g} ms of every {period:.4g} ms)"
        return f"{limit}, {count(self.cpus, 'CPU')}"


class Figures(NamedTuple):
    """One run, predicted or measured. ``periods`` is 0 where none are counted, and then the next two say nothing."""

    periods: int
    throttled_periods: int
    throttled_seconds: float
    usage_seconds: float
    latency_seconds: float | None  # of a unit of work; `None` if none was finished


class Run(NamedTuple):
    """Predicted beside measured; ``workers_seconds``: CPU time without others in the same cgroup."""

    title: str
    predicted: Figures
    measured: Figures
    workers_seconds: float


def table(run: Run) -> str:
    """Return the figures side by side."""
    columns = [("", *_ROWS)]
    for heading, one in (("predicted", run.predicted), ("measured", run.measured)):
        counts = ("-",) * 4
        if one.periods:
            ratio, stopped = one.throttled_periods / one.periods, f"{one.throttled_seconds:.3f} s"
            counts = str(one.periods), str(one.throttled_periods), f"{ratio:.0%}", stopped
        latency = "-" if one.latency_seconds is None else f"{1000 * one.latency_seconds:.4g} ms"
        columns.append((heading, *counts, f"{one.usage_seconds:.3f} s", latency))
    rows = (f"{name:20}{predicted:>12}{measured:>12}" for name, predicted, measured in zip(*columns, strict=True))
    return "\n".join((f"\n{run.title}", *rows))


def predict_burst(load: Workload, place: Place) -> Figures:
    """Predict workers that wake together every so often and do one unit each; the latency is the slowest one's."""
    bursts = max(1, int((load.seconds or 0.0) / load.every_seconds + _ROUNDING))
    work, parallel = load.unit_seconds * load.workers, min(load.workers, place.cpus)
    stops, rest, stopped = 0, work, 0.0
    if place.throttles(parallel):
        # The last part of the work, up to a whole quota, ends without a stop.
        stops = max(0, math.ceil(work / place.quota_seconds - _ROUNDING) - 1)
        rest = work - stops * place.quota_seconds
        stopped = stops * (parallel * place.period_seconds - place.quota_seconds)
    latency = stops * place.period_seconds + rest / parallel
    # Without a quota the kernel counts no periods.
    is_counted = math.isfinite(place.quota_seconds)
    periods = max(1, math.ceil(latency / place.period_seconds - _ROUNDING)) if is_counted else 0
    return Figures(bursts * periods, bursts * stops, bursts * stopped, bursts * work, latency)


def predict_steady(load: Workload, place: Place, slow_workers: int = 0) -> Figures:
    """Predict workers that do one unit after the other, beside slow ones that use next to nothing; the latency is mean.

    On a kernel without the bug a slow one has up to a millisecond left on its CPU and stops later: half the rest.
    """
    seconds, parallel = load.seconds or 0.0, min(load.workers, place.cpus)
    periods = round(seconds / place.period_seconds) if math.isfinite(place.quota_seconds) else 0
    latency = load.unit_seconds * load.workers / parallel
    if not place.throttles(parallel):
        return Figures(periods, 0, 0.0, parallel * seconds, latency)
    awake = place.quota_seconds / parallel
    stopped = (place.period_seconds - awake) * (parallel + slow_workers / 2)
    latency *= place.period_seconds / awake
    return Figures(periods, periods, periods * stopped, periods * place.quota_seconds, latency)


def throttles_below_limit(runs: Sequence[Run], quota_seconds: float) -> tuple[int, str]:
    """Return ``fibtest``'s exit code, and its verdict on the kernel, ``{}``."""
    undecided = "Cannot tell whether {} throttles below the limit"
    if len(runs) < 2:
        return EXIT_UNDECIDED, f"{undecided}: there is only one CPU, and the bug needs a second one"
    if 0 in {one.measured.periods for one in runs}:
        hint = "there is no quota here; run deploy/fibtest-job.yaml, or give --limit as root"
        return EXIT_UNDECIDED, f"{undecided}: {hint}"
    alone, together = (one.measured.usage_seconds / (one.measured.periods * quota_seconds) for one in runs)
    ratio = runs[1].measured.throttled_periods / runs[1].measured.periods
    evidence = f"{ratio:.0%} of the periods were throttled, and {together:.0%} of the quota was used"
    if ratio < MIN_THROTTLED_PERIODS:
        return EXIT_UNDECIDED, f"{undecided}: {evidence}: something else kept the workers from their CPUs"
    if together >= MIN_USED_QUOTA:
        return 0, f"{{}} does not throttle below the limit: {evidence}"
    if alone < MIN_USED_QUOTA:
        return EXIT_UNDECIDED, f"{undecided}: {evidence}, but the fast worker alone got no more than {alone:.0%}"
    text = f"{{}} throttles below the limit: {evidence}, where the fast worker alone got {alone:.0%}"
    return EXIT_THROTTLES_BELOW_LIMIT, text


def _plan(place: Place, load: Workload, *, is_fibtest: bool) -> Iterator[tuple[str, Figures, list[Workload]]]:
    unit = f"{load.unit_seconds * 1000:g} ms CPU"
    if is_fibtest:
        cpu, *others = sorted(os.sched_getaffinity(0))
        fast = replace(load, workers=1, cpus=(cpu,), seconds=(load.seconds or 0.0) / 2)
        slow = Workload("fib_slow", len(others), cpus=tuple(others), seconds=fast.seconds)
        yield "a fast worker alone", predict_steady(fast, place), [fast]
        if others:
            title = f"beside it {count(len(others), 'slow worker')}, each on a CPU of its own"
            yield title, predict_steady(fast, place, len(others)), [fast, slow]
    elif load.kind == "busy":
        yield f"{count(load.workers, 'busy worker')}, units of {unit}", predict_steady(load, place), [load]
    else:
        title = f"{count(load.workers, 'worker')}, each with {unit} of work every {load.every_seconds:g} s"
        yield title, predict_burst(load, place), [load]


@contextmanager
def place(root: Path, proc: Path, limit_cores: float | None = None, period_seconds: float = 0.1) -> Iterator[Place]:
    """Yield a new cgroup with this quota; without one the cgroup that ``proc``'s reader runs in, with what limits it.

    The kernel counts throttling in the group whose quota is used up: of the ancestors in sight the tightest.
    """
    with ExitStack() as stack:
        if limit_cores is None:
            hierarchy, members, cpus = find_hierarchy(root), tuple[Path, ...](), len(os.sched_getaffinity(0))
            own = _own_cgroup(hierarchy, proc)
        else:
            hierarchy = writable_hierarchy(root)
            tree = stack.enter_context(CgroupTree(hierarchy, "stress"))
            tree.set("", CpuSettings(quota_cores=limit_cores, period_us=round(period_seconds * 1e6)))
            own, members, cpus = tree.file("cpu", "", ""), tree.members(""), len(hierarchy.cpus())
        mount, is_v2 = hierarchy.mounts["cpu"], hierarchy.version == "v2"
        seen = [(one, read_limits(str(one), is_v2=is_v2)) for one in (own, *own.parents) if one.is_relative_to(mount)]
        found, limits = min(seen, key=lambda one: one[1].limit_cores or math.inf)
        period, readers = limits.period_seconds or 0.1, ReaderFactory(detect(str(root)), Descriptors(0))
        files = stack.enter_context(closing(readers.open_path(str(found.relative_to(mount)))))
        yield Place(cpus, period * (limits.limit_cores or math.inf), period, str(found), members, files.stat)


def _own_cgroup(hierarchy: Hierarchy, proc: Path) -> Path:
    mount, controller = hierarchy.mounts["cpu"], "" if hierarchy.version == "v2" else "cpu"
    for line in (proc / "self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            # In a container the root may be its own cgroup, and the path is not there.
            own = mount / path.strip("/")
            return own if own.is_dir() else mount
    raise LabError("this process is in no cgroup with a cpu controller", reason="no_controller")


def _measure(place: Place, workforce: Workforce, loads: Sequence[Workload]) -> tuple[Figures, float]:
    jobs = [workforce.start(one, place.members, hold=True) for one in loads]
    before = place.stat() or CpuStat()
    for job in jobs:
        job.begin()
    reports = [job.wait() for job in jobs]
    after = place.stat() or CpuStat()
    periods, throttled, stopped, _, _, _, usage, *_ = (
        (new or 0) - (old or 0) for old, new in zip(before, after, strict=True)
    )
    # The latency that counts is the fast workers', not that of the slow ones beside them; of bursts the slowest's.
    fast = [one for one in reports[0] if one.units]
    latency = max((one.latency_seconds / one.units for one in fast), default=None)
    if fast and loads[0].kind != "bursty":
        latency = sum(one.latency_seconds for one in fast) / sum(one.units for one in fast)
    workers_seconds = sum(report.cpu_seconds for job in reports for report in job)
    return Figures(int(periods), int(throttled), stopped, usage or workers_seconds, latency), workers_seconds
