"""Least privilege: nothing asks for more than it needs. What each choice of pod sources asks for is on golden pages."""

import pytest

from tests.chart.charting import CASES, ROOT, Json, objects, only, pod_specs


def rights(found: list[Json]) -> set[tuple[str, str]]:
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


@pytest.mark.parametrize("user", [1234, None])
def test_the_pod_of_the_helm_test_is_the_user_that_the_exporter_is(user: int | None) -> None:
    values = {"podSecurityContext": {"runAsUser": user, "runAsGroup": user}}
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
