"""The recorded nodes of ``tests/fixtures/trees``, and what a page on them must say.

The expectation is worked out here, from the files and the pod list, with nothing of the exporter's code.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support.pages import Key

TREES = Path(__file__).parent.parent / "fixtures" / "trees"


class Recording:
    """One folder of ``tests/fixtures/trees``."""

    def __init__(self, name: str) -> None:
        self.name, self.folder = name, TREES / name
        self.t0, self.pods = self.folder / "t0", self.folder / "pods.json"
        self.is_v1 = "cgroup-v1" in name

    @cached_property
    def pod_list(self) -> dict[str, Any]:
        return dict(json.loads(self.pods.read_text()))

    @cached_property
    def about(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "recording.json").read_text()))


RECORDINGS = tuple(Recording(folder.name) for folder in sorted(TREES.iterdir()))


def copied(recording: Recording, target: Path) -> Path:
    """A copy of the recording's first instant that a test may change."""
    shutil.copytree(recording.t0, target)
    return target


def advance(tree: Path, recording: Recording) -> None:
    """Turn the copy at ``tree`` into the second instant, each file in place as the kernel changes its own."""
    later = recording.folder / "t1"
    for file in later.rglob("*"):
        if file.is_file():
            overwrite(tree / file.relative_to(later), file.read_bytes())


def overwrite(file: Path, content: bytes) -> None:
    """New content under the same inode; a reader with an open descriptor never meets an empty file."""
    with file.open("r+b", buffering=0) as opened:
        opened.write(content)
        opened.truncate()


@dataclass(frozen=True)
class Listed:
    """One container that the pod list says is running."""

    namespace: str
    pod: str
    name: str
    pod_uid: str
    container_id: str
    runtime: str
    qos_class: str
    container_type: str
    restarts: int
    resources: dict[str, dict[str, str]]


def running(pod_list: dict[str, Any]) -> Iterator[Listed]:
    for pod in pod_list["items"]:
        metadata, spec, status = pod["metadata"], pod["spec"], pod["status"]
        for kind in ("container", "initContainer", "ephemeralContainer"):
            specs = {one["name"]: one for one in spec.get(f"{kind}s", ())}
            for one in status.get(f"{kind}Statuses", ()):
                if "running" not in one["state"]:
                    continue
                runtime, _, container_id = one["containerID"].partition("://")
                sidecar = specs[one["name"]].get("restartPolicy") == "Always"
                yield Listed(
                    metadata["namespace"],
                    metadata["name"],
                    one["name"],
                    metadata["uid"],
                    container_id,
                    runtime,
                    status["qosClass"],
                    "sidecar" if sidecar else kind.removesuffix("Container"),
                    one["restartCount"],
                    specs[one["name"]].get("resources", {}),
                )


def cores(quantity: str) -> float:
    """The two spellings of CPU that the recordings hold: ``100m`` and ``2``."""
    return int(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def keyed(text: str) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in text.splitlines())}


def read_counters(cpu: Path, cpuacct: Path) -> dict[str, float]:
    """The counters of one cgroup by metric name without its prefix, in seconds; ``cpuacct`` is asked on v1 only."""
    stat = keyed((cpu / "cpu.stat").read_text())
    is_v1 = "usage_usec" not in stat
    usage = int((cpuacct / "cpuacct.usage").read_text()) / 1e9 if is_v1 else stat["usage_usec"] / 1e6
    suffix, unit = ("time", 1e9) if is_v1 else ("usec", 1e6)
    found = {
        "cpu_periods_total": stat["nr_periods"],
        "cpu_throttled_periods_total": stat["nr_throttled"],
        "cpu_throttled_seconds_total": stat[f"throttled_{suffix}"] / unit,
        "cpu_usage_seconds_total": usage,
    }
    if "nr_bursts" in stat:
        found |= {
            "cpu_burst_periods_total": stat["nr_bursts"],
            "cpu_burst_seconds_total": stat[f"burst_{suffix}"] / unit,
        }
    return found


def cpus_of(text: str) -> set[int]:
    ends = [part.split("-") for part in text.strip().split(",") if part]
    return {cpu for end in ends for cpu in range(int(end[0]), int(end[-1]) + 1)}


