"""``throttle-exporter explain``: why is it slow, in words and numbers.

Asks the exporter that runs on this node, which has the last minute in its memory; else samples for a few seconds.
Exit codes: 0; 1 with ``--exit-code`` when there are problems, of the containers or of the node; 2 when it cannot say.
"""

from __future__ import annotations

import json
import sys
import textwrap
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from exporter.analysis import text as words
from exporter.cli.selection import select
from exporter.cli.source import add_source_arguments, ask, sample_here, watch_seconds
from exporter.cli.table import SEVERITY_STYLE, Table, console_for, escaped
from exporter.report import DOCS, Container, ContainersDocument, Finding
from exporter.report.summary import (
    age,
    description,
    evidence,
    facts,
    full_name,
    has_problem,
    headline,
    problems,
    verdict,
    verdict_severity,
)
from exporter.settings import Settings
from exporter.values import format_duration

EXIT_PROBLEMS: Final = 1
MAX_ROWS: Final = 15
"""Lines of containers; more do not fit on a screen with what stands around them."""
HEALTHY_ROWS: Final = 5
"""Shown although nothing is wrong with them."""
MIN_WIDTH: Final = 40
MAX_PROSE: Final = 110
"""Beyond, a line of prose is hard to follow."""
_LABEL: Final = 11
"""Width of what stands before a text."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add which container, how it is explained, and the source."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAMESPACE/POD[/CONTAINER]",
        help="what to explain; a pod's name alone where one namespace has it (the worst containers of the node)",
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="text or json (text)")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 when there are problems")
    add_source_arguments(parser)


def run(settings: Settings, args: Namespace) -> int:
    """Print the explanation and return the exit code."""
    seconds = watch_seconds(args)
    with_series = args.output == "json"
    answer = ask(settings, args, with_series=with_series)
    if answer.document is None:
        document = sample_here(settings, seconds, answer.reason, with_series=with_series)
        source = f"sampled here for {format_duration(seconds)}"
    else:
        document, source = answer.document, f"the exporter at {answer.url}"
    containers = document["containers"]
    selected = containers if args.name is None else select(containers, args.name)
    if args.output == "json":
        shown = document.copy()
        shown["containers"] = selected
        print(json.dumps(shown, indent=2))
    else:
        _print(document, None if args.name is None else selected, source)
    found = [*document["node_findings"], *(finding for one in selected for finding in one["findings"])]
    return EXIT_PROBLEMS if args.exit_code and problems(found) else 0


def _print(document: ContainersDocument, selected: list[Container] | None, source: str) -> None:
    # What a terminal's encoding lacks must not end an explanation.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    console = console_for(sys.stdout)
    width = max(MIN_WIDTH, console.width)
    lines = overview(document, width) if selected is None else explanation(document, selected, width)
    for line in (*lines, Text(), *_source(document, source, width)):
        console.print(line)


def overview(document: ContainersDocument, width: int) -> list[Text]:
    """Return what is wrong on the node, its worst containers a line each, and how to learn more."""
    containers = document["containers"]
    affected = [one for one in containers if has_problem(one)]
    shown = affected[:MAX_ROWS] or containers[:HEALTHY_ROWS]
    lines = _wrap(f"{headline(document)}.", width, style="bold")
    if shown:
        table = Table.whole_names(width, shown)
        lines += [Text(), table.head, *map(table.row, shown)]
    if len(affected) > len(shown):
        lines.append(Text(f"... and {len(affected) - len(shown)} more"))
    lines += _node_lines(document, width)
    if affected:
        lines += [Text(), *_wrap("Why, and what to do: throttle-exporter explain NAMESPACE/POD[/CONTAINER]", width)]
    return lines


def explanation(document: ContainersDocument, containers: Sequence[Container], width: int) -> list[Text]:
    """Return all lines about these containers and the node's own findings."""
    lines: list[Text] = []
    for container in containers:
        lines += [*([Text()] if lines else []), *container_lines(container, width)]
    return lines + _node_lines(document, width)


def container_lines(container: Container, width: int) -> list[Text]:
    """Return all lines about one container."""
    one = escaped(container)
    style = SEVERITY_STYLE.get(verdict_severity(one), "")
    lines = [Text(full_name(one), "bold"), *_wrap(description(one), width, indent=2)]
    lines += _wrap(verdict(one), width, indent=2, style=style)
    for finding in one["findings"]:
        lines += [Text(), *finding_lines(finding, width)]
    if one["live"]:
        lines += [Text(), *_labelled(facts(one), width, indent=2)]
    return lines


def finding_lines(finding: Finding, width: int) -> list[Text]:
    """Return one finding: what it is, why, what to do, what it rests on, where to read on."""
    severity, reason = finding["severity"], f" ({finding['reason']})" if finding["reason"] else ""
    head = Text.assemble("  ", (severity.upper(), f"bold {SEVERITY_STYLE[severity]}"), f" {finding['name']}{reason}")
    body = [("", finding["summary"]), ("Do:", finding["advice"])]
    if finding["evidence"]:
        body.append(("Evidence:", ", ".join(f"{name}={value}" for name, value in evidence(finding))))
    # In one piece, however long: terminals make a link of it, and people copy it.
    page = Text(f"    {'Read:':{_LABEL}}{DOCS}{finding['docs']}")
    return [head, *_labelled(body, width, indent=4), page]


def _node_lines(document: ContainersDocument, width: int) -> list[Text]:
    lines: list[Text] = []
    for finding in escaped(document["node_findings"]):
        lines += [Text(), Text("The node", "bold"), *finding_lines(finding, width)]
    return lines


def _source(document: ContainersDocument, source: str, width: int) -> list[Text]:
    """Where the numbers are from, and what makes them doubtful."""
    exporter = document["exporter"]
    parts = [
        f"Source: {source}, version {exporter['version']}, {max(0.0, time.time() - document['taken_at']):.1f} s ago."
    ]
    if not exporter["healthy"]:
        parts.append(f"Its samples are late: the last is {age(exporter)} old.")
    unmapped = exporter["cgroups"].get("unmapped", 0)
    if unmapped:
        parts.append(f"{words.count(unmapped, 'container')} without a known name.")
    failed = [one for one in exporter["sources"] if one["last_error"]]
    if failed and not any(one["active"] for one in exporter["sources"]):
        parts.append(f"No pod source answers: {failed[0]['last_error']}.")
    return _wrap(escaped(" ".join(parts)), width, style="dim")


def _labelled(parts: Iterator[tuple[str, str]] | Sequence[tuple[str, str]], width: int, *, indent: int) -> list[Text]:
    return [
        line
        for label, text in parts
        for line in _wrap(text, width, indent=indent, label=f"{label:{_LABEL}}" if label else "")
    ]


def _wrap(text: str, width: int, *, label: str = "", indent: int = 0, style: str = "") -> list[Text]:
    """Wrap a paragraph; further lines are indented to its first one's text, which stands behind ``label``."""
    before = " " * indent + label
    lines = textwrap.wrap(
        text,
        min(width, MAX_PROSE),
        initial_indent=before,
        subsequent_indent=" " * len(before),
        break_on_hyphens=False,
        break_long_words=False,
    )
    return [Text(line, style) for line in lines or [before.rstrip()]]
