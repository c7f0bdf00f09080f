"""The page as prometheus_client would write it, sample by sample, from the catalogue and the snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from typing_extensions import override

from exporter.metrics.catalog import FAMILIES
from exporter.metrics.exposition import LABEL_VALUES, Format, rows_of
from exporter.metrics.metric import LABELS, Family
from exporter.model import RATIO_BUCKETS, Snapshot

_openmetrics: Callable[[CollectorRegistry], bytes] = generate_openmetrics
_go_float: Callable[[float], str] = floatToGoString


class Reference(Collector):
    """A collector of everything a snapshot holds for some groups of metrics."""

    def __init__(self, snapshot: Snapshot, collectors: frozenset[str]) -> None:
        self._snapshot, self._collectors = snapshot, collectors

    @override
    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            if family.metric.collector is None or family.metric.collector in self._collectors:
                found = _family(family, self._snapshot)
                if found.samples:
                    yield found


def page(snapshot: Snapshot, collectors: Iterable[str], style: Format) -> bytes:
    """What :class:`exporter.metrics.exposition.Renderer` must write."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Reference(snapshot, frozenset(collectors)))
    if style == "openmetrics":
        return _openmetrics(registry).removesuffix(b"# EOF\n")
    return generate_latest(registry)


def _family(family: Family, snapshot: Snapshot) -> Metric:
    metric = family.metric
    own, more = LABELS[family.row_type], tuple(metric.labels)
    makes: dict[str, Callable[[], Any]] = {
        "counter": lambda: CounterMetricFamily(family.name, metric.help, labels=[*own, *more]),
        "gauge": lambda: GaugeMetricFamily(family.name, metric.help, labels=[*own, *more]),
        "info": lambda: InfoMetricFamily(family.name.removesuffix("_info"), metric.help, labels=own),
        "histogram": lambda: HistogramMetricFamily(family.name, metric.help, labels=own),
    }
    found = makes[metric.kind]()
    for row in rows_of(snapshot)[family.row_type]:
        values = LABEL_VALUES[family.row_type](row)
        lingers = metric.is_identity or metric.kind in {"counter", "histogram"}
        value = metric.value(row) if lingers or getattr(row, "live", True) else None
        extra = [label(row) for label in metric.labels.values()]
        if value is None or None in extra:
            continue
        if metric.kind == "info":
            found.add_metric(values, dict(zip(more, extra, strict=True)))
        elif metric.is_histogram:
            counts, total = row.distribution
            bounds = [_go_float(bound) for bound in RATIO_BUCKETS]
            found.add_metric(values, [*zip(bounds, counts, strict=True), ("+Inf", counts[-1])], total)
        else:
            found.add_metric([*values, *extra], value)
    return found  # type: ignore[no-any-return] # one of four classes, each a Metric
