"""The row type of the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from exporter.model import CgroupRow, CpuRow, Distribution, NodeRow, PoolRow

Kind = Literal["counter", "gauge", "info", "histogram"]
Stability = Literal["experimental", "stable", "deprecated"]
Collector = Literal[
    "throttle", "burst", "usage", "usage_modes", "limits", "pressure", "cpuset", "spec", "info", "distribution"
]
Row = TypeVar("Row")
RowType = Literal["container", "pod", "node", "cpu", "pool", "cadvisor"]
Labels = tuple[str, ...]

BOTH: tuple[RowType, ...] = ("container", "pod")
LABELS: dict[RowType, Labels] = {
    "container": ("namespace", "pod", "container"),
    "pod": ("namespace", "pod"),
    "node": (),
    "cpu": ("cpu", "numa_node", "namespace", "pod", "container"),
    "pool": ("state",),
    "cadvisor": ("container", "id", "image", "name", "namespace", "pod"),
}
"""Labels of each row type: they belong to the row, not to the metric, so metrics that divide always match."""


@dataclass(frozen=True, kw_only=True)
class Metric(Generic[Row]):
    """One metric, or with ``of`` naming two row types the same metric of containers and of pods."""

    name: str
    """Without the row type's prefix; unit and ``_total`` or ``_info`` included."""
    kind: Kind
    help: str
    """One sentence for the page, ending in a full stop."""
    source: str
    """The file or interface the value is read from."""
    collector: Collector | None
    """The group that ``--collector.NAME`` switches; ``None`` for what is always served."""
    value: Callable[[Row], float | int | None]
    """The sample's value, of a histogram its count; ``None`` gives no sample."""
    of: tuple[RowType, ...] = ("container",)
    label_names: Labels = ()
    """Labels beyond the row type's own."""
    label_values: Callable[[Row], Labels] | None = None
    distribution: Callable[[Row], Distribution | None] | None = None
    """Histograms only."""
    since: str = "0.1.0"
    stability: Stability = "experimental"
    why_here: str = ""
    """Derived gauges only: why PromQL over our own counters cannot compute it."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family of the page: a catalogue row applied to one row type."""

    name: str
    row_type: RowType
    labels: Labels
    metric: Metric[Any]
    settled: bool
    """Its values come from limits, cpusets, specs and names alone, which change rarely."""


CgroupMetric = Metric[CgroupRow]
NodeMetric = Metric[NodeRow]
CpuMetric = Metric[CpuRow]
PoolMetric = Metric[PoolRow]


def always(_: object) -> float:
    """The value of an info metric: its labels are what it says."""
    return 1.0
