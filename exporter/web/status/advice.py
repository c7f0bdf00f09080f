"""Findings as they are shown: alone on a container's page, together by kind on the node's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.report import DOCS, Container, Finding
from exporter.report.impact import rank
from exporter.web.status.label import Label, label
from exporter.web.status.verdict import titled

FULL: Final = 5
"""Containers of one finding that are told in full."""
NAMED: Final = 50
"""Further ones that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One finding."""

    who: Label | None
    """``None`` for the node."""
    name: str
    title: str
    severity: str
    reason: str
    summary: str
    advice: str
    evidence: Sequence[tuple[str, str]]
    docs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All findings of one name."""

    name: str
    title: str
    severity: str
    """The worst of them."""
    number: int
    full: Sequence[Told]
    advice: str
    """What all of those ask for; empty where each asks for its own."""
    named: Sequence[Label]
    more: int
    """Neither told nor named."""
    docs: str


def told(finding: Finding) -> Told:
    """One finding, with its evidence as text, by the names that its page explains."""
    return Told(
        who=None if finding["subject"] is None else label(finding["subject"]),
        name=finding["name"],
        title=titled(finding),
        severity=finding["severity"],
        reason=finding["reason"].replace("_", " "),
        summary=finding["summary"],
        advice=finding["advice"],
        evidence=[
            (key, value if isinstance(value, str) else f"{value:.6g}") for key, value in finding["evidence"].items()
        ],
        docs=DOCS + finding["docs"],
    )


def grouped(containers: Iterable[Container], node_findings: Iterable[Finding]) -> list[Group]:
    """By name. Within a group, and among groups of one severity, the order of the containers is kept: worst first."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    found = [*node_findings, *(finding for one in containers for finding in one["findings"])]
    for finding in found:
        kind = "info" if finding["severity"] == "info" else "trouble"
        groups.setdefault((kind, finding["name"]), []).append(finding)
    made = [_group(findings) for findings in groups.values()]
    return sorted(made, key=lambda group: rank(group.severity))


def _group(findings: list[Finding]) -> Group:
    findings.sort(key=lambda finding: finding["severity"] != "critical")
    # One alone is not worth hiding.
    at = FULL if len(findings) > FULL + 1 else FULL + 1
    full = [told(finding) for finding in findings[:at]]
    rest = [label(finding["subject"]) for finding in findings[at:] if finding["subject"] is not None]
    advices = {one.advice for one in full}
    return Group(
        name=full[0].name,
        title=full[0].title,
        severity=full[0].severity,
        number=len(findings),
        full=full,
        advice=full[0].advice if len(advices) == 1 else "",
        named=rest[:NAMED],
        more=max(0, len(rest) - NAMED),
        docs=full[0].docs,
    )
