"""A real cluster as its tests use it: kubectl, the exporters' pages, the kernel's files, restarts of its processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.lab import alive
from tests.support.pages import Labels, Page

Json = dict[str, Any]

NAMESPACE = "monitoring"
RELEASE = "kube-throttle-exporter"
SELECTOR = f"app.kubernetes.io/name={RELEASE}"
PORT = 9843
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Container:
    """A running container, as the API server reports it."""

    namespace: str
    pod: str
    name: str
    id: str


@dataclass(frozen=True)
class KernelCounters:
    """Counters of one cgroup, read from the kernel's files; None where the file is missing."""

    periods: float | None
    throttled_periods: float | None
    throttled_seconds: float | None
    usage_seconds: float | None


@dataclass(frozen=True)
class Cluster:
    """The cluster that KUBECONFIG names, with one node: the machine that the tests run on."""

    state: Path
    """Folder of its control plane: ``run/NAME.pid``, one file a process."""

    def kubectl(self, *arguments: str, text: str | None = None, timeout: float = 120) -> str:
        """Standard output of kubectl; an AssertionError with what it printed when it fails."""
        return self.run("kubectl", *arguments, text=text, timeout=timeout)

    def run(self, *command: str, text: str | None = None, timeout: float = 120) -> str:
        """Standard output of a command; an AssertionError with what it printed when it fails."""
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def items(self, kind: str, *arguments: str) -> list[Json]:
        found: list[Json] = json.loads(self.kubectl("get", kind, "--output=json", *arguments))["items"]
        return found

    def apply(self, *objects: Json) -> None:
        self.kubectl("apply", "--filename=-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def running_containers(self) -> list[Container]:
        """All containers that the API server says are running."""
        return [
            Container(pod["metadata"]["namespace"], pod["metadata"]["name"], status["name"], status["containerID"])
            for pod in self.items("pods", "--all-namespaces")
            for status in pod["status"].get("containerStatuses", ())
            if "running" in status["state"]
        ]

    def exporter(self) -> Json:
        """The one exporter pod that is not being deleted."""
        pods = self.items("pods", f"--namespace={NAMESPACE}", f"--selector={SELECTOR}")
        [pod] = [one for one in pods if "deletionTimestamp" not in one["metadata"]]
        return pod

    def page(self) -> Page:
        """The exporter's page now."""
        address = self.exporter()["status"]["podIP"]
        with urllib.request.urlopen(f"http://{address}:{PORT}/metrics", timeout=10) as answer:
            return Page(answer.read().decode(), answer.headers["Content-Type"])

    def kernel_counters(self, container: Container) -> KernelCounters:
        """The container's counters, from the kernel's own files on this machine."""
        identifier = container.id.partition("://")[2]
        folders = [path for path in CGROUPS.glob(f"**/*{identifier}*") if path.is_dir()]
        assert folders, f"no cgroup of {container}"

        def text(name: str) -> str:
            for folder in folders:
                with suppress(FileNotFoundError):
                    return (folder / name).read_text()
            return ""

        stat = dict(line.split() for line in text("cpu.stat").splitlines())
        nanoseconds, microseconds = stat.get("throttled_time"), stat.get("throttled_usec")
        usage = text("cpuacct.usage").strip()
        return KernelCounters(
            periods=_number(stat.get("nr_periods")),
            throttled_periods=_number(stat.get("nr_throttled")),
            throttled_seconds=_number(nanoseconds, 1e-9) if nanoseconds else _number(microseconds, 1e-6),
            usage_seconds=_number(usage, 1e-9) if usage else _number(stat.get("usage_usec"), 1e-6),
        )

    def restart(self, name: str) -> None:
        """Stop a process of the control plane and start it again as it was."""
        pid_file = self.state / "run" / f"{name}.pid"
        pid = int(pid_file.read_text())
        process = Path("/proc", str(pid))
        command = [part.decode() for part in (process / "cmdline").read_bytes().split(b"\0") if part]
        pairs = (part.decode().partition("=") for part in (process / "environ").read_bytes().split(b"\0") if part)
        environment = {key: value for key, _, value in pairs}
        log = (process / "fd" / "1").readlink()
        os.kill(pid, signal.SIGTERM)
        with suppress(AssertionError):  # an API server waits for its clients' watches to end
            eventually(lambda: not alive(pid), 15, f"{name} does not end")
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: not alive(pid), 15, f"{name} does not end")
        with log.open("ab") as output:
            files = [(os.POSIX_SPAWN_DUP2, output.fileno(), number) for number in (1, 2)]
            # It outlives this process, which does not wait for it.
            started = os.posix_spawn(command[0], command, environment, file_actions=files, setsid=True)
        pid_file.write_text(f"{started}\n")


