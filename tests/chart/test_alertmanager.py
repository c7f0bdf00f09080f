"""The shipped Alertmanager configuration, in a real Alertmanager: who is told what, how often, and in which words."""

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.charting import ROOT, Json
from tests.chart.options import alerts
from tests.conftest import needs
from tests.monitoring.parts import Receiver, Server, alertmanager, eventually, receiver
from tests.monitoring.shortened import stack_values

FOLDER = ROOT / "deploy" / "alertmanager"
CONFIG = FOLDER / "alertmanager.yml"
REPLICAS = 200
TIMEOUT_SECONDS = 20.0


def amtool(*arguments: str) -> str:
    done = subprocess.run([needs("amtool"), *arguments], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_amtool_accepts_it() -> None:
    assert "1 templates" in amtool("check-config", str(CONFIG))


@pytest.mark.parametrize(("severity", "wanted"), [("critical", "page"), ("warning", "ticket"), ("info", "nobody")])
def test_every_alert_goes_where_its_severity_says(severity: str, wanted: str) -> None:
    for alert in [alert for alert, own in alerts().items() if own == severity]:
        labels = [f"alertname={alert}", f"severity={severity}", "namespace=shop", "workload=checkout"]
        assert amtool("config", "routes", "test", f"--config.file={CONFIG}", *labels) == wanted, alert


def test_inhibitions_name_alerts_that_exist() -> None:
    for rule in yaml.safe_load(CONFIG.read_text())["inhibit_rules"]:
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]:
            pattern = matcher.split("~")[-1].split("=")[-1].strip().strip('"')
            assert any(re.fullmatch(pattern, name) for name in alerts()), matcher


def test_the_page_about_kube_prometheus_stack_has_our_inhibitions_and_routes(tmp_path: Path) -> None:
    config = stack_values()["alertmanager"]["config"]
    ours = yaml.safe_load(CONFIG.read_text())["inhibit_rules"]
    assert config["inhibit_rules"][-len(ours) :] == ours
    path = tmp_path / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    evidence = next(route for route in config["route"]["routes"] if "severity = info" in route["matchers"])
    pattern = evidence["matchers"][1].partition('"')[2].rstrip('"')
    info = {name for name, severity in alerts().items() if severity == "info"}
    assert {name for name in alerts() if re.fullmatch(pattern, name)} == info
    assert amtool("config", "routes", "test", f"--config.file={path}", "alertname=Watchdog") == "null"


@contextmanager
def notifying(folder: Path) -> Iterator[tuple[Server, Receiver]]:
    """The shipped configuration with nothing changed but times, the place of the secrets, and PagerDuty's address."""
    folder /= "alertmanager"
    shutil.copytree(FOLDER, folder)
    config: Json = yaml.safe_load(CONFIG.read_text().replace("/etc/alertmanager/", f"{folder}/"))
    for route in (config["route"], *config["route"]["routes"]):
        route.update({name: "1s" for name in ("group_wait", "group_interval") if name in route})
    with receiver() as recipient:
        (folder / "secrets").mkdir()
        (folder / "secrets" / "pagerduty-routing-key").write_text("0123456789abcdef")
        (folder / "secrets" / "slack-webhook-url").write_text(f"{recipient.address}/ticket/slack")
        config["global"]["pagerduty_url"] = f"{recipient.address}/page/pagerduty"
        with alertmanager(yaml.safe_dump(config), folder) as server:
            yield server, recipient


def firing(name: str, **labels: str) -> Json:
    workload = {"namespace": "shop", "workload_kind": "Deployment", "workload": "checkout"} | labels
    return {
        "labels": {"alertname": name, "severity": alerts()[name], **workload},
        "annotations": {
            "summary": f"Deployment shop/{workload['workload']} loses 62% of its run time to CPU quotas",
            "description": "In 62% of the time a CPU quota stopped it.",
            "command": "kubectl -n monitoring exec exporter -- throttle-exporter explain shop/checkout-1",
            "runbook_url": f"https://runbooks.example.org/{name}.md",
            "dashboard_url": "https://grafana.example.org/d/kte-workload?var-workload=checkout",
        },
    }


