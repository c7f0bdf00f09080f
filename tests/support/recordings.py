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

    def limit_and_counters(self, path: str, *without: str) -> dict[str, float]:
        """Samples of the cgroup's row by metric name without its prefix; none whose name begins with ``without``."""
        quota, period = self.quota(path)
        found = read_counters(self.cpu / path, self.cpuacct / path)
        row = {"cpu_usage_seconds_total": found["cpu_usage_seconds_total"]}
        if quota is not None or found["cpu_periods_total"]:
            row |= {name: value for name, value in found.items() if not name.startswith(without)}
        return row if quota is None else row | {"cpu_limit_cores": quota / period}


def expected_samples(node: Node, pod_list: dict[str, Any]) -> dict[Key, float]:
    """Limits and counters of all containers and pods, by the files and the list; golden pages have the others."""
    samples: dict[Key, float] = {}

    def add(prefix: str, path: str | None, values: dict[str, float], *without: str, **labels: str) -> None:
        assert path is not None, f"{labels}: the list says it runs and it has no cgroup"
        for name, value in (values | node.limit_and_counters(path, *without)).items():
            samples[f"{prefix}{name}", frozenset(labels.items())] = value
        state = "none" if node.quota(path)[0] is None else "set"
        samples[f"{prefix}cpu_quota_state", frozenset({**labels, "state": state}.items())] = 1

    for one in running(pod_list):
        spec: dict[str, float] = {"restarts_total": one.restarts}
        for kind in ("request", "limit"):
            quantity = one.resources.get(f"{kind}s", {}).get("cpu")
            if quantity is not None:
                spec[f"spec_cpu_{kind}_cores"] = cores(quantity)
        labels = {"namespace": one.namespace, "pod": one.pod, "container": one.name}
        add("cgroup_container_", node.find(one.container_id), spec, **labels)
    for pod in pod_list["items"]:
        labels = {"namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"]}
        uid = pod["metadata"]["uid"]
        path = node.find(f"pod{uid}") or node.find(f"pod{uid.replace('-', '_')}")
        add("cgroup_pod_", path, {}, "cpu_burst_", **labels)
    return samples
