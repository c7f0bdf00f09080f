"""The node's page: workloads, findings and the exporter's own state as strings for its template. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from exporter.analysis import text
from exporter.model import CgroupName
from exporter.report import Container, Exporter, Report
from exporter.report.impact import impact, lost_seconds_per_second, rank, throttled_ratio
from exporter.report.schema import Source
from exporter.report.summary import age, cpu_ranges, duration, has_problem, headline, problems, title
from exporter.web.status import PageRequest
from exporter.web.status.charts import HISTORY_SLOT_MINUTES, Chart, history_chart, row_chart
from exporter.web.status.cpumap import CpuMap, cpu_map
from exporter.web.status.findings import MAX_FULL, FindingGroup, FindingView, finding_groups, finding_view

MAX_WORKLOADS: Final = 40
"""In the table; the others are folded below it unless some are asked for."""
MAX_REPLICAS: Final = 25
"""Containers of one workload in the table unless some are asked for; of those without problems :data:`MAX_FULL`."""
ABSENT: Final = "–"
UNKNOWN: Final = "unknown"
_ISOLATION: Final = {"exclusive": "exclusive", "shared": "shared", "eligible": "shared, could be exclusive"}
_UNLIMITED: Final = {"none": "no limit", "unsupported": "limits are off"}
_CGROUPS: Final = {
    "mapped": "Containers with a known name",
    "unmapped": "Containers without a known name",
    "pending": "Containers waiting for their name",
    "sandbox": "Pod sandboxes, not shown",
    "empty": "Cgroups without a name and without a task, not shown",
    "missing": "Running containers without a cgroup of their own (Kata, gVisor): see their pods",
    "lingering": "Cgroups that are gone, last counters kept",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRow:
    """One container in the table."""

    name: CgroupName
    severity: str
    """Empty without findings."""
    finding: str
    throttled: str
    beside: str
    """What the throttled ratio alone would hide."""
    chart: Chart | None
    history: Chart | None
    lost: str
    use: str
    limit: str
    waiting: str
    cpus: str
    isolation: str
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Containers of the same owner, worst first."""

    namespace: str
    name: str
    kind: str
    size: str
    """``36 containers in 12 pods``."""
    severity: str
    finding: str
    throttled: str
    """Of the worst container, as ``waiting`` and ``history``."""
    history: Chart | None
    lost: str
    """Of all containers, as ``use``."""
    use: str
    waiting: str
    rows: Sequence[ContainerRow]
    more: int
    """Containers that are not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterView:
    """The exporter's own state."""

    version: str
    window: str
    facts: Sequence[tuple[str, str]]
    sources: Sequence[tuple[str, str, str, str]]
    """Name, state, last answer, last error."""
    errors: Sequence[tuple[str, str, int]]
    notices: Sequence[str]
    """What makes the rest of the page less than it seems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePage:
    """The whole page."""

    node: str
    taken_at: datetime
    headline: str
    severity: str
    """The worst there is, the headline's colour; ``ok`` without problems, empty where that is unknown."""
    worst: FindingView | None
    workloads: Sequence[Workload]
    folded: Sequence[Workload]
    folded_problems: int
    shown: int
    """Containers that the request asks for."""
    total: int
    problems: Sequence[FindingGroup]
    notes: Sequence[FindingGroup]
    """Findings that only explain."""
    machine: str
    cpus: CpuMap
    exporter: ExporterView


def node_page(report: Report, request: PageRequest) -> NodePage:
    """Return the page of a moment."""
    document, node = report.containers(), report.node()["node"]
    containers, exporter = document["containers"], document["exporter"]
    shown = [one for one in containers if _is_asked_for(one, request)]
    workloads = _workloads(shown, request, report, exporter["window_seconds"])
    split = len(workloads) if request.filtered or request.all else MAX_WORKLOADS
    groups = finding_groups(containers, document["node_findings"])
    affected = [one for one in containers if has_problem(one)]
    found = [*(one for container in affected for one in problems(container["findings"]))]
    found = found or problems(document["node_findings"])
    severities = [group.severity for group in groups if group.severity != "info"]
    certain = bool(containers) and exporter["healthy"]
    return NodePage(
        node=node["name"],
        taken_at=moment(document["taken_at"]),
        headline=headline(document),
        severity=min(severities, key=rank) if severities else "ok" if certain else "",
        worst=finding_view(found[0]) if found else None,
        workloads=workloads[:split],
        folded=workloads[split:],
        folded_problems=sum(one.severity in {"critical", "warning"} for one in workloads[split:]),
        shown=len(shown),
        total=len(containers),
        problems=[group for group in groups if group.severity != "info"],
        notes=[group for group in groups if group.severity == "info"],
        machine=f"Kernel {node['kernel_release'] or UNKNOWN}, cgroup {node['hierarchy']}, {node['driver'] or UNKNOWN}",
        cpus=cpu_map(node, containers),
        exporter=exporter_view(exporter, document["taken_at"]),
    )


