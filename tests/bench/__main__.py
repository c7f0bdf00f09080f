"""``make bench``: what the exporter costs on real cgroups, beside what does less, as much, or more."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from exporter.lab.cgroups import LabError
from tests.bench.cadvisor import cadvisor
from tests.bench.node import BenchNode, bench_node
from tests.bench.parts import Bed, status_page
from tests.bench.process import Watched, arrivals, serving, watch
from tests.bench.rows import Row, growth, put_between_marks, report

SOME_AWAKE, ALL_AWAKE = (0.2, 0.002), (1.0, 0.00002)
"""Seconds between two wake-ups, and of CPU each."""
RESIDENT_MB = {750: 52.0, 3000: 85.0}
_SETTLE_SECONDS = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; the exit code says nothing of the targets, the table does."""
    options = _parser().parse_args(arguments)
    sizes: dict[str, list[Row]] = {}
    try:
        for pods in sorted(options.pods):
            sys.stderr.write(f"bench: {time.strftime('%H:%M:%S')}: {pods} pods\n")
            with bench_node(pods) as node:
                sizes[f"{pods} pods, {len(node.members):,} containers"] = _measure(node, options)
    except LabError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    if len(sizes) > 1:
        small, *_, large = sizes.values()
        sizes["Growth from the smallest to the largest"] = growth(small, large)
    sizes["Status page"] = [status_page()]
    kernel, python = platform.release().split("-")[0], platform.python_version()
    text = report(f"{os.cpu_count()} CPUs, Linux {kernel}, Python {python}", sizes)
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
    parser.add_argument("--rounds", type=int, default=40, help="rounds of tick, C loop and page")
    parser.add_argument("--scrapes", type=int, default=60, help="scrapes for the latency, one a second")
    parser.add_argument("--brief", action="store_true", help="no new pods: to try the bench")
    parser.add_argument("--write", metavar="FILE", help="put the tables between the marks of FILE")
    return parser


def _measure(node: BenchNode, options: argparse.Namespace) -> list[Row]:
    seconds, scrapes, active = options.seconds, options.scrapes, min(options.active, len(node.members))
    some, every = f"{active} awake", "all awake"
    bed = Bed(node)
    with node.awake(node.members[:active], *SOME_AWAKE):
        rows = bed.rounds(node, some, options.rounds, SOME_AWAKE[0] * 1.25, 0.5)
        with node.awake(node.members, *ALL_AWAKE):
            time.sleep(ALL_AWAKE[0])
            rows += bed.rounds(node, every, max(1, options.rounds * 5 // 8), ALL_AWAKE[0], 1.5)
        bed.sampler.close()
        with serving(node) as (exporter, started):
            time.sleep(min(seconds, _SETTLE_SECONDS))
            ours = watch(exporter.process.pid, exporter.port, seconds, scrapes)
            peer, theirs = cadvisor(min(seconds, 30.0), min(scrapes, 15))
            rows += started + _compared(some, ours, peer, theirs, RESIDENT_MB.get(len(node.members)))
            with node.awake(node.members, *ALL_AWAKE):
                loaded = watch(exporter.process.pid, exporter.port, min(seconds, 15.0), 0)
                rows.append(Row(what=f"whole process, {every}", unit="% of a core", values=loaded.core_percent))
            if not options.brief:
                rows += arrivals(node, exporter)
    return rows


def _compared(load: str, ours: Watched, peer: str, theirs: Watched | None, limit_mb: float | None) -> list[Row]:
    """The process beside cAdvisor's: 1 s samples here, 10 s housekeeping of the whole machine there."""
    scrape, theirs = f"scrape over HTTP to the last byte, {load}", theirs or Watched([], [], [])
    rows = [
        Row(what=scrape, unit="ms", values=ours.scrape_ms, beside=theirs.scrape_ms, limit=40, grows=True),
        Row(
            what=f"whole process, {load}",
            unit="% of a core",
            values=ours.core_percent,
            beside=theirs.core_percent,
            limit=10,
        ),
    ]
    return [
        *(replace(row, peer=peer, judged="times less") for row in rows),
        Row(what="slowest scrapes", unit="ms", values=ours.scrape_ms, limit=3.0, judged="p99 / median"),
        Row(
            what="resident memory", unit="MB", values=ours.memory_mb, peer=peer, beside=theirs.memory_mb, limit=limit_mb
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
