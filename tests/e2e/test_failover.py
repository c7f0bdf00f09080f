"""The kubelet goes away and comes back: the API server stands in, and no container loses its name on the way."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import FAST
from tests.kube.fake_apiserver import NODE, FakeApiServer
from tests.support.fake_kubelet import Authority, FakeKubelet, Reply, looping
from tests.support.pages import Page, duplicates, triples
from tests.support.process import Exporter, started
from tests.support.treebuilder import Builder, container_id, pod_uid, v2
from tests.support.trees import pod_list, systemd_pod

TIME_LIMIT: Final = 15.0
TAKE_OVER_SECONDS: Final = 6.0
"""From a new container's cgroup to its name, while the kubelet is away; 4 s more with the default timeout."""
INTERVAL_SECONDS: Final = 1.0
"""``--pods.interval``: how soon a kubelet that is back is used again."""
SLACK_SECONDS: Final = 1.5
"""For the request, a tick and a scrape on a machine that does other work."""
USAGE: Final = "cgroup_container_cpu_usage_seconds_total"
NAMED: Final = (USAGE, "cgroup_container_cpu_periods_total", "cgroup_container_info")
POD_TOKEN: Final = "kubelet-token"
UP, ACTIVE = "throttle_exporter_pods_source_up", "throttle_exporter_pods_source_active"

Triple = tuple[str, str, str]


class Cluster:
    """A node's cgroups, its kubelet and its API server, which agree as long as both are there."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        authority = Authority()
        self._tls = authority.server("127.0.0.1")
        self._port = 0
        self._build: Builder = v2(folder / "cgroup")
        self.kubelet = FakeKubelet(tls=self._tls)
        self.apiserver = FakeApiServer(tls=self._tls)
        ca = authority.write(folder / "ca.crt")
        for name, token in (("kubelet", POD_TOKEN), ("apiserver", self.apiserver.token)):
            (folder / f"{name}.token").write_text(token)
        self._options = [
            f"--path.cgroup={folder / 'cgroup'}",
            f"--path.proc={folder}",
            f"--path.sys={folder}",
            *FAST,
            "--pods.sources=kubelet,apiserver",
            f"--pods.interval={INTERVAL_SECONDS:g}s",
            "--kubelet.timeout=1s",
            f"--node.name={NODE}",
            *(f"--{name}.token-file={folder / name}.token" for name in ("kubelet", "apiserver")),
            *(f"--{name}.ca-file={ca}" for name in ("kubelet", "apiserver")),
        ]

    @property
    def options(self) -> list[str]:
        return [*self._options, f"--kubelet.url={self.kubelet.url}"]

    def run(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(TIME_LIMIT)

    def start(self) -> None:
        self.run(self.apiserver.__aenter__())
        self.start_kubelet()

    def stop(self) -> None:
        self.stop_kubelet()
        self.run(self.apiserver.__aexit__(None, None, None))

    @property
    def environ(self) -> dict[str, str]:
        """How a pod finds the API server."""
        address = urlsplit(self.apiserver.url)
        return {"KUBERNETES_SERVICE_HOST": str(address.hostname), "KUBERNETES_SERVICE_PORT": str(address.port)}

    def start_kubelet(self) -> None:
        """At the address of the one before. The first list of a kubelet that restarts may lack everything."""
        again = self._port != 0
        self.kubelet = FakeKubelet(tls=self._tls, port=self._port)
        self.kubelet.tokens = {POD_TOKEN}
        self.kubelet.answer("/configz", Reply(body=b'{"kubeletconfig": {}}'))
        empty = [Reply.json({"kind": "PodList", "items": None})] * again
        self.kubelet.answer("/pods", *empty, self._list())
        self.run(self.kubelet.__aenter__())
        self._port = urlsplit(self.kubelet.url).port or 0

    def stop_kubelet(self) -> None:
        """Its connections break off, and its port refuses."""
        self.run(self.kubelet.__aexit__(None, None, None))

    def hang_kubelet(self) -> None:
        """It takes connections and never says a word."""
        self._loop.call_soon_threadsafe(self.kubelet.answer, "/pods", Reply(hang=True))

    def pod(self, name: str) -> Triple:
        """A new pod of one container, which the API server knows, too; how the page is to name it."""
        uid, cid = pod_uid(name), container_id(name)
        path = self._build.pod(systemd_pod(uid, "Burstable"), uid, "Burstable")
        self._build.container(f"{path}/cri-containerd-{cid}.scope", cid, "containerd")
        [item] = [item for item in self._items() if item["metadata"]["uid"] == uid]
        self.run(self.apiserver.put(item))
        return ("apps", f"pod-{uid[:8]}", "c0")

    def _items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = pod_list(self._build)["items"]
        return items

    def _list(self) -> Reply:
        return Reply(body=json.dumps({"kind": "PodList", "items": self._items()}).encode())


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with looping() as loop:
        one = Cluster(tmp_path, loop)
        for number in range(4):
            one.pod(f"old-{number}")
        one.start()
        try:
            yield one
        finally:
            one.stop()


class Watch:
    """Scrapes all the time, and every page must name every container that was ever named."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self.named: set[Triple] = set()
        self.scrapes = 0

    def until(self, holds: Callable[[Page], object], within: float) -> Page:
        """The first page on which ``holds``; later than ``within`` seconds is an error."""
        began = time.monotonic()
        page = self._exporter.page_when(lambda page: self._checked(page) and holds(page), timeout=within)
        assert time.monotonic() - began <= within
        return page

    def until_named(self, one: Triple, within: float) -> Page:
        page = self.until(lambda page: one in triples(page.rows(USAGE)), within)
        self.named.add(one)
        return page

    def _checked(self, page: Page) -> bool:
        self.scrapes += 1
        for name in NAMED:
            assert self.named <= triples(page.rows(name)), name
        pods = {(namespace, pod) for namespace, pod, _ in self.named}
        shown = {(row["namespace"], row["pod"]) for row in map(dict, page.rows("cgroup_pod_cpu_usage_seconds_total"))}
        assert pods <= shown
        assert duplicates(page.text) == {}
        return True


