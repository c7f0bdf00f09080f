"""Workload and pod: why does it stand still, its own quota, one above it, or its neighbours."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.causes import own_quota, quota_above_it, quota_or_neighbours
from dashboards.containers import BY_CONTAINER, CONTAINERS, ONE, now, rate
from dashboards.frame import new_dashboard, selector
from dashboards.panels import (
    CORES,
    COUNT,
    GREEN,
    GREY,
    ORANGE,
    RATIO,
    RED,
    SECONDS,
    SECONDS_PER_SECOND,
    YELLOW,
    Column,
    Query,
    number,
    rows,
    states,
)
from dashboards.steps import LOST_STEPS, RATIO_STEPS, STALLED


def build() -> Dashboard:
    """The dashboard every alert about a container leads to."""
    board = new_dashboard(
        "kte-workload",
        "CPU throttling / Workload and pod",
        "Why a container stands still: its own quota, one above it, or its neighbours.",
        "cluster",
        "namespace",
        "workload",
        "pod",
        "container",
    )
    return _settings(quota_above_it(quota_or_neighbours(own_quota(_summary(board)))))


def _summary(board: Dashboard) -> Dashboard:
    periods, throttled = (
        rate("cgroup_container_cpu_periods_total"),
        rate("cgroup_container_cpu_throttled_periods_total"),
    )
    return (
        board.with_row(Row("At a look"))
        .with_panel(
            number(
                "Throttled",
                "Throttled share of the CPU periods in which the worst of the chosen containers ran. 100 % of few"
                " periods is a container that hardly runs: look at the time lost beside it.",
                Query(
                    f"max(container:cgroup_cpu_throttled_periods:max_ratio_rate5m{CONTAINERS})"
                    f" or sum({throttled}) / (sum({periods}) > 0)",
                    "throttled",
                ),
                unit=RATIO,
                steps=RATIO_STEPS,
                no_value="idle or no quota",
            )
        )
        .with_panel(
            number(
                "Worst moment",
                "Highest throttled share of any single sample (1 s) within the exporter's window: bursts that the"
                " average hides.",
                Query(f"max({now('cgroup_container_cpu_throttled_ratio_peak')})", "peak"),
                unit=RATIO,
                steps=RATIO_STEPS,
                no_value="no quota",
            )
        )
        .with_panel(
            number(
                "Lost",
                "CPU seconds lost to their own quotas every second, summed over CPUs and containers.",
                Query(
                    f"sum(container:cgroup_cpu_throttled_seconds:max_rate5m{CONTAINERS})"
                    f" or sum({rate('cgroup_container_cpu_throttled_seconds_total')})",
                    "lost",
                ),
                unit=SECONDS_PER_SECOND,
                steps=LOST_STEPS,
                no_value="no quota",
            )
        )
        .with_panel(
            number(
                "Stalled",
                "Share of time in which the worst of the chosen containers had work and ran on no CPU, for whatever"
                " reason (cgroup v2).",
                Query(f"max({rate('cgroup_container_cpu_pressure_stalled_seconds_total')})", "stalled"),
                unit=RATIO,
                steps=((STALLED, ORANGE),),
                no_value="no pressure counters",
            )
        )
        .with_panel(
            number(
                "Use of the limit",
                "Average use divided by the limit. Throttled far below 100 % means bursts: more threads than CPUs in"
                " the limit.",
                Query(
                    f"sum({rate('cgroup_container_cpu_usage_seconds_total')}"
                    f" and {now('cgroup_container_cpu_limit_cores')}) / sum({now('cgroup_container_cpu_limit_cores')})",
                    "use / limit",
                ),
                unit=RATIO,
                no_value="no limit",
            )
        )
        .with_panel(
            number(
                "Restarts in the last hour",
                "How often the chosen containers were restarted, as the kubelet counts. Counters of a cgroup begin at"
                " 0 again with each.",
                Query(f"sum({BY_CONTAINER} (increase(cgroup_container_restarts_total{CONTAINERS}[1h])))", "restarts"),
                unit=COUNT,
                steps=((1, YELLOW),),
            )
        )
    )


def _settings(board: Dashboard) -> Dashboard:
    return (
        board.with_row(Row("Settings"))
        .with_panel(
            rows(
                "Limits",
                "What the cgroup says and what the spec asks for; no limit is an empty cell.",
                Column("Limit", now("cgroup_container_cpu_limit_cores"), CORES),
                Column("Limit in spec", now("cgroup_container_spec_cpu_limit_cores"), CORES),
                Column("Effective limit", now("cgroup_container_cpu_effective_limit_cores"), CORES),
                Column("Request", now("cgroup_container_spec_cpu_request_cores"), CORES),
                Column("Drifted", now("cgroup_container_cpu_limit_drift"), COUNT, ((1, RED),), decimals=0),
                Column("Period", now("cgroup_container_cpu_period_seconds"), SECONDS, decimals=3),
                Column("CPUs", now("cgroup_container_cpuset_cpus"), COUNT, decimals=0),
                Column("NUMA nodes", now("cgroup_container_cpuset_numa_nodes"), COUNT, ((2, YELLOW),), decimals=0),
                labels={"namespace": "Namespace", "pod": "Pod", "container": "Container"},
                sort="Pod",
            )
        )
        .with_panel(
            states(
                "Isolation",
                "Whether the container has CPUs of its own, shares the pool, or should have its own and has not.",
                Query(_isolation(), ONE),
                texts={1: ("shared", GREY), 2: ("eligible, not pinned", ORANGE), 3: ("exclusive", GREEN)},
            )
        )
        .with_panel(
            rows(
                "Instances",
                "Which container each name stands for now, and on which node.",
                Column("Here", f"max by ({_INSTANCE}) (cgroup_container_info{CONTAINERS})", COUNT, decimals=0),
                labels={
                    "pod": "Pod",
                    "container": "Container",
                    "node": "Node",
                    "qos_class": "QoS",
                    "runtime": "Runtime",
                    "container_id": "Id",
                },
                span=12,
                height=8,
                links={
                    "Node": (
                        "This node",
                        "/d/kte-node?${datasource:queryparam}&var-node=${__data.fields.Node}&${__url_time_range}",
                    )
                },
                sort="Pod",
                numbers=False,
            )
        )
    )


_INSTANCE = "pod, container, node, qos_class, runtime, container_id"


def _isolation() -> str:
    return " or ".join(
        f"{BY_CONTAINER} (cgroup_container_cpu_isolation"
        f"{selector('cluster', 'namespace', 'pod', 'container', extra=state)}) * {value}"
        for value, state in ((3, 'state="exclusive"'), (2, 'state="eligible"'), (1, 'state="shared"'))
    )
