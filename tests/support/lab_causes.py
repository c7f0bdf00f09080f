"""What ``explain`` may and must say of a cause, and the table of all causes that a run prints at its end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from exporter.analysis.findings import Finding
from exporter.cli.source import containers_document
from exporter.report.schema import Container, ContainersDocument
from tests.support.lab import in_background
from tests.support.pages import Page
from tests.support.process import Exporter, run

SAMPLES = "throttle_exporter_sample_duration_seconds_count"


@dataclass(frozen=True)
class Told:
    """What ``explain NAME --output json`` said, and how long that took by the clock on the wall."""

    document: ContainersDocument
    exit_code: int
    seconds: float

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
    begun = time.monotonic()
    done = run("explain", name, f"--url=http://{exporter.host}:{exporter.port}", "--output=json", "--exit-code")
    seconds = time.monotonic() - begun
    if done.returncode not in {0, 1}:
        raise AssertionError(f"explain {name} ended with {done.returncode}: {done.stderr}")
    return Told(containers_document(json.loads(done.stdout)), done.returncode, seconds)


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
    complaints = [f"{name} is missing" for name in case.named if name not in found]
    for name, finding in found.items():
        if name not in case.named and name not in case.tolerated:
            complaints.append(f"{name} is not the cause: {finding['summary']}")
        elif name in case.named and finding["reason"] not in case.named[name]:
            complaints.append(f"{name} has the reason {finding['reason']!r}: {finding['summary']}")
    # What is tolerated may ask for something where what is named does not.
    asks = any(found[name]["severity"] != "info" for name in found.keys() & case.tolerated.keys())
    if told.exit_code != (case.exit_code or int(asks)):
        complaints.append(f"the exit code is {told.exit_code}")
    return complaints


class Table:
    """Cause against finding, printed at the end of the run whatever else is captured: a plugin of pytest."""

    NAME = "cause-against-finding"

    def __init__(self) -> None:
        self._rows = [("CAUSE", "EXPLAIN NAMES", "EXIT", "WALL")]

    @classmethod
    def of(cls, config: pytest.Config) -> Table:
        """The one of this run."""
        found = config.pluginmanager.get_plugin(cls.NAME)
        if isinstance(found, cls):
            return found
        made = cls()
        config.pluginmanager.register(made, cls.NAME)
        return made

    def check(self, case: Case, told: Told) -> list[str]:
        """Writes the row; returns what is wrong with it."""
        complaints = wrong(case, told)
        lines = [_spelled(one) + ("" if one["name"] in case.named else ", beside it") for one in told.findings]
        lines = [*(lines or ["nothing"]), *(f"WRONG: {one}" for one in complaints)]
        self._rows.append((case.title, lines[0], str(told.exit_code), f"{told.seconds:.2f} s"))
        self._rows += [("", line, "", "") for line in lines[1:]]
        return [f"{case.title}: {one}" for one in complaints]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("cause against finding")
        widths = [max(map(len, column)) for column in zip(*self._rows, strict=True)]
        for row in self._rows:
            terminalreporter.write_line("  ".join(map(str.ljust, row, widths)).rstrip())


def _spelled(finding: Finding) -> str:
    return f"{finding['severity']} {finding['name']}" + (f" ({finding['reason']})" if finding["reason"] else "")


def told_and_paged_in_one_sample(exporter: Exporter, name: str) -> tuple[Told, float, Page]:
    """An answer, a moment and a page of one and the same sample: they rest on the same windows."""
    for _ in range(10):
        pages: list[tuple[float, Page, float]] = []

        def fetch(stop: threading.Event, pages: list[tuple[float, Page, float]] = pages) -> None:
            while True:
                before = time.time()
                page = exporter.page()
                pages.append((before, page, time.time()))
                if stop.wait(0.1):
                    return

        with in_background(fetch):
            told = explain(exporter, name)
        before = time.time()  # the answer may be so quick that no page was asked for since
        pages.append((before, exporter.page(), time.time()))
        taken_at = told.document["taken_at"]
        earlier = [page for _, page, after in pages if after <= taken_at]
        later = [page for before, page, _ in pages if before >= taken_at]
        if earlier and later and earlier[-1].total(SAMPLES) == later[0].total(SAMPLES):
            return told, taken_at, later[0]
    raise AssertionError("a sample is taken in the middle of each answer")
