import pytest

from exporter.kube.podlist.workload import Owner, static_workload, workload_of

HASH = {"pod-template-hash": "7d9f8c6b5"}


@pytest.mark.parametrize(
    ("owner", "labels", "workload"),
    [
        (Owner("ReplicaSet", "web-7d9f8c6b5", controller=True), HASH, ("Deployment", "web")),
        (Owner("ReplicaSet", "web-7d9f8c6b5", controller=True), {}, ("ReplicaSet", "web-7d9f8c6b5")),
        (Owner("ReplicaSet", "by-hand", controller=True), HASH, ("ReplicaSet", "by-hand")),
        (Owner("StatefulSet", "db", controller=True), {}, ("StatefulSet", "db")),
        (Owner("DaemonSet", "agent", controller=True), {}, ("DaemonSet", "agent")),
        (Owner("Job", "backup-29921584", controller=True), {}, ("CronJob", "backup")),
        (Owner("Job", "backup-1614556800", controller=True), {}, ("CronJob", "backup")),  # before Kubernetes 1.21
        (Owner("Job", "migrate-20261121", controller=True), {}, ("Job", "migrate-20261121")),  # a date
        (Owner("Job", "migrate-2026112112", controller=True), {}, ("Job", "migrate-2026112112")),
        (Owner("Job", "step-2", controller=True), {}, ("Job", "step-2")),
        (Owner("TaskRun", "build-29921584", controller=True), {}, ("TaskRun", "build-29921584")),
    ],
)
def test_the_workload_is_what_a_human_edits(owner: Owner, labels: dict[str, str], workload: tuple[str, str]) -> None:
    assert workload_of("pod", (owner,), labels) == workload


def test_a_pod_of_nobody_is_its_own_workload() -> None:
    assert workload_of("shell", (), HASH) == ("Pod", "shell")


def test_the_controller_owns_a_pod_with_several_owners() -> None:
    owners = (Owner("ConfigMap", "x", controller=False), Owner("StatefulSet", "db", controller=True))
    assert workload_of("db-0", owners, {}) == ("StatefulSet", "db")
    assert workload_of("db-0", owners[:1], {}) == ("ConfigMap", "x")


@pytest.mark.parametrize(
    ("pod", "node", "name"),
    [
        ("etcd-node-a", "node-a", "etcd"),
        ("etcd-node-a.example.com", "Node-A.example.com", "etcd"),  # the kubelet appends it in lower case
        ("etcd-node-b", "node-a", "etcd-node-b"),
        ("etcd", "", "etcd"),
    ],
)
def test_a_static_pods_workload_is_the_name_in_its_manifest(pod: str, node: str, name: str) -> None:
    assert static_workload(pod, node) == ("StaticPod", name)
