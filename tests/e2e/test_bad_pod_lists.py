"""Bad pod lists through the real process: the last good list is kept, the failure is counted, the page is served.

What each oddity of a pod does is shown by ``tests/kube`` and ``tests/sampler``.
"""

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
UP, SUCCESS = "throttle_exporter_pods_source_up", "throttle_exporter_pods_last_success_timestamp_seconds"
HOSTILE_NAMES = (
    'say "hi"',
    "two\nlines",
    "C:\\pods\\n",
    "größe-\U0001f40b",
    'a="b",c="d"} 1',
    "a\u2028b\u0085c\x0bd",
    "# EOF",
)
SPOILT: tuple[dict[str, Any], ...] = (
    {"status": None},
    {"status": {}},
    {"status": "Running"},
    {"spec": None},
    {"spec": []},
)
ODD: tuple[Any, ...] = (
    *(None, 7, "pod", {"metadata": None}, {"metadata": []}),
    *({"metadata": {"namespace": "apps", "name": "x", "uid": "0-0"}} | one for one in SPOILT),
)


@dataclass
class Watched:
    exporter: Exporter
    tree: Tree
    pods: Path

    @property
    def named(self) -> set[tuple[str, str, str]]:
        """Rows under the names of the good list."""
        return {("apps", f"pod-{one.pod_uid[:8]}", "c0") for one in self.tree.containers}

    def serve(self, content: bytes) -> None:
        """Put another list in the file's place, whole at once."""
        fresh = self.pods.with_name("fresh.json")
        fresh.write_bytes(content)
        fresh.rename(self.pods)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("pods")
    tree = many_pods(folder / "cgroup", len(HOSTILE_NAMES) + 3)
    pods = folder / "pods.json"
    pods.write_text(json.dumps(pod_list(tree)))
    options = [f"--path.cgroup={tree.root}", f"--path.proc={folder}", f"--path.sys={folder}", *FAST]
    with started([*options, f"--pods.sources=file:{pods}", "--pods.interval=1s"]) as exporter:
        yield Watched(exporter, tree, pods)


@pytest.fixture
def watched(process: Watched) -> Iterator[Watched]:
    """The process, back on its good list after the test."""
    yield process
    process.serve(json.dumps(pod_list(process.tree)).encode())
    # The last good list is kept through failures, so its names alone do not tell that the file was read again.
    process.exporter.page_when(lambda page: names(page) == process.named and page.get(UP, source="file") == 1)


def names(page: Page) -> set[tuple[str, str, str]]:
    return triples(page.rows(USAGE))


def pod_errors(page: Page) -> dict[str, float]:
    """Counted failures of the pod stage by reason."""
    rows = ((dict(labels), value) for labels, value in page.rows(ERRORS).items())
    return {labels["reason"]: value for labels, value in rows if labels["stage"] == "pods" and value}


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
    assert names(page) == watched.named
    assert page.get(UP, source="file") == 0
    assert 0 < (page.get(SUCCESS, source="file") or 0) <= (before.get(SUCCESS, source="file") or 0) + 60
    assert "Sign in" not in watched.exporter.log


def test_a_list_of_oddities_costs_no_other_pod_its_name(watched: Watched) -> None:
    doctored = pod_list(watched.tree)
    hostile = set()
    for item, name in zip(doctored["items"], HOSTILE_NAMES, strict=False):
        item["metadata"] |= {"namespace": f"ns {name}", "name": f"pod {name}"}
        item["spec"]["containers"][0]["name"] = f"container {name}"
        item["status"]["containerStatuses"][0]["name"] = f"container {name}"
        hostile.add((f"ns {name}", f"pod {name}", f"container {name}"))
    *_, owner, claims, renamed = doctored["items"]
    # The cgroup's own pod has the better claim to its container's id.
    claims["status"]["containerStatuses"] = owner["status"]["containerStatuses"]
    renamed["metadata"]["name"] = "renamed"
    doctored["items"] = [*ODD, *doctored["items"], *doctored["items"]]

    watched.serve(json.dumps(doctored).encode())
    # The new name of the pod behind all others tells that this very list was taken over.
    watched.exporter.page_when(lambda now: ("apps", "renamed", "c0") in names(now))

    for page in (watched.exporter.page(), watched.exporter.page(OPENMETRICS)):
        assert hostile | {("apps", owner["metadata"]["name"], "c0")} <= names(page)
        assert len(names(page)) == len(watched.named)
        assert duplicates(page.text) == {}
    assert pod_errors(page)
    assert watched.exporter.get("/readyz").status == 200
    assert all(line.startswith("ts=") for line in watched.exporter.log.splitlines())