def send(server: Server, alerts: list[Json]) -> None:
    url = f"http://{server.address}/api/v2/alerts"
    request = urllib.request.Request(url, json.dumps(alerts).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_a_workload_pages_once_and_what_waits_on_a_node_is_one_notification(tmp_path: Path) -> None:
    pods = [f"checkout-{number:03}" for number in range(REPLICAS)]
    waiting = [firing("CPUContention", workload=f"w-{n}", pod=f"w-{n}-0", node=f"node-{n % 2}") for n in range(20)]
    with notifying(tmp_path) as (server, recipient):
        send(
            server,
            [firing("WorkloadCPUThrottledSevere"), firing("WorkloadCPUThrottled")]
            + [firing("PodCPUThrottled", pod=pod, node="node-1") for pod in pods]
            + [firing("WorkloadCPUThrottled", workload="cart"), *waiting],
        )
        eventually(lambda: len(recipient.received) >= 4, "four notifications", TIMEOUT_SECONDS, recipient.received.copy)
        # The pods behind it come and go: evidence that notifies nobody, and another text of its alerts.
        send(server, [firing("PodCPUThrottled", pod=f"{pod}-new", node="node-2") for pod in pods])
        for name, workload in (("WorkloadCPUThrottledSevere", "checkout"), ("WorkloadCPUThrottled", "cart")):
            again = firing(name, workload=workload)
            again["annotations"]["description"] += f" Most is lost by pod {workload}-new on node node-2."
            send(server, [again])
        # Two more group intervals: whatever was to come has come.
        time.sleep(2.5)
    [page], tickets = recipient.texts("pagerduty"), [body["attachments"][0] for body in recipient.texts("slack")]

    assert page["event_action"] == "trigger"
    assert page["payload"]["severity"] == "critical"
    assert page["payload"]["summary"] == "[1] WorkloadCPUThrottledSevere: Deployment shop/checkout"
    what = page["payload"]["custom_details"]["what"]
    assert re.search(r"loses 62% of its run time to CPU quotas, since \d\d:\d\d UTC", what)
    assert "To see why: kubectl -n monitoring exec exporter -- throttle-exporter explain shop/checkout-1" in what
    assert "/#/silences/new?filter=%7Balertname%3D%22WorkloadCPUThrottledSevere%22%2C%20namespace%3D%22shop%22" in what
    assert page["payload"]["custom_details"]["runbook"].endswith("/WorkloadCPUThrottledSevere.md")
    assert page["client_url"].startswith("https://grafana.example.org/d/kte-workload")

    # Severe inhibits the ticket about the same workload.
    assert {one["title"]: one["title_link"].rpartition("/")[2] for one in tickets} == {
        "[1] WorkloadCPUThrottled: Deployment shop/cart": "WorkloadCPUThrottled.md",
        "[10] CPUContention: node node-0": "CPUContention.md",
        "[10] CPUContention: node node-1": "CPUContention.md",
    }
    assert len(tickets) == 3


TIMES = {"startsAt": "2026-11-21T10:00:00Z", "endsAt": "2026-11-21T10:20:00Z"}


def rendered(name: str, tmp_path: Path, **changes: Any) -> str:
    one = {"status": "firing", "labels": {"node": "n1"}, "annotations": {"summary": "s", "description": "d"}}
    base = {"status": "firing", "alerts": [one | TIMES], "groupLabels": {"alertname": "ThrottleExporterDown"}}
    data = tmp_path / "data.json"
    data.write_text(json.dumps({"commonLabels": {}, "commonAnnotations": {}} | base | changes))
    text = f'{{{{ template "throttling.{name}" . }}}}'
    glob = f"--template.glob={FOLDER}/templates/*.tmpl"
    return amtool("template", "render", glob, f"--template.text={text}", f"--template.data={data}")


@pytest.mark.parametrize(
    ("labels", "subject"),
    [
        ({"workload": "w", "workload_kind": "Job", "namespace": "n"}, "Job n/w"),
        ({"pod": "p", "namespace": "n"}, "n/p"),
        ({"node": "n1", "cluster": "c"}, "node n1 in c"),
        ({"namespace": "n"}, "namespace n"),
        ({}, "1 places"),
    ],
)
def test_a_title_names_what_the_group_has_in_common(labels: dict[str, str], subject: str, tmp_path: Path) -> None:
    assert rendered("title", tmp_path, commonLabels=labels) == f"[1] ThrottleExporterDown: {subject}"


def test_an_end_is_told_as_one(tmp_path: Path) -> None:
    changes = {
        "status": "resolved",
        "alerts": [{"status": "resolved", "labels": {"pod": "p"}, "annotations": {}} | TIMES],
    }
    assert rendered("title", tmp_path, **changes).startswith("[resolved] ")
    assert rendered("text", tmp_path, **changes) == "Over since 10:20 UTC: p"


@pytest.mark.parametrize(("url", "link"), [("/d/x?var-pod=x", ""), ("https://grafana.example.org/d/x",) * 2])
def test_a_dashboard_link_is_absolute_or_absent(url: str, link: str, tmp_path: Path) -> None:
    one = {"status": "firing", "labels": {}, "annotations": {"dashboard_url": url}}
    assert rendered("absolute", tmp_path, alerts=[one | TIMES]) == link
