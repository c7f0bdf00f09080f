"""A node on real cgroups whose pods come and go under one exporter, scene by scene."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.lab.cgroups import CgroupTree, Hierarchy
from exporter.lab.spec import CpuSettings, Pod, Workload
from exporter.lab.workloads import Job, Workforce
from tests.support.lab import group_of
from tests.support.lab_kubelet import Kubelet, kubelet
from tests.support.process import Exporter, started

_SAMPLES = "throttle_exporter_sample_duration_seconds_count"
_POLL_SECONDS = 0.25
_MOST_SHARES = 262144


@dataclass
class Stage:
    """A node on real cgroups under one exporter; its pods come and go, scene by scene."""

    tree: CgroupTree
    workforce: Workforce
    kubelet: Kubelet
    interval_seconds: float
    window_seconds: float
    exporter: Exporter

    def play(self, *scene: tuple[Pod, frozenset[int]]) -> tuple[Pod, ...]:
        """These are the node's pods from now on, each with its containers on these CPUs; nothing runs in them yet."""
        for pod in self.kubelet.pods:
            self.tree.remove(pod.cgroup(self.tree.driver))
        self.kubelet.pods = tuple(pod.identified(self.tree.prefix) for pod, _ in scene)
        for pod, (_, cpus) in zip(self.kubelet.pods, scene, strict=True):
            self.tree.add_pod(pod, cpus)
        return self.kubelet.pods

    def group(self, pod: Pod, container: int = 0) -> str:
        """A container's cgroup."""
        return group_of(self.tree, pod, container)

    def start(self, group: str, workload: Workload) -> Job:
        """Work in a cgroup of the tree, until its scene is over."""
        return self.workforce.start(workload, self.tree.members(group))

    def restart_kubelet(self, *, static_cpus: bool) -> None:
        """With another policy of its CPU manager; until the exporter knows."""
        self.kubelet.stop()
        self.exporter.page_when(lambda page: page.get("throttle_exporter_pods_source_up", source="kubelet") == 0)
        self.kubelet.static_cpus = static_cpus
        self.kubelet.start()
        policy = "static" if static_cpus else "none"
        name = "cgroup_node_cpu_manager_info"
        self.exporter.page_when(lambda page: page.values(name, "policy") == {policy}, timeout=20)

    def watch(self) -> None:
        """Until all that is known of is what happened in this scene."""
        self.wait_ticks(int(self.window_seconds / self.interval_seconds) + 1)

    def wait_ticks(self, ticks: int) -> None:
        """Until so many samples were taken; asks seldom, for asking costs CPU that is being measured."""
        goal = self.exporter.page().total(_SAMPLES) + ticks
        deadline = time.monotonic() + 10 * ticks * self.interval_seconds
        while self.exporter.page().total(_SAMPLES) < goal:
            if time.monotonic() > deadline:
                raise AssertionError(f"{ticks} samples take for ever\n{self.exporter.log}")
            time.sleep(_POLL_SECONDS)


@contextmanager
def stage(
    hierarchy: Hierarchy,
    folder: Path,
    *,
    window_seconds: float = 5.0,
    interval_seconds: float = 1.0,
    pods_seconds: float = 1.0,
) -> Iterator[Stage]:
    """An empty node with a kubelet whose CPU manager's policy is ``none``; a burst must fit into an interval.

    Other trees of this machine are none of its pods', and theirs is the largest share of the CPUs: what is told is what
    the pods of a scene do to each other.
    """
    with ExitStack() as stack:
        tree = stack.enter_context(CgroupTree(hierarchy, "test"))
        for group in ("", "kubepods"):
            tree.make(group, CpuSettings(shares=_MOST_SHARES))
        workforce = stack.enter_context(Workforce())
        served = stack.enter_context(kubelet("causes-node"))
        flags = [
            f"--sample.interval={1000 * interval_seconds:.0f}ms",
            f"--sample.window={1000 * window_seconds:.0f}ms",
            "--scan.interval=500ms",
            f"--path.cgroup={tree.own_root(folder)}",
            f"--path.cpu-manager-state={folder / 'no-checkpoint'}",
            "--pods.sources=kubelet",
            f"--pods.interval={pods_seconds:g}s",
            f"--kubelet.url={served.url}",
            "--kubelet.token-file=",
            "--kubelet.ca-file=",
        ]
        exporter = stack.enter_context(started(flags))
        yield Stage(tree, workforce, served, interval_seconds, window_seconds, exporter)


@contextmanager
def setting(file: Path, value: str | None) -> Iterator[None]:
    """The machine's setting for a while; ``None`` leaves it alone."""
    if value is None:
        yield
        return
    before = file.read_text()
    file.write_text(value)
    try:
        yield
    finally:
        file.write_text(before)
