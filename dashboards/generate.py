"""What the sources in this folder are made into, and where it lies: Helm reads nothing outside the chart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Panel, RowPanel

from dashboards import capacity, cluster, exporter_health, node, rules, workload
from dashboards.frame import DATA_SOURCE

CHART_DASHBOARDS = rules.ROOT / "charts" / "kube-throttle-exporter" / "dashboards"
BUILDERS = {
    "cluster": cluster.build,
    "workload": workload.build,
    "node": node.build,
    "exporter": exporter_health.build,
}

SCHEMA_VERSION = 42
"""Of Grafana 13.2; older versions ignore what they do not know."""
_REQUIRES = [
    {"type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.1.0"},
    {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
]

_KINDS = {"stat": "Stat", "table": "Table", "timeseries": "Time series"}
_INPUT = {
    "name": DATA_SOURCE,
    "label": "Prometheus",
    "description": "The Prometheus that scrapes the exporter and evaluates its recording rules.",
    "type": "datasource",
    "pluginId": "prometheus",
    "pluginName": "Prometheus",
}
"""Asked for on import by hand; a provisioned dashboard leaves it unset and begins with the default source."""


def files() -> Mapping[Path, str]:
    """Every generated file and what it should hold: dashboards, rules, the page with their cost."""
    boards = {CHART_DASHBOARDS / f"{name}.json": _json(build()) for name, build in BUILDERS.items()}
    return {**boards, **rules.files(), **capacity.page()}


def _json(board: Dashboard) -> str:
    built = board.build()
    numbers = count(1)
    kinds: set[str] = set()
    for panel in built.panels or []:
        every: list[Panel | RowPanel] = [panel, *(panel.panels if isinstance(panel, RowPanel) else ())]
        for each in every:
            each.id_val = next(numbers)
            kinds.add(each.type_val)
    drawn = [{"type": "panel", "id": kind, "name": _KINDS[kind], "version": ""} for kind in sorted(kinds - {"row"})]
    text = json.dumps(built, cls=JSONEncoder)
    for variable in built.templating.list_val or []:
        if variable.type_val == "query" and not variable.multi:
            # Grafana escapes what a pattern holds only for a variable of several values: "a (b)", "a+b".
            text = text.replace(f'{variable.name}=~\\"${variable.name}\\"', f'{variable.name}=\\"${variable.name}\\"')
    made: dict[str, object] = json.loads(text)
    made |= {"schemaVersion": SCHEMA_VERSION, "__inputs": [_INPUT], "__requires": [*_REQUIRES, *drawn]}
    return json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
