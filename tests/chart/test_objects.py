"""What the chart makes: objects that every supported Kubernetes takes, under names and labels that hold."""

import json
import re
from collections.abc import Iterator
from difflib import unified_diff
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # it has none
import kubernetes_validate  # type: ignore[import-untyped] # it has none
import pytest
import yaml

from tests.chart.charting import CASES, CHART, ROOT, Json, kinds, objects, only, pod_specs, texts
from tests.conftest import Generated

OLDEST = "1.25"
# Each version is listed twice, for its lax schemas and its strict ones.
VERSIONS = [
    version
    for version in dict.fromkeys(kubernetes_validate.utils.all_versions())
    if int(version.split(".")[1]) >= int(OLDEST.split(".")[1])
]
CUSTOM: Json = yaml.safe_load(Path(__file__).with_name("custom-objects.yaml").read_text())
SHIPPED = {path.read_text().strip(): f"(file {path.relative_to(CHART)})" for path in CHART.glob("*/*.*")}
COMMON_LABELS = re.compile(r"labels\.(app\.kubernetes\.io/(component|managed-by|part-of|version)|helm\.sh/chart) = ")
GOLDEN = Path(__file__).parent / "golden"
CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "PriorityClass", "SecurityContextConstraints", "Namespace"}
LABEL_VALUE = re.compile(r"(?!.{64})(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)?")
DNS_NAME = re.compile(r"(?!.{64})[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


# ---- Golden: each value of the default's objects, and for every other case what differs ----


def flattened(node: Any, path: str) -> Iterator[str]:
    """One line for each value of an object, by its path; a file of the chart by its name."""
    if isinstance(node, dict) and node:
        for name in sorted(node):
            yield from flattened(node[name], f"{path}.{name}")
    elif isinstance(node, list) and any(isinstance(one, dict) or "\n" in str(one) for one in node):
        for number, one in enumerate(node):
            yield from flattened(one, f"{path}[{one.get('name', number) if isinstance(one, dict) else number}]")
    else:
        text = str(node).strip()
        yield f"{path} = {SHIPPED[text] if text in SHIPPED else json.dumps(node)}"


def lines(values: Json) -> list[str]:
    """Everything that the chart makes of values."""
    found = sorted(objects(values), key=lambda one: (one["kind"], one["metadata"]["name"]))
    made: list[str] = []
    for each in found:
        several = sum(one["kind"] == each["kind"] for one in found) > 1
        if each["kind"] == "PrometheusRule":  # test_monitoring.py has its rules
            each["spec"]["groups"] = [group["name"] for group in each["spec"]["groups"]]
        made += flattened(each, f"{each['kind']}/{each['metadata']['name']}" if several else each["kind"])
    return made + [f"NOTES.txt: {line}".rstrip() for line in texts(values)["NOTES.txt"].splitlines()]


def changes(values: Json) -> Iterator[str]:
    """What is not as in the default case; of an object that is new or gone without what all of them have alike."""
    gone = kinds(objects({})) - kinds(objects(values))
    for line in islice(unified_diff(lines({}), lines(values), n=0, lineterm=""), 2, None):
        sign, text = line[0], line[1:]
        kind = text.partition(".")[0]
        if sign in "+-" and not COMMON_LABELS.search(text) and (kind not in gone or ".kind = " in text):
            yield f"{sign} {text}"


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_golden_objects(case: str, generated: Generated) -> None:
    made = lines({}) if case == "default" else changes(CASES[case])
    generated(GOLDEN / f"{case}.txt", "".join(f"{line}\n" for line in made))


# ---- What the API server checks ----


def distinct() -> dict[str, Json]:
    """Every object of every case, each once, by its text."""
    return {json.dumps(each, sort_keys=True): each for values in CASES.values() for each in objects(values)}


def is_custom(found: Json) -> bool:
    """Whether Kubernetes itself does not know the object."""
    return found["apiVersion"] in {"monitoring.coreos.com/v1", "security.openshift.io/v1"}


def check_custom(found: Json) -> None:
    """Raises ``jsonschema.ValidationError``; ``KeyError`` for a kind that is not known here."""
    rest = {name: value for name, value in found.items() if name not in {"apiVersion", "kind", "metadata"}}
    schema = jsonschema.Draft202012Validator(CUSTOM["$defs"][found["kind"]] | CUSTOM)
    schema.validate(rest.get("spec", rest))


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_every_object_is_valid_for_kubernetes(version: str) -> None:
    """Of the stable APIs that the chart uses no version between takes away a field and gives it back."""
    builtin = [found for found in distinct().values() if not is_custom(found)]
    assert len(builtin) > len(CASES) / 2
    for found in builtin:
        kubernetes_validate.validate(found, version, strict=True)


def test_the_oldest_kubernetes_is_the_same_everywhere() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"] == f">={OLDEST}.0-0"
    assert f"Kubernetes {OLDEST} or newer" in (CHART / "README.md").read_text()
    assert f"| Kubernetes | {OLDEST} or newer" in (ROOT / "README.md").read_text()
    assert VERSIONS[0].startswith(f"{OLDEST}.")
    assert VERSIONS[-1] == kubernetes_validate.latest_version()


def test_every_custom_object_is_valid() -> None:
    found = [each for each in distinct().values() if is_custom(each)]
    assert kinds(found) == {"ServiceMonitor", "PodMonitor", "PrometheusRule", "SecurityContextConstraints"}
    for each in found:
        check_custom(each)
    [monitor, *_] = (each for each in found if each["kind"] == "ServiceMonitor")
    monitor["spec"]["endpoints"][0]["honourLabels"] = True
    with pytest.raises(jsonschema.ValidationError, match="honourLabels"):
        check_custom(monitor)


# ---- Names and selectors ----


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
    created: Json = {"priorityClass": {"create": True}, "openshift": {"securityContextConstraints": {"create": True}}}
    values = created | {name: {"enabled": True} for name in switches}

    def names(release: str, namespace: str) -> set[tuple[str, str | None, str]]:
        found = [(one["kind"], one["metadata"]) for one in objects(values, name=release, namespace=namespace)]
        return {(kind, metadata.get("namespace"), metadata["name"]) for kind, metadata in found}

    assert names("a", "x").isdisjoint(names("b", "x"))
    # One release name in two namespaces: what a namespace does not tell apart is told apart by its name.
    assert names("a", "x").isdisjoint(names("a", "y"))


def test_the_priority_class_has_no_name_that_is_reserved() -> None:
    """``priority class names with 'system-' prefix are reserved for system use only``."""
    found = objects({"priorityClass": {"create": True}}, namespace="system-monitoring")
    [(_, spec)] = [pair for pair in pod_specs(found) if pair[1].get("priorityClassName")]
    assert only(found, "PriorityClass")["metadata"]["name"] == spec["priorityClassName"]
    assert not spec["priorityClassName"].startswith("system-")


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_the_exporter_only_and_never_change(case: str) -> None:
    """A DaemonSet's selector is immutable: an upgrade that changes it fails, so these two labels are for ever."""
    found = objects(CASES[case])
    daemons, names = only(found, "DaemonSet"), CASES[case].get("nameOverride", "kube-throttle-exporter")
    wanted = {"app.kubernetes.io/name": names, "app.kubernetes.io/instance": "kube-throttle-exporter"}
    assert daemons["spec"]["selector"] == {"matchLabels": wanted}
    assert wanted.items() <= daemons["spec"]["template"]["metadata"]["labels"].items()
    for each in found:
        if each["kind"] == "Service":
            assert each["spec"]["selector"] == wanted
        if each["kind"] in {"ServiceMonitor", "PodMonitor"}:
            target = only(found, "Service") if each["kind"] == "ServiceMonitor" else daemons["spec"]["template"]
            assert each["spec"]["selector"]["matchLabels"].items() <= target["metadata"]["labels"].items()
        if each["kind"] == "Pod":
            assert not wanted.items() <= each["metadata"]["labels"].items()


@pytest.mark.parametrize("case", CASES)
def test_no_text_is_left_unrendered(case: str) -> None:
    for name, text in texts(CASES[case]).items():
        assert "{{" not in text or name in {"prometheusrule.yaml", "dashboards.yaml"}, name
        assert "<no value>" not in text, name
        assert "%!" not in text, name
