"""What the CPU manager's checkpoint says against what the cgroups say."""

from __future__ import annotations

from exporter.analysis import text
from exporter.analysis.findings.finding import Finding, finding
from exporter.analysis.ledger import Ledger
from exporter.analysis.nodeview import NodeView
from exporter.cpulist import format_cpu_list
from exporter.model import CgroupRow

_PATH = "/var/lib/kubelet/cpu_manager_state"


def policy_of(view: NodeView) -> str | None:
    """The CPU manager's policy, as the kubelet says, else as its checkpoint does."""
    node = view.node
    if node.kubelet is not None and node.kubelet.cpu_manager_policy is not None:
        return node.kubelet.cpu_manager_policy
    return None if node.checkpoint is None else node.checkpoint.policy


def checkpointed(view: NodeView, row: CgroupRow) -> frozenset[int] | None:
    """The CPUs that the checkpoint has for a container."""
    if view.node.checkpoint is None:
        return None
    entries = view.node.checkpoint.entries
    return entries.get((row.ref.pod_uid, row.container or "")) or entries.get(("", row.ref.container_id or ""))


def cpuset_disagrees(view: NodeView, row: CgroupRow, _ledger: Ledger | None) -> Finding | None:
    """A container's cpuset is not what the CPU manager believes it to be.

    A container without a window is too young: the kubelet narrows its cpuset just after the start.
    """
    checkpoint = view.node.checkpoint
    if checkpoint is None or row.cpuset is None or not row.cpuset.cpus or row.deltas is None:
        return None
    actual, entry = row.cpuset.cpus, checkpointed(view, row)
    if entry is not None and entry < actual and row.isolation == "exclusive":
        return None  # CRI-O's mixed CPUs: shared ones are added to its own
    if entry is not None and entry != actual:
        return finding(
            "cpu_manager_disagrees",
            row,
            summary=f"The CPU manager gave it {text.numbered(entry)}, and its cgroup says {format_cpu_list(actual)}.",
            advice="Find what rewrote its cpuset (systemctl daemon-reload does), and restart the pod.",
            reason="cpuset",
            evidence={"checkpoint_cpus": format_cpu_list(entry), "cpus": format_cpu_list(actual)},
            impact=float(len(entry ^ actual)),
        )
    if entry is None and row.isolation == "exclusive":
        return finding(
            "cpu_manager_disagrees",
            row,
            summary=f"It is alone on {text.numbered(actual)}, of which the CPU manager (policy {checkpoint.policy}) "
            "knows nothing: it may give them to another container.",
            advice="Find out who pins it (a runtime hook, another daemon), and let only one of the two do it.",
            reason="not_in_checkpoint",
            evidence={"cpus": format_cpu_list(actual), "checkpoint_policy": checkpoint.policy},
            severity="info",
            impact=float(len(actual)),
        )
    return None


def policy_disagrees(view: NodeView) -> Finding | None:
    """The kubelet runs another policy than its checkpoint was written by."""
    checkpoint, kubelet = view.node.checkpoint, view.node.kubelet
    if checkpoint is None or kubelet is None or kubelet.cpu_manager_policy in {None, checkpoint.policy}:
        return None
    return finding(
        "cpu_manager_disagrees",
        None,
        summary=f"The kubelet's CPU manager policy is {kubelet.cpu_manager_policy}, and its checkpoint was written by "
        f"{checkpoint.policy} with {text.count(len(checkpoint.entries), 'container')} in it.",
        advice=f"Drain the node, stop the kubelet, delete {_PATH}, and start it again.",
        reason="policy",
        evidence={
            "cpu_manager_policy": kubelet.cpu_manager_policy or "",
            "checkpoint_policy": checkpoint.policy,
            "checkpoint_containers": len(checkpoint.entries),
        },
    )
