"""Every odd layout of real systems on a whole page: the right rows, named and unnamed, and no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.settings import Settings
from tests.support.pages import Page, duplicates, triples
from tests.support.pods import pod, running
from tests.support.treebuilder import Tree, container_id, pod_uid, v2
from tests.support.trees import LAYOUTS, crio, pod_list, v1_paths_differ
from tests.support.whole import page_of

PERIODS = "cgroup_container_cpu_periods_total"
Layout = Callable[[Path], Tree]


def page_on(tree: Tree, *, named: bool) -> Page:
    folder = tree.root.parent
    pods = folder / "pods.json"
    pods.write_text(json.dumps(pod_list(tree)))
    sources = (f"file:{pods}",) if named else ()
    return page_of(
        Settings(path_cgroup=str(tree.root), path_proc=str(folder), path_sys=str(folder), pods_sources=sources)
    )


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_exactly_the_containers_of_the_layout(layout: Layout, tmp_path: Path) -> None:
    tree = layout(tmp_path / "cgroup")

    page = page_on(tree, named=False)

    rows = {("", one.pod_uid, one.container_id[:12]): float(one.periods) for one in tree.containers}
    assert {
        tuple(dict(labels)[k] for k in ("namespace", "pod", "container")): value
        for labels, value in page.rows(PERIODS).items()
    } == rows
    assert {dict(labels)["pod"] for labels in page.rows("cgroup_pod_cpu_usage_seconds_total")} == {
        one.pod_uid for one in tree.pods
    }
    for one in tree.containers:
        labels = {"namespace": "", "pod": one.pod_uid, "container": one.container_id[:12]}
        assert page.get("cgroup_container_cpu_limit_cores", **labels) == one.limit_cores
        info = page.info("cgroup_container_info", **labels) | page.info("cgroup_pod_info", pod_uid=one.pod_uid)
        assert (info["container_id"], info["qos_class"], info["runtime"]) == (
            one.container_id,
            one.qos_class,
            one.runtime,
        )
    assert [dict(labels)["version"] for labels in page.rows("cgroup_node_info")] == [tree.version]
    assert duplicates(page.text) == {}
    assert not page.total("throttle_exporter_errors_total")


@pytest.mark.parametrize("layout", [crio, v1_paths_differ], ids=lambda layout: layout.__name__)
def test_layouts_under_names(layout: Layout, tmp_path: Path) -> None:
    tree = layout(tmp_path / "cgroup")

    page = page_on(tree, named=True)

    assert {namespace for namespace, _, _ in triples(page.rows(PERIODS))} == {"apps"}
    assert sorted(page.rows(PERIODS).values()) == sorted(float(one.periods) for one in tree.containers)


def test_facts_of_one_container_from_differing_paths(tmp_path: Path) -> None:
    tree = v1_paths_differ(tmp_path / "cgroup")
    [container] = tree.containers
    labels = {"namespace": "apps", "pod": f"pod-{container.pod_uid[:8]}", "container": "c0"}

    page = page_on(tree, named=True)

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

    assert triples(page.rows(PERIODS)) == {("default", "web-1", "app")}
