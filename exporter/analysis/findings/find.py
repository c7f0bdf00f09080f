"""Every rule over every container and the node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exporter.analysis.findings.finding import Cause, Finding, Severity
from exporter.analysis.findings.table import RULES, Rule
from exporter.analysis.findings.view import View, name_of
from exporter.model import CgroupName, CgroupRow, Snapshot

_RANK: dict[Severity, int] = {"critical": 0, "warning": 1, "info": 2}
_Found = tuple[Rule, Cause, CgroupName | None]


def find(snapshot: Snapshot) -> tuple[Finding, ...]:
    """All findings of the node, worst first. ``snapshot`` is a detailed one, else bursts can't be told from need."""
    view = View(snapshot)
    return _sorted((*_of_node(view), *_of_containers(view, view.live)))


def find_for(snapshot: Snapshot, name: CgroupName) -> tuple[Finding, ...]:
    """Those of one container, and the node's own, which bear on all of its containers; worst first."""
    view = View(snapshot)
    return _sorted((*_of_node(view), *_of_containers(view, (row for row in view.live if name_of(row) == name))))


def _of_node(view: View) -> Iterator[_Found]:
    for rule in RULES:
        cause = None if rule.of_node is None else rule.of_node(view)
        if cause is not None:
            yield rule, cause, None


def _of_containers(view: View, rows: Iterable[CgroupRow]) -> Iterator[_Found]:
    rules = [(rule, rule.of_container) for rule in RULES if rule.of_container is not None]
    for row in rows:
        for rule, function in rules:
            cause = function(view, row)
            if cause is not None:
                yield rule, cause, name_of(row)


def _sorted(found: Iterable[_Found]) -> tuple[Finding, ...]:
    worst_first = sorted(found, key=lambda one: (_RANK[one[1].severity or one[0].severity], -one[1].weight))
    return tuple(
        Finding(
            name=rule.name,
            severity=cause.severity or rule.severity,
            subject=subject,
            summary=cause.summary,
            advice=cause.advice,
            reason=cause.reason,
            evidence=cause.evidence,
        )
        for rule, cause, subject in worst_first
    )
