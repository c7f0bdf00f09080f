"""``kubectl throttle`` with a kubectl that knows a small cluster: three nodes, on two of them a real exporter."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Mover, lab
from tests.support.process import ROOT, Exporter, environment, started

pytestmark = pytest.mark.system
PLUGIN = ROOT / "deploy" / "kubectl" / "kubectl-throttle"
KUBECTL = """#!{python}
import json, os, re, subprocess, sys, time
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
    print(json.dumps([words, options, command]), file=log)
if words[:2] == ["config", "view"]:
    print(state["namespace"], end="")
elif words[0] == "exec":
    one = state["exporters"][words[1]]
    if one.get("hangs"):
        time.sleep(60)
    code = subprocess.call([*state["program"], *command[1:], "--web.listen-address=127.0.0.1:%d" % one["port"]])
    if code:
        print("command terminated with exit code %d" % code, file=sys.stderr)
    sys.exit(code)
elif words[:2] == ["get", "pods"]:
    labels = dict(part.split("=") for part in options.get("-l", "").split(",") if part)
    for pod in state["pods"]:
        namespace = options.get("-n", pod["namespace"] if "-A" in options else state["namespace"])
        if pod["namespace"] == namespace and labels.items() <= pod["labels"].items():
            print(pod["node"], pod["namespace"], pod["name"], "Running", sep="\\t")
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

    def throttle(self, *arguments: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        (self.folder / "cluster.json").write_text(json.dumps(self.state | changes))
        (self.folder / "cluster.json.log").write_text("")
        variables = environment() | {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "CLUSTER": str(self.folder / "cluster.json"),
        }
        return subprocess.run(
            ["sh", str(PLUGIN), *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, check=False,
            timeout=60,
        )  # fmt: skip

    def executed(self) -> list[list[str]]:
        lines = (self.folder / "cluster.json.log").read_text().splitlines()
        return [command[1:] for words, _, command in map(json.loads, lines) if words[0] == "exec"]


def pods_on(node: str, listed: Path) -> list[dict[str, Any]]:
    items = json.loads(listed.read_text())["items"]
    return [
        {
            "node": node,
            "namespace": pod["metadata"]["namespace"],
            "name": pod["metadata"]["name"],
            "labels": {"app": pod["metadata"]["name"].partition("-")[0]},
        }
        for pod in items
    ]


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
            exporter = stack.enter_context(started(one.options))
            stack.enter_context(Mover(one.node))
            exporters[f"exporter-{node}"] = {"port": exporter.port}
            running.append(exporter)
            pods += pods_on(node, folder / node / "pods.json")
            pods.append(
                {
                    "node": node,
                    "namespace": "monitoring",
                    "name": f"exporter-{node}",
                    "labels": {"app.kubernetes.io/name": "kube-throttle-exporter"},
                }
            )
        for exporter in running:
            exporter.page_when(lambda page: page.total("throttle_exporter_sample_duration_seconds_count") > 30)
        state = {
            "namespace": "shop",
            "program": [sys.executable, "-m", "exporter"],
            "exporters": exporters,
            "pods": pods,
            "selectors": {"deploy/checkout": {"app": "checkout"}, "sts/trainer": {"app": "trainer"}},
        }
        yield Cluster(folder, state)


@pytest.mark.parametrize(
    ("arguments", "asked", "said"),
    [
        (["checkout-7d9f8b6c5d-x2k9p"], "shop/checkout-7d9f8b6c5d-x2k9p", "Critical: throttled"),
        (["checkout"], "shop/checkout-7d9f8b6c5d-x2k9p", "Critical: throttled"),
        (["shop/checkout-7d9f8b6c5d-x2k9p/app"], "shop/checkout-7d9f8b6c5d-x2k9p/app", "Critical: throttled"),
        (["deploy/checkout"], "shop/deploy/checkout", "Critical: throttled"),
        (["data/sts/trainer"], "data/sts/trainer", "No problems"),
        (["--namespace=data", "trainer-0"], "data/trainer-0", "No problems"),
        (["-n", "data", "-l", "app=trainer"], "data/trainer-0", "No problems"),
    ],
)
def test_explain_finds_the_node(cluster: Cluster, arguments: list[str], asked: str, said: str) -> None:
    result = cluster.throttle("explain", *arguments)

    assert (result.returncode, result.stderr) == (0, "")
    assert [words[-1] for words in cluster.executed()] == [asked]
    assert said in result.stdout
    assert "Source: node node-" in " ".join(result.stdout.split())


def test_a_namespace_and_all_of_them(cluster: Cluster) -> None:
    one = cluster.throttle("explain", "-n", "shop")
    assert one.returncode == 0
    assert [words[-1] for words in cluster.executed()] == ["--namespace=shop"]
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
    lonely = {"node": "node-3", "namespace": "shop", "name": "web-0", "labels": {"app": "web"}}
    exporters = cluster.state["exporters"]
    hanging = exporters | {"exporter-node-2": {"port": 1, "hangs": True}}
    start = time.monotonic()
    result = cluster.throttle("top", "-A", "--timeout=2", exporters=hanging)

    assert result.returncode == 3
    assert result.stderr == "kubectl throttle: no answer from node node-2: no answer within 2 s\n"
    assert "shop/checkout" in result.stdout
    assert time.monotonic() - start < 30

    result = cluster.throttle("explain", "web-0", pods=[*cluster.state["pods"], lonely])
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == "kubectl throttle: no answer from node node-3: no exporter runs there\n"


def test_the_exit_code_of_problems_is_asked_for(cluster: Cluster) -> None:
    assert cluster.throttle("explain", "deploy/checkout", "--exit-code").returncode == 1
    assert cluster.throttle("explain", "data/trainer-0", "--exit-code").returncode == 0


def test_patches_and_json_are_passed_on(cluster: Cluster) -> None:
    document = json.loads(cluster.throttle("explain", "deploy/checkout", "--output=json").stdout)
    assert document["exporter"]["node"] == "node-1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["describe"], "unknown command 'describe'"),
        (["explain", "--wide"], "unknown option '--wide'"),
        (["explain", "-n"], "-n needs a value"),
        (["explain", "a", "b"], "one NAME only"),
        (["explain", "a/b/c/d"], "too many parts"),
        (["explain", "c"], "no pod 'c' in namespace 'shop'; near it: "),
        (["explain", "nothing"], "no pod 'nothing' in namespace 'shop'"),
        (["explain", "-A", "deploy/web"], "contradicts"),
        (["explain", "deploy/web"], '"deploy/web" not found'),
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


def test_options_of_kubectl_are_passed_on(cluster: Cluster) -> None:
    cluster.throttle("explain", "deploy/checkout", "--context", "a b", "--as=me")
    lines = (cluster.folder / "cluster.json.log").read_text().splitlines()

    assert all(options["--context"] == "a b" and options["--as"] == "me" for _, options, _ in map(json.loads, lines))


def test_the_krew_manifest_names_the_plugin() -> None:
    manifest = yaml.safe_load((PLUGIN.parent / "throttle.yaml").read_text())

    assert manifest["metadata"]["name"] == "throttle"
    assert [one["bin"] for one in manifest["spec"]["platforms"]] == [PLUGIN.name]
    assert os.access(PLUGIN, os.X_OK)
