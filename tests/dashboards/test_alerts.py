"""Every alert has what the person who is woken by it needs."""

import re
from typing import Any

import pytest
import yaml

from dashboards.frame import DOCS
from dashboards.rules import ROOT
from dashboards.thresholds import THRESHOLDS, marks
from tests.dashboards.boards import boards
from tests.dashboards.known import alerts

RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "When to do nothing"]
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "rules").glob("test_*.py"))

GOLDEN = yaml.safe_load((ROOT / "tests" / "golden" / "alerts.yaml").read_text(encoding="utf-8"))

ABOUT_PODS = [name for name, rule in alerts().items() if "$labels.pod }}" in rule["annotations"]["summary"]]

each_alert = pytest.mark.parametrize("name", alerts())


def annotations(name: str) -> dict[str, Any]:
    found: dict[str, Any] = alerts()[name]["annotations"]
    return found


@each_alert
def test_severity_is_one_of_three(name: str) -> None:
    assert alerts()[name]["labels"]["severity"] in {"critical", "warning", "info"}


@each_alert
def test_it_waits_before_it_fires(name: str) -> None:
    assert re.fullmatch(r"\d+m", alerts()[name]["for"])


@each_alert
def test_text_is_whole(name: str) -> None:
    texts = annotations(name)
    assert set(texts) == {"summary", "description", "command", "runbook_url", "dashboard_url"}
    assert "{{" in texts["summary"]
    assert len(texts["description"]) > len(texts["summary"])
    assert all("\n" not in text for text in texts.values())


@pytest.mark.parametrize("name", ABOUT_PODS)
def test_an_alert_about_a_container_names_it_and_says_how_to_explain_it(name: str) -> None:
    texts = annotations(name)
    place = r"\{\{ \$labels\.namespace \}\}/\{\{ \$labels\.pod \}\}"
    assert re.search(place, texts["summary"])
    assert re.search(r"throttle-exporter explain " + place, texts["description"])
    assert re.search(r"^kubectl .* -- throttle-exporter explain " + place, texts["command"])


@each_alert
def test_runbook_is_where_the_alert_says(name: str) -> None:
    assert annotations(name)["runbook_url"] == f"{DOCS}/runbooks/{name}.md"
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE)[: len(SECTIONS)] == SECTIONS
    assert "throttle-exporter " in text.partition("## Diagnosis")[2].partition("## Mitigation")[0] or "kubectl" in text


@pytest.mark.parametrize("name", [name for name in alerts() if "explain" in annotations(name)["command"]])
def test_a_runbook_about_workloads_first_asks_who_is_hurt(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert text.partition("## Diagnosis\n\n")[2].startswith("0. Is somebody hurt?")


def test_every_runbook_has_its_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(alerts())


@each_alert
def test_dashboard_and_its_variables_exist(name: str) -> None:
    path, _, query = annotations(name)["dashboard_url"].partition("?")
    board = next(board for board in boards().values() if board["uid"] == path.removeprefix("/d/"))
    declared = {variable["name"] for variable in board["templating"]["list"]}
    assert set(re.findall(r"var-(\w+)=", query)) <= declared


@each_alert
def test_it_fires_and_stays_silent_in_a_test_and_its_text_is_kept(name: str) -> None:
    assert f'"{name}"' in TESTS
    assert name in GOLDEN


def test_every_threshold_is_used() -> None:
    source = (ROOT / "charts" / "kube-throttle-exporter" / "rules" / "alerts.yaml").read_text(encoding="utf-8")
    assert marks(source) == set(THRESHOLDS)


def test_numbers_in_conditions_are_thresholds() -> None:
    """Equality with 0, 1 and Inf is a state; every other bound has a name."""
    bare = [
        (name, line.strip())
        for name, rule in alerts().items()
        for line in rule["expr"].splitlines()
        if re.search(r"[<>]=? *\d", line) and not re.search(r"# \w+$", line) and not re.search(r"> 0$", line)
    ]
    assert bare == []
