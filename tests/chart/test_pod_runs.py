"""The rendered DaemonSet, run with exactly its arguments, environment, mounts and user id, and scraped."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.chart.charting import CASES, Json, objects, only, texts
from tests.chart.runtime import Image, Node, executing, expanded, running
from tests.monitoring.parts import free_port
from tests.support.fake_kubelet import Authority, FakeKubelet, Reply, looping
from tests.support.pages import Page
from tests.support.process import Exporter
from tests.support.recordings import RECORDINGS, Recording, copied
from tests.support.recordings import running as running_containers

TOKEN = "token-of-the-service-account"
LOOPBACK = "127.0.0.1"


@dataclass
class Cluster:
    """What the pod meets: a node of the recordings, and its kubelet."""

    recording: Recording
    kubelet: FakeKubelet
    node: Node

    @property
    def values(self) -> Json:
        """Ports that nobody else on this machine has; all else is the chart's."""
        port = self.kubelet.url.rpartition(":")[2]
        return {
            "config": {
                "kubelet": {"url": f"https://$(NODE_IP):{port}"},
                "web": {"listen-address": f":{free_port()}"},
            }
        }


@contextmanager
def cluster(recording: Recording, folder: Path) -> Iterator[Cluster]:
    tree = copied(recording, folder / "node")
    authority = Authority()
    authority.write(folder / "ca.crt")
    kubelet = FakeKubelet(tls=authority.server(LOOPBACK))
    kubelet.tokens = {TOKEN}
    kubelet.answer("/pods", Reply(body=recording.pods.read_bytes()))
    configz = recording.folder / "configz.json"
    if configz.exists():
        kubelet.answer("/configz", Reply(body=configz.read_bytes()))
    node = Node(
        fields={"spec.nodeName": "node-1", "status.hostIP": LOOPBACK},
        folders={"/sys/fs/cgroup": f"{tree}/sys/fs/cgroup"},
        token={"token": TOKEN.encode(), "ca.crt": (folder / "ca.crt").read_bytes(), "namespace": b"monitoring"},
        # A closed port: what is to be seen here comes from the kubelet.
        environment={"KUBERNETES_SERVICE_HOST": LOOPBACK, "KUBERNETES_SERVICE_PORT": "1"},
    )
    with looping() as loop:
        asyncio.run_coroutine_threadsafe(kubelet.__aenter__(), loop).result(10)
        try:
            yield Cluster(recording, kubelet, node)
        finally:
            asyncio.run_coroutine_threadsafe(kubelet.__aexit__(None, None, None), loop).result(10)


def mapped(page: Page) -> set[tuple[str, str, str]]:
    """Namespace, pod and container of every container that the page names."""
    rows = (dict(labels) for labels in page.rows("cgroup_container_info"))
    return {(row["namespace"], row["pod"], row["container"]) for row in rows if row["namespace"]}


def privileges(pid: int) -> dict[str, str]:
    status = Path(f"/proc/{pid}/status").read_text()
    wanted = ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "NoNewPrivs")
    return {name: " ".join(re.findall(rf"^{name}:\s*(.*)$", status, re.MULTILINE)).strip() for name in wanted}


def helm_test(found: list[Json], exporter: Exporter) -> subprocess.CompletedProcess[str]:
    """The chart's test pod: its script and its arguments, but for the name that only a cluster's DNS knows."""
    [pod] = [each for each in found if each["kind"] == "Pod"]
    [one] = pod["spec"]["containers"]
    _, flag, script = one["command"]
    _, port, *rest = one["args"]
    assert port == str(exporter.port)
    return subprocess.run(
        [sys.executable, flag, script, LOOPBACK, port, *rest], capture_output=True, text=True, check=False, timeout=60
    )


def log_folders(recording: Recording, folder: Path) -> dict[str, str]:
    """The names that this recording's kubelet gave to its logs, without a log."""
    for one in running_containers(recording.pod_list):
        own = f"{one.namespace}_{one.pod}_{one.pod_uid}"
        (folder / "pods" / own / one.name).mkdir(parents=True)
        (folder / "containers").mkdir(exist_ok=True)
        link = folder / "containers" / f"{one.pod}_{one.namespace}_{one.name}-{one.container_id}.log"
        link.symlink_to(f"/var/log/pods/{own}/{one.name}/0.log")
    return {f"/var/log/{name}": str(folder / name) for name in ("pods", "containers")}


