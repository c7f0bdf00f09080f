"""``throttle-exporter stress``: makes throttling on purpose, and compares theory with what the kernel counts.

It runs in the cgroup it is started in, as in a Kubernetes Job, or with ``--limit`` in one of its own (root, and a
writable cgroup hierarchy). Exit codes: 0 it ran, 1 this kernel throttles below the limit (only ``fibtest`` can tell),
2 it could not run, 3 ``fibtest`` could not decide.
"""

from __future__ import annotations

import platform
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import AbstractContextManager
from pathlib import Path

from exporter.errors import ConfigError
from exporter.lab import profiles
from exporter.lab.hierarchy import own_cgroup, writable_hierarchy
from exporter.lab.profiles import Comparison, Load, TestCgroup, plural
from exporter.lab.tree import remove_stale
from exporter.lab.workloads import Workforce
from exporter.settings import Settings
from exporter.values import format_duration, parse_duration

EXIT_THROTTLES_BELOW_LIMIT = 1
EXIT_UNDECIDED = 3

_LONGEST_SECONDS = 3600.0
_MOST = 1024
"""Workers, and CPUs of a limit."""
_DEFAULTS = {
    "steady": (profiles.steady, 1, 0.01),
    "burst": (profiles.burst, 4, 0.05),
    "fibtest": (profiles.fibtest, 1, 0.01),
}
"""How a profile runs, its workers a CPU, and the CPU time of a unit of work."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the profile and its size."""
    add = parser.add_argument
    add(
        "profile",
        nargs="?",
        default="steady",
        choices=tuple(_DEFAULTS),
        help="steady: busy workers; burst: idle, then more workers than CPUs; fibtest: a fast worker beside slow ones, "
        "which shows whether the kernel throttles below the limit (steady)",
    )
    add("--duration", type=_duration, default=10.0, metavar="DURATION", help="how long to run, at most 1h (10s)")
    add(
        "--limit",
        type=_cores,
        metavar="CORES",
        help="run in a cgroup of its own with this quota (default: in the cgroup it is started in)",
    )
    add("--period", type=_period, default=0.1, metavar="DURATION", help="period of that quota, 1ms to 1s (100ms)")
    add("--workers", type=_count, metavar="N", help="busy or bursting workers (steady: 1 a CPU, burst: 4 a CPU)")
    add("--unit", type=_duration, metavar="DURATION", help="CPU time of one unit of work (10ms; burst: 50ms a worker)")
    add("--every", type=_duration, default=1.0, metavar="DURATION", help="time between two bursts (1s)")


def run(settings: Settings, args: Namespace) -> int:
    """Run the profile, print the comparison, and return the exit code."""
    if args.period != 0.1 and args.limit is None:
        raise ConfigError("--period: needs --limit")
    profile, workers_per_cpu, unit_seconds = _DEFAULTS[args.profile]
    with _cgroup(settings, args) as cgroup, Workforce() as workforce:
        load = Load(
            workers=args.workers or workers_per_cpu * cgroup.place.cpus,
            unit_seconds=args.unit or unit_seconds,
            every_seconds=args.every,
            seconds=args.duration,
        )
        print(_heading(cgroup, args), flush=True)
        comparisons = profile(cgroup, workforce, load)
    for comparison in comparisons:
        print(table(comparison))
    if args.profile == "burst" and comparisons[0].measured.periods:
        print("\nAfter each burst the kernel's timer runs on for a period or two, which are counted and not throttled.")
    verdict, reason = profiles.throttles_below_limit(comparisons, cgroup.place.quota_seconds)
    if comparisons[0].starved:
        used, predicted = comparisons[0].workers_seconds, comparisons[0].predicted.usage_seconds
        print(
            f"\nThe measurement means little: the workers got {_text(used, 's')} of CPU time, and their limit and CPUs "
            f"allow {_text(predicted, 's')}. Other processes use this machine's CPUs."
        )
    if args.profile != "fibtest":
        return 0
    kernel = f"kernel {platform.release()}"
    match verdict:
        case "yes":
            print(f"\n{kernel} throttles below the limit: {reason}.")
            return EXIT_THROTTLES_BELOW_LIMIT
        case "no":
            print(f"\n{kernel} does not throttle below the limit: {reason}.")
            return 0
        case _:
            print(f"\nCannot tell whether {kernel} throttles below the limit: {reason}.")
            return EXIT_UNDECIDED


def table(comparison: Comparison) -> str:
    """Return predicted and measured figures side by side."""
    lines = [f"\n{comparison.title}", f"{'':20}{'predicted':>12}{'measured':>12}"]
    for name, attribute, unit in (
        ("periods", "periods", ""),
        ("throttled periods", "throttled_periods", ""),
        ("throttled ratio", "throttled_ratio", "%"),
        ("throttled time", "throttled_seconds", "s"),
        ("CPU time used", "usage_seconds", "s"),
        ("latency of a unit", "latency_seconds", "ms"),
    ):
        cells = (_text(getattr(one, attribute), unit) for one in (comparison.predicted, comparison.measured))
        lines.append(f"{name:20}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def _cgroup(settings: Settings, args: Namespace) -> AbstractContextManager[TestCgroup]:
    root = Path(settings.path_cgroup)
    if args.limit is None:
        return profiles.present_cgroup(*own_cgroup(root, Path(settings.path_proc)))
    hierarchy = writable_hierarchy(root)
    remove_stale(hierarchy)
    return profiles.new_cgroup(hierarchy, args.limit, args.period)


def _heading(cgroup: TestCgroup, args: Namespace) -> str:
    place, limit = cgroup.place, "no CPU limit"
    if place.limit_cores is not None:
        quota, period = _text(place.quota_seconds, "ms"), _text(place.period_seconds, "ms")
        limit = f"limit {place.limit_cores:g} CPU ({quota} of every {period})"
    title = f"{args.profile} for {format_duration(args.duration)} in {cgroup.name}"
    return f"{title}\n{limit}, {plural(place.cpus, 'CPU')}"


def _text(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return {"": f"{value}", "%": f"{value:.0%}", "s": f"{value:.3f} s", "ms": f"{value * 1000:.4g} ms"}[unit]


def _duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{error}, not {text!r}") from error
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise ArgumentTypeError(f"must be above 0 and at most {format_duration(_LONGEST_SECONDS)}")
    return seconds


def _period(text: str) -> float:
    seconds = _duration(text)
    if not 0.001 <= seconds <= 1:
        raise ArgumentTypeError("must be between 1ms and 1s, the kernel's bounds")
    return seconds


def _cores(text: str) -> float:
    try:
        cores = float(text)
    except ValueError as error:
        raise ArgumentTypeError(f"must be a number of CPUs such as 0.5, not {text!r}") from error
    if not 0.001 <= cores <= _MOST:
        raise ArgumentTypeError(f"must be between 0.001 and {_MOST} CPUs")
    return cores


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST:
        raise ArgumentTypeError(f"must be a whole number between 1 and {_MOST}")
    return int(text)
