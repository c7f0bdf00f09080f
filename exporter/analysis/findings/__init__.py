"""Problems of containers and node: pure functions of a snapshot, each making one finding with its numbers and advice.

A finding never rests on an absent value: what is unknown is left out, and then the finding is not made. To add one,
write its function in a module of its name, add it to the tuple here, and write its page in ``docs/findings/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exporter.analysis.findings.ancestor_throttled import ancestor_throttled, nested_throttled
from exporter.analysis.findings.contention import contention
from exporter.analysis.findings.cpu_manager_disagrees import cpuset_disagrees, policy_disagrees
from exporter.analysis.findings.cpu_steal import cpu_saturated, cpu_steal, kernel_bug
from exporter.analysis.findings.eligible_not_pinned import eligible_not_pinned, numa_spread, pinned_but_limited
from exporter.analysis.findings.exclusive_cpu_shared import exclusive_cpu_disturbed, exclusive_cpu_shared
from exporter.analysis.findings.finding import Finding, Name, Severity, finding
from exporter.analysis.findings.limit_drift import limit_drift, limit_not_enforced, no_quota
from exporter.analysis.findings.throttled import throttled, throttled_below_limit
from exporter.analysis.ledger import ledger_of
from exporter.analysis.nodeview import NodeView, name_of
from exporter.model import CgroupName, CgroupRow, Snapshot

__all__ = ["NAMES", "Finding", "Name", "Severity", "find", "find_for", "finding"]

NAMES = (
    "ancestor_throttled",
    "nested_throttled",
    "throttled_below_limit",
    "throttled",
    "contention",
    "exclusive_cpu_shared",
    "exclusive_cpu_disturbed",
    "eligible_not_pinned",
    "pinned_but_limited",
    "numa_spread",
    "limit_drift",
    "limit_not_enforced",
    "cpu_manager_disagrees",
    "no_quota",
    "cpu_saturated",
    "cpu_steal",
    "kernel_bug",
)
"""Every finding there is. Those of one severity and impact come in this order."""

_OF_CONTAINER = (
    ancestor_throttled,
    nested_throttled,
    throttled_below_limit,
    throttled,
    contention,
    exclusive_cpu_shared,
    exclusive_cpu_disturbed,
    eligible_not_pinned,
    pinned_but_limited,
    numa_spread,
    limit_drift,
    limit_not_enforced,
    cpuset_disagrees,
    no_quota,
)
_OF_NODE = (policy_disagrees, cpu_saturated, cpu_steal, kernel_bug)
_RANK: dict[Severity, int] = {"critical": 0, "warning": 1, "info": 2}


def find(snapshot: Snapshot) -> tuple[Finding, ...]:
    """Return all findings, worst first. ``snapshot`` is a detailed one, else bursts can't be told from need."""
    view = NodeView(snapshot)
    return _sorted((*_of_node(view), *_of_containers(view, view.live)))


def find_for(snapshot: Snapshot, name: CgroupName) -> tuple[Finding, ...]:
    """Return those of one container, and the node's own, which bear on all of its containers; worst first."""
    view = NodeView(snapshot)
    return _sorted((*_of_node(view), *_of_containers(view, (row for row in view.live if name_of(row) == name))))


def _of_node(view: NodeView) -> Iterator[Finding]:
    return (found for rule in _OF_NODE if (found := rule(view)) is not None)


def _of_containers(view: NodeView, rows: Iterable[CgroupRow]) -> Iterator[Finding]:
    for row in rows:
        ledger = ledger_of(view, row)
        yield from (found for rule in _OF_CONTAINER if (found := rule(view, row, ledger)) is not None)


def _sorted(found: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(found, key=lambda one: (_RANK[one["severity"]], -one["impact"])))
