"""``throttle-exporter explain``: why is it slow, in words and numbers.

Asks the exporter that runs on this node, which has the last minute in its memory; else samples for a few seconds.
Exit codes: 0 healthy, 1 there are findings, 2 it could not be told. A finding of severity ``info`` asks for nothing
and does not count.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Final

from exporter.analysis import text as words
from exporter.cli.terminal.asking import add_source_arguments, ask, sampled_here, watch_seconds
from exporter.cli.terminal.explaining import explained, finding_lines, troubles
from exporter.cli.terminal.names import chosen
from exporter.cli.terminal.overview import overview
from exporter.cli.terminal.text import Look, made_harmless
from exporter.report.schema import Container, ContainersDocument
from exporter.settings import Settings
from exporter.values import format_duration

EXIT_FINDINGS: Final = 1


def add_arguments(parser: ArgumentParser) -> None:
    """Which container, how it is told, and who is asked."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAMESPACE/POD[/CONTAINER]",
        help="what to explain; a pod's name alone where one namespace has it (the worst containers of the node)",
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="text or json (text)")
    add_source_arguments(parser)


def run(settings: Settings, args: Namespace) -> int:
    """Print the explanation; 1 when something is wrong."""
    seconds = watch_seconds(args)
    answer = ask(settings, args, with_series=args.output == "json")
    if answer.document is None:
        document = sampled_here(settings, seconds, answer.reason, with_series=args.output == "json")
        source = f"sampled here for {format_duration(seconds)}"
    else:
        document, source = answer.document, f"the exporter at {answer.url}"
    containers = document["containers"]
    picked = containers if args.name is None else chosen(containers, args.name)
    if args.output == "json":
        shown = document.copy()
        shown["containers"] = picked
        print(json.dumps(shown, indent=2))
    else:
        # Whatever a terminal's encoding lacks must not end an explanation.
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")
        look = Look.of(sys.stdout)
        lines = overview(document, look) if args.name is None else _told(document, picked, look)
        print("\n".join([*lines, "", *_source(document, source, look)]))
    found = [*document["node_findings"], *(finding for one in picked for finding in one["findings"])]
    return EXIT_FINDINGS if troubles(found) else 0


def _told(document: ContainersDocument, picked: list[Container], look: Look) -> Iterator[str]:
    for number, container in enumerate(picked):
        yield from ([""] * (number > 0))
        yield from explained(container, look)
    for finding in made_harmless(document["node_findings"]):
        yield from ("", look.paint("The node", "bold"), *finding_lines(finding, look))


def _source(document: ContainersDocument, source: str, look: Look) -> list[str]:
    """Where the numbers are from, and what makes them doubtful."""
    exporter = document["exporter"]
    parts = [
        f"Source: {source}, version {exporter['version']}, {max(0.0, time.time() - document['taken_at']):.1f} s ago."
    ]
    if not exporter["healthy"]:
        parts.append("It does not keep its pace: its samples are late.")
    unmapped = exporter["cgroups"].get("unmapped", 0)
    if unmapped:
        parts.append(f"{words.count(unmapped, 'container')} not known by name.")
    failed = [one for one in exporter["sources"] if one["last_error"]]
    if failed and not any(one["active"] for one in exporter["sources"]):
        parts.append(f"No source of pods answers: {failed[0]['last_error']}.")
    return [look.paint(line, "dim") for line in look.wrap(made_harmless(" ".join(parts)))]
