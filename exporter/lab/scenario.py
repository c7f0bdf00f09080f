"""The demo's node: eight pods, each with one way to get, lose or share its CPU, in cgroups or in simulated files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.identities import ContainerType
from exporter.lab.hierarchy import Hierarchy
from exporter.lab.spec import Container, CpuSettings, Pod, Workload, pods_cgroup, shares
from exporter.lab.stale_marker import own_prefix
from exporter.lab.synthetic import SyntheticTree
from exporter.lab.tree import KubepodsTree
from exporter.lab.workloads import Workforce
from exporter.model import Driver

_BUSY = Workload(kind="busy")


def _bursty(unit_seconds: float, every_seconds: float, workers: int = 1) -> Workload:
    return Workload(kind="bursty", unit_seconds=unit_seconds, every_seconds=every_seconds, workers=workers)


# Pod, kind and name of its owner, the pod's own limit, and for each container: name, request, limit, workload.
# All of it together asks for about one CPU, half of a small machine.
_PODS: tuple[tuple[str, str, str, float | None, tuple[tuple[str, float | None, float | None, Workload], ...]], ...] = (
    # Three busy workers share a fifth of a CPU: out of quota in every period.
    ("shop/checkout-7d9f8b6c5d-x2k9p", "ReplicaSet", "checkout", None, (
        ("migrate", 0.1, 0.2, Workload()),
        ("log-shipper", 0.01, 0.1, Workload()),
        ("app", 0.1, 0.2, Workload(kind="busy", workers=3)),
    )),
    # A quarter of its limit on average, and throttled: each second eight workers want 20 ms at once.
    ("shop/catalog-5c68f7d9c4-q7r2m", "ReplicaSet", "catalog", None, (
        ("api", 0.2, 0.6, _bursty(0.02, 1.0, workers=8)),
        ("cache", 0.05, None, Workload()),
    )),
    ("shop/frontend-66b6c48dd5-8mzsl", "ReplicaSet", "frontend", None, (("nginx", 0.1, 1.0, Workload()),)),
    # Guaranteed with a whole CPU: the static CPU manager gives it one, and the kubelet sets no quota.
    ("data/trainer-0", "StatefulSet", "trainer", None, (("worker", 1.0, 1.0, _bursty(0.04, 0.2)),)),
    # The pod's own limit stops both containers, and neither reaches a quota of its own.
    ("data/report-28766160-l4x8c", "Job", "report-28766160", 0.15, (
        ("query", None, None, _BUSY),
        ("render", None, None, _BUSY),
    )),
    # BestEffort: no quota.
    ("data/indexer-7f4b9", "DaemonSet", "indexer", None, (("scan", None, None, _bursty(0.02, 0.4)),)),
    # CFS burst lets it use what it saved while it slept.
    ("kube-system/node-agent", "", "", None, (("agent", 0.1, 0.2, _bursty(0.03, 0.5)),)),
    ("kube-system/dns-autoscaler-6d8c8d7b9-h5w2t", "ReplicaSet", "dns-autoscaler", None, (
        ("autoscaler", 0.02, 0.05, _bursty(0.002, 0.5)),
    )),
)  # fmt: skip


_TYPES: dict[str, ContainerType] = {"migrate": "init", "log-shipper": "sidecar"}


@dataclass(frozen=True, slots=True)
class Scenario:
    """Pods, and the CPU manager's shared pool; without one its policy is ``none``."""

    pods: tuple[Pod, ...]
    shared_cpus: frozenset[int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node whose counters move."""

    cgroup_root: Path
    """For ``--path.cgroup``."""
    scenario: Scenario
    driver: Driver
    place: str
    """Where its cgroups are, for people."""
    move: Callable[[], None] | None = None
    """To be called about ten times a second; ``None`` where processes run."""

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The scenario's pods."""
        return self.scenario.pods


def demo(cpus: frozenset[int], node: str) -> Scenario:
    """Return the demo for these CPUs, the highest of which is exclusive if there are two or more."""
    pinned = frozenset({max(cpus)}) if len(cpus) > 1 else None
    pods = []
    for name, kind, owner, limit, table in _PODS:
        containers = tuple(
            Container(
                name=container,
                request_cores=request,
                limit_cores=container_limit,
                container_type=_TYPES.get(container, "container"),
                exclusive_cpus=pinned if container == "worker" else None,
                burst_seconds=0.02 if container == "agent" else None,
                workload=workload,
                finished=container == "migrate",
            )
            for container, request, container_limit, workload in table
        )
        namespace, _, pod = name.partition("/")
        made = Pod(
            namespace=namespace,
            name=pod,
            owner_kind=kind,
            owner_name=owner,
            limit_cores=limit,
            static=not kind,
            containers=containers,
        )
        pods.append(made.identified(node))
    return Scenario(tuple(pods), cpus - pinned if pinned else None)


@contextmanager
def real_node(
    hierarchy: Hierarchy, scenario: Scenario, folder: Path, *, lifetime: float, driver: Driver = "cgroupfs"
) -> Iterator[Node]:
    """Yield the scenario in cgroups with processes, which end after ``lifetime`` seconds; ``folder`` is scratch."""
    with ExitStack() as stack:
        tree = stack.enter_context(KubepodsTree(hierarchy, own_prefix("demo"), driver))
        # As the kubelet does for allocatable CPUs: against the rest of the machine the pods count as all its CPUs.
        for group in ("", pods_cgroup(driver)):
            tree.make(group, CpuSettings(shares=shares(len(hierarchy.cpus()))))
        workforce = stack.enter_context(Workforce())
        for pod in scenario.pods:
            tree.add_pod(pod, scenario.shared_cpus)
            workforce.start(Workload(), tree.members(tree.container_group(pod)), lifetime=lifetime)
            for container in pod.running:
                members = tree.members(tree.container_group(pod, container))
                workforce.start(container.workload, members, lifetime=lifetime)
        place = f"real cgroups ({hierarchy.version}) in {hierarchy.mounts['cpu'] / tree.prefix}"
        yield Node(cgroup_root=tree.own_root(folder), scenario=scenario, driver=driver, place=place)


@contextmanager
def synthetic_node(
    scenario: Scenario,
    cpus: frozenset[int],
    *,
    driver: Driver = "cgroupfs",
    directory: Path | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Node]:
    """Yield the scenario in plain files whose counters advance with ``now``, a monotonic clock in seconds."""
    with SyntheticTree(cpus, driver, directory) as tree:
        for pod in scenario.pods:
            tree.add_pod(pod, scenario.shared_cpus)
        started = now()
        place = f"a synthetic tree of files in {tree.root}"
        yield Node(
            cgroup_root=tree.root,
            scenario=scenario,
            driver=driver,
            place=place,
            move=lambda: tree.advance_to(now() - started),
        )
