"""deploy/: what stands there works as it stands, and what is rendered from the chart is fresh."""

import re
import subprocess
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped] # it has none
import pytest
import yaml

import exporter
from exporter.cli import COMMANDS
from tests.chart.charting import CASES, RELEASE, ROOT, Json, objects, only, pod_specs, texts
from tests.chart.test_objects import VERSIONS
from tests.conftest import Generated

DEPLOY = ROOT / "deploy"
MANIFEST = DEPLOY / "kube-throttle-exporter.yaml"
STRESS = DEPLOY / "stress-job.yaml"
FIBTEST = DEPLOY / "fibtest-job.yaml"
PROMETHEUS = DEPLOY / "prometheus" / "prometheus.yml"
NAMESPACE = "kube-throttle-exporter"

HEADER = f"""\
# Made from charts/kube-throttle-exporter by `make docs`, with the chart's default values: change it there. Put the
# image that you built in place of "{RELEASE}:{exporter.__version__}".
#
#   sed 's|image: {RELEASE}:|image: registry.example.org/{RELEASE}:|' \\
#     deploy/kube-throttle-exporter.yaml | kubectl apply --filename -
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    # A host path needs the level privileged; docs/permissions.md says what the pod does without.
    pod-security.kubernetes.io/enforce: privileged
"""
ORDER = ("serviceaccount.yaml", "rbac.yaml", "service.yaml", "daemonset.yaml")
HELM_LABELS = re.compile(r"^ +(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", re.MULTILINE)


def manifest() -> str:
    """The chart's objects for people without Helm."""
    found = texts({}, namespace=NAMESPACE)
    made = {name for name, text in found.items() if name.endswith(".yaml") and any(yaml.safe_load_all(text))}
    assert made == {*ORDER, "tests/scrape.yaml"}, "a new template needs a place in ORDER"
    return "---\n".join([HEADER, *(HELM_LABELS.sub("", found[name]).strip("\n") + "\n" for name in ORDER)])


def documents(path: Path) -> list[Json]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def images(found: Iterable[Json]) -> set[str]:
    return {container["image"] for _, spec in pod_specs(found) for container in spec["containers"]}


@pytest.mark.docs
def test_the_manifest_is_what_the_chart_makes(generated: Generated) -> None:
    generated(MANIFEST, manifest())
    assert "Helm" not in MANIFEST.read_text()


@pytest.mark.parametrize("path", [MANIFEST, STRESS, FIBTEST], ids=lambda path: path.name)
def test_manifests_are_valid_and_of_this_version(path: Path) -> None:
    for found in documents(path):
        for version in (VERSIONS[0], VERSIONS[-1]):
            kubernetes_validate.validate(found, version, strict=True)
    assert images(documents(path)) == {f"kube-throttle-exporter:{exporter.__version__}"}


# ---- The Job ----


def test_the_job_runs_commands_that_exist() -> None:
    [stress] = [command.load() for command in COMMANDS if command.name == "stress"]
    parser = ArgumentParser()
    stress.add_arguments(parser)
    [(_, spec)] = list(pod_specs(documents(STRESS)))
    assert [one["name"] for one in spec["containers"]] == ["steady", "burst", "fibtest"]
    for container in spec["containers"]:
        command, *arguments = container["args"]
        given = parser.parse_args(arguments)
        assert (command, given.profile) == ("stress", container["name"])
        assert given.duration < only(documents(STRESS), "Job")["spec"]["activeDeadlineSeconds"]


@pytest.mark.parametrize(("path", "limit"), [(STRESS, "500m"), (FIBTEST, "100m")], ids=["stress", "fibtest"])
def test_the_jobs_have_limits_and_no_rights(path: Path, limit: str) -> None:
    namespaces = [each["metadata"]["labels"] for each in documents(path) if each["kind"] == "Namespace"]
    assert namespaces == [{"pod-security.kubernetes.io/enforce": "restricted"}] * (path == STRESS)
    [(_, spec)] = list(pod_specs(documents(path)))
    assert spec["automountServiceAccountToken"] is False
    assert "volumes" not in spec
    for container in spec["containers"]:
        assert container["resources"]["limits"]["cpu"] == limit, "without a quota nothing is throttled"
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


@pytest.mark.parametrize(
    "document", [ROOT / "docs" / "install.md", MANIFEST, STRESS, FIBTEST], ids=lambda path: path.name
)
def test_the_line_that_puts_the_registry_in_reaches_every_image(document: Path) -> None:
    """Every ``sed 'SCRIPT' FILE`` that a reader is told to type."""
    found = re.findall(r"sed '([^']+)'\s+(\S+)", re.sub(r"\\\n(?:#)?\s*", "", document.read_text()))
    assert found
    for script, name in found:
        done = subprocess.run(["sed", script, name], cwd=ROOT, capture_output=True, text=True, check=True, timeout=10)
        assert images(each for each in yaml.safe_load_all(done.stdout) if each) == {
            f"registry.example.org/kube-throttle-exporter:{exporter.__version__}"
        }


# ---- Prometheus ----


def test_the_scrape_configuration_agrees_with_the_monitors() -> None:
    """A real Prometheus relabels with it in tests/monitoring."""
    config = yaml.safe_load(PROMETHEUS.read_text())
    assert list(PROMETHEUS.parent.glob(config["rule_files"][0]))
    [job] = config["scrape_configs"]
    assert (job["job_name"], job["honor_labels"]) == (RELEASE, True)
    [endpoint] = only(objects(CASES["service-monitor"]), "ServiceMonitor")["spec"]["endpoints"]
    [node] = [rule for rule in endpoint["relabelings"] if rule.get("targetLabel") == "node"]
    over = {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Succeeded|Failed", "action": "drop"}
    assert over in job["relabel_configs"]
    assert {"source_labels": node["sourceLabels"], "target_label": "node"} in job["relabel_configs"]
    labels = only(documents(MANIFEST), "DaemonSet")["spec"]["template"]["metadata"]["labels"]
    [selector] = job["kubernetes_sd_configs"][0]["selectors"]
    name, _, value = selector["label"].partition("=")
    assert labels[name] == value
