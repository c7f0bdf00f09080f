"""``throttle-exporter stress``: makes throttling on purpose, and compares theory with what the kernel counts.

It runs in the cgroup it is started in, as in a Kubernetes Job, or with ``--limit`` in one of its own (root, and a
writable cgroup hierarchy). Exit codes: 0 it ran, 1 this kernel throttles below the limit (only ``fibtest`` can tell),
2 it could not run, 3 ``fibtest`` could not decide.
"""

from __future__ import annotations

import platform
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.errors import ConfigError
from exporter.lab import profiles
from exporter.lab.arena import Arena, made_arena, own_arena
from exporter.lab.hierarchy import writable_hierarchy
from exporter.lab.own import own_cgroup
from exporter.lab.profiles import Comparison, Load, plural
from exporter.lab.tree import sweep
from exporter.lab.workloads import Workforce
from exporter.settings import Settings
from exporter.values import format_duration, parse_duration

EXIT_THROTTLES_BELOW_LIMIT = 1
EXIT_UNDECIDED = 3

_LONGEST_SECONDS = 3600.0
_MOST_WORKERS = 1024
_UNIT_SECONDS = {"steady": 0.01, "burst": 0.05, "fibtest": 0.01}
_WORKERS_PER_CPU = {"steady": 1, "burst": 4, "fibtest": 1}


def add_arguments(parser: ArgumentParser) -> None:
    """The profile and its size."""
    parser.add_argument(
        "profile",
        nargs="?",
        default="steady",
        choices=("steady", "burst", "fibtest"),
        help="steady: busy workers; burst: idle, then more workers than CPUs; fibtest: a fast worker beside slow ones, "
        "which shows whether the kernel throttles below the limit (steady)",
    )
    parser.add_argument(
        "--duration", type=_duration, default=10.0, metavar="DURATION", help="how long to run, at most 1h (10s)"
    )
    parser.add_argument(
        "--limit",
        type=_cores,
        metavar="CORES",
        help="run in a cgroup of its own with this quota (default: in the cgroup it is started in)",
    )
    parser.add_argument(
        "--period", type=_period, default=0.1, metavar="DURATION", help="period of that quota, 1ms to 1s (100ms)"
    )
    parser.add_argument(
        "--workers", type=_count, metavar="N", help="busy or bursting workers (steady: 1 a CPU, burst: 4 a CPU)"
    )
    parser.add_argument(
        "--unit", type=_duration, metavar="DURATION", help="CPU time of one unit of work (10ms; burst: 50ms a worker)"
    )
    parser.add_argument("--every", type=_duration, default=1.0, metavar="DURATION", help="time between two bursts (1s)")


def run(settings: Settings, args: Namespace) -> int:
    """Run the profile, print the comparison, return the exit code."""
    if args.period != 0.1 and args.limit is None:
        raise ConfigError("--period: needs --limit")
    with _arena(Path(settings.path_cgroup), Path(settings.path_proc), args) as arena, Workforce() as workforce:
        load = Load(
            workers=args.workers or _WORKERS_PER_CPU[args.profile] * arena.place.cpus,
            unit_seconds=args.unit or _UNIT_SECONDS[args.profile],
            every_seconds=args.every,
            seconds=args.duration,
        )
        print(_heading(arena, args), flush=True)
        match args.profile:
            case "steady":
                comparisons = [profiles.steady(arena, workforce, load)]
            case "burst":
                comparisons = [profiles.burst(arena, workforce, load)]
            case _:
                comparisons = profiles.fibtest(arena, workforce, load)
    for comparison in comparisons:
        print(table(comparison))
    if args.profile == "burst" and comparisons[0].measured.periods:
        print("\nAfter each burst the kernel's timer runs on for a period or two, which are counted and not throttled.")
    return _verdict(comparisons, arena) if args.profile == "fibtest" else 0


def table(comparison: Comparison) -> str:
    """Predicted and measured figures side by side."""
    predicted, measured = comparison.predicted, comparison.measured
    rows = [
        ("periods", _number(predicted.periods), _number(measured.periods)),
        ("throttled periods", _number(predicted.throttled_periods), _number(measured.throttled_periods)),
        ("throttled ratio", _percent(predicted.throttled_ratio), _percent(measured.throttled_ratio)),
        ("throttled time", _seconds(predicted.throttled_seconds), _seconds(measured.throttled_seconds)),
        ("CPU time used", _seconds(predicted.usage_seconds), _seconds(measured.usage_seconds)),
        ("latency of a unit", _milliseconds(predicted.latency_seconds), _milliseconds(measured.latency_seconds)),
    ]
    lines = [f"\n{comparison.title}", f"{'':20}{'predicted':>12}{'measured':>12}"]
    return "\n".join([*lines, *(f"{name:20}{left:>12}{right:>12}" for name, left, right in rows)])


@contextmanager
def _arena(root: Path, proc: Path, args: Namespace) -> Iterator[Arena]:
    if args.limit is None:
        with own_arena(own_cgroup(proc)) as arena:
            yield arena
        return
    hierarchy = writable_hierarchy(root)
    sweep(hierarchy)
    with made_arena(hierarchy, args.limit, args.period) as arena:
        yield arena


def _heading(arena: Arena, args: Namespace) -> str:
    place = arena.place
    limit = "no CPU limit"
    if place.limit_cores is not None:
        quota, period = (_milliseconds(seconds) for seconds in (place.quota_seconds, place.period_seconds))
        limit = f"limit {place.limit_cores:g} CPU ({quota} of every {period})"
    return f"{args.profile} for {format_duration(args.duration)} in {arena.name}\n{limit}, {plural(place.cpus, 'CPU')}"


def _verdict(comparisons: list[Comparison], arena: Arena) -> int:
    verdict, reason = profiles.throttles_below_limit(comparisons, arena.place.quota_seconds)
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


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:.4g} ms"


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
    if not 0.001 <= cores <= _MOST_WORKERS:
        raise ArgumentTypeError(f"must be between 0.001 and {_MOST_WORKERS} CPUs")
    return cores


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST_WORKERS:
        raise ArgumentTypeError(f"must be a whole number between 1 and {_MOST_WORKERS}")
    return int(text)
