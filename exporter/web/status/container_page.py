"""One container's page: what its template shows, as strings. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from exporter.cpulist import cpu_list, format_cpu_list
from exporter.model import CgroupName
from exporter.report import Container, Report
from exporter.report.summary import cpu_ranges, description, duration, facts, problems, verdict, verdict_severity
from exporter.web.status.charts import Chart, history_chart, page_chart, since
from exporter.web.status.findings import FindingView, finding_view
from exporter.web.status.node_page import UNKNOWN, ExporterView, cpus, exporter_view, moment, name_of

MAX_NEIGHBOURS: Final = 20


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another container, on the same CPUs or in the same pod."""

    name: CgroupName
    use: str
    where: str
    """The CPUs that both may use, or its limit."""
    severity: str


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Some other containers, those that use most first."""

    shown: Sequence[Neighbour]
    number: int
    """With those that are not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPage:
    """The whole page."""

    node: str
    taken_at: datetime
    name: CgroupName
    mapped: bool
    description: str
    severity: str
    verdict: str
    findings: Sequence[FindingView]
    node_findings: Sequence[FindingView]
    chart: Chart | None
    no_chart: str
    """Why there is none."""
    window: str
    history: Chart | None
    since: str
    """For how long each minute had throttling."""
    facts: Sequence[tuple[str, str]]
    identity: Sequence[tuple[str, str]]
    alone: str
    """Shown where it has no neighbours; empty where its CPUs are unknown."""
    neighbours: Neighbours
    siblings: Neighbours
    exporter: ExporterView


def container_page(report: Report, name: CgroupName) -> ContainerPage | None:
    """Return the page of a moment, ``None`` where no such container is on the node."""
    document = report.container(name)
    if document is None:
        return None
    one, exporter = document["container"], document["exporter"]
    others = [other for other in report.containers(with_series=False)["containers"] if _is_another(other, one)]
    ratios = report.history.ratios(name)
    return ContainerPage(
        node=report.exporter["node"],
        taken_at=moment(document["taken_at"]),
        name=name_of(one),
        mapped=one["mapped"],
        description=description(one),
        severity=verdict_severity(one),
        verdict=verdict(one),
        findings=[finding_view(finding) for finding in one["findings"]],
        node_findings=[finding_view(finding) for finding in problems(document["node_findings"])],
        chart=page_chart(one["series"], exporter["window_seconds"]),
        no_chart="It has no CPU limit, so there is no throttling to draw."
        if one["quota_state"] == "none"
        else "Two samples are needed before there is anything to draw.",
        window=duration(exporter["window_seconds"]),
        history=history_chart(ratios, report.history.shares(name)),
        since=since(ratios),
        facts=list(facts(one)),
        identity=list(_identity(one)),
        alone=_alone(one),
        neighbours=_neighbours(one, others),
        siblings=_heaviest(
            (other for other in others if other["pod_uid"] == one["pod_uid"]), lambda other: cpus(other["limit_cores"])
        ),
        exporter=exporter_view(exporter, document["taken_at"]),
    )


def _is_another(other: Container, one: Container) -> bool:
    return other["live"] and other["container_id"] != one["container_id"]


def _identity(one: Container) -> Iterator[tuple[str, str]]:
    yield "Namespace", one["namespace"] or UNKNOWN
    yield "Pod", one["pod"] if one["mapped"] else UNKNOWN
    yield "Container", one["container"] if one["mapped"] else UNKNOWN
    yield "QoS class", one["qos_class"]
    if one["container_type"] is not None:
        yield "Type", one["container_type"]
    if one["workload_kind"] is not None:
        yield "Owner", " ".join(filter(None, (one["workload_kind"], one["workload"])))
    yield "Runtime", one["runtime"] or UNKNOWN
    if one["cpuset"] is not None:
        yield "Memory nodes", one["cpuset"]["mems"] or UNKNOWN
        if one["cpuset"]["partition"] not in {"", "member"}:
            yield "Cpuset partition", one["cpuset"]["partition"]
    yield "Pod uid", one["pod_uid"]
    yield "Container id", one["container_id"]
    yield "Cgroup", one["cgroup"]


def _alone(one: Container) -> str:
    cpuset = one["cpuset"]
    if cpuset is None or not cpuset["count"]:
        return ""
    return f"No other container may run on {'CPU' if cpuset['count'] == 1 else 'CPUs'} {cpu_ranges(cpuset['cpus'])}."


def _neighbours(one: Container, others: Iterable[Container]) -> Neighbours:
    """Those that may run on its CPUs. A node has few different cpusets: each is parsed once."""
    own = cpu_list(one["cpuset"]["cpus"], "") if one["cpuset"] is not None and one["live"] else frozenset[int]()
    common: dict[str, str] = {}

    def shared_with(other: Container) -> str:
        listed = "" if other["cpuset"] is None else other["cpuset"]["cpus"]
        if listed not in common:
            common[listed] = cpu_ranges(format_cpu_list(own & cpu_list(listed, "")))
        return common[listed]

    return _heaviest((other for other in others if shared_with(other)), shared_with)


def _heaviest(found: Iterable[Container], where: Callable[[Container], str]) -> Neighbours:
    every = sorted(found, key=lambda other: -(other["usage_cores"] or 0.0))
    shown = [
        Neighbour(name_of(other), cpus(other["usage_cores"]), where(other), other["severity"] or "")
        for other in every[:MAX_NEIGHBOURS]
    ]
    return Neighbours(shown, len(every))
