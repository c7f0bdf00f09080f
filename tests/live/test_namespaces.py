"""What namespaces hide from the process in a pod: tried in them, not on the host.

A pod without hostPID has its own PID, mount, cgroup and network namespace. cgroup v1 lists no task of another PID
namespace, v2 lists each as ``0``; ``/proc/self/cgroup`` shows nothing of the node; there is no network but its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from exporter.lab.cgroups import CgroupTree, Hierarchy
from exporter.lab.spec import Container, CpuSettings, Workload
from exporter.lab.workloads import Workforce
from tests.conftest import unavailable
from tests.support.lab import group_of, pod, pod_list_text
from tests.support.process import ROOT

POD_NAMESPACES = ("unshare", "--pid", "--fork", "--mount-proc", "--mount", "--cgroup", "--net", "--uts", "--ipc")
WORKERS, INNER_WORKERS = 3, 2
"""Processes in the container, and in the cgroup that it made inside, as docker-in-docker does."""


@contextmanager
def counted_pids(hierarchy: Hierarchy, *groups: str) -> Iterator[dict[str, tuple[Path, ...]]]:
    """The files that put a process into the pids controller, by group; on v1 that has a tree of its own."""
    root = Path(hierarchy.root) / "pids"
    made: list[Path] = []
    if hierarchy.version == "v1" and (root / "cgroup.procs").exists():
        for group in groups:
            for folder in [*reversed((root / group).parents), root / group]:
                if folder.is_relative_to(root) and not folder.exists():
                    folder.mkdir()
                    made.append(folder)
    try:
        yield {group: (root / group / "cgroup.procs",) if made else () for group in groups}
    finally:
        for folder in reversed(made):
            folder.rmdir()


def explained(flags: list[str], prefix: tuple[str, ...]) -> dict[str, Any]:
    """The one container of ``explain --output json``, sampled by a process of its own."""
    command = [*prefix, sys.executable, "-m", "exporter", "explain", "--local", "--for", "3s", "--output", "json"]
    ended = subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 0, ended.stderr
    [container] = [one for one in json.loads(ended.stdout)["containers"] if one["container"] == "app"]
    found: dict[str, Any] = container
    return found


@pytest.mark.parametrize("namespaces", [(), POD_NAMESPACES], ids=["host", "pod"])
def test_a_process_in_a_pod_s_namespaces_says_what_one_on_the_host_says(
    hierarchy: Hierarchy, tmp_path: Path, namespaces: tuple[str, ...]
) -> None:
    if namespaces and subprocess.run([*namespaces, "true"], check=False).returncode:
        unavailable("needs the right to make namespaces")
    # The helper has no limit, so that no quota of the pod takes a part of the throttling.
    listed = pod("nested", Container("app", limit_cores=0.5), Container("helper")).identified("namespaces")
    with CgroupTree(hierarchy, "test") as tree:
        tree.set("", CpuSettings(shares=262144))
        tree.add_pod(listed)
        container = group_of(tree, listed)
        main, inner = f"{container}/main", f"{container}/docker/inner"
        tree.make(main)
        tree.make(inner, CpuSettings(quota_cores=0.05))
        (tmp_path / "pods.json").write_text(pod_list_text([listed]))
        flags = [f"--path.cgroup={hierarchy.root}", f"--pods.sources=file:{tmp_path}/pods.json"]
        flags += ["--sample.interval=200ms", "--scan.interval=500ms", "--sample.window=5s", "live/nested"]
        with counted_pids(hierarchy, tree.path(main), tree.path(inner)) as pids, Workforce() as workforce:
            for group, workers in ((main, WORKERS), (inner, INNER_WORKERS)):
                members = (*pids[tree.path(group)], *tree.members(group))
                workforce.start(Workload(kind="busy", workers=workers), members)
            found = explained(flags, namespaces)
        assert found["threads"] == WORKERS + INNER_WORKERS
        assert found["limit_cores"] == 0.5
        assert found["throttling"]["ratio"] > 0.2
        assert (found["namespace"], found["pod"]) == ("live", "nested")
