"""Odd layouts on a whole page, as ``once`` makes it: values of one container from several places.

Each layout for itself: ``tests/cgroupfs`` and ``tests/sampler``.
"""

from __future__ import annotations

import json
from pathlib import Path

from exporter.settings import Settings
from tests.faults.node import Place
from tests.support.pages import triples
from tests.support.pods import pod, running
from tests.support.treebuilder import container_id, pod_uid, v2
from tests.support.trees import v1_paths_differ
from tests.support.whole import page_of


def test_facts_of_one_container_from_differing_paths(tmp_path: Path) -> None:
    tree = v1_paths_differ(tmp_path / "cgroup")
    [container] = tree.containers
    labels = {"namespace": "apps", "pod": f"pod-{container.pod_uid[:8]}", "container": "c0"}

    page = page_of(Place(tmp_path, tree).settings)

    assert page.info("cgroup_container_cpuset_info", **labels)["cpus"] == "2"
    assert page.get("cgroup_container_cpu_usage_seconds_total", **labels) is not None
    # containerd.service, above the container and not above the pod's slice, has a quota of its own.
    assert page.get("cgroup_container_cpu_limit_cores", **labels) == 0.5
    assert page.get("cgroup_container_cpu_effective_limit_cores", **labels) == 0.3


def test_containers_without_a_pod_cgroup_are_found_on_the_first_page(tmp_path: Path) -> None:
    """With the kubelet's ``--cgroups-per-qos=false`` only the pod list tells that a group is a container."""
    build, cid = v2(tmp_path / "cgroup"), container_id("app")
    build.group(f"k8s.io/{cid}", quota=50_000)
    listed = pod(pod_uid("web"), containers=[{"name": "app"}], statuses=[running("app", f"containerd://{cid}")])
    (tmp_path / "pods.json").write_text(json.dumps({"kind": "PodList", "items": [listed]}))

    page = page_of(Settings(path_cgroup=str(tmp_path / "cgroup"), pods_sources=(f"file:{tmp_path / 'pods.json'}",)))

    assert triples(page.rows("cgroup_container_cpu_periods_total")) == {("default", "web-1", "app")}
