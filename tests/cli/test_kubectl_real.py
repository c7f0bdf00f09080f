"""``kubectl throttle --via=proxy`` with a real kubectl, through an API server, to exporters of which one is silent."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.test_kubectl_throttle import EXPORTER, PLUGIN, Cluster, cluster, pod
from tests.conftest import needs
from tests.support.cluster_api import ClusterApi, serving
from tests.support.process import ROOT, environment

__all__ = ["cluster"]
pytestmark = pytest.mark.system
TIMEOUT_SECONDS = 4
Throttle = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def throttle(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Throttle]:
    """Runs the plugin as kubectl does: found in PATH by its name."""
    kubectl, folder = Path(needs("kubectl")), tmp_path_factory.mktemp("api")
    silent = [pod("node-3", "monitoring", "exporter-node-3", **EXPORTER), pod("node-3", "shop", "web-0", app="web")]
    ports = {name: one["port"] for name, one in cluster.state["exporters"].items()}
    api = ClusterApi([*cluster.state["pods"], *silent], {"checkout": {"app": "checkout"}, "web": {"app": "web"}}, ports)
    path = os.pathsep.join(map(str, (cluster.bin, PLUGIN.parent, kubectl.parent, "/usr/bin", "/bin")))
    with serving(api, folder) as config:
        variables = environment() | {"PATH": path, "KUBECONFIG": str(config), "HOME": str(folder)}

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [str(kubectl), "throttle", *arguments, "--via=proxy", f"--timeout={TIMEOUT_SECONDS}"],
                cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip

        yield run


def test_explain_finds_the_node_of_a_deployment(throttle: Throttle) -> None:
    result = throttle("explain", "deploy/checkout")

    assert (result.returncode, result.stderr) == (0, "")
    assert "shop/checkout-7d9f8b6c5d-x2k9p/app" in result.stdout
    assert "Critical: throttled" in result.stdout
    assert "Source: node node-1" in " ".join(result.stdout.split())


@pytest.mark.parametrize("command", ["top", "explain"])
def test_all_nodes_are_merged_and_the_silent_one_is_named_in_time(throttle: Throttle, command: str) -> None:
    start = time.monotonic()
    result = throttle(command, "-A")
    spent = time.monotonic() - start

    assert result.returncode == 3
    assert result.stderr == f"kubectl throttle: no answer from node node-3: no answer within {TIMEOUT_SECONDS} s\n"
    for name in ("node-1", "node-2", "shop/checkout-7d9f8b6c5d-x2k9p/app", "data/report"):
        assert name in result.stdout
    if command == "top":
        assert result.stdout.splitlines()[1].split()[:2] == ["node-1", "shop/checkout-7d9f8b6c5d-x2k9p/app"]
    assert TIMEOUT_SECONDS <= spent < TIMEOUT_SECONDS + 25
