"""A node of the size to be measured, in this machine's real cgroups, with its kubelet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from exporter.lab import kubelet_api
from exporter.lab.hierarchy import Hierarchy, writable_hierarchy
from exporter.lab.kubelet_api import KubeletApi
from exporter.lab.spec import Container, Pod
from exporter.lab.stale_marker import own_prefix
from exporter.lab.tree import KubepodsTree, remove_stale

CONTAINERS_A_POD = 3


class PodsOfNode:
    """What the kubelet answers: its pods, and those that come and go during a measurement."""

    def __init__(self, pods: Sequence[Pod]) -> None:
        self._pods = list(pods)
        self._answer = self._list()

    def answer(self) -> dict[str, Any]:
        """The PodList; made when pods change, so that a request costs this process little."""
        return self._answer

    def add(self, pod: Pod) -> None:
        """As after binding: the kubelet knows a pod before its cgroup is there."""
        self._pods.append(pod)
        self._answer = self._list()

    def _list(self) -> dict[str, Any]:
        return kubelet_api.pod_list(self._pods, node_name="bench-node", started=datetime(2026, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class BenchNode:
    """What the measurements need to know of it."""

    hierarchy: Hierarchy
    tree: KubepodsTree
    pods: tuple[Pod, ...]
    listed: PodsOfNode
    root: Path
    """Shows this tree alone: other pods of the machine would be measured too."""
    kubelet_url: str
    members: list[tuple[Path, ...]] = field(repr=False)
    """Of each container, the files that take the pid of who joins it; one container of every pod comes first."""

    @property
    def containers(self) -> int:
        return len(self.members)

    def files_of_a_tick(self) -> list[str]:
        """The files that one tick reads: the counters of every pod and container under a quota."""
        groups = [self.tree.pod_group(pod) for pod in self.pods]
        groups += [self.tree.container_group(pod, one) for pod in self.pods for one in pod.containers]
        names = [("cpu", "cpu.stat")] + ([("cpuacct", "cpuacct.usage")] if self.hierarchy.version == "v1" else [])
        return [str(self.tree.file(controller, group, name)) for group in groups for controller, name in names]

    def add(self, pod: Pod) -> tuple[Path, ...]:
        """The cgroups of one more pod, as a runtime makes them; the files that take pids of its first container."""
        self.tree.make(self.tree.pod_group(pod), pod.settings())
        for container in pod.containers:
            self.tree.make(self.tree.container_group(pod, container), pod.container_settings(container, None))
        return self.tree.members(self.tree.container_group(pod, pod.containers[0]))


@contextmanager
def bench_node(pods: int) -> Iterator[BenchNode]:
    """``pods`` times three containers under quotas, nothing running in them. Raises ``LabError`` without cgroups."""
    hierarchy = writable_hierarchy()
    remove_stale(hierarchy)
    made = tuple(new_pod(number) for number in range(pods))
    listed = PodsOfNode(made)
    with ExitStack() as stack:
        tree = stack.enter_context(KubepodsTree(hierarchy, own_prefix("bench")))
        node = BenchNode(
            hierarchy,
            tree,
            made,
            listed,
            tree.own_root(Path(stack.enter_context(TemporaryDirectory()))),
            stack.enter_context(_kubelet(listed)),
            [
                tree.members(tree.container_group(pod, pod.containers[number]))
                for number in range(CONTAINERS_A_POD)
                for pod in made
            ],
        )
        for pod in made:
            node.add(pod)
        yield node


def new_pod(number: int, name: str = "service") -> Pod:
    """Named as a Deployment's pods are."""
    return Pod(
        namespace=f"team-{number % 20}",
        name=f"{name}-{number}-6c8f7b9d5-x{number:04d}",
        owner_kind="ReplicaSet",
        owner_name=f"{name}-{number}-6c8f7b9d5",
        labels={"pod-template-hash": "6c8f7b9d5"},
        containers=tuple(
            Container(name=f"app-{one}", request_cores=0.01, limit_cores=1.0) for one in range(CONTAINERS_A_POD)
        ),
    ).identified("bench")


@contextmanager
def _kubelet(pods: PodsOfNode) -> Iterator[str]:
    """Serves the pods from a thread of its own; only the exporter's process is measured."""
    settings = kubelet_api.configz(driver="cgroupfs", static_cpus=False, reserved_cpus="")
    loop = asyncio.new_event_loop()
    api = KubeletApi(pods.answer, lambda: settings)
    thread = threading.Thread(target=loop.run_forever, name="kubelet", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(api.__aenter__(), loop).result(10)
        yield api.url
        asyncio.run_coroutine_threadsafe(api.__aexit__(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
