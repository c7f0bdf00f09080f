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

DOCUMENTS = [
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("install", "performance", "permissions", "platforms", "troubleshooting")
    ),
    CHART / "README.md",
    CHART / "CHANGELOG.md",
]
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text()):
        # Pages of docs/ that are generated elsewhere have a test of their own.
        assert (document.parent / target).exists(), target


@each_document
def test_anchors_are_headings(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]*)\)", document.read_text()):
        page = (document.parent / target) if target else document
        headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_values_that_are_named_exist(document: Path) -> None:
    schema = json.loads(SCHEMA.read_text())
    known = set(declared(schema))
    tops = "|".join(schema["properties"])
    named = re.findall(rf"`((?:{tops})(?:\.[A-Za-z_-]+)++)(?!/)", document.read_text())
    free = tuple(f"{path}." for path in known)
    wrong = [path for path in named if not any(one == path or one.startswith(f"{path}.") for one in known)]
    assert [path for path in wrong if not path.startswith(free)] == []


@each_document
def test_examples_of_values_render(document: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL):
        assert objects(yaml.safe_load(block))


@each_document
def test_options_that_are_named_exist(document: Path) -> None:
    flags = {row.flag for row in OPTIONS}
    groups = "|".join({flag.partition(".")[0] for flag in flags})
    assert [
        flag for flag in re.findall(rf"--((?:{groups})\.[a-z_.-]+[a-z])", document.read_text()) if flag not in flags
    ] == []


@each_document
def test_versions_are_this_one_s(document: Path) -> None:
    named = set(re.findall(r"kube-throttle-exporter:(\d+\.\d+\.\d+)", document.read_text()))
    assert named <= {exporter.__version__}


def test_the_chart_s_changelog_and_upgrading_know_its_version() -> None:
    version = load_chart().version
    assert re.findall(r"^## (\S+)", (CHART / "CHANGELOG.md").read_text(), re.MULTILINE)[0] == version
    assert f"### To {version}\n" in (CHART / "README.md").read_text()


def test_the_readme_names_every_kind_of_object() -> None:
    table = (CHART / "README.md").read_text().partition("## What it makes")[2].partition("\n## ")[0]
    made = {
        kind
        for template in load_chart().templates
        for kind in re.findall(r"^kind: (\w+)", template["data"], re.MULTILINE)
    }
    assert {kind for kind in made if not re.search(rf"\b{kind}\b", table)} == set()


def test_the_archive_holds_the_rules_and_the_dashboards_and_renders_the_same(tmp_path: Path) -> None:
    archive = Path(helm_python.package(CHART, destination=tmp_path))
    assert archive.name == f"{RELEASE}-{load_chart().version}.tgz"
    values: Json = {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}}
    assert texts(values, folder=archive) == texts(values)
    held = {file["name"] for file in load_chart(archive).files}
    assert held >= {"README.md", "CHANGELOG.md", "rules/alerts.yaml", "files/check.py"}
    assert not [name for name in held if name.startswith("ci/")]


def test_make_package_makes_the_chart_s_archive_too() -> None:
    said = dry_run("package")
    assert "hatchling build" in said
    assert 'helm_python.package("charts/kube-throttle-exporter"' in said


@pytest.mark.parametrize("builder", ["docker", "podman", "buildah"])
@pytest.mark.parametrize("push", ["", "1"])
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
    assert f"VERSION={exporter.__version__}" in said
    assert f"registry.example.org/x:{exporter.__version__}" in said
    assert ("--platform linux/amd64,linux/arm64" in said) == bool(push)
    if push:
        assert ("push=true" if builder == "docker" else "manifest push --all") in said


def dry_run(*arguments: str) -> str:
    """What make would do."""
    command = ["make", "--dry-run", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.replace("\\\n", "")


def test_the_chart_is_described_as_the_package_is() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["name"] == project["name"]
    assert chart["appVersion"] == exporter.__version__
    assert chart["annotations"]["artifacthub.io/license"] == project["license"]
