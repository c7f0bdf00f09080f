"""``make bench``: what the exporter costs on real cgroups, beside what does less, as much, or more."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from exporter.lab.hierarchy import LabError
from tests.bench.cadvisor import cadvisor
from tests.bench.imports import imports
from tests.bench.node import BenchNode, bench_node
from tests.bench.parts import Bed
from tests.bench.peers import TARGETS_SAMPLES, Speed, awake, build, c_reader, client
from tests.bench.process import arrivals, crowded, serving_after, watch
from tests.bench.results import Size
from tests.bench.scraping import one_each_tick
from tests.bench.table import growth_lines, import_table, put_between_marks, size_table, targets_table
from tests.bench.targets import TARGETS_CONTAINERS, evaluate

ACTIVE_EVERY, ACTIVE_WORK = 0.2, 0.002
AWAKE_EVERY, AWAKE_WORK = 1.0, 0.00002
_SETTLE_SECONDS = 3.0
_ALL_AWAKE_SECONDS = 15.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; the exit code says nothing of the targets, the table does."""
    options = _parser().parse_args(arguments)
    begun = time.monotonic()
    sizes: list[Size] = []
    try:
        with TemporaryDirectory() as folder:
            programs = {name: build(name, Path(folder)) for name in ("reader", "wakers")}
            for number, pods in enumerate(sorted(options.pods)):
                _say(begun, f"{pods} pods")
                last = number == len(options.pods) - 1
                with bench_node(pods) as node:
                    sizes.append(_measure(node, options, programs, first=number == 0, last=last))
    except LabError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    _say(begun, "done")
    text = "\n".join(report(sizes, options.active) + ([] if options.brief else import_table(imports())))
    sys.stdout.write(f"{text}\n")
    if options.write:
        path = Path(options.write)
        path.write_text(put_between_marks(path.read_text(encoding="utf-8"), text), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--pods", type=int, nargs="+", default=[250, 1000], help="sizes to measure (3 containers each)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the whole process is watched")
    parser.add_argument("--active", type=int, default=30, help="containers that wake five times a second")
    parser.add_argument("--rounds", type=int, default=40, help="rounds of tick, C loop, page and generate_latest")
    parser.add_argument("--scrapes", type=int, default=60, help="scrapes for the latency, one a second")
    parser.add_argument("--scrapers", type=int, default=10, help="scrapers at once at the largest size; 0 for none")
    parser.add_argument("--brief", action="store_true", help="one start, no new pods, no imports: to try the bench")
    parser.add_argument("--write", metavar="FILE", help="put the tables between the marks of FILE")
    return parser


def report(sizes: Sequence[Size], active: int) -> list[str]:
    """All of the measured sizes, as lines of Markdown."""
    small, large = sizes[0], sizes[-1] if len(sizes) > 1 else None
    lines = [
        f"{_machine()}.",
        "",
        f"{active} awake: so many containers work 2 ms five times a second, the others sleep.",
        "All awake: every container wakes once a second.",
        "",
        *targets_table(evaluate(small, large)),
    ]
    if small.containers != TARGETS_CONTAINERS:
        lines += [
            f"The targets are for {TARGETS_CONTAINERS} containers: these verdicts only show what they look like.",
            "",
        ]
    for size in sizes:
        lines += size_table(size)
    if large is not None:
        lines += growth_lines(small, large)
    return lines


def _measure(
    node: BenchNode, options: argparse.Namespace, programs: dict[str, Path], *, first: bool, last: bool
) -> Size:
    seconds: float = options.seconds
    with ExitStack() as stack:
        speed = Speed(stack.enter_context(client(TARGETS_SAMPLES)).ask)
        active = min(options.active, node.containers)
        with ExitStack() as some:
            some.enter_context(
                awake(programs["wakers"], node.members[:active], every_seconds=ACTIVE_EVERY, work_seconds=ACTIVE_WORK)
            )
            with ExitStack() as peers:
                bed = Bed(node)
                peers.callback(bed.sampler.close)
                reader = peers.enter_context(c_reader(programs["reader"], node))
                generator = peers.enter_context(client(bed.samples))
                quiet = bed.rounds(options.rounds, ACTIVE_EVERY * 1.25, reader, generator, speed)
                with awake(programs["wakers"], node.members, every_seconds=AWAKE_EVERY, work_seconds=AWAKE_WORK):
                    time.sleep(AWAKE_EVERY)
                    loud = bed.rounds(max(1, options.rounds * 5 // 8), AWAKE_EVERY, reader, generator, speed)
            exporter, starts = stack.enter_context(serving_after(node, 1 if options.brief else 3))
            starts_speed = speed.around()
            pid, port = exporter.process.pid, exporter.port
            time.sleep(min(seconds, _SETTLE_SECONDS))
            running = watch(pid, port, seconds, speed)
            scrapes = one_each_tick(port, options.scrapes).at(speed.around())
            peer = cadvisor(min(seconds, 30.0), min(options.scrapes, 15), speed)
        stack.enter_context(awake(programs["wakers"], node.members, every_seconds=AWAKE_EVERY, work_seconds=AWAKE_WORK))
        running_awake = watch(pid, port, min(seconds, _ALL_AWAKE_SECONDS), speed)
        crowd = crowded(exporter, options.scrapers, min(seconds, 60.0)) if last and options.scrapers else None
        came = arrivals(node, exporter, programs["wakers"]) if first and not options.brief else None
        speed.ask()
        return Size(
            pods=len(node.pods),
            containers=node.containers,
            active=active,
            quiet=quiet,
            awake=loud,
            starts=starts,
            starts_speed=starts_speed,
            scrapes=scrapes,
            running=running,
            running_awake=running_awake,
            arrivals=came,
            crowd=crowd,
            cadvisor=peer,
            calibration_ms=speed.asked,
        )


def _machine() -> str:
    kernel, python = platform.release().split("-")[0], platform.python_version()
    client_version = version("prometheus_client")
    return f"{os.cpu_count()} CPUs, Linux {kernel}, Python {python}, prometheus_client {client_version}"


def _say(begun: float, what: str) -> None:
    sys.stderr.write(f"bench: {time.monotonic() - begun:4.0f} s: {what}\n")


if __name__ == "__main__":
    sys.exit(main())
