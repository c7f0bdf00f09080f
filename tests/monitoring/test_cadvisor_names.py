"""The kubernetes-mixin's own expressions, in Prometheus, on a page scraped as docs/cadvisor-names.md has it."""

import json
import re
import threading
from collections.abc import Iterator

import pytest
import yaml

from tests.chart.charting import ROOT, Json, objects, only
from tests.monitoring.parts import Server, eventually, prometheus
from tests.support.process import started
from tests.support.treebuilder import Tree
from tests.support.trees import containerd_systemd, pod_list

pytestmark = pytest.mark.timeout(90)

SELECTOR = 'job="kubelet", metrics_path="/metrics/cadvisor"'
"""``cadvisorSelector`` of kube-prometheus and kube-prometheus-stack."""
PERIODS, THROTTLED = 10, 4
WITHOUT = "without (id, metrics_path, name, image, endpoint, job, node)"
ALERT = f"""
sum(increase(container_cpu_cfs_throttled_periods_total{{container!="", {SELECTOR}, }}[5m])) {WITHOUT}
  / on (cluster, namespace, pod, container, instance) group_left
sum(increase(container_cpu_cfs_periods_total{{{SELECTOR}, }}[5m])) {WITHOUT}
  > ( 25 / 100 )
"""
"""``CPUThrottlingHigh`` of alerts/resource_alerts.libsonnet."""
ALERT_UNTIL_2024 = ALERT.replace(" on (cluster, namespace, pod, container, instance) group_left", "")
PANEL = f"""
sum(increase(container_cpu_cfs_throttled_periods_total{{{SELECTOR}, namespace="apps", pod="POD", container!="",
  cluster="prod"}}[5m])) by (container)
/sum(increase(container_cpu_cfs_periods_total{{{SELECTOR}, namespace="apps", pod="POD", container!="",
  cluster="prod"}}[5m])) by (container)
"""
"""``cpuThrottling`` of dashboards/resources/queries/pod.libsonnet, with the variables filled in."""


def snake(rules: list[Json]) -> list[Json]:
    """The operator's relabelings as Prometheus has them."""
    return [{re.sub("[A-Z]", lambda one: f"_{one[0].lower()}", key): rule[key] for key in rule} for rule in rules]


def write_counters(tree: Tree, tick: int) -> None:
    """All containers were throttled in 4 of 10 periods; in place, and of one length for ticks from 1,000 to 9,999."""
    numbers = f"nr_periods {tick * PERIODS}\nnr_throttled {tick * THROTTLED:05}\nthrottled_usec {tick}000\n"
    text = f"usage_usec {tick}000\nuser_usec {tick}000\nsystem_usec 0\n{numbers}"
    for container in tree.containers:
        with (tree.root / container.path / "cpu.stat").open("r+") as file:
            file.write(text)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    tree = containerd_systemd(tmp_path_factory.mktemp("cadvisor") / "cgroup")
    for container in tree.containers:
        (tree.root / container.path / "cpu.stat").write_text("")
    write_counters(tree, 2500)
    return tree


@pytest.fixture(scope="module")
def server(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Prometheus after some scrapes by the ServiceMonitor that the page's values give."""
    folder = tmp_path_factory.mktemp("prometheus")
    [values] = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "cadvisor-names.md").read_text(), re.DOTALL)
    found = objects(yaml.safe_load(values))
    [endpoint] = only(found, "ServiceMonitor")["spec"]["endpoints"]
    [pod] = only(found, "DaemonSet")["spec"]["template"]["spec"]["containers"]
    assert any("--web.cadvisor-names" in argument for argument in pod["args"])
    (folder / "pods.json").write_text(json.dumps(pod_list(tree)))
    options = [f"--path.cgroup={tree.root}", f"--pods.sources=file:{folder}/pods.json", "--sample.interval=200ms"]
    stop = threading.Event()

    def move() -> None:
        for tick in range(2501, 9_999):
            write_counters(tree, tick)
            if stop.wait(0.1):
                return

    moving = threading.Thread(target=move)
    moving.start()
    try:
        with started([*options, "--web.cadvisor-names"]) as exporter:
            target = {"endpoint": "metrics", "service": "kube-throttle-exporter", "namespace": "monitoring"}
            target |= {"pod": "kube-throttle-exporter-x2k9p", "container": "exporter"}
            target |= {"__meta_kubernetes_pod_node_name": "node-7"}
            job = {
                "job_name": "exporter",
                "scrape_interval": "500ms",
                "scrape_timeout": "500ms",
                "honor_labels": endpoint["honorLabels"],
                "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"], "labels": target}],
                "relabel_configs": snake(endpoint["relabelings"]),
                "metric_relabel_configs": snake(endpoint["metricRelabelings"]),
            }
            with prometheus(yaml.safe_dump({"scrape_configs": [job]}), folder) as server:
                yield server
    finally:
        stop.set()
        moving.join()


@pytest.mark.parametrize("expression", [ALERT, ALERT_UNTIL_2024], ids=["current", "until 2024"])
def test_the_alert_finds_every_throttled_container(server: Server, tree: Tree, expression: str) -> None:
    found = eventually(lambda: server.query(expression), "the alert's expression gives samples", 30)
    assert len(found) == len(tree.containers)
    for sample in found:
        labels = sample["metric"]
        assert (labels["namespace"], labels["container"], labels["cluster"]) == ("apps", "c0", "prod")
        assert float(sample["value"][1]) == pytest.approx(THROTTLED / PERIODS, abs=0.05)


def test_the_throttling_panel_of_the_pod_dashboard(server: Server, tree: Tree) -> None:
    pod = f"pod-{tree.containers[0].pod_uid[:8]}"
    [sample] = eventually(lambda: server.query(PANEL.replace("POD", pod)), "the panel shows the container", 30)
    assert sample["metric"] == {"container": "c0"}
    assert float(sample["value"][1]) == pytest.approx(THROTTLED / PERIODS, abs=0.05)


def test_only_what_the_kubelet_does_not_serve_has_its_job(server: Server) -> None:
    eventually(lambda: server.query(ALERT), "there are series", 30)
    names = {sample["metric"]["__name__"] for sample in server.query(f"{{{SELECTOR}}}")}
    assert names == {
        f"container_cpu_cfs_{name}_total" for name in ("periods", "throttled_periods", "throttled_seconds")
    }
    assert {sample["metric"]["job"] for sample in server.query("up")} == {"kube-throttle-exporter"}
    assert {sample["metric"]["job"] for sample in server.query("cgroup_container_cpu_periods_total")} == {
        "kube-throttle-exporter"
    }
