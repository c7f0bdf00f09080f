"""``throttle-exporter explain``: why is it slow, in words and numbers. Exit code 1: problems, with ``--exit-code``."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.text import Text

from exporter.analysis import text as words
from exporter.analysis.advice import TEMPLATES, in_template, quantity
from exporter.analysis.findings import Finding
from exporter.cli.selection import NotHereError, select
from exporter.cli.source import add_source_arguments, ask, sample_here
from exporter.cli.table import SEVERITY_STYLE, Table, console_for, escaped
from exporter.report import summary
from exporter.report.documents import DOCS
from exporter.report.schema import Container, ContainersDocument
from exporter.settings import Settings
from exporter.values import format_duration

MAX_ROWS, HEALTHY_ROWS = 15, 5  # lines of containers with problems, or where none has any
MIN_WIDTH: Final = 40
MAX_PROSE: Final = 110  # beyond, a line of prose is hard to follow
_LABEL: Final = 11  # width of what stands before a text
_API_VERSIONS: Final = dict.fromkeys(TEMPLATES, "apps/v1") | {"CronJob": "batch/v1"}


def add_arguments(parser: ArgumentParser) -> None:
    """Add which container, how it is explained, and the source."""
    add, outputs = parser.add_argument, ("text", "json", "patch")
    text = "NAMESPACE/POD[/CONTAINER], POD, or [NAMESPACE/]KIND/NAME such as shop/deploy/web (the node's worst)"
    add("names", nargs="*", metavar="NAME", help=text)
    add("-n", "--namespace", default="", help="namespace of the names; alone, all its containers")
    add("--output", choices=outputs, default="text", help="text, json, or patches that set limits (text)")
    add("--exit-code", action="store_true", help="exit with 1 when there are problems")
    add_source_arguments(parser)


def run(settings: Settings, args: Namespace) -> int:
    """Print the explanation and return the exit code."""
    with_series = args.output == "json"
    answer = ask(settings, args, with_series=with_series)
    document = answer.document or sample_here(settings, args, answer.reason, with_series=with_series)
    shown: ContainersDocument = {**document, "containers": _selected(document, args.names, args.namespace)}
    if args.output == "json":
        print(json.dumps(shown, indent=2))
    elif args.output == "patch":
        found = [limit_patch(one) for one in shown["containers"] if summary.has_problem(one)]
        patches = dict.fromkeys(f"{json.dumps(patch, indent=2)}\n" for patch in found if patch is not None)
        print(*patches, sep="", end="")
        if not patches:
            print("throttle-exporter: no recommended limit of these containers can be set by a patch", file=sys.stderr)
    else:
        here = "a saved answer" if args.file else f"sampled here for {format_duration(args.watch)}"
        source = f"the exporter at {answer.client.url}" if answer.document and answer.client else here
        _print(escaped(shown), source, whole=bool(args.names))
    findings = [*shown["node_findings"], *(finding for one in shown["containers"] for finding in one["findings"])]
    return 1 if args.exit_code and summary.problems(findings) else 0


def _selected(document: ContainersDocument, names: Sequence[str], namespace: str) -> list[Container]:
    containers = document["containers"]
    if not names:
        return [one for one in containers if namespace in {"", one["namespace"]}]
    found: dict[str, Container] = {}
    for name in names:
        try:
            chosen = select(containers, name, namespace=namespace, node=document["exporter"]["node"])
        except NotHereError as error:
            print("To find its node, and the exporter that runs there:", *error.hints, sep="\n  ", file=sys.stderr)
            raise
        found |= {one["cgroup"]: one for one in chosen}
    return list(found.values())


def limit_patch(container: Container) -> dict[str, Any] | None:
    """Return a strategic merge patch of its owner, else of a pod that can be resized; ``None`` where there is none."""
    recommended = container["recommended"]
    if recommended is None or not container["mapped"] or not container["container"]:
        return None
    cpu = {"cpu": quantity(recommended["next_cores"])}
    resources = {"limits": cpu} | ({"requests": cpu} if container["qos_class"] == "Guaranteed" else {})
    spec: dict[str, Any] = {"containers": [{"name": container["container"], "resources": resources}]}
    kind, name = container["workload_kind"] or "", container["workload"] or ""
    if kind in _API_VERSIONS:
        spec = in_template(kind, spec)
    elif container["resizable"]:
        kind, name = "Pod", container["pod"]
    else:
        return None
    return {
        "apiVersion": _API_VERSIONS.get(kind, "v1"),
        "kind": kind,
        "metadata": {"name": name, "namespace": container["namespace"]},
        "spec": spec,
    }


def _print(document: ContainersDocument, source: str, *, whole: bool) -> None:
    console = console_for(sys.stdout)
    width = max(MIN_WIDTH, console.width)
    lines = overview(document, width)
    if whole:
        lines = [line for one in document["containers"] for line in (Text(), *container_lines(one, width))][1:]
        lines += _node_lines(document, width)
    for line in (*lines, Text(), *_source(document, source, width)):
        console.print(line)


def overview(document: ContainersDocument, width: int) -> list[Text]:
    """Return what is wrong on the node, its worst containers a line each, and how to learn more."""
    containers = document["containers"]
    affected = [one for one in containers if summary.has_problem(one)]
    shown = affected[:MAX_ROWS] or containers[:HEALTHY_ROWS]
    lines = _wrap(f"{summary.headline(document)}.", width, style="bold")
    if shown:
        table = Table.whole_names(width, shown)
        lines += [Text(), table.head, *map(table.row, shown)]
    if len(affected) > len(shown):
        lines.append(Text(f"... and {len(affected) - len(shown)} more"))
    lines += _node_lines(document, width)
    if affected:
        lines += [Text(), *_wrap("Why, and what to do: throttle-exporter explain NAMESPACE/POD[/CONTAINER]", width)]
    return lines


def container_lines(one: Container, width: int) -> list[Text]:
    """Return all lines about one container."""
    style = SEVERITY_STYLE.get(summary.verdict_severity(one), "")
    lines = [Text(summary.full_name(one), "bold"), *_wrap(summary.description(one), width, indent=2)]
    lines += _wrap(summary.verdict(one), width, indent=2, style=style)
    for finding in one["findings"]:
        lines += [Text(), *finding_lines(finding, width)]
    if one["live"]:
        lines += [Text(), *_labelled(summary.facts(one), width, indent=2)]
    return lines


def finding_lines(finding: Finding, width: int) -> list[Text]:
    """Return one finding: what it is, why, what to do, what it rests on, where to read on."""
    severity, reason = finding["severity"], f" ({finding['reason']})" if finding["reason"] else ""
    rests_on = ", ".join(f"{name}={value}" for name, value in summary.evidence(finding))
    return [
        Text.assemble("  ", (severity.upper(), f"bold {SEVERITY_STYLE[severity]}"), f" {finding['name']}{reason}"),
        *_labelled([("", finding["summary"]), ("Do:", finding["advice"])], width, indent=4),
        # Commands and addresses in one piece, however long, for people who copy them.
        *(Text(f"    {'Run:':{_LABEL}}{command}") for command in finding["commands"]),
        *_labelled([("Evidence:", rests_on)] if rests_on else [], width, indent=4),
        Text(f"    {'Read:':{_LABEL}}{DOCS}{finding['docs']}"),
    ]


def _node_lines(document: ContainersDocument, width: int) -> list[Text]:
    found = document["node_findings"]
    return [line for one in found for line in (Text(), Text("The node", "bold"), *finding_lines(one, width))]


def _source(document: ContainersDocument, source: str, width: int) -> list[Text]:
    exporter = document["exporter"]
    node = f"node {exporter['node']}, " if exporter["node"] else ""
    old = max(0.0, time.time() - document["taken_at"])
    parts = [f"{node}{source}, version {exporter['version']}, {old:.1f} s ago."]
    if not exporter["healthy"]:
        parts.append(f"Its samples are late: the last is {summary.age(exporter)} old.")
    if unmapped := exporter["cgroups"].get("unmapped", 0):
        parts.append(f"{words.count(unmapped, 'container')} without a known name.")
    failed = [one for one in exporter["sources"] if one["last_error"]]
    if failed and not any(one["active"] for one in exporter["sources"]):
        parts.append(f"No pod source answers: {failed[0]['last_error']}.")
    return _wrap(" ".join(parts), width, label="Source: ", style="dim")


def _labelled(parts: Iterable[tuple[str, str]], width: int, *, indent: int) -> list[Text]:
    labelled = ((f"{label:{_LABEL}}" if label else "", text) for label, text in parts)
    return [line for label, text in labelled for line in _wrap(text, width, indent=indent, label=label)]


def _wrap(text: str, width: int, *, label: str = "", indent: int = 0, style: str = "") -> list[Text]:
    """Wrap a paragraph; further lines are indented to its first one's text, which stands behind ``label``."""
    before = " " * indent + label
    lines = textwrap.wrap(
        text, min(width, MAX_PROSE), initial_indent=before, subsequent_indent=" " * len(before),
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
    return [Text(line, style) for line in lines or [before.rstrip()]]
