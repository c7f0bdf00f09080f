"""Least privilege: what each choice of pod sources asks for, and that nothing asks for more."""

import re
from typing import Any

import pytest

from tests.chart.charting import CASES, ROOT, Json, kinds, objects, only, pod_specs

Right = tuple[str, str]

NODES = {("nodes/pods", "get"), ("nodes/configz", "get")}
PODS = {("pods", "list"), ("pods", "watch")}
CGROUP = {"/sys/fs/cgroup": "/host/sys/fs/cgroup"}
LOGS = {"/var/log/pods": "/host/var/log/pods", "/var/log/containers": "/host/var/log/containers"}

# case: rights, host paths and where they appear, whether the pod has a token
WANTED: dict[str, tuple[set[Right], dict[str, str], bool]] = {
    "default": (NODES | PODS, CGROUP, True),
    "kubelet-only": (NODES, CGROUP, True),
    "apiserver-only": (PODS, CGROUP, True),
    "logs-only": (set(), CGROUP | LOGS, False),
    "all-sources": (NODES | PODS, CGROUP | LOGS, True),
    "no-names": (set(), CGROUP, False),
    "pods-from-file": (set(), CGROUP, False),
    "legacy-nodes-proxy": (NODES | PODS | {("nodes/proxy", "get")}, CGROUP, True),
    "own-service-account": (set(), CGROUP, True),
    "extras": (NODES | PODS | {("nodes/metrics", "get")}, CGROUP, True),
}


