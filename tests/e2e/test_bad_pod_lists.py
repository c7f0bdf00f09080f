"""Bad pod lists through the real process: the last good list is kept, the failure is counted, the page is served.

What each oddity of a pod does is shown by ``tests/kube`` and ``tests/sampler``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.conftest import FAST, pod_errors
from tests.faults.node import Place
from tests.support.pages import Page, duplicates, triples
from tests.support.process import OPENMETRICS, started
from tests.support.trees import many_pods, pod_list

UP = "throttle_exporter_pods_source_up"
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


def names(page: Page) -> set[tuple[str, str, str]]:
    return triples(page.rows("cgroup_container_cpu_usage_seconds_total"))


def test_a_list_of_oddities_costs_no_other_pod_its_name(tmp_path: Path) -> None:
    tree = many_pods(tmp_path / "cgroup", len(HOSTILE_NAMES) + 3)
    place, doctored, hostile = Place(tmp_path, tree), pod_list(tree), set()
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

    with started([*place.options, *FAST, "--pods.interval=1s"]) as exporter:
        place.write("pods.json", json.dumps(doctored))
        # The new name of the pod behind all others tells that this very list was taken over.
        exporter.page_when(lambda now: ("apps", "renamed", "c0") in names(now))

        for page in (exporter.page(), exporter.page(OPENMETRICS)):
            assert hostile | {("apps", owner["metadata"]["name"], "c0")} <= names(page)
            assert len(names(page)) == len(tree.containers)
            assert duplicates(page.text) == {}
        assert pod_errors(page)
        assert exporter.get("/readyz").status == 200

        place.write("pods.json", "<!doctype html><html><body>Sign in</body></html>")
        page = exporter.page_when(lambda now: now.get(UP, source="file") == 0)
        assert hostile <= names(page), "those of the last good list"
        assert "Sign in" not in exporter.log
        assert all(line.startswith("ts=") for line in exporter.log.splitlines())
