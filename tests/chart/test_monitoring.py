"""What the chart hands to Prometheus and Grafana: monitors, rules and dashboards."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.thresholds import THRESHOLDS, Threshold, stamp
from tests.chart.charting import CASES, CHART, LOADER, Json, objects, only
from tests.conftest import needs
from tests.rules.catalogue import loaded
from tests.rules.scenario import query
from tests.rules.timeline import Second, Trace

RULES = sorted((CHART / "rules").glob("*.yaml"))


def rule_objects(values: Json, **keywords: Any) -> list[Json]:
    return [found for found in objects(values, **keywords) if found["kind"] == "PrometheusRule"]


def rules(values: Json) -> list[Json]:
    return [
        rule
        for found in rule_objects({"prometheusRule": {"enabled": True} | values})
        for group in found["spec"]["groups"]
        for rule in group["rules"]
    ]


def shipped(thresholds: dict[str, Threshold] | None = None) -> list[Json]:
    """Rules of the chart's files, in their order."""
    texts = [path.read_text() if thresholds is None else stamp(path.read_text(), thresholds) for path in RULES]
    groups = [group for text in texts for group in yaml.load(text, Loader=LOADER)["groups"]]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_the_job_is_the_one_that_the_rules_ask_for_whatever_the_release_is_called(kind: str) -> None:
    switch = f"{kind[0].lower()}{kind[1:]}"
    values = CASES["names"] | {switch: {"enabled": True}}
    monitor = only(objects(values, name="other"), kind)["spec"]
    [endpoint] = monitor.get("endpoints") or monitor["podMetricsEndpoints"]
    [job] = [rule["replacement"] for rule in endpoint["relabelings"] if rule.get("targetLabel") == "job"]
    assert re.fullmatch(json.loads(THRESHOLDS["jobPattern"].value), job)


def test_rules_are_untouched_unless_something_is_changed() -> None:
    assert shipped()
    assert rules({}) == shipped()


@pytest.mark.system
def test_promtool_accepts_the_rendered_rules(tmp_path: Path) -> None:
    for found in rule_objects(CASES["rules-and-dashboards"]):
        (tmp_path / found["metadata"]["name"]).write_text(yaml.safe_dump(found["spec"]))
    subprocess.run([needs("promtool"), "check", "rules", *tmp_path.iterdir()], check=True, timeout=30)


def test_alerts_can_be_left_out_and_labelled() -> None:
    labelled = rules({"alertLabels": {"team": "a"}})
    assert {("alert" in rule, rule.get("labels", {}).get("team")) for rule in labelled} == {(True, "a"), (False, None)}
    first = min(rule["alert"] for rule in labelled if "alert" in rule)
    assert rules({"disabledAlerts": [first]}) == [rule for rule in shipped() if rule.get("alert") != first]


@pytest.mark.parametrize("name", sorted(THRESHOLDS))
def test_each_threshold_can_be_changed_and_changes_nothing_else(name: str) -> None:
    default = THRESHOLDS[name].value
    other = default.replace('"', "") + "1" if '"' in default else f"1{default}"
    quoted = f'"{other}"' if '"' in default else other
    changed = dict(THRESHOLDS) | {name: THRESHOLDS[name]._replace(value=quoted)}
    wanted = shipped(changed)
    assert wanted != rules({})
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["prometheusRule"]["properties"]
    text = schema["thresholds"]["properties"][name]["type"] == "string"
    assert rules({"thresholds": {name: other if text else float(other)}}) == wanted


def test_namespaces_are_excluded_or_have_thresholds_of_their_own() -> None:
    found = rules(
        {"excludedNamespaces": ["kube-system"], "namespaces": [{"pattern": "ml-.*", "thresholds": {"highShare": 0.3}}]}
    )
    high = [rule["expr"] for rule in found if rule.get("alert") == "WorkloadCPUThrottled"]
    excluded, share = "# excludedNamespaces", "# highShare"
    assert [f'"kube-system|ml-.*" {excluded}' in high[0], f"> 0.1 {share}" in high[0]] == [True, True]
    assert [f'"kube-system" {excluded}' in high[1], f"> 0.3 {share}" in high[1]] == [True, True]
    assert ['"ml-.*" # onlyNamespaces' in expr for expr in high] == [False, True]
    once = [rule["record"] for rule in found if "record" in rule]
    once += [rule["alert"] for rule in found if rule.get("alert") == "KernelCFSQuotaBug"]
    assert len(once) == len(set(once)), "recording rules and alerts about nodes"


