"""Which alerts fire in which minutes, given what pods do second by second and how often they are scraped."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.rules.scenario import IN_ORDER, NODE_1, Labels, Order, Series, Target, promtool, query

WINDOW_SECONDS = 60
LINGER_SECONDS = 60
_GOT = re.compile(r"time: (?:(\d+)h)?(?:(\d+)m)?(?:\d+s)?,\n\s+exp: ?.*?\n\s+got: ?(.*?)\n(?:\n|\s*expr)", re.DOTALL)
_LABELS = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*")')
_ALERT = re.compile(r"^ +Labels:\{(.*)\}.*\n +Annotations:\{(.*)\}", re.MULTILINE)
_SAMPLE = re.compile(r"\{([^}]*)\} ([-+\w.]+)")


class Second(NamedTuple):
    """What a container does in one second."""

    used: float = 0.0
    """CPU seconds."""
    lost: float = 0.0
    """CPU seconds stopped by its quota, summed over CPUs."""
    periods: float = 0.0
    throttled: float = 0.0


IDLE = Second()
Life = Callable[[int], Second]
"""What a container does at each second of the test."""


@dataclass(frozen=True)
class Trace:
    """One pod with one container, from ``start`` to ``end`` in seconds."""

    life: Life
    pod: str = "web-1"
    workload: str = "web"
    kind: str = "Deployment"
    namespace: str = "shop"
    container: str = "app"
    target: Target = NODE_1
    start: int = 0
    end: int | None = None
    restarts: tuple[int, ...] = ()
    """Seconds at which the counters begin at 0 again."""
    threshold: float | None = None
    beside: Mapping[str, Life] = field(default_factory=dict)
    """Further containers of the pod."""
    uid: str = ""
    """Of the pod, where it is not made of its name and start."""
    labels: Labels = field(default_factory=dict)
    """Instead of namespace, pod and container."""

    def series(self, minutes: int, scrape: int) -> Iterable[Series]:
        """Samples of each scrape; counters and names linger for a minute after the end, then stale markers."""
        pod = {**self.target.labels, "namespace": self.namespace, "pod": self.pod}
        lives = {self.container: self.life, **self.beside}
        used = [0.0] * (minutes * 60 + 1)
        for container, life in lives.items():
            labels = {**pod, "container": container, **self.labels}
            rows = _counters(life, self.start, self.end, self.restarts, minutes * 60)
            used = [one + row[0] for one, row in zip(used, rows, strict=True)]
            for index, name in enumerate(("usage", "throttled", "periods", "throttled_periods")):
                unit = "seconds" if index < 2 else name
                metric = {"usage": "cpu_usage", "throttled": "cpu_throttled"}.get(name, f"cpu_{name}")
                full = f"cgroup_container_{metric}_{unit}_total" if index < 2 else f"cgroup_container_{metric}_total"
                yield Series(full, labels, self._sampled([row[index] for row in rows], scrape, lingers=True))
            ratios = [_ratio(rows, second) for second in range(len(rows))]
            yield Series("cgroup_container_cpu_throttled_ratio", labels, self._sampled(ratios, scrape, lingers=False))
        pod |= {name: value for name, value in self.labels.items() if name != "container"}
        yield Series("cgroup_pod_cpu_usage_seconds_total", pod, self._sampled(used, scrape, lingers=True))
        about = {"pod_uid": self.uid or f"uid-{self.pod}-{self.start}", "qos_class": "Burstable"}
        about |= {"workload_kind": self.kind, "workload": self.workload}
        always = [1.0] * len(used)
        yield Series("cgroup_pod_info", {**pod, **about}, self._sampled(always, scrape, lingers=True))
        if self.threshold is not None:
            limits = self._sampled([self.threshold] * len(used), scrape, lingers=True)
            yield Series("cgroup_pod_alert_threshold_ratio", pod, limits)

    def _sampled(self, values: Sequence[float], scrape: int, *, lingers: bool) -> str:
        end = len(values) if self.end is None else self.end + (LINGER_SECONDS if lingers else 0)
        first = -(-self.start // scrape)
        shown = [f"_x{first - 1}"] if first > 1 else ["_"] * first
        shown += [_number(value) for value in values[first * scrape : end : scrape]]
        if (left := -(-len(values) // scrape) - first - (len(shown) - min(first, 1))) > 0:
            shown.append("stale")
            shown += [f"_x{left - 2}"] if left > 2 else ["_"] * (left - 1)
        return " ".join(shown)


def _number(value: float) -> str:
    return "Inf" if value == float("inf") else f"{value:.8g}"


Counts = tuple[float, float, float, float]


@cache
def _counters(life: Life, start: int, end: int | None, restarts: tuple[int, ...], seconds: int) -> list[Counts]:
    """What was used and lost, and the periods, until each second."""
    rows: list[Counts] = []
    used = lost = periods = throttled = 0.0
    for second in range(seconds + 1):
        if second in restarts:
            used = lost = periods = throttled = 0.0
        rows.append((used, lost, periods, throttled))
        if start <= second and (end is None or second < end):
            one = life(second)
            used, lost = used + one.used, lost + one.lost
            periods, throttled = periods + one.periods, throttled + one.throttled
    return rows


def _ratio(rows: Sequence[Counts], second: int) -> float:
    before, now = rows[max(0, second - WINDOW_SECONDS)], rows[second]
    periods, throttled = now[2] - before[2], now[3] - before[3]
    return throttled / periods if periods > 0 and throttled >= 0 else 0.0


Fired = Mapping[str, Sequence[tuple[int, int]]]
"""Alert -> each stretch of minutes in which it fired: the first one, and the first in which it did not any more."""


def firing(
    workspace: Path, made: Iterable[Series], minutes: int, scrape: int, order: Order = IN_ORDER
) -> dict[tuple[str, str], Fired]:
    """What fired by cluster and workload, without alerts of severity info.

    Raises ``AssertionError`` where one workload has two alerts of one name.
    """
    series: dict[str, str] = {}
    for one in made:
        series.setdefault(one.selector, one.values)
    expression = 'count by (alertname, cluster, workload) (ALERTS{alertstate="firing",severity!="info"})'
    found: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for minute, labels, number in answers(workspace, series, expression, range(minutes + 1), scrape, order):
        assert number == 1, labels
        found[labels.get("cluster", ""), labels.get("workload", "")][labels["alertname"]].append(minute)
    return {key: {name: stretches(fired) for name, fired in alerts.items()} for key, alerts in found.items()}


def stretches(ordered: list[int]) -> list[tuple[int, int]]:
    """From the first of neighbouring minutes to the one after the last."""
    gaps = [(one + 1, other) for one, other in pairwise(ordered) if other > one + 1]
    edges = [ordered[0], *(edge for gap in gaps for edge in gap), ordered[-1] + 1]
    return list(zip(edges[::2], edges[1::2], strict=True))


def counted(
    workspace: Path, series: Mapping[str, str], expression: str, minute: int, scrape: int = 60
) -> dict[str, int]:
    """The expression's values at a minute, by the value of its only label."""
    found = answers(workspace, series, expression, [minute], scrape)
    return {"".join(labels.values()): round(value) for _, labels, value in found}