def _number(text: str | None, factor: float = 1.0) -> float | None:
    return None if text is None else int(text) * factor


def labels(container: Container) -> Labels:
    """Labels of the container's rows."""
    return frozenset({"namespace": container.namespace, "pod": container.pod, "container": container.name}.items())


def eventually(holds: Callable[[], object], seconds: float, what: str) -> float:
    """Wait until ``holds()`` is true; the seconds it took. An AssertionError of the last look, or ``what``."""
    began = time.monotonic()
    while True:
        problem: AssertionError | OSError | ValueError | None = None
        try:
            if holds():
                return time.monotonic() - began
        except (AssertionError, OSError, ValueError) as error:
            problem = error
        if time.monotonic() - began > seconds:
            raise AssertionError(f"{what}, after {seconds:g} s: {problem or 'not yet'}") from problem
        time.sleep(0.25)


def objects_of_release(cluster: Cluster) -> Sequence[str]:
    """Kind, namespace and name of every object that carries the release's label, of whatever kind the API serves."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "--output=name").split()
    return [
        f"{one['kind']} {one['metadata'].get('namespace', '')}/{one['metadata']['name']}"
        for kind in kinds
        if kind.partition(".")[0] not in {"componentstatuses", "events"}
        for one in cluster.items(kind, "--all-namespaces", f"--selector=app.kubernetes.io/instance={RELEASE}")
    ]


def deployment(name: str, script: str, *, limit: str | None = None, replicas: int = 1) -> Json:
    """A Deployment of busybox that runs a shell script, with a CPU limit or none."""
    resources = {"requests": {"cpu": "5m"}, "limits": {"cpu": limit}} if limit else {"requests": {"cpu": "5m"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "payments", "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": _busybox(script, resources)},
        },
    }


def job(name: str, script: str, limit: str) -> Json:
    """A Job of one busybox pod."""
    spec = _busybox(script, {"requests": {"cpu": "5m"}, "limits": {"cpu": limit}}) | {"restartPolicy": "Never"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "payments"},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": {"app": name}}, "spec": spec}},
    }


def _busybox(script: str, resources: Json) -> Json:
    image = os.environ.get("CLUSTER_BUSYBOX", "localhost/busybox:lab")
    container = {"name": "app", "image": image, "imagePullPolicy": "Never", "command": ["/bin/sh", "-c", script]}
    return {"terminationGracePeriodSeconds": 1, "containers": [container | {"resources": resources}]}


def counters_between(before: KernelCounters, shown: KernelCounters, after: KernelCounters) -> Iterator[str]:
    """What is wrong: a counter on the page that the kernel's files did not show between the two reads."""
    for name in KernelCounters.__dataclass_fields__:
        low, value, high = (getattr(one, name) for one in (before, shown, after))
        if low is None or high is None:
            continue  # the file came or went: there is nothing to compare with
        if value is None or not low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
            yield f"{name}: {low} <= {value} <= {high}"


def shown_counters(page: Page, container: Container) -> KernelCounters:
    """The container's counters on the page."""
    names = KernelCounters.__dataclass_fields__
    return KernelCounters(*(page.rows(f"cgroup_container_cpu_{name}_total").get(labels(container)) for name in names))


def image_name(archive: str) -> str:
    """The name in ctr's answer to an import: its last word that looks like NAME:TAG."""
    [name] = set(re.findall(r"\S+/kube-throttle-exporter:\S+?(?=[\s@(]|$)", archive))
    return str(name)
