"""A node of the size to be measured, in this machine's real cgroups, with its kubelet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from exporter.commands.lab import podlist
from exporter.commands.lab.hierarchy import Hierarchy, writable_hierarchy
from exporter.commands.lab.kubelet import KubeletApi
from exporter.commands.lab.owner import own_prefix
from exporter.commands.lab.spec import Container, Pod, Workload
from exporter.commands.lab.tree import KubepodsTree
from exporter.commands.lab.workloads import Workforce

LIFETIME = 1800.0
ACTIVE_UNIT, ACTIVE_EVERY = 0.002, 0.2


@dataclass(frozen=True)
class BenchNode:
    """What the measurements need to know of it."""

    hierarchy: Hierarchy
    tree: KubepodsTree
    pods: tuple[Pod, ...]
    kubelet_url: str

    @property
    def root(self) -> Path:
        """Only this tree: other cgroups of the machine would be measured too."""
        return self.hierarchy.root

    def files_of_a_tick(self) -> list[str]:
        """The files that one tick reads: the counters of every pod and container under a quota."""
        groups = [self.tree.pod_group(pod) for pod in self.pods]
        groups += [self.tree.container_group(pod, one) for pod in self.pods for one in pod.containers]
        names = [("cpu", "cpu.stat")] + ([("cpuacct", "cpuacct.usage")] if self.hierarchy.version == "v1" else [])
        return [str(self.tree.file(controller, group, name)) for group in groups for controller, name in names]


@contextmanager
def bench_node(pods: int, containers: int, active: int) -> Iterator[BenchNode]:
    """``pods`` times ``containers`` under quotas, ``active`` of them with a process that wakes five times a second."""
    hierarchy = writable_hierarchy()
    made = tuple(_pod(number, containers) for number in range(pods))
    with ExitStack() as stack:
        tree = stack.enter_context(KubepodsTree(hierarchy, own_prefix("bench")))
        workforce = stack.enter_context(Workforce())
        for number, pod in enumerate(made):
            tree.make(tree.pod_group(pod), pod.settings())
            for container in pod.containers:
                tree.make(tree.container_group(pod, container), pod.container_settings(container, None))
            if number < active:
                wakes = Workload(kind="bursty", unit_seconds=ACTIVE_UNIT, every_seconds=ACTIVE_EVERY)
                members = tree.members(tree.container_group(pod, pod.containers[0]))
                workforce.start(wakes, members, lifetime=LIFETIME)
        yield BenchNode(hierarchy, tree, made, stack.enter_context(_kubelet(made)))


def _pod(number: int, containers: int) -> Pod:
    return Pod(
        namespace=f"team-{number % 20}",
        name=f"service-{number}-6c8f7b9d5-x{number:04d}",
        owner_kind="ReplicaSet",
        owner_name=f"service-{number}-6c8f7b9d5",
        labels={"pod-template-hash": "6c8f7b9d5"},
        containers=tuple(Container(name=f"app-{n}", request_cores=0.01, limit_cores=1.0) for n in range(containers)),
    ).identified("bench")


@contextmanager
def _kubelet(pods: tuple[Pod, ...]) -> Iterator[str]:
    """Serves the pods from a thread of its own; only the exporter's process is measured."""
    answer = podlist.pod_list(pods, node_name="bench-node", started=datetime(2026, 1, 1, tzinfo=UTC))
    settings = podlist.configz(driver="cgroupfs", static_cpus=False, reserved_cpus="")
    loop = asyncio.new_event_loop()
    api = KubeletApi(lambda: answer, lambda: settings)
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
