"""The image, as far as it can be known without a builder: the same steps in a fresh folder, run as its user."""

import os
import re
import stat
import subprocess
from dataclasses import replace
from importlib.util import MAGIC_NUMBER
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

import exporter
from tests.chart.charting import ROOT, container, daemonset
from tests.chart.conftest import EPOCH, IMAGE_PATH
from tests.chart.dockerfile import build_context, environment, instructions, stages, value
from tests.chart.runtime import Image, entering

pytestmark = pytest.mark.timeout(330)
UNCHECKED_HASH = 0b01
LATE_IMPORTS = "exporter.app, kubernetes.aio.client, rich.live, bcrypt, yaml, jinja2"
LARGEST_BYTES = 200 << 20
STRANGER = {"runAsUser": 65532, "runAsGroup": 65532}


def files(folder: Path) -> list[Path]:
    return [found for found in folder.rglob("*") if found.is_file()]


def test_it_runs_as_a_stranger_with_an_empty_environment(image: Image, tmp_path: Path) -> None:
    *python, code = image.entrypoint
    # What commands import only when they are chosen.
    loaded = replace(image, entrypoint=(*python, f"import {LATE_IMPORTS}; {code}"))
    command = entering(loaded, ["--version"], STRANGER, tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"throttle-exporter {exporter.__version__}\n"), done.stderr


def test_it_holds_what_is_locked_and_nothing_else(installed: Path) -> None:
    assert sum(found.stat().st_size for found in files(installed)) < LARGEST_BYTES
    lock = (ROOT / "deploy" / "requirements" / "run.txt").read_text()
    wanted = re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE)
    held = [found.stem.rpartition("-")[::2] for found in installed.glob("*.dist-info")]
    wanted.append(("kube-throttle-exporter", exporter.__version__))
    assert {(canonicalize_name(name), version) for name, version in held} == {
        (canonicalize_name(name), version) for name, version in wanted
    }


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


def test_everything_is_compiled_because_the_root_is_read_only(installed: Path) -> None:
    sources = list((installed / "exporter").rglob("*.py"))
    compiled = {found.name.partition(".")[0] for found in (installed / "exporter").rglob("*.pyc")}
    assert {found.stem for found in sources} <= compiled
    code = (installed / "exporter" / "__pycache__").glob("__main__.*.pyc")
    assert f"{IMAGE_PATH}/exporter/__main__.py".encode() in next(code).read_bytes()


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
    arguments = dict(rest.partition("=")[::2] for word, rest in instructions() if word == "ARG")
    assert re.fullmatch(r"[\w.]+(/[\w-]+){2}:3\.13-[\w-]+", arguments["BUILD_IMAGE"])
    # Debian 13 has Python 3.13; bytecode and wheels are for that one.
    assert re.fullmatch(r"[\w.]+(/[\w-]+){1,2}-debian13(:(?!latest)[\w-]+)", arguments["BASE_IMAGE"])


def test_the_process_is_started_as_the_chart_says_and_through_no_shell() -> None:
    assert value("ENTRYPOINT") == '["/usr/local/bin/throttle-exporter"]'
    assert value("CMD") == '["serve"]'
    program = ROOT / "deploy" / "image" / "throttle-exporter"
    assert program.read_text().splitlines()[0] == "#!/usr/bin/python3 -P"
    assert os.access(program, os.X_OK)
    security = daemonset({})["spec"]["template"]["spec"]["securityContext"]
    assert value("USER") == f"{security['runAsUser']}:{security['runAsGroup']}"
    assert value("EXPOSE") == str(container({})["ports"][0]["containerPort"])
    assert value("STOPSIGNAL") == "SIGTERM"


def test_the_environment_leads_to_what_is_installed() -> None:
    assert environment()["PYTHONPATH"] == IMAGE_PATH
    [step] = [rest for word, rest in instructions() if word == "RUN"]
    assert f"deploy/image/install.py /out{IMAGE_PATH} " in step
    assert ("COPY", "--from=build /out /") in stages()[-1]


def test_the_context_holds_nothing_but_what_is_installed(tmp_path: Path) -> None:
    """That it holds enough is shown by the fixture ``installed``, which has no other files."""
    tops = {path.relative_to(tmp_path).parts[0] for path in files(build_context(tmp_path))}
    assert tops == {"LICENSE", "README.md", "deploy", "exporter", "pyproject.toml"}
