"""Workload and pod: why it lacks CPU: its own quota, one above it, or its neighbours."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.causes import (
    STALLED_SHARE,
    own_quota,
    periods_and_burst,
    quota_above_it,
    quota_or_neighbours,
)
from dashboards.containers import ALL_LOST, BUSIEST_PODS, CONTAINER, POD, PODS, PODS_USE, RAW, USED, now, rate
from dashboards.frame import WORKLOADS, new_dashboard, selector
from dashboards.panels import (
    CORES,
    COUNT,
    IN_CLUSTER,
    ORANGE,
    RATIO,
    RED,
    SECONDS,
    SECONDS_PER_SECOND,
    YELLOW,
    Column,
    Link,
    Query,
    lines,
    number,
    rows,
)
from dashboards.steps import LOST_STEPS, RATIO_STEPS, SHARE_STEPS, STALLED

_INFO = (
    f"label_replace(max by ({CONTAINER}, node, runtime, container_id) (cgroup_container_info{RAW}),"
    ' "container_id", "$1", "container_id", "(.{12}).*")'
)
# One, also while a pod of the same name in another class is still on its old node's page.
_CLASS = f"topk by ({POD}) (1, max by ({POD}, qos_class) (cgroup_pod_info{selector('cluster', 'namespace', 'pod')}))"


def build() -> Dashboard:
    """Return the dashboard that every alert about a container links to."""
    board = new_dashboard(
        "kte-workload",
        "CPU throttling / Workload and pod",
        "Why a workload lacks CPU: its own quota, one above it, or its neighbours.",
        *("cluster", "namespace", "workload", "pod", "container"),
        one=("cluster", "namespace", "workload"),
    )
    return _settings(periods_and_burst(quota_above_it(quota_or_neighbours(own_quota(_summary(board))))))


def _summary(board: Dashboard) -> Dashboard:
    limits = now("cgroup_container_cpu_limit_cores")
    for panel in (
        number(
            "Throttled time share",
            "CPU time lost to quotas, divided by CPU time used and lost, over all containers of the chosen pods: the"
            " share of the time in which they could have run that a quota stopped them, own, pod's or slice's.",
            Query(f"{ALL_LOST} / ({ALL_LOST} + sum({PODS_USE}))", "share"),
            unit=RATIO,
            steps=SHARE_STEPS,
            no_value="no pod or rules",
        ),
        number(
            "Throttled periods, the worst",
            "Throttled periods divided by active periods of the worst chosen container, in the exporter's window."
            " 100 % of few periods is a container that hardly runs: look at the time lost beside it.",
            Query(f"max({now('cgroup_container_cpu_throttled_ratio')})", "throttled", instant=True),
            unit=RATIO,
            steps=RATIO_STEPS,
            no_value="no quota or rules",
        ),
        number(
            "Worst second",
            "Highest throttled ratio of any single sample (1 s) in the exporter's window: bursts that the average"
            " hides.",
            Query(f"max({now('cgroup_container_cpu_throttled_ratio_peak')})", "peak", instant=True),
            unit=RATIO,
            steps=RATIO_STEPS,
            no_value="no quota or rules",
        ),
        number(
            "CPU time lost to quotas",
            "CPU-seconds per second that all containers of the chosen pods lose to quotas, summed over CPUs: their own,"
            " the pod's or a slice's.",
            Query(ALL_LOST, "lost"),
            unit=SECONDS_PER_SECOND,
            steps=LOST_STEPS,
            no_value="no pod or rules",
        ),
        number(
            "Stalled, the worst",
            "Share of time in which the worst of the chosen containers had work and ran on no CPU, because of a quota"
            " or of neighbours (cgroup v2).",
            Query(
                f"max({STALLED_SHARE}) or max({now('cgroup_container_cpu_pressure_stalled_seconds_total')}) * 0",
                "stalled",
                instant=True,
            ),
            unit=RATIO,
            steps=((STALLED, ORANGE),),
            no_value="no PSI or rules",
        ),
        number(
            "Use of the limit",
            "Average use divided by the limit, over containers with a limit. Throttled far below 100 % means bursts:"
            " more threads than CPUs in the limit.",
            Query(f"sum({rate(USED)} and on ({CONTAINER}) {limits}) / sum({limits})", "use / limit", instant=True),
            unit=RATIO,
            no_value="no limit or rules",
        ),
    ):
        board.with_panel(panel)
    return board


def _settings(board: Dashboard) -> Dashboard:
    def column(title: str, metric: str, unit: str = CORES) -> Column:
        return Column(title, of_chosen(f"{metric}{RAW}"), unit)

    def of_chosen(series: str) -> str:
        return f"max by ({CONTAINER}) ({series}) and on ({POD}) {BUSIEST_PODS}"

    row = Row("Settings, isolation and instances").collapsed(True)
    for panel in (
        rows(
            "Limits",
            "Limits in the cgroup and in the spec; – means no limit. At most 200 pods, those that use most.",
            column("Limit", "cgroup_container_cpu_limit_cores"),
            column("Recommended", "cgroup_container_cpu_recommended_limit_cores"),
            column("Spec limit", "cgroup_container_spec_cpu_limit_cores"),
            column("Effective", "cgroup_container_cpu_effective_limit_cores"),
            column("Request", "cgroup_container_spec_cpu_request_cores"),
            Column("Drifted", of_chosen(f"cgroup_container_cpu_limit_drift{RAW}"), COUNT, ((1, RED),), decimals=0),
            Column("Period", of_chosen(f"cgroup_container_cpu_period_seconds{RAW}"), SECONDS, decimals=0),
            Column("CPUs", of_chosen(f"cgroup_container_cpuset_cpus{RAW}"), COUNT, decimals=0),
            Column(
                "NUMA nodes", of_chosen(f"cgroup_container_cpuset_numa_nodes{RAW}"), COUNT, ((2, YELLOW),), decimals=0
            ),
            Column(
                "Restarts, 1 h",
                of_chosen(f"increase(cgroup_container_restarts_total{RAW}[1h])"),
                COUNT,
                ((1, YELLOW),),
                decimals=0,
            ),
            labels={"pod": "Pod", "container": "Container"},
            sort="Pod",
            no_value="no container is chosen",
        ),
        lines(
            "Isolation",
            "Number of containers with CPUs of their own, in the shared pool, or eligible for CPUs of their own without"
            " having them.",
            *(Query(_isolation(state), state) for state in ("exclusive", "eligible", "shared")),
            unit=COUNT,
            span=24,
            stacked=True,
            no_value="no cpuset",
        ).height(6),
        rows(
            "Instances",
            "Container behind each name now, and its node. At most 200 pods, those that use most.",
            Column(
                "Here",
                f"{_INFO} * on ({POD}) group_left (qos_class) {_CLASS} and on ({POD}) {BUSIEST_PODS}",
                COUNT,
                shown=False,
            ),
            labels={
                "pod": "Pod",
                "container": "Container",
                "node": "Node",
                "qos_class": "QoS",
                "runtime": "Runtime",
                "container_id": "Id",
            },
            height=8,
            links={
                "Node": Link(
                    "This node",
                    f"/d/kte-node?${{datasource:queryparam}}&{IN_CLUSTER}"
                    "&var-node=${__data.fields.Node}&${__url_time_range}",
                )
            },
            sort="Pod",
            no_value="no container is chosen",
        ),
    ):
        row.with_panel(panel)
    return board.with_row(row)


def _isolation(state: str) -> str:
    where = selector("cluster", "namespace", "pod", "container", extra=f'state="{state}"')
    return f"count(max by ({CONTAINER}) (cgroup_container_cpu_isolation{where}) and on ({POD}) {WORKLOADS}{PODS})"
