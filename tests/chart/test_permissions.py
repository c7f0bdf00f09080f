"""Least privilege: what each choice of pod sources asks for, and that nothing asks for more."""

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


@pytest.mark.parametrize("case", CASES)
def test_no_wildcard_no_writing_verb_no_secret_and_no_proxy_but_on_demand(case: str) -> None:
    proxy = {"nodes/proxy"} if case == "legacy-nodes-proxy" else set()
    for right, verb in rights(objects(CASES[case])):
        assert verb in {"get", "list", "watch"}
        assert right in {"nodes/pods", "nodes/configz", "nodes/metrics", "pods"} | proxy


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
            assert all(mount.get("readOnly") is True for mount in container.get("volumeMounts", [])), name
        for volume in spec.get("volumes", []):
            [kind] = set(volume) - {"name"}
            assert kind in {"configMap", "projected", "secret", "emptyDir", "hostPath"}


def test_tokens_are_handed_to_nobody_who_needs_none() -> None:
    assert only(objects({}), "ServiceAccount")["automountServiceAccountToken"] is False
    assert only(objects({}), "Pod")["spec"]["automountServiceAccountToken"] is False


def test_the_network_policy_opens_what_the_sources_need() -> None:
    def ports(case: str) -> list[int]:
        policy = only(objects(CASES[case]), "NetworkPolicy")["spec"]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        return [port["port"] for rule in policy["egress"] for port in rule["ports"]]

    assert ports("network-policy") == [10250, 443, 6443, 53]
    assert ports("network-policy-closed") == []


def test_openshift_is_asked_for_no_more_than_the_pod_needs() -> None:
    found = objects(CASES["openshift"])
    constraints = only(found, "SecurityContextConstraints")
    spec = only(found, "DaemonSet")["spec"]["template"]["spec"]
    assert constraints["runAsUser"] == {"type": "MustRunAs", "uid": spec["securityContext"]["runAsUser"]}
    assert constraints["requiredDropCapabilities"] == ["ALL"]
    assert [name for name, value in constraints.items() if name.startswith("allow") and value] == [
        "allowHostDirVolumePlugin"
    ]
    # Constraints of OpenShift go by the account.
    assert {f"system:serviceaccount:monitoring:{spec['serviceAccountName']}" for _, spec in pod_specs(found)} == set(
        constraints["users"]
    )


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"podSecurityContext": {"runAsUser": 1234, "runAsGroup": 1234}},
        {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "seccompProfile": None}},
        CASES["openshift-any-uid"],
    ],
)
def test_the_pod_of_the_helm_test_is_the_user_that_the_exporter_is(values: Json) -> None:
    exporter, tester = ({**spec["securityContext"], "fsGroup": 0} for _, spec in pod_specs(objects(values)))
    assert exporter == tester
    assert exporter["runAsNonRoot"] is True


def test_the_docs_give_a_reason_for_each_right_and_mount() -> None:
    wanted: set[str] = set()
    for found in (objects(CASES[case]) for case in ("all-sources", "legacy-nodes-proxy", "web-tls")):
        spec = only(found, "DaemonSet")["spec"]["template"]["spec"]
        inside = {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
        wanted |= {f"| `{verb}` on `{resource}`" for resource, verb in rights(found)}
        wanted |= {f"| `{path}`" for path in {*host_paths(spec), *inside} if not path.startswith("/host/")}
    table = [line for line in (ROOT / "docs" / "permissions.md").read_text().splitlines() if line.startswith("| `")]
    assert {row for row in wanted if not any(line.startswith(row) for line in table)} == set()
    assert all(len(line.strip("| ").split(" | ")) >= 3 for line in table), "a reason in every row"
