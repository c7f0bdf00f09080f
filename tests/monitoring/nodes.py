"""Three demo nodes: one of real cgroups with processes that are really throttled, two of files that move."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from exporter.cpulist import format_cpu_list
from exporter.lab import kubelet_api, scenario
from exporter.lab.cgroups import CgroupTree, Hierarchy
from exporter.lab.spec import Container, CpuSettings, Pod, Workload
from exporter.lab.synthetic import synthetic_node
from exporter.lab.workloads import Job, Workforce
from tests.support.fake_kubelet import kubelet
from tests.support.process import Exporter, started

MOST_SHARES = 262144
FAST = ("--sample.interval=200ms", "--scan.interval=500ms", "--sample.window=10s")
SYNTHETIC_CPUS = frozenset(range(os.cpu_count() or 2))
"""Those that the machine says are online: the exporter reads that from its real files."""
_MOVE_SECONDS = 0.2

LOUD = "storefront"
"""Throttled in all its replicas, so that it pages."""
MUTED = "cruncher"
"""Throttled as much, and muted by its annotation."""
MODERATE = "search"
"""Over the thresholds of high, under those of severe; on the synthetic nodes, where its numbers are exact."""
UNPINNED = "embedder"
"""Could own a CPU and does not."""
LIMIT_CORES = 0.05
"""So small that even on a busy machine it is used up early in each period."""


@dataclass
class DemoNode:
    """One node under load, its exporter, and a way to end the load."""

    name: str
    exporter: Exporter
    calm: threading.Event = field(default_factory=threading.Event)
    jobs: list[Job] = field(default_factory=list)

    def end_load(self) -> None:
        self.calm.set()
        for job in self.jobs:
            job.stop()


def pods_of(number: int, cpus: frozenset[int]) -> scenario.Scenario:
    """The demo's pods as replicas of this node, and two more."""
    busy = Container(name="app", limit_cores=LIMIT_CORES, workload=Workload(kind="busy", workers=4))
    # Each half second 30 ms of work under 20 ms a period: one of three periods is throttled, the idle one at the end
    # included.
    bursty = Workload(kind="bursty", unit_seconds=0.03, every_seconds=0.5)
    extra = (
        Pod(
            namespace="shop",
            name=f"{LOUD}-7d9f8b6c5d-x2k9{number}",
            owner_kind="ReplicaSet",
            owner_name=LOUD,
            containers=(busy,),
        ),
        Pod(
            namespace="batch",
            name=f"{MUTED}-{number}",
            owner_kind="StatefulSet",
            owner_name=MUTED,
            annotations={"kube-throttle-exporter/alert": "off"},
            containers=(busy,),
        ),
        Pod(
            namespace="shop",
            name=f"{MODERATE}-{number}",
            owner_kind="StatefulSet",
            owner_name=MODERATE,
            annotations={"kube-throttle-exporter/alert-threshold": "0.3"},
            containers=(Container(name="app", request_cores=0.1, limit_cores=0.2, workload=bursty),),
        ),
        # Guaranteed with a whole CPU, and in the shared pool all the same.
        Pod(
            namespace="ml",
            name=f"{UNPINNED}-{number}",
            owner_kind="StatefulSet",
            owner_name=UNPINNED,
            containers=(Container(name="app", request_cores=1.0, limit_cores=1.0),),
        ),
    )
    made = scenario.demo(cpus, f"node-{number}")
    named = [
        replace(pod, name=pod.name if pod.static else f"{pod.name[:-1]}{number}")
        for pod in made.pods
        if pod.owner_name != "checkout"  # would page beside the one that should
    ]
    return scenario.Scenario(tuple(pod.identified(f"node-{number}") for pod in (*named, *extra)), made.shared_cpus)


@contextmanager
def real(number: int, hierarchy: Hierarchy, folder: Path) -> Iterator[DemoNode]:
    """Cgroups and processes of this machine's own kernel."""
    everything = pods_of(number, hierarchy.cpus())
    # The others would compete for the CPUs of a small machine.
    pods = tuple(pod for pod in everything.pods if pod.owner_name in {LOUD, MUTED})
    made = scenario.Scenario(pods, everything.shared_cpus)
    with ExitStack() as stack:
        tree = stack.enter_context(CgroupTree(hierarchy, "test", "cgroupfs"))
        # The largest share of the CPUs: on a busy machine waiting would take the place of throttling.
        tree.set("", CpuSettings(shares=MOST_SHARES))
        workforce = stack.enter_context(Workforce())
        jobs = []
        for pod in made.pods:
            tree.add_pod(pod, made.shared_cpus)
            for path, _, workload in pod.cgroups(tree.driver):
                job = workforce.start(workload, tree.members(path))
                if workload.kind != "idle":
                    jobs.append(job)
        exporter = stack.enter_context(_exporter(number, made, hierarchy.root, folder))
        yield DemoNode(f"node-{number}", exporter, jobs=jobs)


@contextmanager
def synthetic(number: int, folder: Path) -> Iterator[DemoNode]:
    """Files in cgroup v2's layout, pressure included, that advance by the kernel's rule."""
    made = pods_of(number, SYNTHETIC_CPUS)
    folder.mkdir(parents=True, exist_ok=True)
    with synthetic_node(made, SYNTHETIC_CPUS, directory=folder) as tree:
        tree.move()
        with _exporter(number, made, tree.cgroup_root, folder) as exporter:
            node = DemoNode(f"node-{number}", exporter)
            ended = threading.Event()

            def keep_moving() -> None:
                while not (ended.is_set() or node.calm.is_set()):
                    tree.move()
                    time.sleep(_MOVE_SECONDS)

            mover = threading.Thread(target=keep_moving, name=f"mover-{number}")
            mover.start()
            try:
                yield node
            finally:
                ended.set()
                mover.join()


@contextmanager
def _exporter(number: int, made: scenario.Scenario, root: Path, folder: Path) -> Iterator[Exporter]:
    folder.mkdir(parents=True, exist_ok=True)
    pods = kubelet_api.pod_list(made.pods, node_name=f"node-{number}")
    reserved = format_cpu_list(sorted(made.shared_cpus or ())[:1])
    configz = kubelet_api.configz(driver="cgroupfs", static_cpus=made.shared_cpus is not None, reserved_cpus=reserved)
    with kubelet(folder, json.dumps(pods).encode(), json.dumps(configz).encode()) as answering:
        options = [f"--path.cgroup={root}", f"--node.name=node-{number}", *FAST, *answering.options]
        with started(options) as exporter:
            yield exporter
