"""The truth about containers of known state, and what the exporter says of them, look by look."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from exporter.cli.source import containers_document
from exporter.report.schema import Container as Report
from tests.support.lab_causes import spelled
from tests.support.process import Exporter

KINDS = "FALSE ACCUSATION", "WRONG CULPRIT", "MISSED CAUSE"


@dataclass(frozen=True)
class Truth:
    """What is the matter with a container, and what may be said of it."""

    cause: str = "healthy"
    finding: str = ""
    reasons: Collection[str] = ("",)
    culprit: str = ""
    """Part of the summary that names it."""
    tolerated: Collection[str] = ()
    """Findings that are true beside it."""
    is_waiting: bool = False
    """Whether only a kernel that counts waiting can tell."""

    def wrong(self, one: Report, tolerated: Collection[str]) -> list[str]:
        """Return what is wrong with the findings, each beginning with the kind of error."""
        found = {finding["name"]: finding for finding in one["findings"]}
        errors = [
            f"{KINDS[0]}: {spelled(finding)}: {finding['summary']}"
            for name, finding in found.items()
            if name != self.finding and name not in {*self.tolerated, *tolerated}
        ]
        named = found.get(self.finding)
        if named is not None:
            if named["reason"] not in self.reasons or self.culprit not in named["summary"]:
                errors.append(f"{KINDS[1]}: {spelled(named)}: {named['summary']}")
        elif self.finding and not (self.is_waiting and "waited" in (one["ledger"] or {"unknown": {}})["unknown"]):
            errors.append(f"{KINDS[2]}: {self.finding}, {json.dumps(one['ledger'])}")
        return errors


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Looks:
    """Cause against finding, a column for each look."""

    def __init__(self) -> None:
        self.cells: dict[str, list[str]] = {}
        self.errors: Counter[str] = Counter()
        self.number = 0

    def look(self, exporter: Exporter, truths: Mapping[str, Truth], tolerated: Collection[str]) -> None:
        """Ask the exporter, compare, and print what is wrong."""
        document = containers_document(json.loads(exporter.get("/api/v1/containers", timeout=60.0).text))
        found = {f"{one['pod']}/{one['container']}": one for one in document["containers"] if one["live"]}
        node = ", ".join(map(spelled, document["node_findings"])) or "none"
        self.number += 1
        say(f"look {self.number}, {len(found)} containers; findings of the node: {node}")
        for name, truth in truths.items():
            errors = truth.wrong(found[name], tolerated)
            cell = "+".join(map(spelled, found[name]["findings"])) or "-"
            if truth.is_waiting and cell == "-" and not errors:
                cell = "unknown"
            before = self.cells.setdefault(name, [""] * (self.number - 1))
            before.append(f"{truth.cause}: {cell}{' WRONG' * bool(errors)}")
            for error in errors:
                self.errors[error.partition(":")[0]] += 1
                say(f"  {name} ({truth.cause}): {error}")

    def report(self) -> None:
        """Print the table, without the healthy containers of which nothing was ever said."""
        quiet = [name for name, cells in self.cells.items() if set(cells) <= {"", "healthy: -"}]
        for name in self.cells:
            if name in quiet:
                continue
            say(name)
            for cell, looks in groupby(enumerate(self.cells[name], 1), key=itemgetter(1)):
                say(f"  {', '.join(str(number) for number, _ in looks):20} {cell}")
        answers = sum(cell != "" for cells in self.cells.values() for cell in cells)
        errors = ", ".join(f"{self.errors[kind]} {kind.lower()}" for kind in KINDS)
        say(f"{len(quiet)} healthy containers without a finding; {answers} answers in {self.number} looks: {errors}")
