"""The finding about a container that nothing bounds."""

from __future__ import annotations

from exporter.analysis import text, thresholds
from exporter.analysis.findings.finding import Finding, finding
from exporter.analysis.findings.nodeview import NodeView, use
from exporter.model import CgroupRow


def no_quota(view: NodeView, row: CgroupRow) -> Finding | None:
    """Nothing bounds it: its limit is not enforced, or it has none and fills CPUs that others share."""
    limits, spec = row.limits, row.container_spec
    if limits is None or limits.quota_state != "none" or row.isolation == "exclusive":
        return None
    kubelet = view.node.kubelet
    if spec is not None and spec.limit_cores and kubelet is not None and kubelet.cpu_cfs_quota is False:
        return finding(
            "no_quota",
            row,
            summary=f"Its limit of {text.limit(spec.limit_cores)} is not enforced: this node's kubelet runs with "
            "cpuCFSQuota false.",
            advice="Nothing to do if that is on purpose; containers here are held back by their requests alone, and "
            "throttling cannot happen.",
            reason="not_enforced",
            severity="info",
            evidence={"spec_limit_cores": spec.limit_cores, "usage_cores": use(row)},
        )
    return _unbounded(view, row)


def _unbounded(view: NodeView, row: CgroupRow) -> Finding | None:
    own, cpus = use(row), 0 if row.cpuset is None else len(row.cpuset.cpus)
    spec = row.container_spec
    if own is None or spec is None or not cpus or row.effective_limit_cores != float(cpus):
        return None
    request = spec.request_cores or 0.0
    if own < thresholds.UNBOUNDED_SHARE * cpus or own <= request or not view.neighbours(row):
        return None
    asked = f"a request of {text.limit(request)}" if request else "no request"
    return finding(
        "no_quota",
        row,
        summary=f"It uses {text.cpus(own)} of the {cpus} it shares with others, without a limit and with {asked}.",
        advice="Give it a request that fits its use, so that the scheduler leaves room for it, or a limit.",
        reason="unbounded",
        severity="info",
        evidence={"usage_cores": own, "cpuset_cpus": cpus, "spec_request_cores": spec.request_cores},
        impact=own - request,
    )
