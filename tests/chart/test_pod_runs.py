"""The rendered DaemonSet, run with exactly its arguments, environment, mounts and user id, and scraped."""

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
from tests.chart.runtime import Node, executing, running, this_checkout
from tests.support.fake_kubelet import FakeKubelet, kubelet
from tests.support.pages import Page, triples
from tests.support.process import Exporter, free_port
from tests.support.recordings import RECORDINGS, Recording, copied
from tests.support.recordings import running as running_containers

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
    tree, configz = copied(recording, folder / "node"), recording.folder / "configz.json"
    answers = [file.read_bytes() for file in (recording.pods, configz) if file.exists()]
    with kubelet(folder, *answers) as served:
        node = Node(
            fields={"spec.nodeName": "node-1", "status.hostIP": LOOPBACK},
            folders={"/sys/fs/cgroup": f"{tree}/sys/fs/cgroup"},
            token={name: (folder / name).read_bytes() for name in ("token", "ca.crt")} | {"namespace": b"monitoring"},
            # A closed port: what is to be seen here comes from the kubelet.
            environment={"KUBERNETES_SERVICE_HOST": LOOPBACK, "KUBERNETES_SERVICE_PORT": "1"},
        )
        yield Cluster(recording, served, node)


def mapped(page: Page) -> set[tuple[str, str, str]]:
    """Namespace, pod and container of every container that the page names."""
    return {names for names in triples(page.rows("cgroup_container_info")) if names[0]}


def listed(recording: Recording) -> set[tuple[str, str, str]]:
    """The same of the recording."""
    return {(one.namespace, one.pod, one.name) for one in running_containers(recording.pod_list)}


def helm_test(found: list[Json], exporter: Exporter) -> subprocess.CompletedProcess[str]:
    """The chart's test pod: its script and its arguments, but for the name that only a cluster's DNS knows."""
    [one] = only(found, "Pod")["spec"]["containers"]
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


def test_names_of_logs_are_enough_without_any_right(tmp_path: Path) -> None:
    recording = next(one for one in RECORDINGS if one.name.startswith("kubelet"))
    with cluster(recording, tmp_path) as here:
        values = here.values | {"config": here.values["config"] | CASES["logs-only"]["config"]}
        found = objects(values)
        node = replace(here.node, folders={**here.node.folders, **log_folders(recording, tmp_path / "log")}, token={})
        with running(found, node, tmp_path / "pod", this_checkout()) as exporter:
            exporter.wait_ready()
            page = exporter.page_when(lambda page: mapped(page) == listed(recording))
        assert here.kubelet.requests == []
    assert page.get("throttle_exporter_pods_source_active", source="logs") == 1
    assert "ClusterRole" not in {each["kind"] for each in found}


@pytest.mark.parametrize("recording", [RECORDINGS[0], RECORDINGS[-1]], ids=lambda recording: recording.name)
def test_the_rendered_daemonset_serves_its_node(recording: Recording, tmp_path: Path) -> None:
    with cluster(recording, tmp_path) as here:
        found = objects(here.values)
        with running(found, here.node, tmp_path / "pod", this_checkout()) as exporter:
            exporter.wait_ready()
            check(here, found, exporter, tmp_path)


def check(here: Cluster, found: list[Json], exporter: Exporter, folder: Path) -> None:
    page = exporter.page_when(lambda page: mapped(page) == listed(here.recording))
    assert page.get("throttle_exporter_pods_source_active", source="kubelet") == 1

    [one] = only(found, "DaemonSet")["spec"]["template"]["spec"]["containers"]
    for probe in ("livenessProbe", "readinessProbe"):
        assert exporter.get(one[probe]["httpGet"]["path"]).status == 200
    # In a user namespace the test's own user stands for the pod's, and what it may do there is worth nothing outside.
    if os.geteuid() == 0:
        status = Path(f"/proc/{exporter.process.pid}/status").read_text()
        assert re.search(r"^Uid:\t65532\t", status, re.MULTILINE)
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)

    said = helm_test(found, exporter)
    assert said.returncode == 0, said.stdout + said.stderr
    assert re.match(rf"ok  {LOOPBACK} status 200, \d+ samples, [1-9]\d* of them of containers", said.stdout)

    # On a port of its own choice, and with nothing said about it: the pod's environment knows.
    explain = executing(found, here.node, folder / "exec", this_checkout(), "explain")
    explained = subprocess.run(explain, capture_output=True, text=True, check=False, timeout=60)
    assert explained.returncode in {0, 1}, explained.stderr
    assert f"the exporter at http://{LOOPBACK}:{exporter.port}," in " ".join(explained.stdout.split())

    notes = texts(here.values)["NOTES.txt"]
    [pattern] = re.findall(r"grep -E '(\S+)'", notes)
    assert len(re.findall(pattern, page.text, re.MULTILINE)) >= 3, "what the notes look for is on the page"
    assert exporter.stop() == 0
    assert "level=error" not in exporter.log