def name_of(one: Container) -> CgroupName:
    """Return under what a container is shown."""
    return CgroupName(one["namespace"], one["pod"], one["container"])


def moment(epoch: float) -> datetime:
    """Return seconds since the epoch as a time in UTC."""
    return datetime.fromtimestamp(epoch, UTC)


def cpus(cores: float | None) -> str:
    """Return ``0.25 CPUs``, or a dash."""
    return ABSENT if cores is None else text.cpus(cores)


def exporter_view(exporter: Exporter, taken_at: float) -> ExporterView:
    """Return the exporter's state at the moment at which the page was made."""
    is_served = any(source["active"] and source["up"] for source in exporter["sources"])
    pace = "on time" if exporter["healthy"] else "late"
    facts = [
        ("Last sample", "none yet" if exporter["age_seconds"] is None else f"{age(exporter)} old, {pace}"),
        ("Samples", f"{exporter['samples']}, every {duration(exporter['interval_seconds'])}"),
        ("Window", duration(exporter["window_seconds"])),
        *(
            (_CGROUPS.get(state, state), str(number))
            for state, number in exporter["cgroups"].items()
            if number or state == "mapped"
        ),
    ]
    return ExporterView(
        version=exporter["version"],
        window=duration(exporter["window_seconds"]),
        facts=facts,
        sources=[_source(source, taken_at, is_served=is_served) for source in exporter["sources"]],
        errors=[(one["stage"], one["reason"].replace("_", " "), one["count"]) for one in exporter["errors"]],
        notices=list(_notices(exporter)),
    )


def _is_asked_for(one: Container, request: PageRequest) -> bool:
    if request.namespace and one["namespace"] != request.namespace:
        return False
    searched = "/".join((*name_of(one), one["workload_kind"] or "", one["workload"] or ""))
    return request.text.lower() in searched.lower()


def _workloads(
    containers: Iterable[Container], request: PageRequest, report: Report, window_seconds: float
) -> list[Workload]:
    groups: dict[tuple[str, str, str], list[Container]] = {}
    for one in containers:
        kind, name = one["workload_kind"] or "Pod", one["workload"] or one["pod"]
        groups.setdefault((one["namespace"], kind, name), []).append(one)
    ordered = sorted(groups.items(), key=lambda item: _sort_key(request.sort, item[1]))
    made = []
    for (namespace, kind, name), group in ordered:
        group.sort(key=lambda one: _sort_key(request.sort, [one]))
        shown = group if request.filtered or request.all else list(_replicas(group))
        rows = [_row(one, report, window_seconds) for one in shown]
        made.append(_workload(namespace, kind, name, group=group, rows=rows, report=report))
    return made


def _replicas(group: Sequence[Container]) -> Iterator[Container]:
    """Those with problems and a few others, in order."""
    affected = [one for one in group if has_problem(one)][:MAX_REPLICAS]
    others = [one for one in group if not has_problem(one)][:MAX_FULL]
    chosen = {id(one) for one in (*affected, *others)}
    return (one for one in group if id(one) in chosen)


def _sort_key(sort: str, group: Sequence[Container]) -> tuple[Any, ...]:
    """Highest first, unknown last; then by impact."""
    by: dict[str, Callable[[], float]] = {
        "throttled": lambda: _highest(group, lambda one: throttled_ratio(one)[0]),
        "lost": lambda: _sum(group, lost_seconds_per_second) or 0.0,
        "use": lambda: _sum(group, lambda one: one["usage_cores"]) or 0.0,
        "waiting": lambda: _highest(group, _waiting_value),
    }
    if sort == "name":
        return (group[0]["namespace"], group[0]["workload"] or group[0]["pod"], *name_of(group[0]))
    worst = min(map(impact, group))
    return (-by[sort](), worst) if sort in by else (not any(map(has_problem, group)), worst)


def _workload(
    namespace: str, kind: str, name: str, *, group: Sequence[Container], rows: Sequence[ContainerRow], report: Report
) -> Workload:
    worst, affected = min(group, key=impact), sum(map(has_problem, group))
    pods, (ratio, is_pods) = len({one["pod_uid"] for one in group}), max(map(throttled_ratio, group), key=_ratio_first)
    size = text.count(pods, "pod") + (f", {text.count(len(group), 'container')}" if len(group) > pods else "")
    return Workload(
        namespace=namespace,
        name=name,
        kind=kind,
        size=size if len(group) > 1 else "",
        severity=worst["severity"] or "",
        finding=_finding(worst) + (f", {affected} of {len(group)}" if affected > 1 else ""),
        throttled=ABSENT if ratio is None else text.percent(ratio) + (" of its pod" if is_pods else ""),
        history=_history(worst, report),
        lost=_rate(_sum(group, lost_seconds_per_second)),
        use=cpus(_sum(group, lambda one: one["usage_cores"])),
        waiting=_waiting(worst),
        rows=rows,
        more=len(group) - len(rows),
    )


