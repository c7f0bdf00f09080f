"""The worst containers of a node, a line each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from exporter.analysis import text as words
from exporter.cli.terminal.explaining import finding_lines, troubles
from exporter.cli.terminal.table import Line, Table, plain
from exporter.cli.terminal.text import Look, made_harmless
from exporter.report import Container, ContainersDocument, Finding

MOST: Final = 15
"""Lines of containers; more do not fit on a screen with what stands around them."""
FEWEST: Final = 5
"""Shown although nothing is wrong with them."""


def overview(document: ContainersDocument, look: Look) -> list[str]:
    """What is wrong on the node, the worst containers, and how to learn more."""
    containers = document["containers"]
    hurt = [one for one in containers if troubles(one["findings"])]
    shown = (hurt or containers)[: MOST if hurt else FEWEST]
    lines = look.wrap(headline(containers, document["node_findings"]))
    lines = [look.paint(line, "bold") for line in lines]
    if shown:
        table = Table.fitting(look.width, shown)
        lines += ["", look.paint(plain(table.head), "dim")]
        lines += [painted(table.row(one), look) for one in shown]
    if len(hurt) > len(shown):
        lines += [f"... and {len(hurt) - len(shown)} more"]
    for finding in made_harmless(document["node_findings"]):
        lines += ["", look.paint("The node", "bold"), *finding_lines(finding, look)]
    if hurt:
        lines += ["", *look.wrap("Why, and what to do: throttle-exporter explain NAMESPACE/POD[/CONTAINER]")]
    return lines


def headline(containers: Sequence[Container], node_findings: Sequence[Finding]) -> str:
    """``3 of 12 containers have findings: 1 critical, 2 warnings.`` And the node's own."""
    found = [one["findings"] for one in containers if troubles(one["findings"])]
    total = words.count(len(containers), "container")
    if not containers:
        text = "No container runs on this node, or none is known yet."
    elif found:
        text = f"{len(found)} of {total} {'has' if len(found) == 1 else 'have'} findings: {_severities(containers)}."
    else:
        text = f"{'The container is' if len(containers) == 1 else f'All {total} are'} healthy."
    of_node = troubles(node_findings)
    return f"{text} The node itself has {words.count(len(of_node), 'finding')}." if of_node else text


def painted(line: Line, look: Look) -> str:
    """A line of the table with its styles."""
    return "".join(look.paint(cell.text, cell.style) for cell in line) if look.colours else plain(line)


def _severities(containers: Sequence[Container]) -> str:
    critical = sum(one["severity"] == "critical" for one in containers)
    warning = sum(one["severity"] == "warning" for one in containers)
    parts = [f"{critical} critical"] * bool(critical) + [words.count(warning, "warning")] * bool(warning)
    return ", ".join(parts)
