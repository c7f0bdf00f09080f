"""Real cgroups under the real process: what live tests start, and the kernel's files read with none of its code."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from exporter.lab import kubelet_api
from exporter.lab.cgroups import CgroupTree, Hierarchy
from exporter.lab.spec import Container, CpuSettings, Pod, Workload
from exporter.lab.workloads import Job, Workforce
from exporter.model import Driver
from tests.support.pages import Page
from tests.support.process import Exporter, started
from tests.support.recordings import read_counters

NODE_NAME = "live-node"
FAST = ("--sample.interval=100ms", "--scan.interval=200ms", "--sample.window=10s")
CONTAINER = "cgroup_container_"
POD = "cgroup_pod_"

_MOST_SHARES = 262144

Kernel = TypeVar("Kernel")
Shown = TypeVar("Shown")


@dataclass(frozen=True)
class LiveNode:
    """Pods in real cgroups, and the process that watches them by its own flags alone."""

    tree: CgroupTree
    workforce: Workforce
    exporter: Exporter
    pods: tuple[Pod, ...]

    def start(self, pod: Pod, workload: Workload, container: int = 0) -> Job:
        members = self.tree.members(group_of(self.tree, pod, container))
        return self.workforce.start(workload, members)

    def container(self, pod: Pod, container: int = 0) -> dict[str, float]:
        """What the kernel says of a container, by the names the page must give it."""
        return kernel_counters(self.tree, group_of(self.tree, pod, container))

    def pod(self, pod: Pod) -> dict[str, float]:
        """What the kernel says of the pod's own group."""
        return kernel_counters(self.tree, pod.cgroup(self.tree.driver))

    def settled(self, read: Callable[[], Kernel], show: Callable[[], Shown]) -> tuple[Kernel, Shown]:
        """What groups at rest say, and what was shown while they said exactly that."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            before = read()
            shown = show()
            if read() == before:
                return before, shown
        raise AssertionError("the counters do not come to rest")


@contextmanager
def live_node(
    hierarchy: Hierarchy,
    folder: Path,
    *pods: Pod,
    listed: Sequence[Pod] = (),
    options: Sequence[str] = (),
    driver: Driver = "cgroupfs",
) -> Iterator[LiveNode]:
    """The pods as real groups, nothing running in them yet, and the exporter ready; ``listed`` ones have no groups.

    The tree gets the largest share of its CPUs: what is asserted is what a quota does, not what a neighbour does.
    """
    with ExitStack() as stack:
        tree = stack.enter_context(CgroupTree(hierarchy, "test", driver))
        tree.set("", CpuSettings(shares=_MOST_SHARES))
        identified = tuple(pod.identified(tree.prefix) for pod in (*pods, *listed))
        for pod in identified[: len(pods)]:
            tree.add_pod(pod)
        workforce = stack.enter_context(Workforce())
        pod_list = folder / "pods.json"
        pod_list.write_text(pod_list_text(identified))
        flags = [*FAST, f"--path.cgroup={hierarchy.root}", f"--pods.sources=file:{pod_list}", *options]
        exporter = stack.enter_context(started(flags))
        yield LiveNode(tree, workforce, exporter, identified)


def pod_list_text(pods: Sequence[Pod]) -> str:
    """A PodList for ``file:PATH``."""
    return json.dumps(kubelet_api.pod_list(pods, node_name=NODE_NAME))


def pod(name: str, *containers: Container, limit_cores: float | None = None) -> Pod:
    """A pod without an owner in the namespace ``live``."""
    return Pod("live", name, "", "", containers, limit_cores=limit_cores)


def group_of(tree: CgroupTree, pod: Pod, container: int = 0) -> str:
    """A container's cgroup."""
    return pod.cgroup(tree.driver, pod.containers[container].container_id)


def labels(pod: Pod, container: int | None = 0) -> dict[str, str]:
    """The labels of a container's row, or of the pod's."""
    row = {"namespace": pod.namespace, "pod": pod.name}
    return row if container is None else {**row, "container": pod.containers[container].name}


def errors(page: Page) -> dict[str, float]:
    """The failures the exporter counted, by ``stage/reason``."""
    counted = page.rows("throttle_exporter_errors_total").items()
    return {"/".join(dict(row)[label] for label in ("stage", "reason")): n for row, n in counted if n}


def kernel_counters(tree: CgroupTree, group: str) -> dict[str, float]:
    """One group's counters now, from its files, by name of metric without prefix; in seconds."""
    usage = tree.hierarchy.mounts.get("cpuacct", Path()) / tree.path(group)
    return read_counters(tree.file("cpu", group, "cpu.stat").parent, usage)


def traces(pid: int | str = "*") -> list[str]:
    """Groups that the lab left behind; ``pid`` is the owner's, or anybody's."""
    return [str(path) for above in ("", "*/") for path in Path("/sys/fs/cgroup").glob(f"{above}kte-*-{pid}-*")]


@contextmanager
def in_background(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs ``work`` in a thread, which must end when the event is set; what it raises is raised at the end."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work, stop)
        try:
            yield
        finally:
            stop.set()
        running.result()


def watches(pid: int) -> int:
    """Return the number of inotify watches of a process, as the kernel counts them."""
    total = 0
    for file in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            total += file.read_text().count("inotify wd:")
    return total


def resident(pid: int) -> int:
    """Return ``VmRSS`` in bytes."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether it holds before the time is over."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
