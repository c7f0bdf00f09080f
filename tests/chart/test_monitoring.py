"""What the chart hands to Prometheus and Grafana: monitors, rules and dashboards."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.thresholds import THRESHOLDS, stamp
from tests.chart.charting import CASES, CHART, LOADER, Json, kinds, objects, only, refusal
from tests.conftest import needs

RULES = sorted((CHART / "rules").glob("*.yaml"))
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
LARGEST_CONFIG_MAP = 1 << 20

NODE_LABEL = {"action": "replace", "sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}
JOB_LABEL = {"action": "replace", "targetLabel": "job", "replacement": "kube-throttle-exporter"}
NO_CONTAINER = {"action": "labeldrop", "regex": "container"}


def rule_objects(values: Json, **keywords: Any) -> list[Json]:
    return [found for found in objects(values, **keywords) if found["kind"] == "PrometheusRule"]


def rules(values: Json) -> list[Json]:
    return [
        rule
        for found in rule_objects({"prometheusRule": {"enabled": True} | values})
        for group in found["spec"]["groups"]
        for rule in group["rules"]
    ]


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_a_monitor_keeps_the_observed_pod_s_labels_and_adds_the_node(kind: str) -> None:
    case = {"ServiceMonitor": "service-monitor", "PodMonitor": "pod-monitor"}[kind]
    found = objects(CASES[case])
    monitor = only(found, kind)
    [endpoint] = monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["honorLabels"] is True
    assert endpoint["relabelings"][:3] == [JOB_LABEL, NODE_LABEL, NO_CONTAINER]
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    selected = only(found, "Service" if kind == "ServiceMonitor" else "DaemonSet")
    labels = selected["metadata"]["labels"]
    if kind == "PodMonitor":
        labels = selected["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["monitoring"]}


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_the_job_is_the_one_that_the_rules_ask_for_whatever_the_release_is_called(kind: str) -> None:
    switch = f"{kind[0].lower()}{kind[1:]}"
    values = CASES["names"] | {switch: {"enabled": True}}
    monitor = only(objects(values, name="other"), kind)["spec"]
    [endpoint] = monitor.get("endpoints") or monitor["podMetricsEndpoints"]
    [job] = [rule["replacement"] for rule in endpoint["relabelings"] if rule.get("targetLabel") == "job"]
    assert re.fullmatch(json.loads(THRESHOLDS["jobPattern"].value), job)


def test_monitors_pass_on_what_they_are_given() -> None:
    [endpoint] = only(objects(CASES["service-monitor"]), "ServiceMonitor")["spec"]["endpoints"]
    given = CASES["service-monitor"]["serviceMonitor"]
    assert endpoint["interval"] == "30s"
    assert endpoint["relabelings"][3:] == given["relabelings"]
    assert endpoint["metricRelabelings"] == given["metricRelabelings"]
    [tls] = only(objects(CASES["web-tls"]), "ServiceMonitor")["spec"]["endpoints"]
    assert tls["scheme"] == "https"
    assert tls["tlsConfig"] == CASES["web-tls"]["serviceMonitor"]["tlsConfig"]
    [path] = only(objects(CASES["options"] | CASES["pod-monitor"]), "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert path["path"] == "/throttling"


def test_nothing_of_the_operator_is_made_unless_asked_for() -> None:
    assert kinds(objects({})).isdisjoint({"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"})


def test_every_rule_of_the_folder_is_in_the_objects() -> None:
    assert RULES
    wanted = [
        rule.get("alert") or rule["record"]
        for path in RULES
        for group in yaml.load(path.read_text(), Loader=LOADER)["groups"]
        for rule in group["rules"]
    ]
    assert [rule.get("alert") or rule["record"] for rule in rules({})] == wanted


def test_rules_are_untouched_unless_something_is_changed() -> None:
    plain = [
        rule
        for path in RULES
        for group in yaml.load(path.read_text(), Loader=LOADER)["groups"]
        for rule in group["rules"]
    ]
    assert rules({}) == plain


@pytest.mark.system
def test_promtool_accepts_the_rendered_rules(tmp_path: Path) -> None:
    for number, found in enumerate(rule_objects(CASES["rules-and-dashboards"])):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(found["spec"]))
        done = subprocess.run(
            [needs("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_can_be_left_out_and_labelled() -> None:
    alerts = {rule["alert"]: rule for rule in rules({"alertLabels": {"team": "a"}}) if "alert" in rule}
    assert {rule["labels"]["team"] for rule in alerts.values()} == {"a"}
    first = min(alerts)
    rest = [rule.get("alert") for rule in rules({"disabledAlerts": [first]})]
    assert first not in rest
    assert len(rest) == len(rules({})) - 1
    assert all(
        "team" not in rule.get("labels", {}) for rule in rules({"alertLabels": {"team": "a"}}) if "record" in rule
    )


@pytest.mark.parametrize("name", sorted(THRESHOLDS))
def test_each_threshold_can_be_changed_and_changes_nothing_else(name: str) -> None:
    default = THRESHOLDS[name].value
    other = default.replace('"', "") + "1" if '"' in default else f"1{default}"
    quoted = f'"{other}"' if '"' in default else other
    changed = dict(THRESHOLDS) | {name: THRESHOLDS[name]._replace(value=quoted)}
    wanted = [
        rule
        for path in RULES
        for group in yaml.load(stamp(path.read_text(), changed), Loader=LOADER)["groups"]
        for rule in group["rules"]
    ]
    assert wanted != rules({})
    written = other if schema_of(name)["type"] == "string" else float(other)
    assert rules({"thresholds": {name: written}}) == wanted


def schema_of(threshold: str) -> Json:
    schema = json.loads((CHART / "values.schema.json").read_text())
    found: Json = schema["properties"]["prometheusRule"]["properties"]["thresholds"]["properties"][threshold]
    return found


def test_namespaces_are_excluded_or_have_thresholds_of_their_own() -> None:
    found = rules(
        {"excludedNamespaces": ["kube-system"], "namespaces": [{"pattern": "ml-.*", "thresholds": {"highShare": 0.3}}]}
    )
    high = [rule["expr"] for rule in found if rule.get("alert") == "WorkloadCPUThrottled"]
    assert [('"kube-system|ml-.*" # excluded' in expr, '"ml-.*" # only' in expr) for expr in high] == [
        (True, False),
        (False, True),
    ]
    assert ["> 0.1 # highShare" in high[0], "> 0.3 # highShare" in high[1]] == [True, True]
    assert '"kube-system" # excluded' in high[1]
    # Recording rules and alerts about nodes are made once.
    assert [len([rule for rule in found if rule.get("alert") == name]) for name in ("KernelCFSQuotaBug",)] == [1]
    records = [rule["record"] for rule in found if "record" in rule]
    assert len(records) == len(set(records))


def test_links_lead_to_the_user_s_own_pages() -> None:
    alerts = [
        rule
        for rule in rules({"runbookUrl": "https://r.example/x/", "grafanaUrl": "https://g.example/"})
        if "alert" in rule
    ]
    for rule in alerts:
        assert rule["annotations"]["runbook_url"] == f"https://r.example/x/{rule['alert']}.md"
        assert rule["annotations"]["dashboard_url"].startswith("https://g.example/d/")


def planted(tmp_path: Path, name: str, content: str) -> Path:
    copy = tmp_path / "kube-throttle-exporter"
    shutil.copytree(CHART, copy)
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_text(content)
    return copy


def test_a_new_rule_file_needs_no_template(tmp_path: Path) -> None:
    text = "groups: [{name: mine, rules: [{record: 'a:b:c', expr: 'vector(1)'}]}]\n"
    folder = planted(tmp_path, "rules/mine.yaml", text)
    names = [found["metadata"]["name"] for found in rule_objects({"prometheusRule": {"enabled": True}}, folder=folder)]
    assert "kube-throttle-exporter-mine" in names
    assert len(names) == len(RULES) + 1


def test_a_rule_file_without_groups_is_told(tmp_path: Path) -> None:
    folder = planted(tmp_path, "rules/broken.yaml", "rules: []\n")
    with pytest.raises(Exception, match=r"rules/broken\.yaml holds no rule groups"):
        rule_objects({"prometheusRule": {"enabled": True}}, folder=folder)


def test_every_dashboard_becomes_a_config_map_that_the_sidecar_finds(tmp_path: Path) -> None:
    dashboard = {"uid": "mine", "title": "{{ not }} a template", "panels": []}
    folder = planted(tmp_path, "dashboards/my_own.json", json.dumps(dashboard, indent=2) + "\n")
    found = [each for each in objects(CASES["rules-and-dashboards"], folder=folder) if each["kind"] == "ConfigMap"]
    assert len(found) == len(DASHBOARDS) + 1
    held = {name: text for each in found for name, text in each["data"].items()}
    assert json.loads(held["my_own.json"]) == dashboard
    for path in DASHBOARDS:
        assert held[path.name].strip() == path.read_text().strip()
    for each in found:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert each["metadata"]["annotations"] == {"grafana_folder": "CPU throttling"}
        assert each["metadata"]["namespace"] == "grafana"
        assert len(json.dumps(each)) < LARGEST_CONFIG_MAP


def test_a_threshold_that_no_rule_has_is_refused() -> None:
    assert "additional properties" in refusal({"prometheusRule": {"thresholds": {"nothing": 1}}})
