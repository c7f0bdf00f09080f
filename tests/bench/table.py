"""The measured numbers as Markdown. Pure: everything in it is computed from values, nothing is typed."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from tests.bench.peers import TARGETS_MS, TARGETS_SAMPLES
from tests.bench.results import Crowd, Import, Scrapes, Size
from tests.bench.stats import Spread, ratios, spread
from tests.bench.targets import Result

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def number(value: float) -> str:
    """Three digits that matter, and no more zeros than that."""
    if not isfinite(value):
        return "never" if value > 0 else "unknown"
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def targets_table(results: Sequence[Result]) -> list[str]:
    """Every target with its verdict."""
    lines = [
        "### Against the targets",
        "",
        "| what | containers | target | min / median / max | beside | at that machine's speed | |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in results:
        values = one.measured
        shown = number(values.median)
        if values.least != values.most:
            shown = f"{number(values.least)} / {number(values.median)} / {number(values.most)}"
        if one.judged == "p99":
            shown = f"p99 {number(values.p99)}"
        scaled = "" if one.scaled is None else number(one.scaled)
        sign = ">=" if one.at_least else "<="
        target = f"{sign} {one.limit:g} {one.unit}{', each' if one.judged == 'most' else ''}"
        lines.append(
            f"| {one.what} | {one.containers} | {target} | {shown} | {one.beside} | {scaled} | {one.verdict} |"
        )
    return [*lines, ""]


def size_table(size: Size) -> list[str]:
    """One size: what was measured, whether there is a target for it or not."""
    quiet, awake = f"{size.active} awake", "all awake"
    asked = spread(size.calibration_ms)
    running, loaded = size.running, size.running_awake
    lines = [
        (
            f"### {size.pods} pods, {size.containers:,} containers, {size.quiet.samples:,} samples, "
            f"{size.scrapes.bytes / 1e6:.1f} MB a page"
        ),
        "",
        (
            f"This machine then: **{number(asked.median / TARGETS_MS)} x as slow** as the one the targets were set on "
            f"(`generate_latest` of {TARGETS_SAMPLES:,} samples: {number(size.calibration_ms[0])} ms before, "
            f"{number(size.calibration_ms[-1])} ms after, {number(asked.least)} to {number(asked.most)} ms between; "
            f"{TARGETS_MS:g} ms there)."
        ),
        "",
        "| what | min | median | max | beside, round by round: min / median / max |",
        "|---|---|---|---|---|",
    ]
    for parts, load in ((size.quiet, quiet), (size.awake, awake)):
        lines += [
            _row(f"tick, {load}, CPU ms", parts.tick, f"{_ratio(parts.tick, parts.c_loop)} x the C loop"),
            _row(f"C loop over the same files, {load}, CPU ms", parts.c_loop, ""),
            _row(
                f"page read and rendered, {load}, CPU ms",
                parts.page,
                f"{_ratio(parts.page, parts.client)} x `generate_latest`",
            ),
            _row(f"`generate_latest` of as many samples, {load}, CPU ms", parts.client, ""),
            _row(f"scan, {load}, CPU ms", parts.scan, ""),
        ]
    lines += [
        *_scrape_rows("scrape", size.scrapes),
        _row(f"whole process, {quiet}, % of a core", running.core_percent, "1 s samples, 15 s scrapes"),
        _row(f"whole process, {awake}, % of a core", loaded.core_percent, "the same"),
        f"| resident memory, MB | | {running.rss_mb:.1f} | {running.peak_mb:.1f} | |",
        _row("start to first complete page, s", size.starts, ""),
        *_arrival_rows(size),
        *_cadvisor_rows(size),
        "",
    ]
    return lines + ([] if size.crowd is None else _crowd_lines(size.crowd))


def growth_lines(small: Size, large: Size) -> list[str]:
    """Memory by container, from two sizes."""
    containers = large.containers - small.containers
    grown = (large.running.rss_mb - small.running.rss_mb) * 1024 / containers
    base = small.running.rss_mb - grown * small.containers / 1024
    return [f"Memory: {number(grown)} KiB a container, {number(base)} MB before the first (a line through both).", ""]


def import_table(costs: Sequence[Import]) -> list[str]:
    """What the start spends on imports."""
    lines = [
        "### Imports of `serve`",
        "",
        "| package | ms | modules | MB, imported alone into a fresh Python |",
        "|---|---|---|---|",
    ]
    for one in costs:
        shown = ["" if value is None else number(value) for value in (one.milliseconds, one.megabytes)]
        lines.append(f"| {one.name} | {shown[0]} | {'' if one.modules is None else one.modules} | {shown[1]} |")
    return [*lines, ""]


def put_between_marks(document: str, text: str) -> str:
    """``document`` with ``text`` where the last run's was. Raises ``ValueError`` when it has no marks."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} with {END} after it")
    return f"{head}{BEGIN}\n\n{text.strip()}\n\n{END}{tail}"


def _row(what: str, values: Sequence[float], beside: str) -> str:
    one = spread(values)
    return f"| {what} | {number(one.least)} | {number(one.median)} | {number(one.most)} | {beside} |"


def _ratio(values: Sequence[float], peers: Sequence[float]) -> str:
    return _three(spread(ratios(values, peers)))


def _three(one: Spread) -> str:
    return f"{number(one.least)} / {number(one.median)} / {number(one.most)}"


def _scrape_rows(what: str, scrapes: Scrapes) -> list[str]:
    count = len(scrapes.last_ms)
    return [
        _row(
            f"{what} over HTTP to the {end} byte, wall ms",
            values,
            f"p99 {number(spread(values).p99)} of {count} scrapes",
        )
        for end, values in (("first", scrapes.first_ms), ("last", scrapes.last_ms))
    ]


def _arrival_rows(size: Size) -> list[str]:
    one = size.arrivals
    if one is None:
        return []
    return [
        _row("new container served after, s", one.served_after, ""),
        f"| containers of a 3 s life, on the page of a 15 s scrape | | {one.found} of {one.lived} | | |",
    ]


def _cadvisor_rows(size: Size) -> list[str]:
    one = size.cadvisor
    if one is None:
        return []
    if one.scrapes is None or one.running is None:
        return [f"| {one.version}: not measured, {one.why_not} | | | | |"]
    return [
        _row(f"{one.version}, scrape over HTTP to the last byte, wall ms", one.scrapes.last_ms, "whole machine"),
        _row(f"{one.version}, % of a core", one.running.core_percent, "10 s housekeeping, 15 s scrapes"),
        f"| {one.version}, resident memory, MB | | {one.running.rss_mb:.1f} | {one.running.peak_mb:.1f} | |",
    ]


def _crowd_lines(crowd: Crowd) -> list[str]:
    last = spread(crowd.scrapes.last_ms)
    slow = [f"{count:.0f} took over {float(bound) * 1000:g} ms" for bound, count in crowd.slow.items() if count]
    asked = f"{crowd.scrapers} scrapers at once for {crowd.seconds:.0f} s, each 1 s after its last page, all awake"
    got = f"{len(crowd.scrapes.last_ms)} scrapes, {crowd.failed} scrapers failed"
    times = f"to the last byte {number(last.median)} ms median, {number(last.p99)} p99, {number(last.most)} at most"
    ticks = f"**{crowd.late:.0f} late ticks** of {crowd.ticks:.0f} ({', '.join(slow[-3:]) or 'all fast'})"
    return [f"{asked}: {got}; {times}; {ticks}; {number(crowd.core_percent)} % of a core.", ""]