def _ratio_first(found: tuple[float | None, bool]) -> float:
    return -1.0 if found[0] is None else found[0]


def _finding(one: Container) -> str:
    found = one["findings"]
    return (title(found[0]) if found else "") + (f", {len(found) - 1} more" if found[1:] else "")


def _history(one: Container, report: Report) -> Chart | None:
    return history_chart(report.history.ratios(name_of(one), minutes=HISTORY_SLOT_MINUTES))


def _row(one: Container, report: Report, window_seconds: float) -> ContainerRow:
    cpuset = one["cpuset"]
    ratio, peak = one["throttling"]["ratio"], one["throttling"]["peak"]
    pod = None if one["pod_cgroup"] is None else one["pod_cgroup"]["ratio"]
    beside = ""
    if pod is not None and pod > (ratio or 0.0):
        beside = f"its pod {text.percent(pod)}"
    elif peak is not None and ratio is not None and peak > ratio:
        beside = f"peak {text.percent(peak)}"
    limit = one["limit_cores"]
    return ContainerRow(
        name=name_of(one),
        severity=one["severity"] or "",
        finding=_finding(one),
        throttled=ABSENT if ratio is None else text.percent(ratio),
        beside=beside,
        chart=row_chart(one["series"], window_seconds),
        history=_history(one, report),
        lost=_rate(lost_seconds_per_second(one)),
        use=cpus(one["usage_cores"]),
        limit=_UNLIMITED.get(one["quota_state"] or "", "limit unknown") if limit is None else f"of {text.limit(limit)}",
        waiting=_waiting(one),
        cpus=ABSENT if cpuset is None else cpu_ranges(cpuset["cpus"]) or "none",
        isolation="" if one["isolation"] is None else _ISOLATION.get(one["isolation"], one["isolation"]),
        live=one["live"],
    )


def _waiting(one: Container) -> str:
    share = one["pressure"]["waiting_share"]
    return _rate(one["pressure"]["runqueue_seconds_per_second"]) if share is None else text.percent(share)


def _waiting_value(one: Container) -> float | None:
    share = one["pressure"]["waiting_share"]
    return one["pressure"]["runqueue_seconds_per_second"] if share is None else share


def _rate(seconds: float | None) -> str:
    return ABSENT if seconds is None else f"{text.amount(seconds)} s/s"


def _sum(group: Iterable[Container], value: Callable[[Container], float | None]) -> float | None:
    known = [found for one in group if (found := value(one)) is not None]
    return sum(known) if known else None


def _highest(group: Iterable[Container], value: Callable[[Container], float | None]) -> float:
    return max((found for one in group if (found := value(one)) is not None), default=-1.0)


def _source(source: Source, taken_at: float, *, is_served: bool) -> tuple[str, str, str, str]:
    up, last = source["up"], source["last_success"]
    if up is None:
        state = "not asked yet"
    elif not up and is_served:
        state = "fails, another serves"
    elif not up:
        state = "fails, its last answer is in use" if source["active"] else "fails"
    else:
        state = "in use" if source["active"] else "answers"
    answered = ABSENT if last is None else f"{duration(max(0.0, taken_at - last))} before this page"
    return source["name"], state, answered, source["last_error"] or "none"


def _notices(exporter: Exporter) -> Iterator[str]:
    sources = exporter["sources"]
    if exporter["age_seconds"] is None:
        yield "The exporter has just started; its first sample is on its way. Ask again in a few seconds."
    elif not exporter["healthy"]:
        yield f"Samples are late: these numbers are {age(exporter)} old. The node may be overloaded."
    if sources and not any(source["up"] for source in sources):
        tried = [f"{source['name']}: {source['last_error']}" for source in sources if source["last_error"]]
        why = f" ({'; '.join(tried)})" if tried else ""
        yield f"No pod source answers, so names may be missing or old{why}."
    unmapped = exporter["cgroups"].get("unmapped", 0)
    if unmapped:
        shown = f"{text.count(unmapped, 'container')} {'is' if unmapped == 1 else 'are'}"
        why = "" if sources else " (no pod source is set: --pods.sources)"
        yield f"{shown} shown by pod uid and container id: no source knows the name{why}."
