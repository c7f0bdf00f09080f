"""The cluster, the image and a release of the chart.

Opt-in, also with CI=true: the cluster is not part of this repository. Run as root on its one node, in its network:

- ``KUBECONFIG`` names its API server, for an administrator; containerd listens at its usual socket.
- ``CLUSTER_LAB`` names a folder with ``run/kubelet.pid`` and ``run/apiserver.pid``: those two are restarted.
- ``CLUSTER_IMAGE`` names a docker archive of the image, as ``buildah push IMAGE docker-archive:FILE`` writes what
  ``make image`` built.
- ``CLUSTER_BUSYBOX`` names an image with a shell that the node has; ``localhost/busybox:lab`` by default.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import helm_python
import pytest
import yaml

from tests.chart.charting import CHART, Json
from tests.cluster.cluster import NAMESPACE, RELEASE, Cluster, eventually, image_name, objects_of_release

STATE = os.environ.get("CLUSTER_LAB", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.timeout(900))
            if not STATE:
                item.add_marker(pytest.mark.skip(reason="CLUSTER_LAB names no cluster to install on"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster, with nothing of an earlier run on it."""
    found = Cluster(Path(STATE))
    for namespace in (NAMESPACE, "payments"):
        subprocess.run(["kubectl", "create", "namespace", namespace], check=False, capture_output=True)
    found.kubectl("delete", "deployments,jobs", "--all", "--namespace=payments", "--wait=true")
    eventually(lambda: not objects_of_release(found), 60, "an earlier release is there")
    yield found
    found.kubectl("delete", "deployments,jobs", "--all", "--namespace=payments", "--wait=true")


@pytest.fixture(scope="session")
def image() -> str:
    """Name of the image on the node."""
    archive = os.environ["CLUSTER_IMAGE"]
    imported = Cluster(Path(STATE)).run("ctr", "--namespace=k8s.io", "images", "import", archive, timeout=300)
    return image_name(imported)


class Release:
    """The chart as a release on the cluster."""

    def __init__(self, cluster: Cluster, image: str, chart: Path) -> None:
        self._cluster = cluster
        self._chart = helm_python.Chart.load(chart)
        repository, _, tag = image.rpartition(":")
        registry, _, name = repository.rpartition("/")
        self._image: Json = {"registry": registry, "repository": name, "tag": tag, "pullPolicy": "Never"}
        self.helm = helm_python.Config(kubeconfig_path=os.environ["KUBECONFIG"], namespace=NAMESPACE)

    def install(self, **values: object) -> float:
        """Install the chart; seconds until the pod is ready."""
        self.helm.install(self._chart, RELEASE, {"image": self._image, **values}, namespace=NAMESPACE)
        return self.wait_ready()

    def upgrade(self, **values: object) -> float:
        """Replace the release's values; seconds until the new pod is ready."""
        self.helm.upgrade(self._chart, RELEASE, {"image": self._image, **values}, namespace=NAMESPACE)
        return self.wait_ready()

    def rollback(self, revision: int) -> float:
        """Return to an earlier revision; seconds until its pod is ready."""
        self.helm.rollback(RELEASE, version=revision)
        return self.wait_ready()

    def wait_ready(self) -> float:
        """Wait until the DaemonSet's own rollout is complete; seconds."""

        def complete() -> bool:
            [daemon_set] = self._cluster.items("daemonsets", f"--namespace={NAMESPACE}")
            status = daemon_set["status"]
            return bool(
                status.get("observedGeneration") == daemon_set["metadata"]["generation"]
                and status.get("updatedNumberScheduled")
                == status["desiredNumberScheduled"]
                == status.get("numberReady")
                and self._cluster.exporter()
            )

        return eventually(complete, 180, "the exporter is not ready")


@pytest.fixture(scope="session")
def release(cluster: Cluster, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The chart, installable on whatever Kubernetes the cluster has; uninstalled at the end if a test did not."""
    chart = tmp_path_factory.mktemp("chart") / CHART.name
    shutil.copytree(CHART, chart)
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    del about["kubeVersion"]
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
    release = Release(cluster, image, chart)
    yield release
    release.helm.uninstall(RELEASE, ignore_not_found=True)
