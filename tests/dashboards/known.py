"""What exists: the metrics of the exporter with their labels, the recorded ones, and a few of others."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import yaml

from dashboards.rules import SOURCES
from docs.reference import metrics_page
from exporter.metrics.catalog import FAMILIES

TARGET_LABELS = frozenset({"cluster", "node", "job", "instance", "exported_pod"})
"""What relabelling, external labels and a scrape without honorLabels add to every series."""
SCRAPED_FROM = frozenset({"namespace", "pod"})
"""Labels of the exporter's own pod, on its own metrics only: on the others they are the observed container's."""

OUTSIDERS: Mapping[str, frozenset[str]] = {
    # Of Prometheus about its targets and alerts.
    **dict.fromkeys(("up", "scrape_duration_seconds", "scrape_samples_scraped"), frozenset()),
    "kube_node_info": frozenset({"os_image"}),
    "ALERTS": frozenset(
        {"alertname", "alertstate", "severity", "namespace", "pod", "container", "workload", "workload_kind", "lost"}
    ),
    "ALERTS_FOR_STATE": frozenset({"alertname", "severity", "namespace", "pod", "container", "workload"}),
}


@cache
def metrics() -> Mapping[str, frozenset[str]]:
    """Name on the page, as PromQL spells it -> its labels without the target's."""
    found = {family.name: frozenset(family.labels) for family in FAMILIES}
    for name, labels, kind in _own():
        suffixes = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        found |= {name + suffix: labels | ({"le"} if suffix == "_bucket" else set()) for suffix in suffixes}
    return found


def _own() -> Iterator[tuple[str, frozenset[str], str]]:
    own = metrics_page().partition("## The exporter itself")[2]
    for name, extra, kind in re.findall(r"^\| `(\w+)`(?:<br>\+ ([^|]*))? \| (\w+) \|", own, re.MULTILINE):
        yield name, frozenset(re.findall(r"`(\w+)`", extra)) | SCRAPED_FROM, kind


@cache
def rules() -> tuple[Mapping[str, Any], ...]:
    """All rules of the chart, in their order."""
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in SOURCES]
    return tuple(rule for document in documents for group in document["groups"] for rule in group["rules"])


@cache
def recorded() -> frozenset[str]:
    return frozenset(rule["record"] for rule in rules() if "record" in rule)


@cache
def alerts() -> Mapping[str, Mapping[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


MADE = frozenset({"setting", "value"})
"""Labels that no series has: a query makes them."""


@cache
def all_labels() -> frozenset[str]:
    return (TARGET_LABELS | MADE).union(*metrics().values(), *OUTSIDERS.values())


def labels_of(name: str) -> frozenset[str] | None:
    """Labels a series of this name may have, any if it is recorded; ``None`` when nothing is called so."""
    if name in recorded():
        return all_labels()
    found = metrics().get(name, OUTSIDERS.get(name))
    return None if found is None else found | TARGET_LABELS
