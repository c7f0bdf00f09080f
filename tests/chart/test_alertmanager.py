"""The shipped Alertmanager configuration, in a real Alertmanager: who is told what, how often, and in which words."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from typing_extensions import override

from tests.chart.charting import CHART, ROOT, Json
from tests.conftest import needs, unavailable
from tests.support.process import end

FOLDER = ROOT / "deploy" / "alertmanager"
CONFIG = FOLDER / "alertmanager.yml"
REPLICAS = 200
PATIENCE_SECONDS = 20.0


def alerts_of_the_chart() -> dict[str, str]:
    """Severity by alert."""
    groups = yaml.safe_load((CHART / "rules" / "alerts.yaml").read_text())["groups"]
    return {rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"] if "alert" in rule}


def amtool(*arguments: str) -> str:
    done = subprocess.run([needs("amtool"), *arguments], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_amtool_accepts_it() -> None:
    assert "1 templates" in amtool("check-config", str(CONFIG))


@pytest.mark.parametrize("alert", sorted(alerts_of_the_chart()))
def test_every_alert_goes_where_its_severity_says(alert: str) -> None:
    severity = alerts_of_the_chart()[alert]
    wanted = {"critical": "page", "warning": "ticket", "info": "nobody"}[severity]
    labels = [f"alertname={alert}", f"severity={severity}", "namespace=shop", "workload=checkout"]
    assert amtool("config", "routes", "test", f"--config.file={CONFIG}", *labels).strip() == wanted


def test_inhibitions_name_alerts_that_exist() -> None:
    text = CONFIG.read_text().partition("inhibit_rules:")[2].partition("receivers:")[0]
    known = alerts_of_the_chart()
    named = {name for name in known if name in text}
    assert {"WorkloadCPUThrottledSevere", "WorkloadCPUThrottled", "ExclusiveCPUThrottled"} <= named
    for rule in yaml.safe_load(CONFIG.read_text())["inhibit_rules"]:
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]:
            pattern = matcher.split("~")[-1].split("=")[-1].strip().strip('"')
            found = [name for name in known if re.fullmatch(pattern, name)]
            assert found, matcher


@dataclass
class Receivers:
    """What PagerDuty and Slack would have got, by path."""

    port: int = 0
    got: dict[str, list[Json]] = field(default_factory=dict)

    def wait_for(self, path: str, number: int = 1) -> list[Json]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.got.get(path, ())) < number and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.got.get(path, [])


@contextmanager
def listening() -> Iterator[Receivers]:
    receivers = Receivers()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receivers.got.setdefault(self.path, []).append(json.loads(body))
            answer = b'{"status":"success"}'
            self.send_response(202 if self.path == "/pagerduty" else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receivers.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receivers
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def hurried(text: str, folder: Path, receivers: Receivers) -> Json:
    """The configuration with nothing changed but times, the place of the secrets, and the address of PagerDuty."""
    config: Json = yaml.safe_load(text.replace("/etc/alertmanager/", f"{folder}/"))
    config["global"]["pagerduty_url"] = f"http://127.0.0.1:{receivers.port}/pagerduty"
    for route in (config["route"], *config["route"]["routes"]):
        for name in ("group_wait", "group_interval"):
            if name in route:
                route[name] = "1s"
    return config


@contextmanager
def alertmanager(folder: Path, receivers: Receivers) -> Iterator[str]:
    """A running Alertmanager with the shipped configuration; yields its address."""
    needs("amtool")
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        unavailable("needs prometheus-alertmanager, see .ci/packages")
    shutil.copytree(FOLDER, folder)
    (folder / "secrets").mkdir()
    (folder / "secrets" / "pagerduty-routing-key").write_text("0123456789abcdef")
    (folder / "secrets" / "slack-webhook-url").write_text(f"http://127.0.0.1:{receivers.port}/slack")
    config = folder / "alertmanager.yml"
    config.write_text(yaml.safe_dump(hurried(config.read_text(), folder, receivers)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    options = [f"--config.file={config}", f"--storage.path={folder}/data", f"--web.listen-address={address}"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, *options, "--cluster.listen-address="], stdout=output, stderr=output)
        try:
            _wait_ready(f"http://{address}/-/ready", log)
            yield f"http://{address}"
        finally:
            end(process)


def _wait_ready(url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


def firing(name: str, **labels: str) -> Json:
    severity = alerts_of_the_chart()[name]
    workload = {"namespace": "shop", "workload_kind": "Deployment", "workload": "checkout"} | labels
    return {
        "labels": {"alertname": name, "severity": severity, **workload},
        "annotations": {
            "summary": f"Deployment shop/{workload['workload']} loses 62% of its run time to CPU quotas",
            "description": "In 62% of the time a CPU quota stopped it.",
            "command": "kubectl -n monitoring exec exporter -- throttle-exporter explain shop/checkout-1",
            "runbook_url": f"https://runbooks.example.org/{name}.md",
            "dashboard_url": "https://grafana.example.org/d/kte-workload?var-workload=checkout",
        },
    }


def send(address: str, alerts: list[Json]) -> None:
    request = urllib.request.Request(
        f"{address}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_a_workload_pages_once_and_only_the_worst_is_notified(tmp_path: Path) -> None:
    pods = [f"checkout-{number:03}" for number in range(REPLICAS)]
    with listening() as receivers, alertmanager(tmp_path / "am", receivers) as address:
        send(
            address,
            [firing("WorkloadCPUThrottledSevere"), firing("WorkloadCPUThrottled")]
            + [firing("PodCPUThrottled", pod=pod, node="node-1") for pod in pods]
            + [firing("WorkloadCPUThrottled", workload="cart")],
        )
        [ticket] = receivers.wait_for("/slack")
        # The pods behind it come and go: evidence that notifies nobody.
        send(address, [firing("PodCPUThrottled", pod=f"{pod}-new", node="node-2") for pod in pods])
        # Two more group intervals: whatever was to come has come.
        time.sleep(2.5)
        [page] = receivers.wait_for("/pagerduty")
    assert receivers.got.keys() == {"/pagerduty", "/slack"}
    assert len(receivers.got["/pagerduty"]) == len(receivers.got["/slack"]) == 1

    assert page["event_action"] == "trigger"
    assert page["payload"]["severity"] == "critical"
    assert page["payload"]["summary"] == "[1] WorkloadCPUThrottledSevere: Deployment shop/checkout"
    what = page["payload"]["custom_details"]["what"]
    assert re.search(r"loses 62% of its run time to CPU quotas, since \d\d:\d\d UTC", what)
    assert "To see why: kubectl -n monitoring exec exporter -- throttle-exporter explain shop/checkout-1" in what
    assert "/#/silences/new?filter=%7Balertname%3D%22WorkloadCPUThrottledSevere%22%2C%20namespace%3D%22shop%22" in what
    assert page["payload"]["custom_details"]["runbook"].endswith("/WorkloadCPUThrottledSevere.md")
    assert page["client_url"].startswith("https://grafana.example.org/d/kte-workload")

    [attachment] = ticket["attachments"]
    assert attachment["title"] == "[1] WorkloadCPUThrottled: Deployment shop/cart"
    assert attachment["title_link"] == "https://runbooks.example.org/WorkloadCPUThrottled.md"
    assert "checkout" not in attachment["title"], "severe inhibits the ticket"


def test_what_waits_on_one_node_is_one_notification(tmp_path: Path) -> None:
    waiting = [firing("CPUContention", workload=f"w-{n}", pod=f"w-{n}-0", node=f"node-{n % 2}") for n in range(20)]
    with listening() as receivers, alertmanager(tmp_path / "am", receivers) as address:
        send(address, waiting)
        receivers.wait_for("/slack", 2)
        time.sleep(2.5)
    titles = sorted(body["attachments"][0]["title"] for body in receivers.got["/slack"])
    assert titles == [f"[10] CPUContention: node node-{n}" for n in range(2)]


def test_a_dashboard_link_is_absolute_or_absent(tmp_path: Path) -> None:
    def link(url: str) -> str:
        one = {"status": "firing", "labels": {}, "annotations": {"dashboard_url": url}}
        return rendered("absolute", tmp_path, alerts=[one | TIMES])

    assert link("/d/kte-workload?var-pod=x") == ""
    assert link("https://grafana.example.org/d/x") == "https://grafana.example.org/d/x"


TIMES = {"startsAt": "2026-11-21T10:00:00Z", "endsAt": "2026-11-21T10:20:00Z"}


def rendered(name: str, tmp_path: Path, **changes: Any) -> str:
    data = tmp_path / "data.json"
    one = {"status": "firing", "labels": {"node": "n1"}, "annotations": {"summary": "s", "description": "d"}}
    base = {
        "status": "firing",
        "alerts": [one | TIMES],
        "groupLabels": {"alertname": "ThrottleExporterDown"},
        "commonLabels": {},
        "commonAnnotations": {},
    }
    data.write_text(json.dumps(base | changes))
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
    over = {"status": "resolved", "labels": {"pod": "p"}, "annotations": {}, "startsAt": "2026-11-21T10:00:00Z"}
    changes = {"status": "resolved", "alerts": [over | {"endsAt": "2026-11-21T10:20:00Z"}]}
    assert rendered("title", tmp_path, **changes).startswith("[resolved] ")
    assert rendered("text", tmp_path, **changes).strip() == "Over since 10:20 UTC: p"
