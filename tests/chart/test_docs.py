"""What the documents say of installing can be done: values exist, examples render, links lead somewhere."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import helm_python
import pytest
import yaml

import exporter
from exporter.settings import OPTIONS
from tests.chart.charting import CHART, RELEASE, ROOT, Json, load_chart, objects, texts
from tests.chart.test_values import SCHEMA, declared

NAMES = ("install", "performance", "permissions", "platforms", "troubleshooting")
DOCUMENTS = [*(ROOT / "docs" / f"{name}.md" for name in NAMES), CHART / "README.md", CHART / "CHANGELOG.md"]
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@each_document
def test_what_a_document_names_exists(document: Path) -> None:
    """Values, options and the version; test_readme.py has the links."""
    text = document.read_text()
    schema = json.loads(SCHEMA.read_text())
    known = set(declared(schema))
    named = set(re.findall(rf"`((?:{'|'.join(schema['properties'])})(?:\.[A-Za-z_-]+)++)(?!/)", text))
    assert {path for path in named if not any(f"{one}.".startswith(f"{path}.") for one in known)} == {
        path for path in named if path.startswith(tuple(f"{one}." for one in known))
    }, "a value, a group of values, or a part of one that the schema leaves open"
    flags = {row.flag for row in OPTIONS}
    groups = "|".join({flag.partition(".")[0] for flag in flags})
    assert set(re.findall(rf"--((?:{groups})\.[a-z_.-]+[a-z])", text)) <= flags
    assert set(re.findall(r"kube-throttle-exporter:(\d+\.\d+\.\d+)", text)) <= {exporter.__version__}


@each_document
def test_examples_of_values_render(document: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL):
        assert objects(yaml.safe_load(block))


def test_the_chart_s_changelog_and_upgrading_know_its_version() -> None:
    version = load_chart().version
    assert re.findall(r"^## (\S+)", (CHART / "CHANGELOG.md").read_text(), re.MULTILINE)[0] == version
    assert f"### To {version}\n" in (CHART / "README.md").read_text()


def test_the_readme_names_every_kind_of_object() -> None:
    table = (CHART / "README.md").read_text().partition("## What it makes")[2].partition("\n## ")[0]
    made = "".join(template["data"] for template in load_chart().templates)
    kinds = set(re.findall(r"^kind: (\w+)", made, re.MULTILINE))
    assert {kind for kind in kinds if not re.search(rf"\b{kind}\b", table)} == set()


def test_the_archive_holds_the_rules_and_the_dashboards_and_renders_the_same(tmp_path: Path) -> None:
    archive = Path(helm_python.package(CHART, destination=tmp_path))
    assert archive.name == f"{RELEASE}-{load_chart().version}.tgz"
    values: Json = {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}}
    assert texts(values, folder=archive) == texts(values)
    held = {file["name"] for file in load_chart(archive).files}
    assert held >= {"README.md", "CHANGELOG.md", "rules/alerts.yaml", "files/check.py"}
    assert not [name for name in held if name.startswith("ci/")]


@pytest.mark.parametrize(("builder", "push"), [("docker", ""), ("docker", "1"), ("podman", "1"), ("buildah", "")])
def test_make_image_takes_the_builder_that_is_there(builder: str, push: str, tmp_path: Path) -> None:
    """With a program of that name that prints its arguments."""
    for name in ("git", "date", "dirname", "env", "sed", "bash", "make"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    program = tmp_path / builder
    program.write_text('#!/bin/bash\necho "$@"\n')
    program.chmod(0o755)
    bases = ["BASE_IMAGE=base@sha256:1", "BUILD_IMAGE=build@sha256:2"]
    command = ["make", "--no-print-directory", "image", "IMAGE=registry.example.org/x", f"PUSH={push}", *bases]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=30)
    said = done.stdout
    wanted = set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)) - {"TARGETARCH"}
    assert set(re.findall(r"--build-arg (\w+)=", said)) == wanted
    assert f"registry.example.org/x:{exporter.__version__}" in said
    assert ("--platform linux/amd64,linux/arm64" in said) == bool(push)
    if push:
        assert ("push=true" if builder == "docker" else "manifest push --all") in said


def test_the_chart_is_described_as_the_package_is() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["name"] == project["name"]
    assert chart["appVersion"] == exporter.__version__
    assert chart["annotations"]["artifacthub.io/license"] == project["license"]