def test_names_of_logs_are_enough_without_any_right(tmp_path: Path, runs_on: Image) -> None:
    recording = next(one for one in RECORDINGS if one.name.startswith("kubelet"))
    with cluster(recording, tmp_path) as here:
        values = here.values | {"config": here.values["config"] | CASES["logs-only"]["config"]}
        found = objects(values)
        node = replace(here.node, folders={**here.node.folders, **log_folders(recording, tmp_path / "log")}, token={})
        wanted = {(one.namespace, one.pod, one.name) for one in running_containers(recording.pod_list)}
        with running(found, node, tmp_path / "pod", runs_on) as exporter:
            exporter.wait_ready()
            page = exporter.page_when(lambda page: mapped(page) == wanted)
        assert here.kubelet.requests == []
    assert page.get("throttle_exporter_pods_source_active", source="logs") == 1
    assert "ClusterRole" not in {each["kind"] for each in found}


def test_kubectl_exec_explain_asks_the_exporter_of_the_pod(tmp_path: Path, runs_on: Image) -> None:
    """On a port of its own choice, and with nothing said about it: the pod's environment knows."""
    recording = next(one for one in RECORDINGS if one.name.startswith("kubelet"))
    with cluster(recording, tmp_path) as here:
        found = objects(here.values)
        with running(found, here.node, tmp_path / "pod", runs_on) as exporter:
            exporter.wait_ready()
            command = executing(found, here.node, tmp_path / "exec", runs_on, "explain")
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in {0, 1}, done.stderr
    assert f"the exporter at http://{LOOPBACK}:{exporter.port}," in " ".join(done.stdout.split())


@pytest.fixture(params=RECORDINGS, ids=lambda recording: recording.name)
def served(
    request: pytest.FixtureRequest, tmp_path: Path, runs_on: Image
) -> Iterator[tuple[Cluster, list[Json], Exporter]]:
    with cluster(request.param, tmp_path) as here:
        found = objects(here.values)
        with running(found, here.node, tmp_path / "pod", runs_on) as exporter:
            exporter.wait_ready()
            yield here, found, exporter


def test_the_rendered_daemonset_serves_its_node(served: tuple[Cluster, list[Json], Exporter]) -> None:
    here, found, exporter = served
    wanted = {(one.namespace, one.pod, one.name) for one in running_containers(here.recording.pod_list)}
    page = exporter.page_when(lambda page: mapped(page) == wanted)
    assert mapped(page) == wanted
    assert page.get("throttle_exporter_pods_source_active", source="kubelet") == 1

    spec = only(found, "DaemonSet")["spec"]["template"]["spec"]
    [one] = spec["containers"]
    for probe in ("livenessProbe", "readinessProbe"):
        assert exporter.get(one[probe]["httpGet"]["path"]).status == 200
    held = privileges(exporter.process.pid)
    assert held.pop("NoNewPrivs") == "1"
    # In a user namespace the test's own user stands for the pod's, and what it may do there is worth nothing outside.
    if os.geteuid() == 0:
        nobody = "\t".join(["65532"] * 4)
        assert held == {"Uid": nobody, "Gid": nobody, "Groups": "65532", "CapEff": "0" * 16, "CapPrm": "0" * 16}

    said = helm_test(found, exporter)
    assert said.returncode == 0, said.stdout + said.stderr
    assert re.match(rf"ok  {LOOPBACK} status 200, \d+ samples, [1-9]\d* of them of containers", said.stdout)

    notes = texts(here.values)["NOTES.txt"]
    [pattern] = re.findall(r"grep -E '(\S+)'", notes)
    assert len(re.findall(pattern, page.text, re.MULTILINE)) >= 3, "what the notes look for is on the page"
    assert exporter.stop() == 0
    assert "level=error" not in exporter.log


def test_the_helm_test_tells_an_exporter_that_reads_the_wrong_tree(tmp_path: Path, runs_on: Image) -> None:
    recording = RECORDINGS[-1]
    with cluster(recording, tmp_path) as here:
        empty = tmp_path / "empty"
        tree = Path(here.node.folders["/sys/fs/cgroup"])
        empty.mkdir()
        for name in ("cgroup.controllers", "cgroup.procs", "cpu.stat"):
            (empty / name).write_bytes((tree / name).read_bytes() if (tree / name).exists() else b"")
        node = replace(here.node, folders={"/sys/fs/cgroup": str(empty)})
        found = objects(here.values | {"test": {"timeoutSeconds": 2}})
        with running(found, node, tmp_path / "pod", runs_on) as exporter:
            exporter.wait_ready()
            said = helm_test(found, exporter)
    assert said.returncode == 1
    assert said.stdout.startswith(f"BAD {LOOPBACK} status 200")
    assert "0 of them of containers" in said.stdout


def test_expansion_is_the_kubelet_s() -> None:
    environment = {"NODE_IP": "192.0.2.7"}
    assert expanded("https://$(NODE_IP):10250", environment) == "https://192.0.2.7:10250"
    assert expanded("$$(NODE_IP) $(OTHER) $NODE_IP", environment) == "$(NODE_IP) $(OTHER) $NODE_IP"
