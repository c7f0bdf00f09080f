"""Queries about the containers that the variables choose, however many there are."""

from __future__ import annotations

from dashboards.frame import WORKLOADS, selector
from dashboards.panels import GREY, ORANGE, RED, Query, fixed

CHOSEN = ("cluster", "namespace", "workload", "pod")
CONTAINERS = selector(*CHOSEN, "container")
"""Of recorded series, which carry the workload."""
PODS = selector(*CHOSEN)
RAW = selector("cluster", "namespace", "pod", "container")
RAW_PODS = selector("cluster", "namespace", "pod")
CONTAINER = "cluster, namespace, pod, container"
POD = "cluster, namespace, pod"
ONE = "{{pod}} {{container}}"
USED = "cgroup_container_cpu_usage_seconds_total"
LOST_RECORDED = "container:cgroup_container_cpu_throttled_seconds:rate5m"
ABOVE_RECORDED = "container:cgroup_container_cpu_throttled_ancestor_seconds:rate5m"
PODS_USE = f"pod:cgroup_cpu_usage_seconds:rate5m{PODS}"
PODS_LOST = f"(pod:cgroup_cpu_throttled_seconds:max_rate5m{PODS} or {PODS_USE} * 0)"
"""Of every chosen pod, with its containers: the larger of the two, as everywhere."""
ALL_LOST = f"(sum(pod:cgroup_cpu_throttled_seconds:max_rate5m{PODS}) or sum({PODS_USE}) * 0)"
BUSIEST_PODS = f"topk(200, {PODS_USE})"
"""What tables show at most; no two use the same to the last digit, so that every column chooses the same pods."""


def now(metric: str) -> str:
    """Return a gauge of the chosen containers; two scrapes of one container are one series."""
    return f"{chosen(f'max by ({CONTAINER}) ({metric}{RAW})')}"


def rate(metric: str, window: str = "$__rate_interval") -> str:
    """Return the rate of a counter that no rule records, at the resolution of the graph or over ``window``.

    It reads every sample of every pod of the namespace: at most once a panel.
    """
    return f"{chosen(f'max by ({CONTAINER}) (rate({metric}{RAW}[{window}]))')}"


def over_step(function: str, metric: str) -> str:
    """Return a gauge of the chosen containers over at least the time from one point of the graph to the next."""
    return chosen(f"max by ({CONTAINER}) ({function}({metric}{RAW}[$__rate_interval]))")


def recorded(metric: str) -> str:
    """Return a recorded series of the chosen containers."""
    return f"{metric}{CONTAINERS}"


def most(series: str, counter: str) -> str:
    """Return the ten containers of :func:`now` or :func:`rate` whose ``counter`` grew most in the time range."""
    return _ten(series, f"max by ({CONTAINER}) (rate({counter}{RAW}[$__range] @ end()))")


def losing_most(series: str, lost: str = LOST_RECORDED) -> str:
    """Return the ten containers of ``series`` that lost most in the time range, by a recorded series of what is lost.

    A recorded loss has a sample a minute only while there is one: their sum is what was lost.
    """
    return _ten(series, f"max by ({CONTAINER}) (sum_over_time({lost}{RAW}[$__range] @ end()))")


def _ten(series: str, amount: str) -> str:
    there = f"last_over_time({WORKLOADS}{PODS}[$__range] @ end())"
    return f"{series} and on ({CONTAINER}) topk(10, {amount} and on ({POD}) {there})"


def band(series: str) -> tuple[Query, ...]:
    """Return median, 95th percentile and maximum over ``series``, one of each chosen pod or container."""
    return (
        Query(f"quantile(0.5, {series})", "median of all", fixed(GREY)),
        Query(f"quantile(0.95, {series})", "95th percentile of all", fixed(ORANGE)),
        Query(f"max({series})", "maximum", fixed(RED)),
    )


def chosen(expr: str) -> str:
    """Return those series of ``expr`` whose pod belongs to the chosen workloads."""
    return f"({expr} and on ({POD}) {WORKLOADS}{PODS})"
