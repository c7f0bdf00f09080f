"""The rules that find problems of containers and node: pure functions of a snapshot, each making one finding.

A finding never rests on an absent value: what is unknown is left out, and then the finding is not made.
"""

from __future__ import annotations

from exporter.analysis.findings.contention import contention
from exporter.analysis.findings.finding import ContainerView, Finding, Name, Severity, finding
from exporter.analysis.findings.limits import limit_drift, limit_exceeded, limit_not_enforced, no_quota
from exporter.analysis.findings.node import cpu_saturated, cpu_steal, kernel_bug, policy_disagrees
from exporter.analysis.findings.pinning import (
    cpuset_disagrees,
    eligible_not_pinned,
    exclusive_cpu_disturbed,
    exclusive_cpu_shared,
    numa_spread,
    pinned_but_limited,
)
from exporter.analysis.findings.quotas import ancestor_throttled, nested_throttled, throttled
from exporter.analysis.nodeview import NodeView
from exporter.model import Snapshot

__all__ = ["Finding", "Name", "Severity", "find", "finding"]

_OF_NODE = (policy_disagrees, cpu_saturated, cpu_steal, kernel_bug)
_OF_CONTAINER = (
    ancestor_throttled,
    nested_throttled,
    throttled,
    contention,
    exclusive_cpu_shared,
    exclusive_cpu_disturbed,
    eligible_not_pinned,
    pinned_but_limited,
    numa_spread,
    limit_drift,
    limit_not_enforced,
    limit_exceeded,
    cpuset_disagrees,
    no_quota,
)
"""Findings of one severity and impact come in this order."""
_SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")


def find(snapshot: Snapshot) -> tuple[Finding, ...]:
    """Return all findings, worst first. ``snapshot`` is a detailed one, else bursts can't be told from need."""
    view = NodeView(snapshot)
    containers = [ContainerView(view, row) for row in view.live]
    found = [rule(view, containers) for rule in _OF_NODE]
    found += [rule(container) for container in containers for rule in _OF_CONTAINER]
    return tuple(sorted(filter(None, found), key=lambda one: (_SEVERITIES.index(one["severity"]), -one["impact"])))