class Node:
    """A folder with ``sys/fs/cgroup`` and perhaps ``sys/devices/system``, read afresh at each call."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        root = tree / "sys/fs/cgroup"
        self.is_v1 = (root / "cpu").is_dir()
        self.cpu, self.cpuacct, self.cpuset = (
            root / one if self.is_v1 else root for one in ("cpu", "cpuacct", "cpuset")
        )

    def find(self, name: str) -> str | None:
        """The cgroup whose directory's name holds ``name``, as a path below the hierarchy's root."""
        found = [path for path in self.cpu.rglob(f"*{name}*") if path.is_dir()]
        if not found:
            return None
        return str(min(found, key=lambda path: len(path.parts)).relative_to(self.cpu))

    def quota(self, path: str) -> tuple[int | None, int]:
        """Quota (``None`` without one) and period in µs."""
        if self.is_v1:
            quota = int((self.cpu / path / "cpu.cfs_quota_us").read_text())
            return (None if quota < 0 else quota), int((self.cpu / path / "cpu.cfs_period_us").read_text())
        words = (self.cpu / path / "cpu.max").read_text().split()
        return (None if words[0] == "max" else int(words[0])), int(words[1])

    def counters(self, path: str, *without: str) -> dict[str, float]:
        """What a container's row and a pod's have in common, by metric name without its prefix."""
        quota, period = self.quota(path)
        found = read_counters(self.cpu / path, self.cpuacct / path)
        row = {"cpu_usage_seconds_total": found["cpu_usage_seconds_total"]}
        if quota is not None or found["cpu_periods_total"]:
            row |= {name: value for name, value in found.items() if not name.startswith(without)}
        if quota is not None:
            row["cpu_limit_cores"] = quota / period
        if not self.is_v1:
            for line, name in zip((self.cpu / path / "cpu.pressure").read_text().splitlines(), PRESSURE, strict=True):
                row[name] = int(line.rpartition("=")[2]) / 1e6
        return row

    def container(self, path: str) -> dict[str, float]:
        """All samples of a container that come from its files, without windows, spec and labels."""
        row = self.counters(path)
        if "cpu_periods_total" in row:
            burst = "cpu.cfs_burst_us" if self.is_v1 else "cpu.max.burst"
            row["cpu_burst_limit_seconds"] = int((self.cpu / path / burst).read_text()) / 1e6
        local = self.cpu / path / "cpu.stat.local"
        if local.exists():
            row["cpu_throttled_local_seconds_total"] = int(local.read_text().split()[1]) / (1e9 if self.is_v1 else 1e6)
        row["cpu_period_seconds"] = self.quota(path)[1] / 1e6
        weight = "cpu.shares" if self.is_v1 else "cpu.weight"
        row["cpu_shares" if self.is_v1 else "cpu_weight"] = int((self.cpu / path / weight).read_text())
        cpus = cpus_of(self.placement(path)[0])
        row["cpuset_cpus"] = len(cpus)
        numa = list(self.tree.glob("sys/devices/system/node/node*/cpulist"))
        if numa:
            row["cpuset_numa_nodes"] = sum(bool(cpus_of(file.read_text()) & cpus) for file in numa)
        row["cpu_effective_limit_cores"] = min([*self.limits_up(path), float(len(cpus))])
        return row

    def limits_up(self, path: str) -> Iterator[float]:
        """Own and ancestors' limits, without the root, which has none."""
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            quota, period = self.quota("/".join(parts[:depth]))
            if quota is not None:
                yield quota / period

    def placement(self, path: str) -> tuple[str, str]:
        """CPUs and memory nodes it may use, as the kernel writes them."""
        form = "cpuset.effective_{}" if self.is_v1 else "cpuset.{}.effective"
        files = (form.format("cpus"), form.format("mems"))
        cpus, mems = ((self.cpuset / path / file).read_text().strip() for file in files)
        return cpus, mems


PRESSURE = ("cpu_pressure_waiting_seconds_total", "cpu_pressure_stalled_seconds_total")


def expected_samples(node: Node, pod_list: dict[str, Any]) -> dict[Key, float]:
    """Every container and pod sample that the files and the list determine; windows and info rows are checked apart."""
    samples: dict[Key, float] = {}

    def add(prefix: str, values: dict[str, float], **labels: str) -> None:
        for name, value in values.items():
            samples[f"{prefix}{name}", frozenset(labels.items())] = value

    for one in running(pod_list):
        labels = {"namespace": one.namespace, "pod": one.pod, "container": one.name}
        path = node.find(one.container_id)
        if path is None:
            raise AssertionError(f"{labels}: the list says it runs and it has no cgroup")
        add("cgroup_container_", node.container(path) | {"restarts_total": one.restarts}, **labels)
        state = "none" if node.quota(path)[0] is None else "set"
        add("cgroup_container_", {"cpu_quota_state": 1}, **labels, state=state)
        for kind in ("request", "limit"):
            quantity = one.resources.get(f"{kind}s", {}).get("cpu")
            if quantity is not None:
                add("cgroup_container_", {f"spec_cpu_{kind}_cores": cores(quantity)}, **labels)
    for pod in pod_list["items"]:
        labels = {"namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"]}
        uid = pod["metadata"]["uid"]
        path = node.find(f"pod{uid}") or node.find(f"pod{uid.replace('-', '_')}")
        if path is None:
            raise AssertionError(f"{labels}: no cgroup")
        add("cgroup_pod_", node.counters(path, "cpu_burst_"), **labels)
        state = "none" if node.quota(path)[0] is None else "set"
        add("cgroup_pod_", {"cpu_quota_state": 1}, **labels, state=state)
    return samples
