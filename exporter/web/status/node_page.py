"""The node's page: which workloads, findings and CPUs ``node.html`` shows, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, Final, NamedTuple

from exporter.analysis.findings import Finding
from exporter.model import CgroupName
from exporter.report import summary
from exporter.report.documents import Report
from exporter.report.schema import Container, Cpu
from exporter.web.status import PageRequest
from exporter.web.status.charts import ROW_SLOTS, Chart, history_chart, window_chart

MAX_WORKLOADS: Final = 40
"""In the table; the others are folded below it unless some are asked for."""
MAX_REPLICAS: Final = 25
"""Containers with problems of one workload in the table unless some are asked for; of the others :data:`MAX_FULL`."""
MAX_FULL: Final = 5
"""Containers of one finding with their own summary."""
MAX_NAMED: Final = 50
"""Further ones that are named."""
MAX_CPUS: Final = 1024
"""CPUs that are drawn. The largest machines sold have fewer; sysfs allows more."""


class Workload(NamedTuple):
    """Containers of the same owner."""

    namespace: str
    kind: str
    name: str
    worst: Container
    containers: Sequence[Container]
    """In the order of the page."""
    shown: Sequence[Container]

    @property
    def throttled_ratio(self) -> tuple[float | None, bool]:
        """The highest of its containers, and whether it is that of a pod."""
        return max(
            map(summary.throttled_ratio, self.containers), key=lambda found: -1.0 if found[0] is None else found[0]
        )


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
        return history_chart(self.report.history.ratios(name, minutes=5))

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
        return {
            name: chr(ord("A") + at % 26) + (str(at // 26 + 1) if at >= 26 else "")
            for at, name in enumerate(self.owners)
        }


def finding_groups(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return findings by name, explanations apart, the worst severity first; the order is kept within a severity."""
    groups: dict[tuple[bool, str], list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: finding["severity"] != "critical"):
        groups.setdefault((finding["severity"] == "info", finding["name"]), []).append(finding)
    return sorted(groups.values(), key=lambda group: summary.rank(group[0]["severity"]))


def _findings(containers: Iterable[Container]) -> list[Finding]:
    return [finding for one in containers for finding in one["findings"]]


def _is_asked_for(one: Container, request: PageRequest) -> bool:
    if request.namespace and one["namespace"] != request.namespace:
        return False
    parts = (one["namespace"], one["pod"], one["container"], one["workload_kind"] or "", one["workload"] or "")
    return request.text.lower() in "/".join(parts).lower()


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
    """Those with problems and a few others, in order."""
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
    """A sort key: unknown last."""
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
