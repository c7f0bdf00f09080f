"""Pages from documents: what the templates show, in which order, and how. The only module that imports Jinja2."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache, cached_property
from http import HTTPStatus
from itertools import groupby
from typing import Any, Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from typing_extensions import override

from exporter.analysis import text
from exporter.analysis.findings import Finding
from exporter.cpulist import cpu_list, format_cpu_list
from exporter.errors import escape_control
from exporter.model import CgroupName
from exporter.report import summary
from exporter.report.documents import DOCS, Report
from exporter.report.schema import Container, ContainerDocument, Cpu, Pressure
from exporter.web.status import SORTS, Links, PageRequest, style
from exporter.web.status.charts import PAGE_SLOTS, ROW_SLOTS, Chart, history_chart, since, window_chart

_SETTING = re.compile(r"(?<![\w&#:-])-?[A-Za-z][\w:.]*=\d+")
MAX_WORKLOADS: Final = 40  # in the table; the others are folded below it unless some are asked for
MAX_REPLICAS: Final = 25  # of one workload, with problems, in the table likewise; of the others MAX_FULL
MAX_FULL, MAX_NAMED = 5, 50  # containers of one finding with their own summary; further ones that are named
MAX_CPUS: Final = 1024  # that are drawn: the largest machines sold have fewer, sysfs allows more
MAX_NEIGHBOURS: Final = 20


def render(report: Report, request: PageRequest, links: Links) -> tuple[bytes, HTTPStatus]:
    """Return the page of a moment; another page with 404 for a container that is not on the node."""
    view: object = {"exporter": report.exporter}
    template, status = "missing.html", HTTPStatus.NOT_FOUND
    if request.name is None:
        template, status, view = "node.html", HTTPStatus.OK, NodePage(report, request)
    elif (document := report.container(request.name)) is not None:
        template, status, view = "container.html", HTTPStatus.OK, ContainerPage(report, document)
    page = _environment().get_template(template)
    return page.render(view=view, request=request, links=links).encode(), status


class Workload(NamedTuple):
    """Containers of the same owner."""

    namespace: str
    kind: str
    name: str
    worst: Container
    containers: Sequence[Container]  # in the order of the page
    shown: Sequence[Container]

    @property
    def throttled_ratio(self) -> tuple[float | None, bool]:
        """The highest of its containers, and whether it is that of a pod."""
        found = map(summary.throttled_ratio, self.containers)
        return max(found, key=lambda ratio: -1.0 if ratio[0] is None else ratio[0])


class NodePage:
    """One moment of the node, as a request asks for it."""

    def __init__(self, report: Report, request: PageRequest) -> None:
        self.report, self.document, self.node = report, report.containers(with_series=False), report.node()["node"]
        self.exporter, self.containers = report.exporter, self.document["containers"]
        self.headline = summary.headline(self.document)
        self.shown = [one for one in self.containers if _is_asked_for(one, request)]
        workloads = _workloads(self.shown, request)
        split = len(workloads) if request.filtered or request.all else MAX_WORKLOADS
        self.workloads, self.folded = workloads[:split], workloads[split:]
        groups = finding_groups([*self.document["node_findings"], *_findings(self.containers)])
        self.problems = [group for group in groups if group[0]["severity"] != "info"]
        self.notes = [group for group in groups if group[0]["severity"] == "info"]

    @property
    def worst(self) -> Finding | None:
        """The problem that the headline ends with."""
        affected = _findings(filter(summary.has_problem, self.containers))
        return next(iter(summary.problems(affected) or summary.problems(self.document["node_findings"])), None)

    def window_chart(self, one: Container) -> Chart | None:
        """Return the chart of a row's window."""
        return window_chart(self.report.series(one), self.exporter["window_seconds"], slots=ROW_SLOTS)

    def history_chart(self, one: Container) -> Chart | None:
        """Return the chart of a row's last six hours."""
        name = CgroupName(one["namespace"], one["pod"], one["container"])
        return history_chart(self.report.history.highest("ratio", name, minutes=5))

    @cached_property
    def numa_nodes(self) -> list[tuple[int, list[Cpu]]]:
        """Numbers and CPUs of the NUMA nodes; -1 for an unknown one."""
        by_numa = sorted(self.node["cpus"][:MAX_CPUS], key=_numa_node)
        return [(number, list(cpus)) for number, cpus in groupby(by_numa, key=_numa_node)]

    @cached_property
    def owners(self) -> dict[str, list[Cpu]]:
        """The exclusive CPUs of each owner, by its full name."""
        owners: dict[str, list[Cpu]] = {}
        for cpu in self.node["cpus"]:
            if cpu["owner"] is not None:
                owners.setdefault(summary.full_name(cpu["owner"]), []).append(cpu)
        return owners

    @cached_property
    def letters(self) -> dict[str, str]:
        """A letter for each owner: A to Z, then A2 to Z2, and so on."""
        return {name: chr(ord("A") + at % 26) + str(at // 26 + 1) * (at >= 26) for at, name in enumerate(self.owners)}


class ContainerPage:
    """One moment of a container."""

    def __init__(self, report: Report, document: ContainerDocument) -> None:
        self.document, self.exporter = document, document["exporter"]
        self.container = one = document["container"]
        name = CgroupName(one["namespace"], one["pod"], one["container"])
        ratios = report.history.highest("ratio", name)
        self.since = since(ratios)
        self.history = history_chart(ratios, report.history.highest("time_share", name))
        seconds = self.exporter["window_seconds"]
        self.chart = window_chart(one["series"], seconds, slots=PAGE_SLOTS, with_use=True)
        every = report.containers(with_series=False)["containers"]
        others = [other for other in every if other["live"] and other["container_id"] != one["container_id"]]
        self.siblings = _heaviest(other for other in others if other["pod_uid"] == one["pod_uid"])
        self.neighbours = _heaviest(other for other in others if self.common_cpus(other))

    def common_cpus(self, other: Container) -> frozenset[int]:
        """Return the CPUs on which both may run."""
        own, others = self.container["cpuset"], other["cpuset"]
        if own is None or others is None or not self.container["live"]:
            return frozenset()
        return cpu_list(own["cpus"], "") & cpu_list(others["cpus"], "")


def _heaviest(containers: Iterable[Container]) -> list[Container]:
    return sorted(containers, key=lambda one: -(one["usage_cores"] or 0.0))


def finding_groups(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return findings by name, explanations apart, the worst severity first; the order is kept within a severity."""
    groups: dict[tuple[bool, str], list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: finding["severity"] != "critical"):
        groups.setdefault((finding["severity"] == "info", finding["name"]), []).append(finding)
    return sorted(groups.values(), key=lambda group: summary.rank(group[0]["severity"]))


def _findings(containers: Iterable[Container]) -> list[Finding]:
    return [finding for one in containers for finding in one["findings"]]


def _is_asked_for(one: Container, request: PageRequest) -> bool:
    parts = (one["namespace"], one["pod"], one["container"], one["workload_kind"] or "", one["workload"] or "")
    return request.namespace in {"", one["namespace"]} and request.text.lower() in "/".join(parts).lower()


def _workloads(containers: Iterable[Container], request: PageRequest) -> list[Workload]:
    """Return the workloads of ``containers``, which come worst first: sorting keeps that order among equals."""
    groups: dict[tuple[str, str, str], list[Container]] = {}
    for one in containers:
        kind, name = one["workload_kind"] or "Pod", one["workload"] or one["pod"]
        groups.setdefault((one["namespace"], kind, name), []).append(one)
    key = _SORT_KEYS[request.sort]
    workloads = []
    for owner, group in sorted(groups.items(), key=lambda item: key(item[1])):
        ordered = sorted(group, key=lambda one: key([one]))
        shown = ordered if request.filtered or request.all else _replicas(ordered)
        workloads.append(Workload(*owner, group[0], ordered, shown))
    return workloads


def _replicas(group: Sequence[Container]) -> list[Container]:
    left, shown = {True: MAX_REPLICAS, False: MAX_FULL}, []
    for one in group:
        affected = summary.has_problem(one)
        left[affected] -= 1
        if left[affected] >= 0:
            shown.append(one)
    return shown


def _waiting(one: Container) -> float | None:
    share = one["pressure"]["waiting_share"]
    return one["pressure"]["runqueue_seconds_per_second"] if share is None else share


def total(values: Iterable[float | None]) -> float | None:
    """Return the sum of the known ``values``, ``None`` without any."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _highest_first(values: Iterable[float | None]) -> float:
    return -max((value for value in values if value is not None), default=-1.0)


_SORT_KEYS: Final[dict[str, Callable[[Sequence[Container]], Any]]] = {
    "impact": lambda group: not any(map(summary.has_problem, group)),
    "throttled": lambda group: _highest_first(summary.throttled_ratio(one)[0] for one in group),
    "lost": lambda group: -(total(map(summary.lost_seconds_per_second, group)) or 0.0),
    "use": lambda group: -(total(one["usage_cores"] for one in group) or 0.0),
    "waiting": lambda group: _highest_first(map(_waiting, group)),
    "name": lambda group: (group[0]["namespace"], group[0]["workload"] or group[0]["pod"], summary.full_name(group[0])),
}


def _numa_node(cpu: Cpu) -> int:
    return -1 if cpu["numa_node"] is None else cpu["numa_node"]


def printable(value: object) -> object:
    """Return what a template's expression prints: control characters and bidirectional overrides as their escapes."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else escape_control(value)


def with_settings(advice: str) -> Markup:
    """Return advice in which a setting such as ``-XX:ActiveProcessorCount=2`` stands out and stays on one line."""
    return Markup(_SETTING.sub(r"<code>\g<0></code>", str(escape(printable(advice)))))  # noqa: S704 - escaped just before


def _or_dash(words: Callable[[float], str]) -> Callable[[float | None], str]:
    return lambda value: "–" if value is None else words(value)


_per_second = _or_dash(lambda seconds: f"{text.amount(seconds)} s/s")


class _Environment(Environment):
    @override
    def getattr(self, obj: Any, attribute: str) -> Any:
        """``one.pod`` of a document, without Jinja2's detour over an ``AttributeError``."""
        return obj[attribute] if type(obj) is dict and attribute in obj else super().getattr(obj, attribute)


def _waiting_text(pressure: Pressure) -> str:
    share = pressure["waiting_share"]
    return _per_second(pressure["runqueue_seconds_per_second"]) if share is None else text.percent(share)


def _first_of(findings: Sequence[Finding]) -> str:
    return summary.title(findings[0]) + (f", {len(findings) - 1} more" if findings[1:] else "")


@cache
def _environment() -> Environment:
    environment = _Environment(
        loader=PackageLoader("exporter.web.status", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _or_dash(text.percent),
        "cpus": _or_dash(text.cpus),
        "limit": _or_dash(text.limit),
        "per_second": _per_second,
        "time": lambda epoch: datetime.fromtimestamp(epoch, UTC),
        "cpu_list": format_cpu_list,
        "counted": text.count,
        "first_of": _first_of,
        "heading": summary.title,
        "lost": summary.lost_seconds_per_second,
        "quoted": shlex.quote,
        "total": total,
        "waiting": _waiting_text,
        "with_settings": with_settings,
    }
    for function in (
        *(summary.cpu_ranges, summary.description, summary.duration, summary.evidence, summary.facts),
        *(summary.full_name, summary.has_problem, summary.lowered, summary.problems),
        *(summary.verdict, summary.verdict_severity),
    ):
        environment.filters[function.__name__] = function
    environment.globals |= {"docs": DOCS, "sorts": SORTS, "max_cpus": MAX_CPUS, "max_neighbours": MAX_NEIGHBOURS}
    environment.globals |= {"max_full": MAX_FULL, "max_named": MAX_NAMED}
    environment.globals["style"] = Markup(style())  # noqa: S704 - our own file
    return environment
