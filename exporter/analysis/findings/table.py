"""The table of findings: to add one, write its function, add its row here and its page in ``docs/findings/``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exporter.analysis.findings import (
    ancestor,
    bursting,
    checkpoint,
    contention,
    intrusion,
    limitless,
    machine,
    pinning,
    quota,
    spec,
)
from exporter.analysis.findings.finding import Cause, Severity
from exporter.analysis.findings.view import View
from exporter.model import CgroupRow


@dataclass(frozen=True, slots=True)
class Rule:
    """One finding. Its page is ``docs/findings/NAME.md``."""

    name: str
    severity: Severity
    """Unless the cause says otherwise."""
    of_container: Callable[[View, CgroupRow], Cause | None] | None = None
    of_node: Callable[[View], Cause | None] | None = None

    @property
    def page(self) -> str:
        """Relative to the repository."""
        return f"docs/findings/{self.name}.md"


RULES: tuple[Rule, ...] = (
    Rule("ancestor_throttled", "warning", ancestor.ancestor_throttled),
    Rule("throttled_below_limit", "warning", bursting.throttled_below_limit),
    Rule("throttled", "warning", quota.throttled),
    Rule("contention", "warning", contention.contention),
    Rule("exclusive_cpu_shared", "warning", intrusion.exclusive_cpu_shared),
    Rule("exclusive_cpu_disturbed", "warning", intrusion.exclusive_cpu_disturbed),
    Rule("eligible_not_pinned", "warning", pinning.eligible_not_pinned),
    Rule("pinned_but_limited", "warning", pinning.pinned_but_limited),
    Rule("numa_spread", "warning", pinning.numa_spread),
    Rule("limit_drift", "warning", spec.limit_drift),
    Rule("cpu_manager_disagrees", "warning", checkpoint.cpuset_disagrees, checkpoint.policy_disagrees),
    Rule("no_quota", "info", limitless.no_quota),
    Rule("cpu_steal", "warning", of_node=machine.cpu_steal),
    Rule("kernel_bug", "warning", of_node=machine.kernel_bug),
)
"""Findings of one severity and weight come in this order."""
