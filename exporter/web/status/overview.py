"""The node's page: what its template shows, as strings. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from exporter.analysis import text as words
from exporter.report import Container, Report
from exporter.report.impact import lost_seconds_per_second
from exporter.web.status import figures, verdict
from exporter.web.status.advice import Group, Told, grouped, told
from exporter.web.status.chart import Chart, row_chart
from exporter.web.status.cpumap import CpuMap, cpu_map
from exporter.web.status.health import HealthView, health_view
from exporter.web.status.label import Label, label

WORST: Final = 100
"""Containers shown in full, unless all are asked for."""
_ISOLATION: Final = {"exclusive": "its own", "shared": "shared", "eligible": "shared, could be its own"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One container in the table."""

    name: Label
    severity: str
    """Empty for one without findings."""
    finding: str
    throttled: str
    beside: str
    """What the throttled ratio alone would hide."""
    chart: Chart | None
    lost: str
    use: str
    limit: str
    waiting: str
    cpus: str
    isolation: str
    live: bool
    mapped: bool


@dataclass(frozen=True, slots=True)
class Brief:
    """One of the containers that are only named."""

    name: Label
    use: str
    severity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The whole page."""

    node: str
    taken_at: datetime
    headline: str
    severity: str
    """The worst there is: of the headline's colour. ``ok`` when nothing is wrong."""
    counts: str
    worst: Told | None
    rows: Sequence[Row]
    briefs: Sequence[Brief]
    total: int
    """Containers in all."""
    crowded: bool
    """More than are shown in full unless asked for."""
    troubles: Sequence[Group]
    notes: Sequence[Group]
    """Findings that only explain."""
    machine: Sequence[tuple[str, str]]
    cpus: CpuMap
    health: HealthView


def overview(report: Report, *, everything: bool) -> Overview:
    """``everything``: all containers in full."""
    document, node = report.containers(), report.node()["node"]
    containers, exporter = document["containers"], document["exporter"]
    shown = len(containers) if everything else WORST
    window = exporter["window_seconds"]
    groups = grouped(containers, document["node_findings"])
    found = [*document["node_findings"], *(finding for one in containers for finding in one["findings"])]
    troubles = verdict.troubles(found)
    suffering = [one for one in containers if verdict.suffers(one)]
    worst = suffering[0]["findings"][0] if suffering else next(iter(troubles), None)
    return Overview(
        node=node["name"],
        taken_at=figures.moment(document["taken_at"]),
        headline=verdict.headline(document),
        severity=_severity(
            [finding["severity"] for finding in troubles], certain=bool(containers) and exporter["healthy"]
        ),
        counts=_counts(suffering),
        worst=None if worst is None else told(worst),
        rows=[_row(one, window) for one in containers[:shown]],
        briefs=[
            Brief(label(one), figures.cpus(one["usage_cores"]), one["severity"] or "") for one in containers[shown:]
        ],
        total=len(containers),
        crowded=len(containers) > WORST,
        troubles=[group for group in groups if group.severity != "info"],
        notes=[group for group in groups if group.severity == "info"],
        machine=[
            ("Kernel", node["kernel_release"] or figures.NOT_KNOWN),
            ("Cgroups", " ".join(filter(None, (node["hierarchy"], node["driver"])))),
        ],
        cpus=cpu_map(node, containers),
        health=health_view(exporter, document["taken_at"]),
    )


def _row(one: Container, window_seconds: float) -> Row:
    throttling, cpuset = one["throttling"], one["cpuset"]
    waiting = one["pressure"]["waiting_share"]
    runqueue = one["pressure"]["runqueue_seconds_per_second"]
    return Row(
        name=label(one),
        severity=one["severity"] or "",
        finding=_finding(one),
        throttled=figures.percent(throttling["ratio"]),
        beside=_beside(one),
        chart=row_chart(one["series"], window_seconds),
        lost=figures.rate(lost_seconds_per_second(one)),
        use=figures.cpus(one["usage_cores"]),
        limit=_limit(one),
        waiting=figures.rate(runqueue) if waiting is None else figures.percent(waiting),
        cpus=figures.ABSENT if cpuset is None else cpuset["cpus"] or "none",
        isolation="" if one["isolation"] is None else _ISOLATION.get(one["isolation"], one["isolation"]),
        live=one["live"],
        mapped=one["mapped"],
    )


def _finding(one: Container) -> str:
    if not one["findings"]:
        return ""
    first, *others = one["findings"]
    return verdict.titled(first) + (f", {len(others)} more" if others else "")


def _beside(one: Container) -> str:
    ratio, peak = one["throttling"]["ratio"], one["throttling"]["peak"]
    pod = None if one["pod_cgroup"] is None else one["pod_cgroup"]["ratio"]
    if pod is not None and pod > (ratio or 0.0):
        return f"its pod {words.percent(pod)}"
    return f"peak {words.percent(peak)}" if peak is not None and ratio is not None and peak > ratio else ""


def _limit(one: Container) -> str:
    if one["limit_cores"] is not None:
        return f"of {words.cpus(one['limit_cores'])}"
    return {"none": "no limit", "unsupported": "limits are off"}.get(one["quota_state"] or "", "limit not known")


def _severity(severities: Sequence[str], *, certain: bool) -> str:
    if not severities:
        return "ok" if certain else ""
    return "critical" if "critical" in severities else "warning"


def _counts(suffering: Sequence[Container]) -> str:
    """``2 critical, 1 warning``."""
    critical = sum(one["severity"] == "critical" for one in suffering)
    warning = len(suffering) - critical
    parts = [f"{critical} critical"] * bool(critical) + [words.count(warning, "warning")] * bool(warning)
    return ", ".join(parts)
