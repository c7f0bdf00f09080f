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


def now(metric: str) -> str:
    """Return a gauge of the chosen containers; two scrapes of one container are one series."""
    return f"{chosen(f'max by ({CONTAINER}) ({metric}{RAW})')}"


def rate(metric: str, window: str = "$__rate_interval") -> str:
    """Return the rate of a counter that no rule records, at the resolution of the graph or over ``window``."""
    return f"{chosen(f'max by ({CONTAINER}) (rate({metric}{RAW}[{window}]))')}"


def recorded(metric: str) -> str:
    """Return a recorded series of the chosen containers."""
    return f"{metric}{CONTAINERS}"


def most(series: str, counter: str) -> str:
    """Return the ten containers of :func:`now` or :func:`rate` whose ``counter`` grew most in the time range."""
    grown = f"max by ({CONTAINER}) (rate({counter}{RAW}[$__range] @ end()))"
    there = f"last_over_time({WORKLOADS}{PODS}[$__range] @ end())"
    return f"{series} and on ({CONTAINER}) topk(10, {grown} and on ({POD}) {there})"


def band(series: str) -> tuple[Query, ...]:
    """Return median, 95th percentile and maximum over all chosen containers, those without a sample at 0."""
    every = f"(sum by ({CONTAINER}) ({series}) or sum by ({CONTAINER}) ({USAGE}) * 0)"
    return (
        Query(f"quantile(0.5, {every})", "median of all", fixed(GREY)),
        Query(f"quantile(0.95, {every})", "95th percentile of all", fixed(ORANGE)),
        Query(f"max({every})", "maximum", fixed(RED)),
    )


def chosen(expr: str) -> str:
    """Return those series of ``expr`` whose pod belongs to the chosen workloads."""
    return f"({expr} and on ({POD}) {WORKLOADS}{PODS})"


USED = "cgroup_container_cpu_usage_seconds_total"
USAGE = rate(USED, "5m")
"""Over five minutes, as recorded series are."""
