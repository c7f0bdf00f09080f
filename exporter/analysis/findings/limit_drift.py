"""The finding about a limit that is not the spec's."""

from __future__ import annotations

from exporter.analysis import text
from exporter.analysis.findings.finding import Finding, finding
from exporter.analysis.findings.nodeview import NodeView
from exporter.model import CgroupRow


def limit_drift(_view: NodeView, row: CgroupRow) -> Finding | None:
    """The cgroup's limit is not what the pod's spec asks for."""
    limits, spec = row.limits, row.container_spec
    if row.limit_drift is not True or limits is None or spec is None:
        return None
    actual, wanted = limits.limit_cores, spec.limit_cores
    inherited = None if row.pod_spec is None else row.pod_spec.limit_cores
    if actual is None:
        reason, told = "missing", "and its cgroup has none"
    else:
        reason, told = (
            ("different" if wanted or inherited else "unexpected"),
            f"and its cgroup has {text.limit(actual)}",
        )
    asks = "no limit" if not wanted else f"a limit of {text.limit(wanted)}"
    if not wanted and inherited:
        asks = f"no limit of its own under its pod's {text.limit(inherited)}"
    return finding(
        "limit_drift",
        row,
        summary=f"Its spec asks for {asks}, {told}.",
        advice="Find out what rewrote it (systemctl daemon-reload, a resize that failed, an edit by hand), and restart "
        "the pod.",
        reason=reason,
        evidence={
            "limit_cores": actual,
            "spec_limit_cores": wanted,
            "allocated_limit_cores": spec.allocated_limit_cores,
            "pod_spec_limit_cores": inherited,
            "period_seconds": limits.period_seconds,
        },
    )
