"""The shipped configurations with short times and local addresses; nothing else about them is changed."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dashboards.rules import PLAIN_RULES, ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus" / "prometheus.yml"
STACK_PAGE = ROOT / "docs" / "kube-prometheus-stack.md"
ALERTMANAGER = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"

MINUTE = 1
"""Seconds that stand for a minute of the shipped rules, in their windows and waits alike."""
GROUP_WAIT = "4s"
"""Long enough for the replicas of a workload to come together, as the shipped one is."""


class Target(NamedTuple):
    """An exporter, as Kubernetes would describe its pod to Prometheus."""

    address: str
    node: str

    @property
    def meta(self) -> dict[str, str]:
        host, _, port = self.address.partition(":")
        return {
            "__meta_kubernetes_namespace": "monitoring",
            "__meta_kubernetes_node_name": self.node,
            "__meta_kubernetes_endpoints_name": "kube-throttle-exporter",
            "__meta_kubernetes_endpoint_port_name": "metrics",
            "__meta_kubernetes_service_name": "kube-throttle-exporter",
            "__meta_kubernetes_service_label_app_kubernetes_io_name": "kube-throttle-exporter",
            "__meta_kubernetes_pod_name": f"kube-throttle-exporter-{self.node}",
            "__meta_kubernetes_pod_node_name": self.node,
            "__meta_kubernetes_pod_ip": host,
            "__meta_kubernetes_pod_phase": "Running",
            "__meta_kubernetes_pod_ready": "true",
            "__meta_kubernetes_pod_container_name": "exporter",
            "__meta_kubernetes_pod_container_port_name": "metrics",
            "__meta_kubernetes_pod_container_port_number": port,
            "__meta_kubernetes_pod_label_app_kubernetes_io_name": "kube-throttle-exporter",
            "__meta_kubernetes_pod_label_app_kubernetes_io_instance": "kube-throttle-exporter",
            "__meta_kubernetes_pod_labelpresent_app_kubernetes_io_name": "true",
        }


def rules() -> str:
    """Every minute of the shipped rules is a second; thresholds and everything else are the shipped ones."""
    document = yaml.safe_load(PLAIN_RULES.read_text(encoding="utf-8"))
    for group in document["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"(?<=\[)(\d+)s\b", _milliseconds, rule["expr"])
            rule["expr"] = re.sub(r"(?:(?<=\[)|(?<=offset ))(\d+)m\b", _seconds, rule["expr"])
            for key in ("for", "keep_firing_for"):
                if key in rule:
                    rule[key] = re.sub(r"(\d+)m", _seconds, rule[key])
    return yaml.safe_dump(document, sort_keys=False)


def _milliseconds(seconds: re.Match[str]) -> str:
    return f"{int(seconds[1]) * 1000 * MINUTE // 60}ms"


def _seconds(minutes: re.Match[str]) -> str:
    return f"{int(minutes[1]) * MINUTE}s"


def prometheus(targets: Sequence[Target], rule_file: Path, alertmanager: str) -> str:
    """The shipped scrape configuration; what Kubernetes would discover is written down."""
    config: dict[str, Any] = yaml.safe_load(PROMETHEUS.read_text(encoding="utf-8"))
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(rule_file)]
    config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    for job in config["scrape_configs"]:
        if job.pop("kubernetes_sd_configs", None) is not None:
            job["static_configs"] = [{"targets": [target.address], "labels": target.meta} for target in targets]
        for key in ("scrape_interval", "scrape_timeout"):
            job.pop(key, None)
    return yaml.safe_dump(config, sort_keys=False)


def stack_values() -> dict[str, Any]:
    """Values of kube-prometheus-stack, as its page has them."""
    block = re.search(
        r"<!-- tests/monitoring[^>]*-->\n```yaml\n(.*?)```", STACK_PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    assert block
    values: dict[str, Any] = yaml.safe_load(block[1])
    return values


def alertmanager(receiver: str) -> str:
    """The shipped routes, inhibitions, receivers and texts, with the default inhibitions of kube-prometheus-stack.

    Who is notified over the net is ``receiver``/NAME/slack and the like, and every receiver also is told as a webhook,
    at ``receiver``/NAME/webhook, which says all labels.
    """
    config: dict[str, Any] = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))
    config["inhibit_rules"] = stack_values()["alertmanager"]["config"]["inhibit_rules"]
    _hurry(config["route"])
    for one in config["receivers"]:
        address = f"{receiver}/{one['name']}"
        for slack in one.get("slack_configs", []):
            slack["api_url"] = f"{address}/slack"
            del slack["api_url_file"]
        for pagerduty in one.get("pagerduty_configs", []):
            pagerduty |= {"url": f"{address}/pagerduty", "routing_key": "none"}
            del pagerduty["routing_key_file"]
        if len(one) > 1:
            one["webhook_configs"] = [{"url": f"{address}/webhook", "send_resolved": True}]
    config["templates"] = [str(ALERTMANAGER.parent / path) for path in config["templates"]]
    return yaml.safe_dump(config, sort_keys=False)


def _hurry(route: dict[str, Any]) -> None:
    if "group_wait" in route:
        route["group_wait"] = GROUP_WAIT
    if "group_interval" in route:
        route["group_interval"] = "2s"
    for child in route.get("routes", []):
        _hurry(child)
