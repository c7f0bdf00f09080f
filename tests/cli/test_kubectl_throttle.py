"""``kubectl throttle`` with a kubectl that knows a small cluster: three nodes, on two of them a real exporter."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import exporter
from tests.cli.conftest import lab, moving
from tests.conftest import Generated
from tests.support.lab import alive, eventually
from tests.support.process import ROOT, Exporter, environment, started

pytestmark = pytest.mark.system
PLUGIN = ROOT / "deploy" / "kubectl" / "kubectl-throttle"
EXPORTER = {"app.kubernetes.io/name": "kube-throttle-exporter"}
KUBECTL = """#!{python}
import json, os, re, subprocess, sys, time, urllib.request
state = json.load(open(os.environ["CLUSTER"]))
words, options = [], dict()
arguments = sys.argv[1:]
command = []
if "--" in arguments:
    at = arguments.index("--")
    arguments, command = arguments[:at], arguments[at + 1:]
while arguments:
    word = arguments.pop(0)
    if word in ("-n", "-l", "-c", "-o"):
        options[word] = arguments.pop(0)
    elif word.startswith("-"):
        options[word.partition("=")[0]] = word.partition("=")[2]
    else:
        words.append(word)
with open(os.environ["CLUSTER"] + ".log", "a") as log:
    print(json.dumps([words, options, command, os.getpid()]), file=log)
if words[:2] == ["config", "view"]:
    print(state["namespace"], end="")
elif words[:2] == ["auth", "can-i"]:
    sys.exit(options["--subresource"] in state["forbidden"])
elif "--raw" in options:
    pod, path = re.fullmatch("/api/v1/namespaces/monitoring/pods/([^/]+)/proxy(/.*)", words[1]).groups()
    one = state["exporters"][pod]
    if "proxy" in state["forbidden"]:
        sys.exit('Error from server (Forbidden): pods "%s" is forbidden: cannot get resource "pods/proxy"' % pod)
    with urllib.request.urlopen("http://127.0.0.1:%d%s" % (one["port"], path)) as answer:
        sys.stdout.write(answer.read().decode())
elif words[0] == "exec":
    one = state["exporters"][words[1]]
    if one.get("hangs"):
        time.sleep(60)
    code = subprocess.call([*state["program"], *command[1:], "--web.listen-address=127.0.0.1:%d" % one["port"]])
    if code:
        print("command terminated with exit code %d" % code, file=sys.stderr)
    sys.exit(code)
elif words[:2] == ["get", "pods"]:
    selector = options.get("-l", "")
    jobs = re.fullmatch("job-name in [(](.*)[)]", selector)
    labels = dict(part.split("=") for part in selector.split(",") if part and not jobs)
    for pod in state["pods"]:
        namespace = options.get("-n", pod["namespace"] if "-A" in options else state["namespace"])
        if jobs and pod["labels"].get("job-name") not in jobs[1].split(","):
            continue
        if pod["namespace"] == namespace and labels.items() <= pod["labels"].items():
            print(pod["node"], pod["namespace"], pod["name"], pod.get("phase", "Running"), "HTTP", sep="\\t")
elif words[:2] == ["get", "jobs"]:
    for owner, job in state["jobs"]:
        print(owner, job, sep="\\t")
elif words[0] == "get" and "/" in words[1]:
    selector = state["selectors"].get(words[1])
    if selector is None:
        sys.exit('Error from server (NotFound): "%s" not found' % words[1])
    print("".join("%s=%s," % pair for pair in selector.items()), end="")
