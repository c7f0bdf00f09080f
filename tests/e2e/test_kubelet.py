"""A kubelet that refuses, keeps silent or talks nonsense: the page is served, by uid and id where need be.

The source alone: ``tests/kube``; every other fault: ``tests/faults``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import FAST
from tests.support.fake_kubelet import TOKEN, Kubelet, Reply, kubelet
from tests.support.pages import Page, duplicates, triples
from tests.support.process import Exporter, started
from tests.support.treebuilder import Tree
from tests.support.trees import containerd_systemd, pod_list

USAGE = "cgroup_container_cpu_usage_seconds_total"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return containerd_systemd(tmp_path / "cgroup")


@pytest.fixture
def server(tmp_path: Path, tree: Tree) -> Iterator[Kubelet]:
    with kubelet(tmp_path, json.dumps(pod_list(tree)).encode()) as running:
        yield running


def options_on(tree: Tree) -> list[str]:
    folder = tree.root.parent
    return [f"--path.cgroup={tree.root}", f"--path.proc={folder}", f"--path.sys={folder}", *FAST]


def by_id(tree: Tree) -> set[tuple[str, str, str]]:
    return {("", one.pod_uid, one.container_id[:12]) for one in tree.containers}


def by_name(tree: Tree) -> set[tuple[str, str, str]]:
    return {("apps", f"pod-{one.pod_uid[:8]}", "c0") for one in tree.containers}


def reasons(page: Page) -> set[str]:
    rows = ((dict(labels), value) for labels, value in page.rows("throttle_exporter_errors_total").items())
    return {labels["reason"] for labels, value in rows if labels["stage"] == "pods" and value}


def assert_served_by_id(exporter: Exporter, tree: Tree, reason: str) -> None:
    """All containers are there, unmapped, with their counters; the failure is counted and the process healthy."""
    page = exporter.page_when(lambda now: triples(now.rows(USAGE)) == by_id(tree), timeout=20)

    assert reasons(page) == {reason}
    assert duplicates(page.text) == {}
    assert page.get("throttle_exporter_pods_source_up", source="kubelet") == 0
    assert page.get("throttle_exporter_cgroups", state="unmapped") == len(tree.containers)
    for one in tree.containers:
        labels = {"namespace": "", "pod": one.pod_uid, "container": one.container_id[:12]}
        assert page.get("cgroup_container_cpu_periods_total", **labels) == one.periods
        info = page.info("cgroup_container_info", **labels) | page.info("cgroup_pod_info", pod_uid=one.pod_uid)
        assert (info["qos_class"], info["pod"], info["runtime"]) == (one.qos_class, one.pod_uid, one.runtime)
    exporter.wait_ready()
    assert exporter.get("/healthz").status == 200
    assert TOKEN not in exporter.log


def test_a_token_that_is_refused_and_replaced(tree: Tree, server: Kubelet, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("somebody-else")
    with started([*options_on(tree), *server.options], ready=False) as exporter:
        assert_served_by_id(exporter, tree, "unauthorized")
        assert "somebody-else" not in exporter.log

        (tmp_path / "token").write_text(TOKEN)
        exporter.page_when(lambda page: triples(page.rows(USAGE)) == by_name(tree))


def test_forbidden_names_the_rule_that_is_missing(tree: Tree, server: Kubelet) -> None:
    server.server.forbidden = {"/pods"}
    with started([*options_on(tree), *server.options], ready=False) as exporter:
        assert_served_by_id(exporter, tree, "forbidden")
        [line] = [line for line in exporter.log.splitlines() if "403" in line and "nodes/pods" in line]
        assert "verb get" in line


def test_the_page_does_not_wait_for_a_silent_kubelet(tree: Tree, server: Kubelet) -> None:
    server.answer("/pods", Reply(hang=True))
    with started([*options_on(tree), *server.options, "--kubelet.timeout=1m"], ready=False) as exporter:
        page = exporter.page_after_ticks(2)

        assert page.rows("cgroup_node_info")
        assert page.get("throttle_exporter_cgroups", state="pending") == len(tree.containers)
        assert exporter.get("/healthz").status == 200
        assert exporter.get("/readyz").status == 503


def test_an_answer_too_large_to_be_a_list_keeps_the_last_good_one(tree: Tree, server: Kubelet) -> None:
    with started([*options_on(tree), *server.options, "--pods.interval=1s"]) as exporter:
        server.answer("/pods", Reply(body=b" " * 50_000_000))
        page = exporter.page_when(reasons)

        assert reasons(page) == {"too_large"}
        assert triples(page.rows(USAGE)) == by_name(tree)
        assert page.get("throttle_exporter_pods_source_up", source="kubelet") == 0
        assert (page.get("process_resident_memory_bytes") or 0) < 150e6