def rights(found: list[Json]) -> set[Right]:
    return {
        (resource, verb)
        for each in found
        if each["kind"] in {"ClusterRole", "Role"}
        for rule in each["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def host_paths(spec: Json) -> dict[str, str]:
    volumes = {volume["name"]: volume["hostPath"]["path"] for volume in spec.get("volumes", []) if "hostPath" in volume}
    return {
        volumes[mount["name"]]: mount["mountPath"]
        for container in spec["containers"]
        for mount in container.get("volumeMounts", [])
        if mount["name"] in volumes
    }


@pytest.mark.parametrize("case", WANTED)
def test_pod_sources_decide_rights_mounts_and_token(case: str) -> None:
    wanted_rights, wanted_mounts, wanted_token = WANTED[case]
    found = objects(CASES[case])
    spec = only(found, "DaemonSet")["spec"]["template"]["spec"]
    assert rights(found) == wanted_rights
    assert host_paths(spec) == wanted_mounts
    assert spec["automountServiceAccountToken"] is wanted_token
    assert ("ClusterRoleBinding" in kinds(found)) is bool(wanted_rights)


def test_no_case_but_one_may_proxy_to_nodes() -> None:
    assert [case for case, values in CASES.items() if ("nodes/proxy", "get") in rights(objects(values))] == [
        "legacy-nodes-proxy"
    ]


@pytest.mark.parametrize("case", CASES)
def test_no_wildcard_no_writing_verb_no_secret(case: str) -> None:
    for right, verb in rights(objects(CASES[case])):
        assert verb in {"get", "list", "watch"}
        assert right in {"nodes/pods", "nodes/configz", "nodes/proxy", "nodes/metrics", "pods"}


@pytest.mark.parametrize("case", CASES)
def test_every_pod_meets_the_restricted_level_but_for_its_host_paths(case: str) -> None:
    """The controls of the Pod Security Standards, baseline and restricted, read from the rendered pods."""
    for name, spec in pod_specs(objects(CASES[case])):
        pod = spec.get("securityContext", {})
        assert not any(spec.get(flag) for flag in ("hostNetwork", "hostPID", "hostIPC")), name
        assert pod["runAsNonRoot"] is True
        assert pod.get("runAsUser", 1) != 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own.get("privileged", False) is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert all("hostPort" not in port for port in container.get("ports", []))
        for volume in spec.get("volumes", []):
            [kind] = set(volume) - {"name"}
            assert kind in {"configMap", "projected", "secret", "emptyDir", "hostPath"}


@pytest.mark.parametrize("case", CASES)
def test_every_mount_is_read_only(case: str) -> None:
    for name, spec in pod_specs(objects(CASES[case])):
        for container in spec["containers"]:
            for mount in container.get("volumeMounts", []):
                assert mount.get("readOnly") is True, f"{name}: {mount['name']}"


def test_there_is_a_memory_limit_and_no_cpu_limit() -> None:
    [container] = only(objects({}), "DaemonSet")["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "10m", "memory": "64Mi"},
        "limits": {"memory": "128Mi"},
    }


def test_the_service_account_hands_its_token_to_nobody_else() -> None:
    assert only(objects({}), "ServiceAccount")["automountServiceAccountToken"] is False
    assert only(objects({}), "Pod")["spec"]["automountServiceAccountToken"] is False


def test_the_network_policy_opens_what_the_sources_need() -> None:
    def ports(case: str) -> list[int]:
        policy = only(objects(CASES[case]), "NetworkPolicy")["spec"]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        return [port["port"] for rule in policy["egress"] for port in rule["ports"]]

    assert ports("network-policy") == [10250, 443, 6443, 53]
    assert ports("network-policy-closed") == []
    [rule] = only(objects(CASES["network-policy"]), "NetworkPolicy")["spec"]["ingress"]
    assert rule["ports"] == [{"port": "metrics", "protocol": "TCP"}]
    *given, tester = rule["from"]
    assert given == CASES["network-policy"]["networkPolicy"]["from"]
    pod = only(objects(CASES["network-policy"]), "Pod")["metadata"]["labels"]
    assert tester["podSelector"]["matchLabels"].items() <= pod.items()


def test_openshift_is_asked_for_no_more_than_the_pod_needs() -> None:
    found = objects(CASES["openshift"])
    constraints = only(found, "SecurityContextConstraints")
    spec = only(found, "DaemonSet")["spec"]["template"]["spec"]
    assert constraints["runAsUser"] == {"type": "MustRunAs", "uid": spec["securityContext"]["runAsUser"]}
    assert constraints["requiredDropCapabilities"] == ["ALL"]
    assert constraints["allowHostDirVolumePlugin"] is True
    others = {name: value for name, value in constraints.items() if name.startswith("allow") and value}
    assert others == {"allowHostDirVolumePlugin": True}
    assert constraints["users"] == [f"system:serviceaccount:monitoring:{spec['serviceAccountName']}"]
    any_uid = only(objects(CASES["openshift-any-uid"]), "SecurityContextConstraints")
    assert any_uid["runAsUser"] == {"type": "MustRunAsNonRoot"}


def test_the_pod_of_the_helm_test_is_the_user_that_the_exporter_is() -> None:
    def contexts(values: Json) -> list[Json]:
        return [{**spec["securityContext"], "fsGroup": 0} for _, spec in pod_specs(objects(values))]

    other = {"podSecurityContext": {"runAsUser": 1234, "runAsGroup": 1234}}
    bare = {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "seccompProfile": None}}
    for values in ({}, other, bare, CASES["openshift-any-uid"]):
        exporter, tester = contexts(values)
        assert exporter == tester
    assert contexts(bare) == [{"runAsNonRoot": True, "fsGroup": 0}] * 2
    accounts = {spec["serviceAccountName"] for _, spec in pod_specs(objects(CASES["openshift"]))}
    assert len(accounts) == 1, "constraints of OpenShift go by the account"


def test_the_log_of_the_helm_test_is_there_to_be_read() -> None:
    annotations = only(objects({}), "Pod")["metadata"]["annotations"]
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation"


def rows(document: str) -> list[str]:
    return [line for line in (ROOT / "docs" / document).read_text().splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("kind", ["rights", "mounts"])
def test_the_docs_give_a_reason_for_each(kind: str) -> None:
    found = [objects(CASES[case]) for case in ("all-sources", "legacy-nodes-proxy", "web-tls")]
    wanted: set[str] = set()
    for each in found:
        if kind == "rights":
            wanted |= {f"| `{verb}` on `{resource}`" for resource, verb in rights(each)}
        else:
            wanted |= {f"| `{path}`" for path in mount_paths(only(each, "DaemonSet"))}
    table = rows("permissions.md")
    assert {row for row in wanted if not any(line.startswith(row) for line in table)} == set()
    assert all(len(line.strip("| ").split(" | ")) >= 3 for line in table), "a reason in every row"


def mount_paths(daemonset: Json) -> set[str]:
    spec: Any = daemonset["spec"]["template"]["spec"]
    paths = set(host_paths(spec))
    return paths | {
        mount["mountPath"]
        for mount in spec["containers"][0]["volumeMounts"]
        if not re.match(r"/host/", mount["mountPath"])
    }
