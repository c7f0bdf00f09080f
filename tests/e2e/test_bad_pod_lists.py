"""Bad pod lists through the real process: the last good list is kept, the failure is counted, the page is served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import FAST
from tests.support.pages import Page, duplicates, triples
from tests.support.process import OPENMETRICS, Exporter, started
from tests.support.treebuilder import Tree
from tests.support.trees import many_pods, pod_list

ERRORS = "throttle_exporter_errors_total"
USAGE = "cgroup_container_cpu_usage_seconds_total"

HOSTILE_NAMES = {
    "quotes": 'say "hi"',
    "a newline": "two\nlines",
    "a backslash": "C:\\pods\\n",
    "not ASCII": "größe-поды-容器-\U0001f40b",
    "braces and commas": 'a="b",c="d"} 1',
    "line ends of Unicode": "a\u2028b\u0085c\x0bd",
    "a comment": "# EOF",
}


@dataclass
class Watched:
    exporter: Exporter
    tree: Tree
    pods: Path

    @property
    def named(self) -> set[tuple[str, str, str]]:
        """Rows under the names of the good list."""
        return {("apps", f"pod-{one.pod_uid[:8]}", "c0") for one in self.tree.containers}

    @property
    def good(self) -> dict[str, Any]:
        return pod_list(self.tree)

    def serve(self, content: bytes) -> None:
        """Put another list in the file's place, whole at once."""
        fresh = self.pods.with_name("fresh.json")
        fresh.write_bytes(content)
        fresh.rename(self.pods)

    def is_up(self, page: Page) -> bool:
        return page.get("throttle_exporter_pods_source_up", source="file") == 1

    def names(self, page: Page) -> set[tuple[str, str, str]]:
        return triples(page.rows(USAGE))


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("pods")
    tree = many_pods(folder / "cgroup", len(HOSTILE_NAMES))
    pods = folder / "pods.json"
    pods.write_text(json.dumps(pod_list(tree)))
    options = [f"--path.cgroup={tree.root}", f"--path.proc={folder}", f"--path.sys={folder}", *FAST]
    with started([*options, f"--pods.sources=file:{pods}", "--pods.interval=1s"]) as exporter:
        yield Watched(exporter, tree, pods)


@pytest.fixture
def watched(process: Watched) -> Iterator[Watched]:
    """The process, back on its good list after the test."""
    yield process
    process.serve(json.dumps(process.good).encode())
    # The last good list is kept through failures, so its names alone do not tell that the file was read again.
    process.exporter.page_when(lambda page: process.names(page) == process.named and process.is_up(page))


def pod_errors(page: Page) -> dict[str, float]:
    """Counted failures of the pod stage by reason."""
    rows = ((dict(labels), value) for labels, value in page.rows(ERRORS).items())
    return {labels["reason"]: value for labels, value in rows if labels["stage"] == "pods" and value}


def one_pod(**replaced: Any) -> dict[str, Any]:
    pod = {
        "metadata": {"namespace": "apps", "name": "x", "uid": "00000000-0000-4000-8000-000000000001"},
        "spec": {"containers": []},
        "status": {"phase": "Pending"},
    }
    return {key: value for key, value in (pod | replaced).items() if value is not None}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"<!doctype html><html><body>Sign in</body></html>", "malformed"), (b" " * 50_000_000, "too_large"), (None, "")],
    ids=["HTML", "50 MB", "no file"],
)
def test_an_unreadable_list_is_counted_and_the_last_good_one_kept(
    watched: Watched, content: bytes | None, reason: str
) -> None:
    before = watched.exporter.page()

    watched.pods.unlink() if content is None else watched.serve(content)
    page = watched.exporter.page_when(lambda now: pod_errors(now) != pod_errors(before))

    grown = {key for key, value in pod_errors(page).items() if value > pod_errors(before).get(key, 0)}
    assert grown == {reason} if reason else len(grown) == 1
    assert watched.names(page) == watched.named
    assert page.get("throttle_exporter_pods_source_up", source="file") == 0
    succeeded = page.get("throttle_exporter_pods_last_success_timestamp_seconds", source="file")
    assert succeeded
    assert succeeded <= (before.get("throttle_exporter_pods_last_success_timestamp_seconds", source="file") or 0) + 60
    assert "Sign in" not in watched.exporter.log


