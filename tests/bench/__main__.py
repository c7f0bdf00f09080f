"""``make bench``: what the exporter costs, on real cgroups, beside a C program that only reads the same files."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from exporter.commands.lab.hierarchy import LabError
from tests.bench.measures import InProcess, WholeProcess, client_page, in_process, whole_process
from tests.bench.node import bench_node

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, nargs="+", default=[250, 1000], help="sizes to measure (3 containers each)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the whole process is watched")
    parser.add_argument("--active", type=int, default=30, help="containers that wake five times a second")
    parser.add_argument("--write", metavar="FILE", help="put the table between the marks of FILE")
    options = parser.parse_args()
    lines = [f"{_machine()}; {options.active} containers awake five times a second, the others idle.", ""]
    totals: list[tuple[int, InProcess, WholeProcess]] = []
    for pods in options.pods:
        try:
            with bench_node(pods, 3, options.active) as node:
                parts = in_process(node)
                whole = whole_process(node, options.seconds)
        except LabError as error:
            sys.exit(f"bench: {error}")
        totals.append((pods, parts, whole))
        lines += _table(pods, parts, whole, client_page(parts.samples))
    if len(totals) > 1:
        lines += _growth(totals[0], totals[-1])
    text = "\n".join(lines)
    sys.stdout.write(f"{text}\n")
    if options.write:
        path = Path(options.write)
        head, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        path.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


def _table(pods: int, parts: InProcess, whole: WholeProcess, client: Sequence[float]) -> list[str]:
    tick, reader = statistics.median(parts.tick), statistics.median(parts.c_tick)
    page = statistics.median(parts.page)
    return [
        f"### {pods} pods x 3 containers, {parts.samples} samples, {whole.bytes / 1e6:.1f} MB a page",
        "",
        "| what | median | min | max | beside |",
        "|---|---|---|---|---|",
        _row("tick, CPU ms", parts.tick, f"{tick / reader:.1f} x the C loop"),
        _row("C loop over the same files, CPU ms", parts.c_tick, ""),
        _row("scan (each 10 s), CPU ms", parts.scan, ""),
        _row("page read and rendered, CPU ms", parts.page, f"{1000 * page / parts.samples:.2f} us a sample"),
        _row("`generate_latest` of as many samples, CPU ms", client, f"{statistics.median(client) / page:.1f} x ours"),
        _row("scrape over HTTP, wall ms", whole.scrape_ms, f"p99 {_p99(whole.scrape_ms):.1f}"),
        f"| whole process, % of a core | {whole.core_percent:.2f} | | | 1 s samples, 15 s scrapes |",
        f"| resident memory, MB | {whole.rss_mb:.1f} | | {whole.peak_mb:.1f} | |",
        f"| start to first complete page, s | {whole.start_seconds:.2f} | | | |",
        "",
    ]


def _row(what: str, values: Sequence[float], beside: str) -> str:
    return f"| {what} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} | {beside} |"


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def _growth(small: tuple[int, InProcess, WholeProcess], large: tuple[int, InProcess, WholeProcess]) -> list[str]:
    def ratio(name: str) -> str:
        return f"{statistics.median(getattr(large[1], name)) / statistics.median(getattr(small[1], name)):.2f}"

    times = f"tick {ratio('tick')}, scan {ratio('scan')}, page {ratio('page')}"
    return [f"From {small[0]} to {large[0]} pods ({large[0] / small[0]:.0f} x): {times}.", ""]


def _machine() -> str:
    kernel, python = platform.release().split("-")[0], platform.python_version()
    cadvisor = "cAdvisor on the PATH, not measured" if shutil.which("cadvisor") else "no cAdvisor on the PATH"
    client = version("prometheus_client")
    return f"{os.cpu_count()} CPUs, Linux {kernel}, Python {python}, prometheus_client {client}, {cadvisor}"


if __name__ == "__main__":
    sys.exit(main())
