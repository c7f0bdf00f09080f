"""Which alerts fire in which minutes, given what pods do second by second and how often they are scraped."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.conftest import needs
from tests.rules.scenario import NODE_1, Labels, Series, Target, document

WINDOW_SECONDS = 60
LINGER_SECONDS = 60
_GOT = re.compile(r"time: (?:(\d+)h)?(?:(\d+)m)?(?:\d+s)?,\n\s+exp: ?.*?\n\s+got: ?(.*?)\n(?:\n|\s*expr)", re.DOTALL)
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
    labels: Labels = field(default_factory=dict)
    """Instead of namespace, pod and container."""

    def series(self, minutes: int, scrape: int) -> Iterable[Series]:
        """Samples of each scrape; counters and names linger for a minute after the end, then stale markers."""
        pod = {**self.target.labels, "namespace": self.namespace, "pod": self.pod}
        lives = {self.container: self.life, **self.beside}
        used = [0.0] * (minutes * 60 + 1)
        for container, life in lives.items():
            labels = {**pod, "container": container, **self.labels}
            rows = self._counters(life, minutes)
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
        about = {"pod_uid": f"uid-{self.pod}-{self.start}", "qos_class": "Burstable"}
        about |= {"workload_kind": self.kind, "workload": self.workload}
        always = [1.0] * len(used)
        yield Series("cgroup_pod_info", {**pod, **about}, self._sampled(always, scrape, lingers=True))
        if self.threshold is not None:
            limits = self._sampled([self.threshold] * len(used), scrape, lingers=True)
            yield Series("cgroup_pod_alert_threshold_ratio", pod, limits)

    def _counters(self, life: Life, minutes: int) -> list[tuple[float, float, float, float]]:
        rows, now = [], (0.0, 0.0, 0.0, 0.0)
        for second in range(minutes * 60 + 1):
            if second in self.restarts:
                now = (0.0, 0.0, 0.0, 0.0)
            rows.append(now)
            if self.start <= second < (self.end or minutes * 60 + 1):
                one = life(second)
                now = (now[0] + one.used, now[1] + one.lost, now[2] + one.periods, now[3] + one.throttled)
        return rows

    def _sampled(self, values: Sequence[float], scrape: int, *, lingers: bool) -> str:
        end = len(values) if self.end is None else self.end + (LINGER_SECONDS if lingers else 0)
        shown = []
        for second in range(0, len(values), scrape):
            if second < self.start:
                shown.append("_")
            elif second < end:
                value = values[second]
                shown.append("Inf" if value == float("inf") else f"{value:.6g}")
            else:
                shown.append("stale" if second - scrape < end else "_")
        return " ".join(shown)


def _ratio(rows: Sequence[tuple[float, float, float, float]], second: int) -> float:
    before, now = rows[max(0, second - WINDOW_SECONDS)], rows[second]
    periods, throttled = now[2] - before[2], now[3] - before[3]
    return throttled / periods if periods > 0 and throttled >= 0 else 0.0


def firing(
    workspace: Path, traces: Iterable[Trace], *, minutes: int, scrape: int, last_group_first: bool = False
) -> dict[tuple[str, str], list[int]]:
    """Minutes in which each alert about workloads fires, by its name and the workload's."""
    expression = (
        'count by (alertname, workload) (ALERTS{alertstate="firing",severity!="info",alertname!~"ThrottleE.*"})'
    )
    series: dict[str, str] = {}
    for trace in traces:
        for one in trace.series(minutes, scrape):
            series.setdefault(one.selector, one.values)
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for minute, labels, _ in answers(
        workspace, series, expression, range(minutes + 1), scrape, last_group_first=last_group_first
    ):
        found[labels["alertname"], labels.get("workload", "")].append(minute)
    return dict(found)


def counted(workspace: Path, series: Mapping[str, str], query: str, minute: int, scrape: int = 60) -> dict[str, int]:
    """The query's values at a minute, by the value of its only label."""
    found = answers(workspace, series, query, [minute], scrape)
    return {"".join(labels.values()): round(value) for _, labels, value in found}


def answers(
    workspace: Path,
    series: Mapping[str, str],
    query: str,
    minutes: Iterable[int],
    scrape: int,
    *,
    last_group_first: bool = False,
) -> list[tuple[int, dict[str, str], float]]:
    """Minute, labels and value of each sample, read from what promtool says where it expected none."""
    asked = [{"expr": query, "eval_time": f"{minute}m", "exp_samples": []} for minute in minutes]
    path = workspace / "test.yaml"
    made = document(series, scrape, queries=asked, last_group_first=last_group_first)
    path.write_text(yaml.safe_dump(made, sort_keys=False), encoding="utf-8")
    run = subprocess.run([needs("promtool"), "test", "rules", str(path)], capture_output=True, text=True, check=False)
    output = f"{run.stdout}{run.stderr}\n\n"
    found = []
    for hours, more, got in _GOT.findall(output):
        for pairs, value in _SAMPLE.findall(got.replace('\\"', '"')):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', pairs))
            found.append((int(hours or 0) * 60 + int(more or 0), labels, float(value)))
    assert (run.returncode == 0) == (not found), output
    return found
