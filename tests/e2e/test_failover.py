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

from tests.e2e.conftest import FAST, pod_errors
from tests.kube.fake_apiserver import NODE, FakeApiServer
from tests.support.fake_kubelet import TOKEN, Authority, FakeKubelet, Reply, looping
from tests.support.pages import Page, triples
from tests.support.process import Exporter, started
from tests.support.treebuilder import Builder, container_id, pod_uid, v2
from tests.support.trees import pod_list, systemd_pod

TIME_LIMIT: Final = 30.0
"""How soon each step comes is shown on virtual time, in ``tests/kube``; here only that it comes."""
USAGE: Final = "cgroup_container_cpu_usage_seconds_total"
NAMED: Final = (USAGE, "cgroup_container_cpu_periods_total", "cgroup_container_info")
SOURCES: Final = ("kubelet", "apiserver")
OFF: Final = dict.fromkeys(SOURCES, False)
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
        self._options = [*FAST, "--pods.sources=kubelet,apiserver", "--pods.interval=1s", "--kubelet.timeout=2s"]
        self._options += [f"--path.cgroup={folder}/cgroup", f"--path.proc={folder}", f"--path.sys={folder}"]
        self._options += [f"--node.name={NODE}", f"--kubelet.ca-file={ca}", f"--apiserver.ca-file={ca}"]
        for name, token in (("kubelet", TOKEN), ("apiserver", self.apiserver.token)):
            (folder / f"{name}.token").write_text(token)
            self._options.append(f"--{name}.token-file={folder}/{name}.token")

    @property
    def options(self) -> list[str]:
        return [*self._options, f"--kubelet.url={self.kubelet.url}"]

    def run(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(TIME_LIMIT)

    @property
    def environ(self) -> dict[str, str]:
        """How a pod finds the API server."""
        address = urlsplit(self.apiserver.url)
        return {"KUBERNETES_SERVICE_HOST": str(address.hostname), "KUBERNETES_SERVICE_PORT": str(address.port)}

    def start_kubelet(self) -> None:
        """At the address of the one before. The first list of a kubelet that restarts may lack everything."""
        again = self._port != 0
        self.kubelet = FakeKubelet(tls=self._tls, port=self._port)
        self.kubelet.tokens = {TOKEN}
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
        one.run(one.apiserver.__aenter__())
        one.start_kubelet()
        try:
            yield one
        finally:
            one.stop_kubelet()
            one.run(one.apiserver.__aexit__(None, None, None))


class Watch:
    """Scrapes all the time, and every page must name every container that was ever named."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self.named: set[Triple] = set()
        self.scrapes = 0

    def until(self, holds: Callable[[Page], object]) -> Page:
        """The first page on which ``holds``."""
        return self._exporter.page_when(lambda page: self._checked(page) and holds(page), timeout=TIME_LIMIT)

    def until_named(self, one: Triple) -> Page:
        page = self.until(lambda page: one in triples(page.rows(USAGE)))
        self.named.add(one)
        return page

    def until_active(self, source: str) -> None:
        self.until(lambda page: {one: page.get(ACTIVE, source=one) == 1 for one in SOURCES} == {**OFF, source: True})

    def _checked(self, page: Page) -> bool:
        self.scrapes += 1
        for name in NAMED:
            assert self.named <= triples(page.rows(name)), name
        pods = {(namespace, pod) for namespace, pod, _ in self.named}
        shown = {(row["namespace"], row["pod"]) for row in map(dict, page.rows("cgroup_pod_cpu_usage_seconds_total"))}
        assert pods <= shown
        assert len(page.samples) == sum(len(family.samples) for family in page.families), "none twice"
        time.sleep(0.05)  # the exporter needs the CPU, too
        return True


@pytest.mark.timeout(150)  # it waits for eight changes, on a machine that may do other work
def test_the_api_server_stands_in_until_the_kubelet_is_back(cluster: Cluster) -> None:
    with started(cluster.options, environ=cluster.environ) as exporter:
        watch = Watch(exporter)
        page = watch.until(lambda page: len(page.rows(USAGE)) == 4)
        watch.named = triples(page.rows(USAGE))
        assert {namespace for namespace, _, _ in watch.named} == {"apps"}
        assert cluster.apiserver.lists == 0 or pod_errors(page), "nobody pays for a watch that is not needed"

        for go_away, reason in ((cluster.stop_kubelet, "refused"), (cluster.hang_kubelet, "timeout")):
            go_away()
            page = watch.until_named(cluster.pod(f"new, {reason}"))
            assert {page.get(metric, source="apiserver") for metric in (ACTIVE, UP)} == {1}
            assert {page.get(metric, source="kubelet") for metric in (ACTIVE, UP)} == {0}
            assert reason in pod_errors(page)
            # It is not only the first one that is found.
            watch.until_named(cluster.pod(f"another, {reason}"))

            if reason == "timeout":
                cluster.stop_kubelet()
            cluster.start_kubelet()
            watch.until_active("kubelet")
            # The first list after the restart names nobody.
            watch.until(lambda _: sum(one.path == "/pods" for one in cluster.kubelet.requests) > 1)

        assert watch.scrapes > 20
        for secret in (TOKEN, cluster.apiserver.token):
            assert secret not in exporter.log
