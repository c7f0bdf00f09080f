"""A kubelet that keeps silent, refuses or talks nonsense: the page is served, by uid and id where need be.

The source alone: ``tests/kube``; every other fault: ``tests/faults``.
"""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import FAST, pod_errors
from tests.faults.node import Place
from tests.support.fake_kubelet import TOKEN, Reply, kubelet
from tests.support.pages import duplicates, triples
from tests.support.process import started
from tests.support.trees import containerd_systemd

USAGE = "cgroup_container_cpu_usage_seconds_total"
UP = "throttle_exporter_pods_source_up"


def test_a_kubelet_of_no_use_costs_names_and_nothing_else(tmp_path: Path) -> None:
    tree = containerd_systemd(tmp_path / "cgroup")
    place = Place(tmp_path, tree)
    by_id = {("", one.pod_uid, one.container_id[:12]) for one in tree.containers}
    by_name = {("apps", f"pod-{one.pod_uid[:8]}", "c0") for one in tree.containers}
    pods = (tmp_path / "pods.json").read_bytes()
    with kubelet(tmp_path, pods) as served:
        served.answer("/pods", Reply(hang=True))
        options = [*place.paths, *FAST, *served.options, "--kubelet.timeout=3s", "--pods.interval=1s"]
        with started(options, ready=False) as exporter:
            # No page waits for an answer, and nothing is shown under a name that it will not keep.
            page = exporter.page()
            assert page.rows("cgroup_node_info")
            assert page.rows(USAGE) == {}
            assert exporter.get("/healthz").status == 200
            assert exporter.get("/readyz").status == 503

            page = exporter.page_when(lambda page: triples(page.rows(USAGE)) == by_id)
            assert pod_errors(page).keys() == {"timeout"}
            assert duplicates(page.text) == {}
            assert page.get(UP, source="kubelet") == 0
            assert page.get("throttle_exporter_cgroups", state="unmapped") == len(tree.containers)
            for one in tree.containers:
                labels = {"namespace": "", "pod": one.pod_uid, "container": one.container_id[:12]}
                assert page.get("cgroup_container_cpu_periods_total", **labels) == one.periods
                info = page.info("cgroup_container_info", **labels) | page.info("cgroup_pod_info", pod_uid=one.pod_uid)
                assert (info["qos_class"], info["pod"], info["runtime"]) == (one.qos_class, one.pod_uid, one.runtime)
            exporter.wait_ready()
            assert exporter.get("/healthz").status == 200

            served.answer("/pods", Reply(pods))
            served.forbidden = {"/pods"}
            page = exporter.page_when(lambda page: "forbidden" in pod_errors(page))
            assert triples(page.rows(USAGE)) == by_id
            [line] = [line for line in exporter.log.splitlines() if "403" in line and "nodes/pods" in line]
            assert "verb get" in line

            served.forbidden = set()
            exporter.page_when(lambda page: triples(page.rows(USAGE)) == by_name)

            served.answer("/pods", Reply(b"<html>back soon</html>"))
            page = exporter.page_when(lambda page: "malformed" in pod_errors(page))
            assert triples(page.rows(USAGE)) == by_name, "those of the last good list"
            assert page.get(UP, source="kubelet") == 0
            assert pod_errors(page).keys() == {"timeout", "forbidden", "malformed"}
        assert TOKEN not in exporter.log
