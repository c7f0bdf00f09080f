"""A scenario brought to life: groups with processes in them, or files that move where no group can be made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.lab import placing
from exporter.lab.hierarchy import Hierarchy
from exporter.lab.owner import own_prefix
from exporter.lab.scenario import Scenario
from exporter.lab.spec import CpuSettings, Pod, Workload, shares
from exporter.lab.synthetic import SyntheticTree
from exporter.lab.tree import KubepodsTree
from exporter.lab.workloads import Workforce
from exporter.model import Driver


@dataclass(frozen=True, slots=True)
class Node:
    """A node that works."""

    cgroup_root: Path
    """For ``--path.cgroup``."""
    pods: tuple[Pod, ...]
    shared_cpus: frozenset[int] | None
    """``None`` under the CPU manager's policy ``none``."""
    driver: Driver
    place: str
    """Where its groups are, for people."""
    move: Callable[[], None] | None = None
    """To be called about ten times a second where nothing moves by itself."""


@contextmanager
def real_node(
    hierarchy: Hierarchy, scenario: Scenario, *, lifetime: float, driver: Driver = "cgroupfs"
) -> Iterator[Node]:
    """Real groups and processes; all of it is gone at the end. No process outlives ``lifetime`` seconds."""
    with ExitStack() as stack:
        tree = stack.enter_context(KubepodsTree(hierarchy, own_prefix("demo"), driver))
        # As the kubelet does for what a node can give to pods: against the rest of the machine they count as its CPUs.
        allocatable = CpuSettings(shares=shares(len(hierarchy.cpus())))
        for group in ("", placing.top(driver)):
            tree.make(group, allocatable)
        workforce = stack.enter_context(Workforce())
        for pod in scenario.pods:
            tree.add_pod(pod, scenario.shared_cpus)
            workforce.start(Workload(), tree.members(tree.container_group(pod)), lifetime=lifetime)
            for container in pod.containers:
                if not container.finished:
                    members = tree.members(tree.container_group(pod, container))
                    workforce.start(container.workload, members, lifetime=lifetime)
        place = f"real cgroups ({hierarchy.version}) in {hierarchy.mounts['cpu'] / tree.prefix}"
        yield Node(hierarchy.root, scenario.pods, scenario.shared_cpus, driver, place)


@contextmanager
def synthetic_node(
    scenario: Scenario,
    cpus: frozenset[int],
    *,
    driver: Driver = "cgroupfs",
    directory: Path | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Node]:
    """Plain files whose counters advance with ``now``, a monotonic clock in seconds."""
    with SyntheticTree(cpus, driver, directory) as tree:
        for pod in scenario.pods:
            tree.add_pod(pod, scenario.shared_cpus)
        started = now()
        yield Node(
            tree.root,
            scenario.pods,
            scenario.shared_cpus,
            driver,
            f"a synthetic tree of files in {tree.root}",
            move=lambda: tree.advance_to(now() - started),
        )