def sources(page: Page, metric: str) -> dict[str, float | None]:
    return {name: page.get(metric, source=name) for name in ("kubelet", "apiserver")}


def counted(page: Page) -> set[str]:
    rows = ((dict(labels), value) for labels, value in page.rows("throttle_exporter_errors_total").items())
    return {labels["reason"] for labels, value in rows if labels["stage"] == "pods" and value}


@pytest.mark.parametrize(
    ("go_away", "reason"), [(Cluster.stop_kubelet, "refused"), (Cluster.hang_kubelet, "timeout")], ids=["dead", "hung"]
)
def test_the_api_server_stands_in_until_the_kubelet_is_back(
    cluster: Cluster, go_away: Callable[[Cluster], None], reason: str
) -> None:
    with started(cluster.options, environ=cluster.environ) as exporter:
        watch = Watch(exporter)
        watch.named = triples(watch.until(lambda page: len(page.rows(USAGE)) == 4, TIME_LIMIT).rows(USAGE))
        assert {namespace for namespace, _, _ in watch.named} == {"apps"}
        assert cluster.apiserver.lists == 0  # nobody pays for a watch that is not needed

        go_away(cluster)
        page = watch.until_named(cluster.pod("new-1"), TAKE_OVER_SECONDS)
        assert sources(page, ACTIVE) == {"kubelet": 0, "apiserver": 1}
        assert sources(page, UP) == {"kubelet": 0, "apiserver": 1}
        assert counted(page) == {reason}
        # It is not only the first one that is found in time.
        watch.until_named(cluster.pod("new-2"), TAKE_OVER_SECONDS)

        if reason == "timeout":
            cluster.stop_kubelet()
        cluster.start_kubelet()
        page = watch.until(
            lambda page: sources(page, ACTIVE) == {"kubelet": 1, "apiserver": 0}, INTERVAL_SECONDS + SLACK_SECONDS
        )
        assert sources(page, UP)["kubelet"] == 1
        # The first list after the restart names nobody; who comes now is found by one of the next.
        watch.until(lambda _: len(cluster.kubelet.requests) > 2, TIME_LIMIT)
        assert watch.scrapes > 20
        for secret in (POD_TOKEN, cluster.apiserver.token):
            assert secret not in exporter.log