ODD: tuple[dict[str, Any], ...] = (
    {"status": None},
    {"status": {}},
    {"status": "Running"},
    {"metadata": None},
    {"metadata": []},
    {"spec": None},
    {"spec": []},
)


def test_odd_pods_cost_no_other(watched: Watched) -> None:
    doctored = watched.good
    marker = doctored["items"][-1]["metadata"]["name"] = "renamed"
    doctored["items"][:0] = [None, 7, "pod", *(one_pod(**replaced) for replaced in ODD)]

    watched.serve(json.dumps(doctored).encode())
    # The new name of the pod behind the odd ones tells that this very list was taken over.
    page = watched.exporter.page_when(lambda now: any(pod == marker for _, pod, _ in watched.names(now)))

    last = doctored["items"][-1]["metadata"]["uid"][:8]
    assert watched.names(page) == {
        (namespace, marker if pod == f"pod-{last}" else pod, name) for namespace, pod, name in watched.named
    }
    assert watched.is_up(page)
    assert pod_errors(page)


def test_a_pod_that_loses_its_status_keeps_the_names_it_had(watched: Watched) -> None:
    doctored = watched.good
    del doctored["items"][0]["status"]
    before = watched.exporter.page()

    watched.serve(json.dumps(doctored).encode())
    page = watched.exporter.page_after_ticks(10)

    assert watched.names(page) == watched.names(before)


def test_hostile_names_come_through_both_formats(watched: Watched) -> None:
    doctored = watched.good
    hostile = []
    for item, name in zip(doctored["items"], HOSTILE_NAMES.values(), strict=False):
        item["metadata"] |= {"namespace": f"ns {name}", "name": f"pod {name}"}
        item["spec"]["containers"][0]["name"] = f"container {name}"
        item["status"]["containerStatuses"][0]["name"] = f"container {name}"
        hostile.append((f"ns {name}", f"pod {name}", f"container {name}"))
    assert len(hostile) == len(HOSTILE_NAMES)

    watched.serve(json.dumps(doctored).encode())
    watched.exporter.page_when(lambda now: "container # EOF" in now.values(USAGE, "container"))

    for page in (watched.exporter.page(), watched.exporter.page(OPENMETRICS)):
        assert set(hostile) <= watched.names(page)
        assert len(watched.names(page)) == len(watched.named)
        assert duplicates(page.text) == {}
    assert all(line.startswith("ts=") for line in watched.exporter.log.splitlines())


def test_two_containers_that_claim_one_id(watched: Watched) -> None:
    """The cgroup's own pod has the better claim; nothing is shown twice, and the doubt is counted."""
    doctored = watched.good
    mine, other = doctored["items"][0], doctored["items"][1]
    other["status"]["containerStatuses"][0]["containerID"] = mine["status"]["containerStatuses"][0]["containerID"]
    before = watched.exporter.page()

    watched.serve(json.dumps(doctored).encode())
    page = watched.exporter.page_when(lambda now: pod_errors(now) != pod_errors(before))

    grown = {key for key, value in pod_errors(page).items() if value > pod_errors(before).get(key, 0)}
    assert len(grown) == 1
    assert duplicates(page.text) == {}
    owner = watched.tree.containers[0]
    row = {"namespace": "apps", "pod": f"pod-{owner.pod_uid[:8]}", "container": "c0"}
    assert page.get("cgroup_container_cpu_periods_total", **row) == owner.periods
    assert watched.exporter.get("/readyz").status == 200


def test_pods_of_one_name_each_listed_twice(watched: Watched) -> None:
    """What a list must never hold; still no series may be on the page twice."""
    doctored = watched.good
    for item in doctored["items"]:
        item["metadata"]["name"] = "same"
    doctored["items"] += doctored["items"]

    watched.serve(json.dumps(doctored).encode())
    page = watched.exporter.page_when(lambda now: watched.names(now) == {("apps", "same", "c0")})

    assert duplicates(page.text) == {}
