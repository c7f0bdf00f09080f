"""What ``explain`` may and must say of a cause."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.analysis.findings import Finding
from exporter.cli.source import containers_document
from exporter.report.schema import Container, ContainersDocument
from tests.support.process import Exporter, run


@dataclass(frozen=True)
class Told:
    """What ``explain NAME --output json`` said."""

    document: ContainersDocument
    exit_code: int

    @property
    def container(self) -> Container:
        [one] = self.document["containers"]
        return one

    @property
    def findings(self) -> Sequence[Finding]:
        """Its own, then the node's."""
        return [*self.container["findings"], *self.document["node_findings"]]


def explain(exporter: Exporter, name: str) -> Told:
    """The real command against a running exporter."""
    done = run("explain", name, f"--url=http://{exporter.host}:{exporter.port}", "--output=json", "--exit-code")
    if done.returncode not in {0, 1}:
        raise AssertionError(f"explain {name} ended with {done.returncode}: {done.stderr}")
    return Told(containers_document(json.loads(done.stdout)), done.returncode)


@dataclass(frozen=True)
class Case:
    """One cause, whom it befalls, and what may be said of it."""

    title: str
    subject: str
    """``namespace/pod/container``."""
    named: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Findings that must be made, each with the reasons that are right."""
    tolerated: Mapping[str, str] = field(default_factory=dict)
    """Findings that may be made beside them, and why they are not wrong."""
    exit_code: int = 1


def wrong(case: Case, told: Told) -> list[str]:
    """What is wrong with the answer; empty where nothing is."""
    found = {finding["name"]: finding for finding in told.findings}
    complaints = [f"{case.title}: {name} is missing" for name in case.named if name not in found]
    for name, finding in found.items():
        if name not in case.named and name not in case.tolerated:
            complaints.append(f"{case.title}: {name} is not the cause: {finding['summary']}")
        elif name in case.named and finding["reason"] not in case.named[name]:
            complaints.append(f"{case.title}: {name} has the reason {finding['reason']!r}: {finding['summary']}")
    # What is tolerated may ask for something where what is named does not.
    asks = any(found[name]["severity"] != "info" for name in found.keys() & case.tolerated.keys())
    if told.exit_code != (case.exit_code or int(asks)):
        complaints.append(f"{case.title}: the exit code is {told.exit_code}")
    return complaints


def spelled(finding: Finding) -> str:
    """Its name and its reason, if it has one."""
    return finding["name"] + (f"({finding['reason']})" if finding["reason"] else "")
