"""Findings as strings for the templates: one alone, or all of one name together. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.analysis import text
from exporter.model import CgroupName
from exporter.report import DOCS, Container, Finding
from exporter.report.impact import rank
from exporter.report.summary import evidence, title

MAX_FULL: Final = 5
"""Containers of one finding with their own summary."""
MAX_NAMED: Final = 50
"""Further ones that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingView:
    """One finding."""

    subject: CgroupName | None
    """``None`` for the node."""
    name: str
    title: str
    severity: str
    reason: str
    summary: str
    advice: str
    commands: Sequence[str]
    """What carries the advice out."""
    explain: str
    """Explains the subject from anywhere; empty for the node."""
    evidence: Sequence[tuple[str, str]]
    docs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingGroup:
    """All findings of one name."""

    name: str
    title: str
    severity: str
    """The worst of them."""
    number: int
    full: Sequence[FindingView]
    advice: str
    """What all of those ask for; empty where each asks for its own."""
    named: Sequence[CgroupName]
    more: int
    """Neither in ``full`` nor in ``named``."""
    docs: str


def finding_view(finding: Finding) -> FindingView:
    """Return one finding with its evidence as text."""
    subject = None if finding["subject"] is None else CgroupName(**finding["subject"])
    return FindingView(
        subject=subject,
        name=finding["name"],
        title=title(finding),
        severity=finding["severity"],
        reason=finding["reason"].replace("_", " "),
        summary=finding["summary"],
        advice=finding["advice"],
        commands=finding["commands"],
        explain=f"kubectl throttle explain {shlex.quote(text.full_name(subject))}" if subject else "",
        evidence=list(evidence(finding)),
        docs=DOCS + finding["docs"],
    )


def finding_groups(containers: Iterable[Container], node_findings: Iterable[Finding]) -> list[FindingGroup]:
    """Return findings by name, the worst severity first; within a severity the containers' order is kept."""
    groups: dict[tuple[bool, str], list[Finding]] = {}
    for finding in (*node_findings, *(finding for one in containers for finding in one["findings"])):
        groups.setdefault((finding["severity"] == "info", finding["name"]), []).append(finding)
    return sorted(map(_group, groups.values()), key=lambda group: rank(group.severity))


def _group(findings: list[Finding]) -> FindingGroup:
    findings.sort(key=lambda finding: finding["severity"] != "critical")
    # One alone is not worth hiding.
    split = MAX_FULL if len(findings) > MAX_FULL + 1 else MAX_FULL + 1
    full = [finding_view(finding) for finding in findings[:split]]
    rest = [CgroupName(**finding["subject"]) for finding in findings[split:] if finding["subject"] is not None]
    return FindingGroup(
        name=full[0].name,
        title=full[0].title,
        severity=full[0].severity,
        number=len(findings),
        full=full,
        advice=full[0].advice if len({one.advice for one in full}) == 1 else "",
        named=rest[:MAX_NAMED],
        more=max(0, len(rest) - MAX_NAMED),
        docs=full[0].docs,
    )
