"""Every alert has what the person who is woken by it needs."""

import re

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
PLACE = r"\{\{ \$labels\.namespace \}\}/\{\{ \$labels\.pod \}\}"


def test_severity_is_one_of_three_and_it_waits_before_it_fires() -> None:
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, name
        assert re.fullmatch(r"\d+m", rule["for"]), name


def test_text_is_whole_and_an_alert_about_a_container_says_how_to_explain_it() -> None:
    about_pods = 0
    for name, rule in alerts().items():
        texts = rule["annotations"]
        assert set(texts) == {"summary", "description", "command", "runbook_url", "dashboard_url"}, name
        assert "{{" in texts["summary"], name
        assert len(texts["description"]) > len(texts["summary"]), name
        assert all("\n" not in text for text in texts.values()), name
        if "$labels.pod }}" in texts["summary"]:
            about_pods += 1
            assert re.search(PLACE, texts["summary"]), name
            assert re.search(r"throttle-exporter explain " + PLACE, texts["description"]), name
            assert re.search(r"^kubectl .* -- throttle-exporter explain " + PLACE, texts["command"]), name
    assert about_pods > 3


def test_runbook_is_where_the_alert_says_and_first_asks_who_is_affected() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(alerts())
    for name, rule in alerts().items():
        texts = rule["annotations"]
        assert texts["runbook_url"] == f"{DOCS}/runbooks/{name}.md"
        text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {name}\n")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE)[: len(SECTIONS)] == SECTIONS, name
        diagnosis = text.partition("## Diagnosis\n\n")[2].partition("## Mitigation")[0]
        assert "throttle-exporter " in diagnosis or "kubectl" in text, name
        assert "explain" not in texts["command"] or diagnosis.startswith("0. Is anybody affected?"), name


def test_dashboard_and_its_variables_exist_and_rules_and_text_are_tested() -> None:
    declared = {
        f"/d/{board['uid']}": {item["name"] for item in board["templating"]["list"]} for board in boards().values()
    }
    for name, rule in alerts().items():
        path, _, query = rule["annotations"]["dashboard_url"].partition("?")
        assert set(re.findall(r"var-(\w+)=", query)) <= declared[path], name
        assert f'"{name}"' in TESTS
        assert name in GOLDEN


def test_every_threshold_is_used_and_numbers_in_conditions_are_thresholds() -> None:
    source = (ROOT / "charts" / "kube-throttle-exporter" / "rules" / "alerts.yaml").read_text(encoding="utf-8")
    assert marks(source) == set(THRESHOLDS)
    # Equality with 0, 1 and Inf is a state; every other bound has a name.
    bare = [
        (name, line.strip())
        for name, rule in alerts().items()
        for line in rule["expr"].splitlines()
        if re.search(r"[<>]=? *\d", line) and not re.search(r"# \w+$", line) and not re.search(r"> 0$", line)
    ]
    assert bare == []