@pytest.mark.system
def test_thresholds_of_a_pattern_hold_in_its_namespaces_and_nowhere_else(tmp_path: Path) -> None:
    """A share of 25 % and 20 % of periods, which is a ticket by default; the first pattern counts."""
    values = {
        "excludedNamespaces": ["ml-off"],
        "namespaces": [
            {"pattern": "ml-(train|off)", "thresholds": {"highShare": 0.3}},
            {"pattern": r"ml-.*|a\.b", "thresholds": {"highShare": 0.2, "highRatio": 0.15}},
        ],
    }
    found = rule_objects({"prometheusRule": {"enabled": True, **values}})
    groups = [group for one in found for group in one["spec"]["groups"]]
    (tmp_path / "rules.json").write_text(json.dumps({"groups": groups}))
    load = Second(0.3, 0.1, 10, 2)
    spaces = ("shop", "ml-off", "ml-train", "ml-serve", "a.b", "axb")
    series = [one for space in spaces for one in Trace(loaded(load, begin=0, end=3600), namespace=space).series(60, 60)]
    asked = query(
        'sum by (namespace) (ALERTS{alertname="WorkloadCPUThrottled",alertstate="firing"})',
        50,
        [{"labels": f'{{namespace="{space}"}}', "value": 1} for space in ("a.b", "axb", "ml-serve", "shop")],
    )
    test = {
        "interval": "60s",
        "input_series": [{"series": one.selector, "values": one.values} for one in series],
        "promql_expr_test": [asked],
    }
    document = {
        "rule_files": ["rules.json"],
        "evaluation_interval": "1m",
        "group_eval_order": [group["name"] for group in groups],
        "tests": [test],
    }
    (tmp_path / "test.json").write_text(json.dumps(document))
    command = [needs("promtool"), "test", "rules", str(tmp_path / "test.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_backslash_of_a_pattern_is_one_of_the_regular_expression() -> None:
    """In PromQL's string it is written twice; ``"ml-\\d+"`` is an error that would stop all rules."""
    found = rules({"excludedNamespaces": [r"ml-\d+"], "namespaces": [{"pattern": r"team\.[ab]$"}]})
    high = [rule["expr"] for rule in found if rule.get("alert") == "WorkloadCPUThrottled"]
    assert r'"ml-\\d+|team\\.[ab]$" # excluded' in high[0]
    assert r'"team\\.[ab]$" # only' in high[1]


def test_links_lead_to_the_user_s_own_pages() -> None:
    for rule in rules({"runbookUrl": "https://r.example/x/", "grafanaUrl": "https://g.example/"}):
        if "alert" in rule:
            assert rule["annotations"]["runbook_url"] == f"https://r.example/x/{rule['alert']}.md"
            assert rule["annotations"]["dashboard_url"].startswith("https://g.example/d/")


def planted(tmp_path: Path, name: str, content: str) -> Path:
    copy = tmp_path / "kube-throttle-exporter"
    shutil.copytree(CHART, copy)
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_text(content)
    return copy


def test_a_rule_file_without_groups_is_told(tmp_path: Path) -> None:
    folder = planted(tmp_path, "rules/broken.yaml", "rules: []\n")
    with pytest.raises(Exception, match=r"rules/broken\.yaml holds no rule groups"):
        rule_objects({"prometheusRule": {"enabled": True}}, folder=folder)


def test_a_new_dashboard_needs_no_template(tmp_path: Path) -> None:
    dashboard = {"uid": "mine", "title": "{{ not }} a template", "panels": []}
    folder = planted(tmp_path, "dashboards/my_own.json", json.dumps(dashboard, indent=2) + "\n")
    found = [each for each in objects(CASES["rules-and-dashboards"], folder=folder) if each["kind"] == "ConfigMap"]
    held = {name: text for each in found for name, text in each["data"].items()}
    assert set(held) == {path.name for path in (folder / "dashboards").iterdir()}
    assert json.loads(held["my_own.json"]) == dashboard
    assert max(len(json.dumps(each)) for each in found) < 1 << 20
