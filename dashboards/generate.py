"""What the sources in this folder are made into, and where it lies: Helm reads nothing outside the chart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import capacity, cluster, exporter_health, node, rules, workload

CHART_DASHBOARDS = rules.ROOT / "charts" / "kube-throttle-exporter" / "dashboards"
BUILDERS = {
    "cluster": cluster.build,
    "workload": workload.build,
    "node": node.build,
    "exporter": exporter_health.build,
}


def files() -> Mapping[Path, str]:
    """Every generated file and what it should hold: dashboards, rules, the page with their cost."""
    boards = {CHART_DASHBOARDS / f"{name}.json": _json(build()) for name, build in BUILDERS.items()}
    return {**boards, **rules.files(), **capacity.page()}


def _json(board: Dashboard) -> str:
    built = board.build()
    for number, panel in enumerate(built.panels or [], 1):
        panel.id_val = number
    return json.dumps(built, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
