"""A node on real cgroups whose pods come and go under one exporter, scene by scene."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from exporter.lab import kubelet_api
from exporter.lab.hierarchy import Hierarchy
from exporter.lab.kubelet_api import KubeletApi
from exporter.lab.spec import CpuSettings, Pod, Workload
from exporter.lab.stale_marker import own_prefix
from exporter.lab.tree import KubepodsTree
from exporter.lab.workloads import Job, Workforce
from tests.support.lab_causes import SAMPLES
from tests.support.process import Exporter, started

INTERVAL_SECONDS = 1.0
"""The default. Use is compared with the limit at the grain of one sample, and a burst must fit into it."""
WINDOW_SECONDS = 5.0

_LIFETIME = 90.0
_ANSWER_SECONDS = 10.0
_POLL_SECONDS = 0.25
_MOST_SHARES = 262144
T = TypeVar("T")


class Kubelet:
    """The lab's kubelet API in a thread. What it says may change; its configuration only when it is started anew."""

    def __init__(self) -> None:
        self.pods: tuple[Pod, ...] = ()
        self.static_cpus = False
        self.url = ""
        self._began = datetime.now(UTC)
        self._api: KubeletApi | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kubelet")
        self._thread.start()

    def start(self) -> None:
        """At the address of the last time, if there was one."""
        api = KubeletApi(self._pod_list, self._configz, port=urlsplit(self.url).port or 0)
        self._await(api.__aenter__())
        self._api, self.url = api, api.url

    def stop(self) -> None:
        """Nobody answers any more."""
        if self._api is not None:
            self._await(self._api.__aexit__())
        self._api = None

    def close(self) -> None:
        """For ever."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_SECONDS)
        self._loop.close()

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_SECONDS)

    def _pod_list(self) -> dict[str, Any]:
        return kubelet_api.pod_list(self.pods, node_name="causes-node", started=self._began)

    def _configz(self) -> dict[str, Any]:
        return kubelet_api.configz(driver="cgroupfs", static_cpus=self.static_cpus, reserved_cpus="", reconcile="1s")


@dataclass
class Stage:
    """A node on real cgroups under one exporter; its pods come and go, scene by scene."""

    tree: KubepodsTree
    workforce: Workforce
    kubelet: Kubelet
    exporter: Exporter

    def play(self, *scene: tuple[Pod, frozenset[int]]) -> tuple[Pod, ...]:
        """These are the node's pods from now on, each with its containers on these CPUs; nothing runs in them yet."""
        for pod in self.kubelet.pods:
            self.tree.remove_pod(pod)
        self.kubelet.pods = tuple(pod.identified(self.tree.prefix) for pod, _ in scene)
        for pod, (_, cpus) in zip(self.kubelet.pods, scene, strict=True):
            self.tree.add_pod(pod, cpus)
        return self.kubelet.pods

    def group(self, pod: Pod, container: int = 0) -> str:
        """A container's cgroup."""
        return self.tree.container_group(pod, pod.containers[container])

    def start(self, group: str, workload: Workload) -> Job:
        """Work in a cgroup of the tree, until its scene is over."""
        return self.workforce.start(workload, self.tree.members(group), lifetime=_LIFETIME)

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
        self.wait_ticks(int(WINDOW_SECONDS / INTERVAL_SECONDS) + 1)

    def wait_ticks(self, ticks: int) -> None:
        """Until so many samples were taken; asks seldom, for asking costs CPU that is being measured."""
        goal = self.exporter.page().total(SAMPLES) + ticks
        deadline = time.monotonic() + 10 * ticks * INTERVAL_SECONDS
        while self.exporter.page().total(SAMPLES) < goal:
            if time.monotonic() > deadline:
                raise AssertionError(f"{ticks} samples take for ever\n{self.exporter.log}")
            time.sleep(_POLL_SECONDS)


@contextmanager
def stage(hierarchy: Hierarchy, folder: Path) -> Iterator[Stage]:
    """An empty node with a kubelet whose CPU manager's policy is ``none``.

    Other trees of this machine are none of its pods', and theirs is the largest share of the CPUs: what is told is what
    the pods of a scene do to each other.
    """
    with ExitStack() as stack:
        tree = stack.enter_context(KubepodsTree(hierarchy, own_prefix("test")))
        for group in ("", "kubepods"):
            tree.make(group, CpuSettings(shares=_MOST_SHARES))
        workforce = stack.enter_context(Workforce())
        kubelet = Kubelet()
        stack.callback(kubelet.close)
        kubelet.start()
        flags = [
            f"--sample.interval={INTERVAL_SECONDS:g}s",
            f"--sample.window={WINDOW_SECONDS:g}s",
            "--scan.interval=500ms",
            f"--path.cgroup={tree.own_root(folder)}",
            f"--path.cpu-manager-state={folder / 'no-checkpoint'}",
            "--pods.sources=kubelet",
            "--pods.interval=1s",
            f"--kubelet.url={kubelet.url}",
            "--kubelet.token-file=",
            "--kubelet.ca-file=",
        ]
        yield Stage(tree, workforce, kubelet, stack.enter_context(started(flags)))


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