def answers(
    workspace: Path,
    series: Mapping[str, str],
    expression: str,
    minutes: Iterable[int],
    scrape: int,
    order: Order = IN_ORDER,
) -> list[tuple[int, dict[str, str], float]]:
    """Minute, labels and value of each sample, read from what promtool says where it expected none."""
    queries = [query(expression, minute, []) for minute in minutes]
    passed, output = promtool(workspace, series, scrape, queries=queries, order=order)
    found = []
    for hours, more, got in _GOT.findall(output + "\n\n"):
        for pairs, value in _SAMPLE.findall(got.replace('\\"', '"')):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', pairs))
            found.append((int(hours or 0) * 60 + int(more or 0), labels, float(value)))
    assert passed == (not found), output
    return found


def texts(
    workspace: Path, series: Mapping[str, str], names: Iterable[str], minute: int, external_labels: Labels
) -> list[tuple[dict[str, str], dict[str, str]]]:
    """Labels and annotations of all alerts of these names, read from what promtool says where it expected none."""
    expected = [{"eval_time": f"{minute}m", "alertname": name, "exp_alerts": []} for name in sorted(names)]
    _, output = promtool(workspace, series, 60, alerts=expected, external_labels=external_labels)
    return [(_pairs(labels), _pairs(annotations)) for labels, annotations in _ALERT.findall(output)]


def _pairs(text: str) -> dict[str, str]:
    return {name: json.loads(quoted) for name, quoted in _LABELS.findall(text)}
