"""Series as the exporter's pages give them over some hours, put through the shipped rules by promtool."""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.conftest import needs
from tests.rules.intervals import groups, in_time

STEP_SECONDS = 60
STEPS = 60
OFF = " ".join(["Inf"] * (STEPS + 1))
"""The threshold of a muted pod; promtool has no short form for it."""

Labels = Mapping[str, str]
Values = str | float


@dataclass(frozen=True)
class Series:
    """One series in promtool's notation."""

    name: str
    labels: Labels
    values: str

    @property
    def selector(self) -> str:
        pairs = ",".join(f"{name}={json.dumps(value)}" for name, value in self.labels.items())
        return f"{self.name}{{{pairs}}}"


def counter(per_second: Values) -> str:
    """A counter that grows evenly; text is taken as promtool's own notation."""
    return per_second if isinstance(per_second, str) else f"0+{per_second * STEP_SECONDS:.10g}x{STEPS}"


def gauge(value: Values) -> str:
    return value if isinstance(value, str) else f"{value:.10g}x{STEPS}"


@dataclass(frozen=True)
class Target:
    """One exporter as Prometheus names it."""

    cluster: str | None = "east"
    node: str = "node-1"
    instance: str = "10.0.0.1:9843"
    job: str = "kube-throttle-exporter"

    @property
    def labels(self) -> Labels:
        cluster = {} if self.cluster is None else {"cluster": self.cluster}
        return {**cluster, "node": self.node, "instance": self.instance, "job": self.job}


NODE_1 = Target()

COUNTERS = {
    "periods": "cpu_periods_total",
    "throttled": "cpu_throttled_periods_total",
    "lost": "cpu_throttled_seconds_total",
    "local_lost": "cpu_throttled_local_seconds_total",
    "usage": "cpu_usage_seconds_total",
    "stalled": "cpu_pressure_stalled_seconds_total",
}
GAUGES = {
    "limit": "cpu_limit_cores",
    "request": "spec_cpu_request_cores",
    "spec_limit": "spec_cpu_limit_cores",
    "drift": "cpu_limit_drift",
    "ratio": "cpu_throttled_ratio",
    "exclusive": "cpuset_exclusive",
    "cpus": "cpuset_cpus",
}


