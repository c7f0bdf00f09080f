"""Types of the metric catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Generic, Literal, TypeVar

from exporter.model import CgroupRow

Kind = Literal["counter", "gauge", "info", "histogram"]
Stability = Literal["experimental", "stable", "deprecated"]
Collector = Literal[
    "throttle", "burst", "usage", "usage_modes", "limits", "pressure", "cpuset", "spec", "recommend", "info",
    "distribution",
]  # fmt: skip
Row = TypeVar("Row")
RowType = Literal["container", "pod", "node", "cpu", "pool", "cadvisor"]
Labels = tuple[str, ...]

CONTAINER: tuple[RowType, ...] = ("container",)
POD: tuple[RowType, ...] = ("pod",)
BOTH = CONTAINER + POD
NODE: tuple[RowType, ...] = ("node",)
LABELS: dict[RowType, Labels] = {
    "container": ("namespace", "pod", "container"),
    "pod": ("namespace", "pod"),
    "node": (),
    "cpu": ("cpu", "numa_node", "namespace", "pod", "container"),
    "pool": ("state",),
    "cadvisor": ("container", "id", "image", "name", "namespace", "pod"),
}
"""Labels by row type. They belong to the row and not to the metric, so metrics that are divided always match."""


@dataclass(frozen=True)
class Metric(Generic[Row]):
    """One metric; with two ``row_types`` the same metric for containers and for pods."""

    name: str  # without the row type's prefix, with unit and _total or _info
    row_types: tuple[RowType, ...]
    collector: Collector | None  # group switched by --collector.NAME; None is always served
    source: str  # file or interface that the value is read from
    help: str  # one sentence, ending in a full stop
    value: Callable[[Row], float | int | None] = lambda _row: 1.0
    """The sample's value, for a histogram its count; ``None`` gives no sample."""
    _: KW_ONLY
    labels: Mapping[str, Callable[[Row], str | None]] = field(default_factory=dict)
    """Labels beyond the row type's own, and their values; ``None`` for one gives no sample."""
    is_histogram: bool = False  # its buckets are the row's distribution
    is_identity: bool = False  # names what the counters belong to, and so lingers as long as they do
    since: str = "0.1.0"
    stability: Stability = "experimental"
    rationale: str = ""  # derived gauges only: why PromQL over the exporter's own counters cannot compute it

    @property
    def kind(self) -> Kind:
        """The metric's type, which its name spells."""
        if self.is_histogram:
            return "histogram"
        if self.name.endswith("_total"):
            return "counter"
        return "info" if self.name.endswith("info") else "gauge"

    @property
    def lingers(self) -> bool:
        """Whether a removed cgroup keeps its samples for a while, to be scraped once more."""
        return self.is_identity or self.kind in {"counter", "histogram"}


CgroupMetric = Metric[CgroupRow]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family of the page: a metric applied to one row type."""

    name: str
    row_type: RowType
    metric: Metric[Any]
    cacheable: bool  # its samples depend on limits, cpusets, pod specs and names only, which change rarely

    @property
    def labels(self) -> Labels:
        """The row type's labels and the metric's own."""
        return (*LABELS[self.row_type], *self.metric.labels)