"""


@dataclass(frozen=True)
class Cluster:
    folder: Path
    state: dict[str, Any]

    def start(self, *arguments: str, without_program: bool = False, **changes: Any) -> subprocess.Popen[str]:
        (self.folder / "cluster.json").write_text(json.dumps(self.state | changes))
        (self.folder / "cluster.json.log").write_text("")
        path = ":".join([*([] if without_program else [str(self.bin)]), str(self.folder), "/usr/bin:/bin"])
        variables = environment() | {"PATH": path, "CLUSTER": str(self.folder / "cluster.json")}
        return subprocess.Popen(
            ["sh", str(PLUGIN), *arguments], cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
            # Of what runs in a shell's background SIGINT is ignored, and a shell cannot trap it then.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one system call, no lock
        )  # fmt: skip

    def throttle(self, *arguments: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **changes)
        output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    @property
    def bin(self) -> Path:
        return Path(sys.executable).parent

    def executed(self) -> dict[int, list[str]]:
        """What was executed in exporters' pods, by kubectl's process id."""
        return {pid: command[1:] for words, _, command, pid in self.log() if words[0] == "exec"}

    def log(self) -> list[tuple[list[str], dict[str, str], list[str], int]]:
        """Words, options, command and process id of each kubectl."""
        return [json.loads(line) for line in (self.folder / "cluster.json.log").read_text().splitlines()]


def pod(node: str, namespace: str, name: str, **labels: str) -> dict[str, Any]:
    return {"node": node, "namespace": namespace, "name": name, "labels": labels}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    kubectl = folder / "kubectl"
    kubectl.write_text(KUBECTL.replace("{python}", sys.executable))
    kubectl.chmod(0o755)
    with ExitStack() as stack:
        exporters: dict[str, Any] = {}
        running: list[Exporter] = []
        pods: list[dict[str, Any]] = []
        for node, namespaces in (("node-1", {"shop"}), ("node-2", {"data", "kube-system"})):
            (folder / node).mkdir()
            one = stack.enter_context(lab(folder / node, node_name=node, namespaces=namespaces))
            process = stack.enter_context(started(one.options))
            stack.enter_context(moving(one.node))
            exporters[f"exporter-{node}"] = {"port": process.port}
            running.append(process)
            for item in json.loads((folder / node / "pods.json").read_text())["items"]:
                name = item["metadata"]["name"]
                labels = {"app": name.partition("-")[0], "job-name": name.rpartition("-")[0]}
                pods.append(pod(node, item["metadata"]["namespace"], name, **labels))
            pods.append(pod(node, "monitoring", f"exporter-{node}", **EXPORTER))
        for process in running:
            process.page_when(lambda page: page.total("throttle_exporter_sample_duration_seconds_count") > 30)
        state = {
            "namespace": "shop",
            "program": [sys.executable, "-m", "exporter"],
            "exporters": exporters,
            "pods": pods,
            "selectors": {f"{kind}/checkout": {"app": "checkout"} for kind in ("deploy", "deployment")}
            | {"sts/trainer": {"app": "trainer"}, "cj/report": {}, "cj/backup": {}},
            "jobs": [["CronJob/report", "report-28766160"], ["/", "other"]],
            "forbidden": [],
        }
        yield Cluster(folder, state)


@pytest.mark.parametrize(
    ("arguments", "asked", "said"),
    [
        (["checkout-7d9f8b6c5d-x2k9p"], "shop/checkout-7d9f8b6c5d-x2k9p", "Critical: throttled"),
        (["checkout"], "shop/checkout-7d9f8b6c5d-x2k9p", "Critical: throttled"),
        (["shop/checkout-7d9f8b6c5d-x2k9p/app"], "shop/checkout-7d9f8b6c5d-x2k9p/app", "Critical: throttled"),
        (["data/sts/trainer"], "data/sts/trainer", "No problems"),
        # As "kubectl get -o name" prints them.
        (["deployment.apps/checkout"], "shop/deployment/checkout", "Critical: throttled"),
        (["Deploy/checkout"], "shop/deploy/checkout", "Critical: throttled"),
        (["pod/checkout-7d9f8b6c5d-x2k9p"], "shop/checkout-7d9f8b6c5d-x2k9p", "Critical: throttled"),
        (["data/pod/trainer-0"], "data/trainer-0", "No problems"),
        (["data/cj/report"], "data/cj/report", "Critical: ancestor throttled"),
        (["-n", "data", "-l", "app=trainer"], "data/trainer-0", "No problems"),
    ],
)
def test_explain_finds_the_node(cluster: Cluster, arguments: list[str], asked: str, said: str) -> None:
    result = cluster.throttle("explain", *arguments)

    assert (result.returncode, result.stderr) == (0, "")
    assert [words[-1] for words in cluster.executed().values()] == [asked]
    assert said in result.stdout
    assert "Source: node node-" in " ".join(result.stdout.split())


def test_a_namespace_and_all_of_them(cluster: Cluster) -> None:
    one = cluster.throttle("explain", "-n", "shop")
    assert [words[-1] for words in cluster.executed().values()] == ["--namespace=shop"]
    assert "shop/checkout-7d9f8b6c5d-x2k9p/app" in one.stdout

    every = cluster.throttle("explain", "-A")
    assert (every.returncode, every.stderr) == (0, "")
    assert re.findall(r"^== node (.*)$", every.stdout, re.MULTILINE) == ["node-1", "node-2"]


def test_top_merges_the_nodes_worst_first(cluster: Cluster) -> None:
    result = cluster.throttle("top", "-A")

    assert (result.returncode, result.stderr) == (0, "")
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["NODE", "CONTAINER", "THR", "LOST/S", "CPU", "LIMIT", "WAIT", "FINDING"]
    assert len(rows) == 11
    assert rows[0].split()[:3] == ["node-1", "shop/checkout-7d9f8b6c5d-x2k9p/app", "100%"]
    assert {row.split()[0] for row in rows[1:3]} == {"node-2"}
    # The order of the columns of the page and of explain: critical first, then by time lost.
    lost = [float(row.split()[3]) for row in rows[3:] if row.split()[3] != "-"]
    assert lost == sorted(lost, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "first", "rows"),
    [
        (["-n", "data"], "data/report", 4),
        (["-l", "app=catalog"], "shop/catalog", 2),
        (["-A", "--sort", "name"], "data/indexer", 11),
        (["-A", "--sort=cpu", "--limit=1"], "", 2),
    ],
)
def test_top_of_some(cluster: Cluster, arguments: list[str], first: str, rows: int) -> None:
    result = cluster.throttle("top", *arguments)

    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()[1:]
    assert len(lines) == rows
    assert lines[0].split()[1].startswith(first)


def test_nodes_that_do_not_answer_are_named(cluster: Cluster) -> None:
    lonely = pod("node-3", "shop", "web-0", app="web")
    hanging = cluster.state["exporters"] | {"exporter-node-2": {"port": 1, "hangs": True}}
    start = time.monotonic()
    result = cluster.throttle("top", "-A", "--timeout=8", exporters=hanging)

    assert result.returncode == 3
    assert result.stderr == "kubectl throttle: no answer from node node-2: no answer within 8 s\n"
    assert "shop/checkout" in result.stdout
    assert time.monotonic() - start < 30

    result = cluster.throttle("explain", "web-0", pods=[*cluster.state["pods"], lonely])
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == "kubectl throttle: no answer from node node-3: no exporter runs there\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_all_that_it_started(cluster: Cluster, number: signal.Signals, code: int) -> None:
    hanging = {pod: {"port": 1, "hangs": True} for pod in cluster.state["exporters"]}
    process = cluster.start("top", "-A", exporters=hanging)
    assert eventually(lambda: len(cluster.executed()) == 2)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)

    process.communicate(timeout=10)
    assert process.returncode == code
    assert eventually(lambda: not any(map(alive, cluster.executed())))


def test_the_exit_code_of_problems_is_asked_for(cluster: Cluster) -> None:
    assert cluster.throttle("explain", "deploy/checkout", "--exit-code").returncode == 1
    assert cluster.throttle("explain", "data/trainer-0", "--exit-code").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["describe"], "unknown command 'describe'"),
        (["explain", "--wide"], "unknown option '--wide'"),
        (["explain", "-n"], "-n needs a value"),
        (["explain", "a", "b"], "one NAME only"),
        (["explain", "a/b/c/d"], "too many parts"),
        (["explain", ""], "NAME is empty"),
        (["explain", "shop/"], "a part of 'shop/' is empty"),
        (["explain", "shop//web"], "is empty"),
        (["explain", "web\x1b[2J\nx"], "no name is like 'web?[2J?x'"),
        (["explain", "--\x1b[2J"], "unknown option '--?[2J'"),
        (["explain", "-n", "a b"], "no name is like 'a b'"),
        (["top", "--exporter-namespace=*"], "no name is like '*'"),
        (["top", "--limit="], "--limit and --timeout take numbers"),
        (["top", "--timeout=0"], "--timeout is at least 1"),
        (["explain", "c"], "no pod 'c' in namespace 'shop'; near it: "),
        (["explain", "nothing"], "no pod 'nothing' in namespace 'shop'"),
        (["explain", "-A", "deploy/web"], "contradicts"),
        (["explain", "deploy/web"], '"deploy/web" not found'),
        (["explain", "data/cj/backup"], "'cj/backup' in namespace 'data' has no Job now"),
        (["explain", "--via=ssh"], "--via: exec or proxy"),
        (["explain", "-n", "empty"], "no pod is meant"),
        (["top", "web"], "top takes no NAME"),
        (["top", "--sort=size"], "--sort: impact"),
        (["top", "--exporter-selector=app=none"], "no exporter runs"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(cluster: Cluster, arguments: list[str], said: str) -> None:
    result = cluster.throttle(*arguments)

    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_pods_of_a_workload_that_have_ended_are_not_asked_for(cluster: Cluster) -> None:
    ended = pod("node-1", "data", "report-1-x", **{"job-name": "report-28766160"}) | {"phase": "Succeeded"}
    result = cluster.throttle("explain", "data/cj/report", pods=[*cluster.state["pods"], ended])

    assert (result.returncode, result.stderr) == (0, "")
    assert len(cluster.executed()) == 1


def test_without_the_right_to_exec_their_api_is_read_through_the_api_server(cluster: Cluster) -> None:
    may_exec = cluster.throttle("explain", "deploy/checkout")
    result = cluster.throttle("explain", "deploy/checkout", forbidden=["exec"])

    assert (result.returncode, result.stderr) == (0, "")
    assert cluster.executed() == {}
    assert "Critical: throttled" in result.stdout
    assert result.stdout.splitlines()[:3] == may_exec.stdout.splitlines()[:3]
    assert "Source: node node-1, a saved answer, version " in " ".join(result.stdout.split())

    assert cluster.throttle("explain", "deploy/checkout", "--via=proxy", "--exit-code").returncode == 1
    top = cluster.throttle("top", "-A", "--via=proxy")
    assert (top.returncode, top.stderr, len(top.stdout.splitlines())) == (0, "", 12)
    document = json.loads(cluster.throttle("explain", "checkout", "--via=proxy", "--output=json").stdout)
    assert [one["container"] for one in document["containers"]] == ["app", "log-shipper"]
    assert document["containers"][0]["series"]["ratio"]


def test_the_rights_that_are_missing_are_named(cluster: Cluster) -> None:
    result = cluster.throttle("explain", "deploy/checkout", forbidden=["exec", "proxy"])
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.startswith("kubectl throttle: no answer from node node-1: Error from server (Forbidden): ")

    result = cluster.throttle("explain", "deploy/checkout", forbidden=["exec"], without_program=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "kubectl throttle: without create pods/exec in namespace 'monitoring' it takes throttle-exporter "
        "on this machine, and it is not in PATH\n"
    )


def test_options_of_kubectl_are_passed_on(cluster: Cluster) -> None:
    cluster.throttle("explain", "deploy/checkout", "--context", "a b", "--as=me")
    assert all(options["--context"] == "a b" and options["--as"] == "me" for _, options, *_ in cluster.log())


@pytest.mark.docs
def test_krew_finds_in_the_archive_what_the_manifest_installs(tmp_path: Path, generated: Generated) -> None:
    target, manifest = tmp_path / "throttle.zip", PLUGIN.parent / "throttle.yaml"
    make = [sys.executable, str(PLUGIN.parent / "archive.py"), str(target)]
    printed = subprocess.run(make, capture_output=True, text=True, check=True).stdout.strip()

    assert printed == hashlib.sha256(target.read_bytes()).hexdigest()
    generated(manifest, re.sub(r"(?<=sha256: )\S+", printed, manifest.read_text()))
    spec = yaml.safe_load(manifest.read_text())["spec"]
    assert spec["version"] == f"v{exporter.__version__}"
    [platform] = spec["platforms"]
    assert platform["uri"].endswith(f"/v{exporter.__version__}/{target.name}")
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == [one["from"] for one in platform["files"]]
        held = archive.getinfo(platform["bin"])
        assert archive.read(held) == PLUGIN.read_bytes()
        assert held.external_attr >> 16 == PLUGIN.stat().st_mode
