"""``/api/v1`` as the running exporter serves it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from exporter.cli.source import containers_document
from tests.e2e.conftest import FAST
from tests.support.process import Exporter, started, tree_options
from tests.support.recordings import RECORDINGS, Recording, copied


@pytest.fixture(scope="module")
def recording() -> Recording:
    [found] = [one for one in RECORDINGS if one.name == "linux-6.18-cgroup-v2-systemd"]
    return found


@pytest.fixture(scope="module")
def exporter(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    tree = copied(recording, tmp_path_factory.mktemp("api") / "tree")
    options = [*tree_options(tree), *FAST, f"--pods.sources=file:{recording.pods}", "--node.name=node-7"]
    with started(options) as running:
        running.page_after_ticks(3)
        yield running


def get(exporter: Exporter, path: str) -> Any:
    answer = exporter.get(path)
    assert answer.status == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["cache-control"] == "no-store"
    return json.loads(answer.body)


def test_all_containers(exporter: Exporter) -> None:
    found = containers_document(get(exporter, "/api/v1/containers"))
    page = exporter.page()

    named = {(one["namespace"], one["pod"], one["container"]) for one in found["containers"]}
    rows = page.rows("cgroup_container_cpu_usage_seconds_total")
    assert named == {(row["namespace"], row["pod"], row["container"]) for row in map(dict[str, str], rows)}
    assert found["exporter"]["healthy"]
    [source] = found["exporter"]["sources"]
    assert (source["name"], source["up"], source["active"], source["last_error"]) == ("file", True, True, "")


def test_without_series(exporter: Exporter) -> None:
    lean = get(exporter, "/api/v1/containers?series=false")
    full = get(exporter, "/api/v1/containers")

    assert all(one["series"]["ratio"] == [] for one in lean["containers"])
    assert any(one["series"]["ratio"] for one in full["containers"])


def test_one_container(exporter: Exporter) -> None:
    for one in get(exporter, "/api/v1/containers")["containers"]:
        path = f"/api/v1/containers/{one['namespace']}/{one['pod']}/{one['container']}"
        alone = get(exporter, path)["container"]
        assert (alone["container_id"], alone["pod"]) == (one["container_id"], one["pod"])


def test_the_node(exporter: Exporter) -> None:
    node = get(exporter, "/api/v1/node")["node"]

    assert (node["name"], node["hierarchy"], node["driver"]) == ("node-7", "v2", "systemd")
    assert [(cpu["cpu"], cpu["numa_node"]) for cpu in node["cpus"]] == [(0, 0), (1, 0), (2, 1), (3, 1)]


@pytest.mark.parametrize("path", ["shop/none/app", "-/x/y", "%00/%1b/..%2f", "a/b/" + "c" * 4000])
def test_a_container_that_is_not_there(exporter: Exporter, path: str) -> None:
    answer = exporter.get(f"/api/v1/containers/{path}")

    assert answer.status == 404
    assert json.loads(answer.body) == {"schema": "v1", "error": "no such container on this node"}
