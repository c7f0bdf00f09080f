"""The image, as far as it can be known without a builder: the same steps in a fresh folder, run as its user."""

import os
import re
import stat
import subprocess
import tomllib
from importlib.util import MAGIC_NUMBER
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

import exporter
from tests.chart.charting import CHART, ROOT, container, daemonset, objects, pod_specs
from tests.chart.conftest import EPOCH, IMAGE_PATH
from tests.chart.dockerfile import build_context, defaults, environment, instructions, labels, stages, value
from tests.chart.runtime import Image, entering

UNCHECKED_HASH = 0b01
LARGEST_BYTES = 200 << 20
STRANGER = {"runAsUser": 65532, "runAsGroup": 65532}


def files(folder: Path) -> list[Path]:
    return [found for found in folder.rglob("*") if found.is_file()]


@pytest.mark.timeout(330)
def test_it_runs_as_a_stranger_with_an_empty_environment(image: Image, tmp_path: Path) -> None:
    command = entering(image, ["--version"], STRANGER, tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (0, f"throttle-exporter {exporter.__version__}\n"), done.stderr


@pytest.mark.timeout(330)
def test_every_command_finds_what_it_needs(image: Image, tmp_path: Path) -> None:
    modules = ["exporter.app", "kubernetes.aio.client", "rich.live", "bcrypt", "yaml", "jinja2"]
    check = (*image.entrypoint[:3], "-c", f"import {', '.join(modules)}; print('all there')")
    done = subprocess.run(
        entering(Image(image.folders, check, image.environment), [], STRANGER, tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "all there\n", done.stderr


@pytest.mark.timeout(330)
def test_it_holds_what_is_locked_and_nothing_else(installed: Path) -> None:
    lock = (ROOT / "deploy" / "requirements" / "run.txt").read_text()
    wanted = {
        (canonicalize_name(name), version) for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE)
    }
    held = {
        (canonicalize_name(name), version)
        for name, _, version in (
            found.name.removesuffix(".dist-info").rpartition("-") for found in installed.glob("*.dist-info")
        )
    }
    assert held == wanted | {("kube-throttle-exporter", exporter.__version__)}


@pytest.mark.timeout(330)
def test_the_same_sources_give_the_same_bytes(installed: Path) -> None:
    """Whatever could differ between two builds: times, modes, paths of the builder, how bytecode is checked."""
    assert {int(found.stat().st_mtime) for found in files(installed)} == {EPOCH}
    modes = {(found.is_dir(), stat.S_IMODE(found.stat().st_mode)) for found in installed.rglob("*")}
    assert modes == {(True, 0o755), (False, 0o644)}
    assert not [found for found in files(installed) if found.name in {"RECORD", "direct_url.json", "INSTALLER"}]
    builder = [str(installed).encode(), str(ROOT).encode(), str(installed.parent).encode()]
    for found in files(installed):
        content = found.read_bytes()
        assert not any(path in content for path in builder), found
        if found.suffix == ".pyc":
            assert content[:4] == MAGIC_NUMBER
            assert int.from_bytes(content[4:8], "little") == UNCHECKED_HASH, found


@pytest.mark.timeout(330)
def test_everything_is_compiled_because_the_root_is_read_only(installed: Path) -> None:
    sources = list((installed / "exporter").rglob("*.py"))
    compiled = {found.name.partition(".")[0] for found in (installed / "exporter").rglob("*.pyc")}
    assert {found.stem for found in sources} <= compiled
    code = (installed / "exporter" / "__pycache__").glob("__main__.*.pyc")
    assert f"{IMAGE_PATH}/exporter/__main__.py".encode() in next(code).read_bytes()


@pytest.mark.timeout(330)
def test_it_stays_small(installed: Path) -> None:
    assert sum(found.stat().st_size for found in files(installed)) < LARGEST_BYTES


# ---- The Dockerfile, read ----


def test_the_last_stage_only_copies() -> None:
    assert len(stages()) == 3
    assert {word for word, _ in stages()[-1]} <= {
        *("FROM", "ARG", "LABEL", "COPY", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD")
    }
    assert "ADD" not in {word for word, _ in instructions()}


def test_bases_are_named_in_one_place_and_can_be_pinned() -> None:
    froms = [rest for word, rest in instructions() if word == "FROM"]
    assert froms == ["--platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build", "${BASE_IMAGE}"]
    for name in ("BUILD_IMAGE", "BASE_IMAGE"):
        image, _, tag = defaults()[name].rpartition(":")
        assert image.count("/") == 2, "with its registry"
        assert tag not in {"", "latest"}
    assert ":3.13-" in defaults()["BUILD_IMAGE"]
    assert "debian13" in defaults()["BASE_IMAGE"], "Debian 13 has Python 3.13; bytecode and wheels are for that one"


def test_no_process_is_started_through_a_shell() -> None:
    assert value("ENTRYPOINT") == '["/usr/local/bin/throttle-exporter"]'
    assert value("CMD") == '["serve"]'
    first = (ROOT / "deploy" / "image" / "throttle-exporter").read_text().splitlines()[0]
    assert first == "#!/usr/bin/python3 -P"
    assert os.access(ROOT / "deploy" / "image" / "throttle-exporter", os.X_OK)


def test_user_port_and_signal_are_what_the_chart_says() -> None:
    spec = daemonset({})["spec"]["template"]["spec"]
    security = spec["securityContext"]
    assert value("USER") == f"{security['runAsUser']}:{security['runAsGroup']}"
    assert value("EXPOSE") == str(container({})["ports"][0]["containerPort"])
    assert value("STOPSIGNAL") == "SIGTERM"


def test_labels_are_those_of_the_oci() -> None:
    names = {"title", "description", "licenses", "source", "version", "revision", "created"}
    assert set(labels()) == {f"org.opencontainers.image.{name}" for name in names}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert labels()["org.opencontainers.image.licenses"] == project["license"]
    assert labels()["org.opencontainers.image.title"] == project["name"]
    assert labels()["org.opencontainers.image.version"] == "${VERSION}"


def test_the_environment_leads_to_what_is_installed() -> None:
    assert environment()["PYTHONPATH"] == IMAGE_PATH
    [step] = [rest for word, rest in instructions() if word == "RUN"]
    assert f"deploy/image/install.py /out{IMAGE_PATH} " in step
    assert ("COPY", "--from=build /out /") in stages()[-1]


def test_the_context_holds_nothing_but_what_is_installed(tmp_path: Path) -> None:
    """That it holds enough is shown by the fixture ``installed``, which has no other files."""
    tops = {path.relative_to(tmp_path).parts[0] for path in files(build_context(tmp_path))}
    assert tops == {"LICENSE", "README.md", "deploy", "exporter", "pyproject.toml"}


def test_programs_that_the_chart_starts_are_in_the_base() -> None:
    # No PATH is searched: there is no shell to do it.
    for _, spec in pod_specs(objects({})):
        for one in spec["containers"]:
            assert one.get("command", ["/usr/local/bin/throttle-exporter"])[0] in {
                "/usr/bin/python3",
                "/usr/local/bin/throttle-exporter",
            }
    assert (CHART / "files" / "check.py").exists()