@dataclass(frozen=True)
class Container:
    """What one container does, per second; ``None`` is a metric that the page lacks."""

    target: Target = NODE_1
    namespace: str = "shop"
    pod: str = "web-5d8f-abcde"
    container: str = "app"
    kind: str = "Deployment"
    workload: str | None = "web"
    qos: str = "Burstable"
    periods: Values | None = None
    throttled: Values | None = None
    lost: Values | None = None
    local_lost: Values | None = None
    usage: Values | None = 0.4
    stalled: Values | None = None
    limit: Values | None = None
    request: Values | None = None
    spec_limit: Values | None = None
    drift: Values | None = None
    ratio: Values | None = None
    exclusive: Values | None = None
    cpus: Values | None = None
    isolation: str | None = None
    quota_state: str | None = "set"

    def but(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def series(self) -> Iterable[Series]:
        labels = {
            **self.target.labels,
            "namespace": self.namespace,
            "pod": self.pod,
            "container": self.container,
        }
        for attribute, name in COUNTERS.items():
            if (rate := getattr(self, attribute)) is not None:
                yield Series(f"cgroup_container_{name}", labels, counter(rate))
        for attribute, name in GAUGES.items():
            if (value := _ratio(self) if attribute == "ratio" else getattr(self, attribute)) is not None:
                yield Series(f"cgroup_container_{name}", labels, gauge(value))
        if self.quota_state is not None:
            yield Series("cgroup_container_cpu_quota_state", {**labels, "state": self.quota_state}, gauge(1))
        if self.isolation is not None:
            yield Series("cgroup_container_cpu_isolation", {**labels, "state": self.isolation}, gauge(1))
        if self.workload is not None:
            info = {
                "pod_uid": f"uid-of-{self.pod}",
                "qos_class": self.qos,
                "workload_kind": self.kind,
                "workload": self.workload,
            }
            del labels["container"]
            yield Series("cgroup_pod_info", {**labels, **info}, gauge(1))


@dataclass(frozen=True)
class Pod:
    """What a pod's own cgroup counts, and its annotation."""

    target: Target = NODE_1
    namespace: str = "shop"
    pod: str = "web-5d8f-abcde"
    periods: Values | None = None
    throttled: Values | None = None
    lost: Values | None = None
    usage: Values | None = None
    limit: Values | None = None
    threshold: Values | None = None
    ratio: Values | None = None

    def but(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def series(self) -> Iterable[Series]:
        labels = {**self.target.labels, "namespace": self.namespace, "pod": self.pod}
        for attribute, name in (
            ("periods", "periods"),
            ("throttled", "throttled_periods"),
            ("lost", "throttled_seconds"),
        ):
            if (rate := getattr(self, attribute)) is not None:
                yield Series(f"cgroup_pod_cpu_{name}_total", labels, counter(rate))
        if self.usage is not None:
            yield Series("cgroup_pod_cpu_usage_seconds_total", labels, counter(self.usage))
        if (ratio := _ratio(self)) is not None:
            yield Series("cgroup_pod_cpu_throttled_ratio", labels, gauge(ratio))
        if self.limit is not None:
            yield Series("cgroup_pod_cpu_limit_cores", labels, gauge(self.limit))
        if self.threshold is not None:
            yield Series("cgroup_pod_alert_threshold_ratio", labels, gauge(self.threshold))


def _ratio(one: Container | Pod) -> Values | None:
    """The exporter's own ratio: as given, or what the counters make of it."""
    if one.ratio is None and isinstance(one.periods, int | float) and isinstance(one.throttled, int | float):
        return one.throttled / one.periods if one.periods else 0.0
    return one.ratio


@dataclass(frozen=True)
class Raw:
    """Any other series of a target."""

    name: str
    values: Values
    labels: Labels = field(default_factory=dict)
    target: Target = NODE_1

    def series(self) -> Iterable[Series]:
        yield Series(self.name, {**self.target.labels, **self.labels}, gauge(self.values))


Source = Container | Pod | Raw

ALIVE = Raw("throttle_exporter_build_info", 1)
"""Every Prometheus with these rules scrapes an exporter."""
EXPORTER_POD = Raw("throttle_exporter_build_info", 1, {"namespace": "monitoring", "pod": "throttle-x7k2p"})
"""The exporter's own series keep the labels of its own pod."""
RUNBOOKS = "https://github.com/kube-throttle-exporter/kube-throttle-exporter/blob/main/docs/runbooks"


def firing(*alerts: Labels) -> list[Mapping[str, Any]]:
    """ALERTS samples for each of ``alerts``."""
    return [
        {"labels": Series("ALERTS", {"alertstate": "firing", **alert}, "").selector, "value": 1} for alert in alerts
    ]


def query(expression: str, minute: int, samples: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    return {"expr": expression, "eval_time": f"{minute}m", "exp_samples": list(samples)}


def text(alert: Labels, minute: int = 30, **annotations: str) -> Mapping[str, Any]:
    """The one firing alert of this name, with its whole text."""
    labels = {name: value for name, value in alert.items() if name != "alertname"}
    return {
        "eval_time": f"{minute}m",
        "alertname": alert["alertname"],
        "exp_alerts": [{"exp_labels": labels, "exp_annotations": annotations}],
    }


class Order(NamedTuple):
    """When Prometheus evaluates what."""

    last_group_first: bool = False
    """Each group reads what the groups before it recorded an evaluation ago."""
    phase: int = 0
    """The minute of groups with an interval of more than one."""


IN_ORDER = Order()


def promtool(
    workspace: Path,
    series: Mapping[str, str],
    scrape_seconds: int,
    *,
    queries: Iterable[Mapping[str, Any]] = (),
    alerts: Iterable[Mapping[str, Any]] = (),
    order: Order = IN_ORDER,
    external_labels: Labels | None = None,
) -> tuple[bool, str]:
    """Whether a test of the shipped rules on ``series``, values by selector, passes, and what promtool says."""
    names, alerts = [group["name"] for group in groups()], list(alerts)
    rules = workspace / "rules.json"
    rules.write_text(in_time(order.phase, texts=bool(alerts)), encoding="utf-8")
    test = {
        "interval": f"{scrape_seconds}s",
        "input_series": [{"series": selector, "values": values} for selector, values in series.items()],
        "external_labels": external_labels or {},
        "promql_expr_test": list(queries),
        "alert_rule_test": alerts,
    }
    document = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        # Prometheus runs groups side by side; promtool in an order of chance unless told.
        "group_eval_order": names[::-1] if order.last_group_first else names,
        "tests": [test],
    }
    path = workspace / "test.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    command = [needs("promtool"), "test", "rules", str(path)]
    environment = {**os.environ, "GOGC": "800"}  # a quarter of its time otherwise
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return run.returncode == 0, run.stdout + run.stderr


def pods_use(sources: Iterable[Source]) -> Iterable[Source]:
    """What each pod uses: the sum of its containers, or the first one's where that is no number."""
    used: dict[tuple[Target, str, str], list[Values]] = {}
    for one in sources:
        if isinstance(one, Container) and one.usage is not None:
            used.setdefault((one.target, one.namespace, one.pod), []).append(one.usage)
    for (target, namespace, pod), values in used.items():
        numbers = [value for value in values if not isinstance(value, str)]
        yield Pod(target, namespace, pod, usage=sum(numbers) if len(numbers) == len(values) else values[0])


def selected(sources: Iterable[Source]) -> dict[str, str]:
    """Values by selector; two containers of one pod give its names once."""
    return {one.selector: one.values for source in sources for one in source.series()}


def check(
    workspace: Path,
    sources: Iterable[Source],
    *,
    queries: Iterable[Mapping[str, Any]] = (),
    alerts: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Runs one promtool test; its whole output is the failure."""
    made = list(sources)
    series = selected([*made, *pods_use(made)])
    passed, output = promtool(workspace, series, STEP_SECONDS, queries=queries, alerts=alerts)
    assert passed, output
