"""The repository keeps its house rules: sizes, reasons, locks, versions, and nothing of the machine it was made on."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import exporter
from tests.conftest import needs

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {name: ROOT / "deploy" / "requirements" / f"{name}.txt" for name in ("run", "build", "dev")}

MAX_MODULE_LINES, MIN_MODULE_LINES = 400, 40
SMALL_MODULES: dict[str, str] = {}
"""Shorter ones, and why."""

# Neither pattern matches its own text.
MACHINE_PATHS = re.compile(r"(?<![\w.$}/-])/(?:work|root|farm|home)/\w")
REGISTRIES = re.compile(
    r"pypi[.]org|pythonhosted[.]org|npmjs[.]org|deb[.]debian[.]org|/simple[/]|--(?:extra-)?index-url"
)


@cache
def repository_files() -> tuple[Path, ...]:
    """Files that are committed or about to be."""
    listing = [needs("git"), "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split("\0")
    return tuple(path for name in names if name and (path := ROOT / name).is_file())


def texts(*, below: str = "", suffix: str = "", skip: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    for path in repository_files():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(below) and name.endswith(suffix) and not name.startswith(skip):
            yield name, path.read_text(encoding="utf-8", errors="replace")


def hits(pattern: re.Pattern[str], *, below: str = "", suffix: str = "") -> list[str]:
    # Recordings are byte for byte what a real node said; its paths are its own.
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts(below=below, suffix=suffix, skip=() if suffix else ("tests/fixtures/", "tests/golden/"))
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def pins(lock: str) -> dict[str, str]:
    pin = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)
    return {canonicalize_name(name): pinned for name, pinned in pin.findall(LOCKS[lock].read_text())}


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    assert hits(MACHINE_PATHS) == []


def test_no_file_names_a_package_registry() -> None:
    assert hits(REGISTRIES) == []


# CONTRIBUTING has what to say instead.
PRIVATE_WORDS = re.compile(
    r"knock|doorstep|crowd|survived|hinge|patience|frugal|suffer|arena|keeper|is well\b|stands? still", re.IGNORECASE
)


@pytest.mark.parametrize("place", ["exporter/", "docs/", "README.md", "CHANGELOG.md"])
def test_words_are_those_of_the_field(place: str) -> None:
    assert hits(PRIVATE_WORDS, below=place) == []


def test_modules_of_the_exporter_are_neither_long_nor_scraps() -> None:
    sizes = {name: len(text.splitlines()) for name, text in texts(below="exporter/", suffix=".py")}
    assert sizes
    assert {name: size for name, size in sizes.items() if size > MAX_MODULE_LINES} == {}
    # A package's face only hands names on.
    small = {name for name, size in sizes.items() if size < MIN_MODULE_LINES and not name.endswith("__init__.py")}
    assert small == set(SMALL_MODULES)


def test_every_lint_exception_says_why() -> None:
    exception = r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?|type:\s*ignore(?:\[[\w, -]+\])?)(?![\w:\[])"
    assert hits(re.compile(rf"{exception}\W*\w*\W*$"), suffix=".py") == []


def test_every_rule_switched_off_in_pyproject_says_why() -> None:
    code = re.compile(r'^\s+"[A-Z]+\d*",(.*)$', re.MULTILINE)
    reasons = code.findall((ROOT / "pyproject.toml").read_text())
    assert reasons
    assert [reason for reason in reasons if not re.match(r"\s+# \S", reason)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_hashes_and_no_address(lock: str) -> None:
    text = LOCKS[lock].read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) == len(re.findall(r"^\S+==", text, re.MULTILINE)) > 1
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_what_pyproject_asks_for(lock: str) -> None:
    project = PYPROJECT["project"]
    wanted = {
        "run": project["dependencies"],
        "build": PYPROJECT["dependency-groups"]["build"],
        "dev": [
            *project["dependencies"],
            *project["optional-dependencies"]["dev"],
            *PYPROJECT["dependency-groups"]["build"],
        ],
    }[lock]
    locked = pins(lock)
    unmet = [
        line
        for line in wanted
        for requirement in [Requirement(line)]
        if not requirement.specifier.contains(locked.get(canonicalize_name(requirement.name), "0.dev0"))
    ]
    assert unmet == [], "make lock"


@pytest.mark.parametrize("lock", ["run", "build"])
def test_one_environment_can_hold_all_locks(lock: str) -> None:
    dev = pins("dev")
    assert {name: pinned for name, pinned in pins(lock).items() if dev.get(name) != pinned} == {}, "make lock"


def test_what_builds_the_package_is_locked() -> None:
    assert set(PYPROJECT["build-system"]["requires"]) <= set(PYPROJECT["dependency-groups"]["build"])


def test_the_version_is_one_everywhere() -> None:
    assert version("kube-throttle-exporter") == exporter.__version__
    charts = {name: yaml.safe_load(text) for name, text in texts(below="charts/", suffix="Chart.yaml")}
    assert {
        name: chart["appVersion"] for name, chart in charts.items() if chart["appVersion"] != exporter.__version__
    } == {}
    changelog = ROOT / "CHANGELOG.md"
    released = re.findall(r"^## \[?(\d+\.\d+\.\d+)", changelog.read_text(), re.MULTILINE)
    assert not released or released[0] == exporter.__version__


def test_the_oldest_python_is_one_everywhere() -> None:
    project, tool = PYPROJECT["project"], PYPROJECT["tool"]
    oldest = project["requires-python"].removeprefix(">=")
    assert tool["mypy"]["python_version"] == oldest
    assert tool["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    assert f"--python-version {oldest} " in (ROOT / "Makefile").read_text()
    listed = [line.rsplit(" ", 1)[1] for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert listed[0] == oldest


def test_the_console_script_is_the_package_s_main() -> None:
    [script] = entry_points(group="console_scripts", name="throttle-exporter")
    assert callable(script.load())


def test_every_program_the_tests_need_is_installed_by_ci() -> None:
    table = (ROOT / ".ci" / "packages").read_text().split("table='")[1].split("'")[0]
    installed = {program for row in table.strip().splitlines() for program in row.split("|")[1].split()}
    asked = {
        program for _, text in texts(below="tests/", suffix=".py") for program in re.findall(r'needs\("([^"]+)"', text)
    }
    assert asked
    assert asked <= installed
