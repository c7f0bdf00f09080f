"""The demo's node: eight pods, each with one way to get, lose or share its CPU, in cgroups or in simulated files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from exporter.lab.cgroups import CgroupTree, Hierarchy
from exporter.lab.spec import Container, CpuSettings, Pod, Workload, shares
from exporter.lab.workloads import Workforce
from exporter.model import Driver


class Scenario(NamedTuple):
    """Pods, and the CPU manager's shared pool; without one its policy is ``none``."""

    pods: tuple[Pod, ...]
    shared_cpus: frozenset[int] | None


class Node(NamedTuple):
    """A node whose counters move: its root for ``--path.cgroup``, its pods, and where it is, for people."""

    cgroup_root: Path
    scenario: Scenario
    place: str
    move: Callable[[], None] = lambda: None  # to be called about ten times a second; does nothing where processes run


def demo(cpus: frozenset[int], node: str) -> Scenario:
    """Return the demo for these CPUs: it uses about one; the highest is exclusive if there are two or more."""
    pinned = frozenset({max(cpus)}) if len(cpus) > 1 else None
    pods = (
        # Three busy workers share a fifth of a CPU: out of quota in every period.
        Pod("shop", "checkout-7d9f8b6c5d-x2k9p", "ReplicaSet", "checkout", (
            Container("migrate", 0.1, 0.2, container_type="init", finished=True),
            Container("log-shipper", 0.01, 0.1, container_type="sidecar"),
            Container("app", 0.1, 0.2, Workload("busy", 3)),
        )),
        # A quarter of its limit on average, and throttled: each second eight workers want 20 ms at once.
        Pod("shop", "catalog-5c68f7d9c4-q7r2m", "ReplicaSet", "catalog", (
            Container("api", 0.2, 0.6, Workload("bursty", 8, unit_seconds=0.02)),
            Container("cache", 0.05),
        )),
        Pod("shop", "frontend-66b6c48dd5-8mzsl", "ReplicaSet", "frontend", (Container("nginx", 0.1, 1.0),)),
        # Guaranteed with a whole CPU: the static CPU manager gives it one, and the kubelet sets no quota.
        Pod("data", "trainer-0", "StatefulSet", "trainer", (
            Container("worker", 1.0, 1.0, Workload("bursty", 1, 0.04, every_seconds=0.2), exclusive_cpus=pinned),
        )),
        # The pod's own limit stops both containers, and neither reaches a quota of its own.
        Pod("data", "report-28766160-l4x8c", "Job", "report-28766160", (
            Container("query", workload=Workload("busy")),
            Container("render", workload=Workload("busy")),
        ), limit_cores=0.15),
        # BestEffort: no quota.
        Pod("data", "indexer-7f4b9", "DaemonSet", "indexer", (
            Container("scan", workload=Workload("bursty", 1, 0.02, every_seconds=0.4)),
        )),
        # CFS burst lets it use what it saved while it slept.
        Pod("kube-system", "node-agent", "", "", (
            Container("agent", 0.1, 0.2, Workload("bursty", 1, 0.03, every_seconds=0.5), burst_us=20_000),
        ), static=True),
        Pod("kube-system", "dns-autoscaler-6d8c8d7b9-h5w2t", "ReplicaSet", "dns-autoscaler", (
            Container("autoscaler", 0.02, 0.05, Workload("bursty", 1, 0.002, every_seconds=0.5)),
        )),
    )  # fmt: skip
    return Scenario(tuple(pod.identified(node) for pod in pods), cpus - pinned if pinned else None)


@contextmanager
def real_node(hierarchy: Hierarchy, scenario: Scenario, driver: Driver = "cgroupfs") -> Iterator[Node]:
    """Yield the scenario in cgroups with processes."""
    with TemporaryDirectory() as folder, CgroupTree(hierarchy, "demo", driver) as tree, Workforce() as workforce:
        # As the kubelet does for allocatable CPUs: against the rest of the machine the pods count as all its CPUs.
        for group in ("", scenario.pods[0].cgroup(driver).partition("/")[0]):
            tree.make(group, CpuSettings(shares=shares(len(hierarchy.cpus()))))
        for pod in scenario.pods:
            tree.add_pod(pod, scenario.shared_cpus)
            for path, _, workload in pod.cgroups(driver):
                workforce.start(workload, tree.members(path))
        place = f"real cgroups ({hierarchy.version}) in {hierarchy.mounts['cpu'] / tree.prefix}"
        yield Node(tree.own_root(Path(folder)), scenario, place)
