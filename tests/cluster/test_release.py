"""The release on a real cluster, in the order of its life: each test starts from what the one before left."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import __version__
from tests.chart.charting import ROOT
from tests.cluster.cluster import (
    NAMESPACE,
    RELEASE,
    Cluster,
    Container,
    counters_between,
    deployment,
    eventually,
    job,
    labels,
    objects_of_release,
    shown_counters,
)
from tests.cluster.conftest import Release
from tests.support.pages import triples

INTERVAL_SECONDS = 1.0
BUSY = "while :; do :; done"
FOUR_THREADS = f"for k in 1 2 3; do ({BUSY}) & done; {BUSY}"


Say = Callable[[str], None]


@pytest.fixture(scope="module")
def say(request: pytest.FixtureRequest) -> Say:
    """Print a line of the report, whatever pytest captures."""
    capture: Any = request.config.pluginmanager.getplugin("capturemanager")

    def line(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n  {text}", end="", flush=True)  # noqa: T201 - the report is what this suite is run for

    return line


def named(cluster: Cluster, pod_prefix: str) -> Container:
    """The running container of the one pod whose name starts with the prefix."""
    [found] = [one for one in cluster.running_containers() if one.pod.startswith(pod_prefix)]
    return found


def every_container_is_named(cluster: Cluster) -> int:
    """Assert that each running container has a named row, and that none is unmapped; their number."""
    running = {(one.namespace, one.pod, one.name) for one in cluster.running_containers()}
    page = cluster.page()
    assert not running - triples(page.rows("cgroup_container_info"))
    assert page.total("throttle_exporter_cgroups", state="unmapped") == 0
    return len(running)


def test_the_chart_installs_and_its_pod_becomes_ready(cluster: Cluster, release: Release, say: Say) -> None:
    cluster.apply(
        deployment("threads", FOUR_THREADS, limit="60m"),
        deployment("quiet", "while :; do sleep 5; done", limit="100m"),
        deployment("unlimited", "while :; do sleep 1; done"),
    )

    seconds = release.install()

    say(f"install: ready after {seconds:.1f} s, image of {__version__}")
    pod = cluster.exporter()
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_every_running_container_is_named(cluster: Cluster, say: Say) -> None:
    seconds = eventually(lambda: every_container_is_named(cluster), 60, "containers without a name")

    say(f"names: {every_container_is_named(cluster)} running containers, all named after {seconds:.1f} s")
    page = cluster.page()
    assert page.total("throttle_exporter_pods_source_active", source="apiserver") == 1
    assert page.total("throttle_exporter_pods_source_up", source="kubelet") == 0
    threads = named(cluster, "threads-")
    assert page.rows("cgroup_container_cpu_limit_cores")[labels(threads)] == pytest.approx(0.06)


def test_values_lie_between_those_of_the_kernels_files(cluster: Cluster, say: Say) -> None:
    containers = cluster.running_containers()
    before = {one: cluster.kernel_counters(one) for one in containers}
    time.sleep(2 * INTERVAL_SECONDS)  # what the page shows was sampled up to an interval ago
    page = cluster.page()
    after = {one: cluster.kernel_counters(one) for one in containers}

    wrong = [
        f"{one.namespace}/{one.pod}/{one.name} {text}"
        for one in containers
        for text in counters_between(before[one], shown_counters(page, one), after[one])
    ]
    assert not wrong
    threads = named(cluster, "threads-")
    assert page.total("cgroup_container_cpu_throttled_ratio", pod=threads.pod) > 0.5
    say(f"values: 4 counters of {len(containers)} containers between two reads of the kernel's files")


def test_a_throttled_deployment_is_explained_from_outside(cluster: Cluster, say: Say) -> None:
    plugin = str(ROOT / "deploy" / "kubectl" / "kubectl-throttle")
    command = "kubectl -n payments set resources deploy/threads -c app --limits=cpu="

    def explain() -> str:
        return cluster.run(plugin, "explain", "deploy/threads", "-n", "payments")

    eventually(lambda: command in explain(), 90, "no command with a limit")
    explained = explain()
    top = cluster.run(plugin, "top", "-A")
    # Through pods/proxy the text is made here.
    path = f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"
    read = cluster.run("env", path, plugin, "explain", "deploy/threads", "-n", "payments", "--via=proxy")

    assert "CRITICAL throttled" in explained
    assert "CRITICAL throttled" in read
    assert named(cluster, "threads-").pod in top
    say("kubectl throttle explain deploy/threads -n payments:\n" + explained + "\nkubectl throttle top -A:\n" + top)


def test_helm_test_passes(cluster: Cluster, release: Release, say: Say) -> None:
    if not cluster.items("services", "--namespace=kube-system", "--selector=k8s-app=kube-dns"):
        pytest.skip("the cluster has no DNS, and the chart's test asks the Service by its name")
    release.helm.test(RELEASE, timeout=120)

    say("helm test: passed")


def test_a_job_of_four_seconds_is_on_a_scrape_fifteen_seconds_later(cluster: Cluster, say: Say) -> None:
    cluster.apply(job("short", f"({BUSY}) & sleep 4; kill $!", "50m"))
    eventually(lambda: cluster.items("jobs", "--namespace=payments")[0]["status"].get("succeeded"), 60, "no end")
    [pod] = cluster.items("pods", "--namespace=payments", "--selector=app=short")
    time.sleep(15)

    page = cluster.page()

    name = pod["metadata"]["name"]
    assert page.total("cgroup_container_cpu_throttled_periods_total", namespace="payments", pod=name) > 0
    say(f"job of 4 s: {page.total('cgroup_container_cpu_periods_total', pod=name):.0f} periods on a page 15 s later")


def test_a_pod_made_anew_has_its_own_rows_and_the_old_ones_go(cluster: Cluster, say: Say) -> None:
    old = named(cluster, "threads-")
    cluster.kubectl("delete", "pod", old.pod, "--namespace=payments", "--wait=true")
    eventually(lambda: named(cluster, "threads-") != old, 60, "no new pod")
    new = named(cluster, "threads-")

    seconds = eventually(lambda: labels(new) in cluster.page().rows("cgroup_container_cpu_periods_total"), 10, "no row")
    gone = eventually(
        lambda: labels(old) not in cluster.page().rows("cgroup_container_cpu_periods_total"), 90, "lingers"
    )

    say(f"pod made anew: named {seconds:.1f} s after it ran, the old one off the page {gone:.0f} s later")


@pytest.mark.parametrize("process", ["kubelet", "apiserver"])
def test_a_restart_loses_nothing(process: str, cluster: Cluster, say: Say) -> None:
    quiet = named(cluster, "quiet-")
    before = shown_counters(cluster.page(), quiet)
    address = cluster.exporter()["status"]["podIP"]

    cluster.restart(process)

    ready = eventually(lambda: cluster.items("nodes"), 120, "the API server does not answer")
    eventually(lambda: every_container_is_named(cluster), 120, f"containers without a name after {process} restarted")
    cluster.apply(deployment(f"after-{process}", FOUR_THREADS, limit="50m"))
    eventually(lambda: named(cluster, f"after-{process}-"), 120, "no new pod")
    seconds = eventually(lambda: every_container_is_named(cluster), 90, "a new container stays without a name")
    pod = cluster.exporter()
    assert pod["status"]["podIP"] == address
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    after = shown_counters(cluster.page(), quiet)
    assert before.usage_seconds is not None
    assert after.usage_seconds is not None
    assert after.usage_seconds >= before.usage_seconds
    cluster.kubectl("delete", "deployment", f"after-{process}", "--namespace=payments")
    say(f"{process} restarted: API server answers after {ready:.1f} s, a new container named after {seconds:.1f} s")


SOURCES: Mapping[str, Mapping[str, Any]] = {
    "kubelet": {
        "config": {"pods": {"sources": ["kubelet"]}, "kubelet": {"insecure-skip-verify": True}},
        "rbac": {"legacyNodesProxy": True},  # which kubelets before 1.33 ask for
    },
    "apiserver": {"config": {"pods": {"sources": ["apiserver"]}}},
    "logs": {"config": {"pods": {"sources": ["logs"]}}},
}


@pytest.mark.parametrize("source", SOURCES)
def test_each_pod_source_names_every_container(source: str, cluster: Cluster, release: Release, say: Say) -> None:
    seconds = release.upgrade(**SOURCES[source])

    named_after = eventually(lambda: every_container_is_named(cluster), 60, f"{source}: containers without a name")
    page = cluster.page()
    assert page.total("throttle_exporter_pods_source_active", source=source) == 1
    assert page.total("throttle_exporter_errors_total", stage="pods") == 0
    # Log files tell names only: a limit that the source does not know is no drift.
    assert bool(page.rows("cgroup_container_spec_cpu_limit_cores")) is (source != "logs")
    assert not page.total("cgroup_container_cpu_limit_drift")
    say(f"source {source}: upgraded and ready after {seconds:.1f} s, all named {named_after:.1f} s later")


def test_a_rollback_returns_to_the_first_revision(cluster: Cluster, release: Release, say: Say) -> None:
    seconds = release.rollback(1)

    eventually(lambda: every_container_is_named(cluster), 60, "containers without a name")
    assert len(release.helm.history(RELEASE)) == 2 + len(SOURCES)
    eventually(
        lambda: cluster.page().total("throttle_exporter_pods_source_active", source="apiserver"), 30, "other source"
    )
    say(f"rollback to revision 1: ready after {seconds:.1f} s")


def test_the_kernel_test_runs_as_a_job(cluster: Cluster, image: str, say: Say) -> None:
    text = (ROOT / "deploy" / "fibtest-job.yaml").read_text()
    manifest = yaml.safe_load(text)
    pod = manifest["spec"]["template"]["spec"]
    pod["nodeName"] = cluster.exporter()["spec"]["nodeName"]
    pod["containers"][0] |= {"image": image, "imagePullPolicy": "Never"}
    cluster.kubectl("apply", f"--namespace={NAMESPACE}", "--filename=-", text=json.dumps(manifest))
    name = manifest["metadata"]["name"]

    def ended() -> bool:
        [found] = cluster.items("jobs", f"--namespace={NAMESPACE}")
        return bool(found["status"].get("succeeded") or found["status"].get("failed"))

    eventually(ended, 150, "the Job does not end")
    said = cluster.kubectl("logs", f"job/{name}", f"--namespace={NAMESPACE}")
    [found] = cluster.items("jobs", f"--namespace={NAMESPACE}")
    cluster.kubectl("delete", "job", name, f"--namespace={NAMESPACE}")
    assert found["status"].get("succeeded"), said
    say(f"fibtest Job:\n{said}")


def test_an_uninstall_leaves_nothing(cluster: Cluster, release: Release, say: Say) -> None:
    assert objects_of_release(cluster)
    address = cluster.exporter()["metadata"]["uid"]

    release.helm.uninstall(RELEASE)

    seconds = eventually(lambda: not objects_of_release(cluster), 60, "objects are left")
    pods = [one["metadata"]["uid"] for one in cluster.items("pods", "--all-namespaces")]
    assert address not in pods
    secrets = [one["metadata"]["name"] for one in cluster.items("secrets", f"--namespace={NAMESPACE}")]
    assert not [name for name in secrets if RELEASE in name], "a release's record is left"
    say(f"uninstall: nothing left after {seconds:.1f} s")
