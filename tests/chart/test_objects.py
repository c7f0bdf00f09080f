"""What the chart makes: objects that every supported Kubernetes takes, under names and labels that hold."""

import json
import re
import shutil
import subprocess
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped] # it has none
import pytest
import yaml

from tests.chart import custom
from tests.chart.charting import CASES, CHART, ROOT, Json, container, daemonset, kinds, objects, only, texts
from tests.conftest import Generated


def minor(version: str) -> tuple[int, ...]:
    """``1.25.0`` as (1, 25)."""
    return tuple(map(int, version.split(".")[:2]))


OLDEST = (1, 25)
# Each version is listed twice, for its lax schemas and its strict ones.
VERSIONS = [version for version in dict.fromkeys(kubernetes_validate.utils.all_versions()) if minor(version) >= OLDEST]


def test_the_oldest_kubernetes_is_the_same_everywhere() -> None:
    oldest = ".".join(map(str, OLDEST))
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"] == f">={oldest}.0-0"
    assert f"Kubernetes {oldest} or newer" in (CHART / "README.md").read_text()
    assert f"| Kubernetes | {oldest} or newer" in (ROOT / "README.md").read_text()


CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "PriorityClass", "SecurityContextConstraints", "Namespace"}
LABEL_VALUE = re.compile(r"(?!.{64})(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)?")
DNS_NAME = re.compile(r"(?!.{64})[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def distinct() -> dict[str, Json]:
    """Every object of every case, each once."""
    found: dict[str, tuple[str, Json]] = {}
    for case, values in CASES.items():
        for each in objects(values):
            key = json.dumps(each, sort_keys=True)
            found.setdefault(key, (f"{case}: {each['kind']}/{each['metadata']['name']}", each))
    return dict(found.values())


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_every_object_is_valid_for_kubernetes(version: str) -> None:
    """Of the stable APIs that the chart uses no version between takes away a field and gives it back."""
    checked = 0
    # All of them for the oldest and the newest; for those between, each shape once.
    for name, found in distinct().items():
        if not custom.is_custom(found):
            try:
                kubernetes_validate.validate(found, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                pytest.fail(f"{name}: {error.message}", pytrace=False)
            checked += 1
    assert checked > len(CASES) / 2


def test_the_schemas_reach_from_the_chart_s_oldest_kubernetes_to_the_newest() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={'.'.join(map(str, OLDEST))}.0-0"
    assert [minor(version) for version in VERSIONS] == [(1, number) for number in range(25, 25 + len(VERSIONS))]
    assert VERSIONS[-1] == kubernetes_validate.latest_version()


def test_every_custom_object_is_valid() -> None:
    found = [each for each in distinct().values() if custom.is_custom(each)]
    assert kinds(found) == {"ServiceMonitor", "PodMonitor", "PrometheusRule", "SecurityContextConstraints"}
    for each in found:
        custom.check(each)


def test_a_wrong_field_would_be_seen() -> None:
    found = daemonset({})
    found["spec"]["template"]["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found, VERSIONS[-1], strict=True)
    monitor = only(objects(CASES["service-monitor"]), "ServiceMonitor")
    monitor["spec"]["endpoints"][0]["honourLabels"] = True
    with pytest.raises(ValueError, match="honourLabels"):
        custom.check(monitor)


@pytest.mark.system
def test_kubectl_takes_them_where_it_is_installed(tmp_path: Any) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl, which is not needed")
    builtin = [found for found in distinct().values() if not custom.is_custom(found)]
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(builtin))
    # The one command of kubectl that reads typed objects without a server.
    command = [kubectl, "label", "--local", "--filename", str(file), "checked=yes", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"checked": "yes"') == len(builtin)


@pytest.mark.parametrize("case", CASES)
def test_names_labels_and_namespaces(case: str) -> None:
    for found in objects(CASES[case], name="a-release-whose-name-is-as-long-as-helm-allows-it-to-b"):
        metadata = found["metadata"]
        assert ("namespace" in metadata) is (found["kind"] not in CLUSTER_SCOPED), found["kind"]
        if found["kind"] not in {"ClusterRole", "ClusterRoleBinding"}:
            assert DNS_NAME.fullmatch(metadata["name"]), metadata["name"]
        assert all(LABEL_VALUE.fullmatch(value) for value in metadata["labels"].values()), metadata["labels"]
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_two_releases_in_one_cluster_do_not_meet() -> None:
    switches = ("prometheusRule", "dashboards", "networkPolicy", "podMonitor")
    values: Json = {name: {"enabled": True} for name in switches} | {
        "priorityClass": {"create": True},
        "openshift": {"securityContextConstraints": {"create": True}},
    }
    names = [
        {
            (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
            for each in objects(values, **where)
        }
        for where in ({"name": "a", "namespace": "x"}, {"name": "b", "namespace": "x"}, {"name": "a", "namespace": "y"})
    ]
    assert names[0].isdisjoint(names[1])
    # One release name in two namespaces: what a namespace does not tell apart is told apart by its name.
    assert names[0].isdisjoint(names[2])


def test_labels_of_a_user_never_replace_those_that_select() -> None:
    name = "app.kubernetes.io/name"
    values = {
        "podLabels": {name: "mine", "tier": "infra"},
        "commonLabels": {name: "mine", "team": "platform"},
        "service": {"labels": {name: "mine", "scrape": "yes"}},
    }
    found = daemonset(values)
    service = only(objects(values), "Service")["metadata"]["labels"]
    assert (service[name], service["scrape"]) == ("kube-throttle-exporter", "yes")
    labels = found["spec"]["template"]["metadata"]["labels"]
    assert found["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels["tier"] == "infra"
    assert labels["team"] == "platform"
    assert found["metadata"]["labels"][name] == "kube-throttle-exporter"


@pytest.mark.golden
def test_selectors_never_change(generated: Generated) -> None:
    """A DaemonSet's selector is immutable: an upgrade that changes it fails. This file may gain lines, not change."""
    selectors = {
        case: {
            "DaemonSet": daemonset(CASES[case])["spec"]["selector"],
            "Service": [each["spec"]["selector"] for each in objects(CASES[case]) if each["kind"] == "Service"],
        }
        for case in ("default", "names")
    }
    for found in selectors.values():
        assert set(found["DaemonSet"]["matchLabels"]) == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
    generated(ROOT / "tests" / "chart" / "golden" / "selectors.json", json.dumps(selectors, indent=2) + "\n")


def test_nothing_that_a_version_changes_selects() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    for case, values in CASES.items():
        for found in objects(values):
            spec = found.get("spec", {})
            selecting = [spec.get("selector", {}), spec.get("podSelector", {})]
            assert chart["version"] not in json.dumps(selecting), case
            assert "helm.sh/chart" not in json.dumps(selecting), case


def admits(term: Json, labels: dict[str, str]) -> bool:
    """Whether a node with these labels meets a term of the affinity, as the scheduler reads NotIn."""
    return all(
        expression["operator"] == "NotIn" and labels.get(expression["key"]) not in expression["values"]
        for expression in term["matchExpressions"]
    )


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ({}, True),
        ({"type": "worker", "eks.amazonaws.com/compute-type": "ec2"}, True),
        ({"eks.amazonaws.com/compute-type": "hybrid"}, True),
        ({"type": "virtual-kubelet"}, False),
        ({"kubernetes.io/role": "virtual-kubelet"}, False),
        ({"type": "kwok"}, False),
        ({"eks.amazonaws.com/compute-type": "fargate"}, False),
    ],
)
def test_it_runs_on_every_node_but_those_that_are_none(labels: dict[str, str], *, wanted: bool) -> None:
    spec = daemonset({})["spec"]["template"]["spec"]
    [term] = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert admits(term, labels) is wanted
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}


def test_the_image_is_pinned_by_its_digest() -> None:
    assert container({})["image"] == f"kube-throttle-exporter:{version()}"
    digest = CASES["digest"]["image"]["digest"]
    assert container(CASES["digest"])["image"] == (
        f"registry.example.org:5000/mirror/observability/kube-throttle-exporter:0.1.0@{digest}"
    )
    assert only(objects(CASES["digest"]), "Pod")["spec"]["containers"][0]["image"].endswith(digest)


def version() -> str:
    found: str = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    return found


def test_updates_take_some_nodes_at_a_time() -> None:
    assert daemonset({})["spec"]["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "10%"},
    }
    assert daemonset(CASES["scheduling"])["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_a_new_web_config_restarts_the_pods() -> None:
    def checksum(password: str) -> str:
        values = {"webConfig": {"content": {"basic_auth_users": {"prometheus": password}}}}
        found: str = daemonset(values)["spec"]["template"]["metadata"]["annotations"]["checksum/web-config"]
        return found

    assert checksum("a") != checksum("b")
    assert "annotations" not in daemonset({})["spec"]["template"]["metadata"]


def test_probes_go_by_the_web_config() -> None:
    def handlers(case: str) -> list[Json]:
        found = container(CASES[case])
        return [
            {name: value for name, value in found[probe].items() if name in {"httpGet", "tcpSocket"}}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        ]

    def http(scheme: str) -> list[Json]:
        paths = ("/healthz", "/healthz", "/readyz")
        return [{"httpGet": {"path": path, "port": "metrics", "scheme": scheme}} for path in paths]

    assert handlers("default") == http("HTTP")
    assert handlers("web-tls") == http("HTTPS")
    for case in ("web-basic-auth", "web-client-certificates", "web-own-file"):
        assert handlers(case) == [{"tcpSocket": {"port": "metrics"}}] * 3


def test_a_starved_node_has_ten_minutes_to_start_the_exporter() -> None:
    probe = container({})["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] >= 600


def test_host_mounts_are_not_propagated_unless_asked_for() -> None:
    def propagation(values: Json) -> Any:
        [mount] = [one for one in container(values)["volumeMounts"] if one["name"] == "cgroup"]
        return mount.get("mountPropagation")

    assert propagation({}) is None
    assert propagation({"hostPaths": {"mountPropagation": "HostToContainer"}}) == "HostToContainer"


def test_a_web_config_of_one_s_own_is_known_to_all_that_ask_the_exporter() -> None:
    values = CASES["web-own-file"]
    found = objects(values)
    [endpoint] = only(found, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    arguments = only(found, "Pod")["spec"]["containers"][0]["args"]
    assert (arguments[2], arguments[-1]) == ("https", "locked")
    assert "--silent https://127.0.0.1" in texts(values)["NOTES.txt"]
    open_to_all = values | {"webConfig": {"tls": True, "credentials": False}}
    assert container(open_to_all)["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"


def test_the_service_is_headless_and_finds_the_pods_only() -> None:
    found = objects({})
    service = only(found, "Service")["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True, "else the test could not see an exporter that is not ready"
    assert service["selector"].items() <= only(found, "DaemonSet")["spec"]["template"]["metadata"]["labels"].items()
    assert not service["selector"].items() <= only(found, "Pod")["metadata"]["labels"].items()


def test_no_text_is_left_unrendered() -> None:
    for values in CASES.values():
        for name, text in texts(values).items():
            if name not in {"prometheusrule.yaml", "dashboards.yaml"}:
                assert "{{" not in text, name
            assert "<no value>" not in text, name
            assert "%!" not in text, name


def test_a_priority_class_is_made_or_named_or_neither() -> None:
    assert "priorityClassName" not in daemonset({})["spec"]["template"]["spec"]
    named = daemonset(CASES["priority-class-existing"])["spec"]["template"]["spec"]["priorityClassName"]
    assert named == "system-node-critical"
    made = objects(CASES["priority-class"])
    [pod] = [only(made, "DaemonSet")["spec"]["template"]["spec"]]
    assert pod["priorityClassName"] == only(made, "PriorityClass")["metadata"]["name"] == "node-observers"
    assert only(made, "PriorityClass")["value"] == 500000
