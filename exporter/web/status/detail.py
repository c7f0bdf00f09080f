"""One container's page: what its template shows, as strings. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from exporter.cpulist import cpu_list, format_cpu_list
from exporter.model import CgroupName
from exporter.report import Container, Report
from exporter.web.status import figures, verdict
from exporter.web.status.advice import Told, told
from exporter.web.status.chart import Chart, page_chart
from exporter.web.status.health import HealthView, health_view
from exporter.web.status.label import Label, label
from exporter.web.status.numbers import Section, sections

NEIGHBOURS: Final = 20
"""Listed; the ones that use most."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another container, on the same CPUs or in the same pod."""

    name: Label
    use: str
    where: str
    """The CPUs that both may use, or its limit."""
    severity: str


@dataclass(frozen=True, slots=True)
class Others:
    """Some other containers."""

    shown: Sequence[Neighbour]
    number: int
    """With those that are not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """The whole page."""

    node: str
    taken_at: datetime
    name: Label
    mapped: bool
    kind: str
    severity: str
    verdict: str
    findings: Sequence[Told]
    node_findings: Sequence[Told]
    chart: Chart | None
    no_chart: str
    """Why there is none."""
    window: str
    sections: Sequence[Section]
    alone: str
    """Said where it has no neighbours; empty where its CPUs are not known."""
    neighbours: Others
    siblings: Others
    health: HealthView


def detail(report: Report, name: CgroupName) -> Detail | None:
    """``None`` where no such container is on the node."""
    document = report.container(name)
    if document is None:
        return None
    one, exporter = document["container"], document["exporter"]
    others = [other for other in report.containers(with_series=False)["containers"] if _is_another(other, one)]
    return Detail(
        node=report.health.node_name,
        taken_at=figures.moment(document["taken_at"]),
        name=label(one),
        mapped=one["mapped"],
        kind=_kind(one),
        severity=_severity(one),
        verdict=verdict.of_container(one),
        findings=[told(finding) for finding in one["findings"]],
        node_findings=[told(finding) for finding in verdict.troubles(document["node_findings"])],
        chart=page_chart(one["series"], exporter["window_seconds"]),
        no_chart="It has no quota, so there is no throttling to draw."
        if one["quota_state"] == "none"
        else "Two samples are needed before there is anything to draw.",
        window=figures.seconds(exporter["window_seconds"]),
        sections=list(sections(one)),
        alone=_alone(one),
        neighbours=_neighbours(one, others),
        siblings=_others(
            (other for other in others if other["pod_uid"] == one["pod_uid"]),
            lambda other: figures.cpus(other["limit_cores"]),
        ),
        health=health_view(exporter, document["taken_at"]),
    )


def _is_another(other: Container, one: Container) -> bool:
    return other["live"] and other["container_id"] != one["container_id"]


def _severity(one: Container) -> str:
    """``ok`` is more than that nothing was found: something must have been seen."""
    troubles = verdict.troubles(one["findings"])
    if troubles:
        return troubles[0]["severity"]
    return "ok" if one["live"] and one["usage_cores"] is not None else ""


def _kind(one: Container) -> str:
    """``Burstable, sidecar of Deployment checkout``."""
    kind = "" if one["container_type"] in {None, "container"} else f"{one['container_type']} container"
    owner = " ".join(filter(None, (one["workload_kind"], one["workload"])))
    return ", ".join(filter(None, (one["qos_class"], kind, f"of {owner}" if owner else "")))


def _alone(one: Container) -> str:
    cpuset = one["cpuset"]
    if cpuset is None or not cpuset["count"]:
        return ""
    return f"No other container may run on {'CPU' if cpuset['count'] == 1 else 'CPUs'} {cpuset['cpus']}."


def _neighbours(one: Container, others: Iterable[Container]) -> Others:
    """Who may run on its CPUs. A node has few different cpusets: each is taken apart once."""
    own = cpu_list(one["cpuset"]["cpus"], "") if one["cpuset"] is not None and one["live"] else frozenset[int]()
    common: dict[str, str] = {}

    def shared_with(other: Container) -> str:
        cpus = "" if other["cpuset"] is None else other["cpuset"]["cpus"]
        if cpus not in common:
            common[cpus] = format_cpu_list(own & cpu_list(cpus, ""))
        return common[cpus]

    return _others((other for other in others if shared_with(other)), shared_with)


def _others(found: Iterable[Container], where: Callable[[Container], str]) -> Others:
    """Those that use most first."""
    every = sorted(found, key=lambda other: -(other["usage_cores"] or 0.0))
    return Others(
        [
            Neighbour(label(other), figures.cpus(other["usage_cores"]), where(other), other["severity"] or "")
            for other in every[:NEIGHBOURS]
        ],
        len(every),
    )
