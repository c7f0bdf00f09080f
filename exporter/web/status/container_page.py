"""One container's page: the charts and the other containers that ``container.html`` shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from exporter.cpulist import cpu_list
from exporter.model import CgroupName
from exporter.report.documents import Report
from exporter.report.schema import Container, ContainerDocument
from exporter.web.status.charts import PAGE_SLOTS, history_chart, since, window_chart

MAX_NEIGHBOURS: Final = 20


class ContainerPage:
    """One moment of a container."""

    def __init__(self, report: Report, document: ContainerDocument) -> None:
        self.document, self.exporter = document, document["exporter"]
        self.container = one = document["container"]
        name = CgroupName(one["namespace"], one["pod"], one["container"])
        ratios = report.history.ratios(name)
        self.since = since(ratios)
        self.history = history_chart(ratios, report.history.shares(name))
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
