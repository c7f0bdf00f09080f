"""The dependencies of the fault matrix that are files: how each is broken and mended, and what it shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.node import CHECKPOINT, Place, jiffies
from tests.support.pages import Page
from tests.support.recordings import overwrite
from tests.support.treebuilder import Tree, container_id, pod_uid, v1
from tests.support.trees import cgroupfs_pod, containerd_systemd

GARBAGE = b"\xff\xfe\x00 <html>not what the kernel says\n"
Document = dict[str, Any]


def on_v1(root: Path) -> Tree:
    """Each controller in a mount of its own, one pod with three containers."""
    build = v1(root)
    pod = build.pod(cgroupfs_pod(pod_uid("web"), "Burstable"), pod_uid("web"), "Burstable")
    for name in ("app", "log", "proxy"):
        build.container(f"{pod}/{container_id(name)}", container_id(name), "")
    return build


@dataclass(frozen=True)
class FileDependency:
    """One that is files, by their patterns below the place's folder."""

    name: str
    layout: Callable[[Path], Tree]
    input: str
    """Its name in ``throttle_exporter_input_available``."""
    texts: str
    """The files that hold its values."""
    fresh: str
    """What they say after it has returned."""
    shows: Callable[[Page, Document], Sequence[float | str]]
    """What is made of it on the page, or in the node's document; empty without it."""
    whole: str = ""
    """What goes when it goes, if it is more than its files."""
    scans: int = 1
    """In which it is back: what is a difference needs two."""

    @property
    def containers(self) -> int:
        """How many the layout has."""
        return 3 if self.layout is on_v1 else 4

    def take(self, place: Place) -> None:
        """It is not there."""
        for path in sorted(place.folder.glob(self.whole or self.texts)):
            path.rename(path.with_name(path.name + ASIDE))

    def give_back(self, place: Place) -> None:
        """It is there again, as it was."""
        for path in sorted(place.folder.glob((self.whole or self.texts) + ASIDE)):
            path.rename(path.with_name(path.name.removesuffix(ASIDE)))

    def write(self, place: Place, text: bytes) -> dict[Path, bytes]:
        """It says something else; returns what it said before."""
        before = {file: file.read_bytes() for file in place.folder.glob(self.texts)}
        for file in before:
            overwrite(file, text)
        return before


ASIDE = ".aside"


def of_containers(name: str) -> Callable[[Page, Document], Sequence[float | str]]:
    """The values of one family."""
    return lambda page, document: list(page.rows(f"cgroup_container_{name}").values())


def _online(page: Page, _: Document) -> Sequence[float | str]:
    found = page.get("cgroup_node_cpus", state="online")
    return [] if found is None else [found]


def _busy(_: Page, document: Document) -> Sequence[float | str]:
    return [cpu["busy_share"] for cpu in document["cpus"] if cpu["busy_share"] is not None]


def _policy(_: Page, document: Document) -> Sequence[float | str]:
    return [document["checkpoint"]["policy"]] if document["checkpoint"] else []


PODS = "cgroup/kubepods.slice/**/"
FILE_DEPENDENCIES = (
    FileDependency(
        *("cpu controller", on_v1, "cpu_stat", "cgroup/cpu/kubepods/**/cpu.stat"),
        "nr_periods 70000\nnr_throttled 7\nthrottled_time 7000000000\n",
        of_containers("cpu_periods_total"),
        whole="cgroup/cpu",
    ),
    FileDependency(
        *("cpuset tree", on_v1, "cpuset", "cgroup/cpuset/kubepods/**/cpuset.effective_cpus"),
        "0-1\n",
        of_containers("cpuset_cpus"),
        whole="cgroup/cpuset",
    ),
    FileDependency(
        *("cpuacct tree", on_v1, "cpu_usage", "cgroup/cpuacct/kubepods/**/cpuacct.usage"),
        "77000000007\n",
        of_containers("cpu_usage_seconds_total"),
        whole="cgroup/cpuacct",
    ),
    FileDependency(
        *("cpu.pressure", containerd_systemd, "cpu_pressure", PODS + "cpu.pressure"),
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=77000007\n",
        of_containers("cpu_pressure_waiting_seconds_total"),
    ),
    FileDependency(
        *("cpu.stat.local", containerd_systemd, "cpu_stat_local", PODS + "cpu.stat.local"),
        "throttled_usec 77000007\n",
        of_containers("cpu_throttled_local_seconds_total"),
    ),
    FileDependency(
        *("sysfs topology", containerd_systemd, "cpu_topology", "sys/devices/system/cpu/online"),
        "0-1\n",
        _online,
        whole="sys/devices",
    ),
    FileDependency("/proc/stat", containerd_systemd, "proc_stat", "proc/stat", jiffies(1000), _busy, scans=2),
    FileDependency(
        *("CPU manager checkpoint", containerd_systemd, "cpu_manager_state", CHECKPOINT),
        json.dumps({"policyName": "none", "defaultCpuSet": "", "checksum": 1}),
        _policy,
    ),
)
