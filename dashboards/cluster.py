"""Cluster: where does it hurt."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.frame import DOCS, OUR_ALERTS, new_dashboard, selector
from dashboards.panels import (
    CORES,
    COUNT,
    GREY,
    ORANGE,
    RATIO,
    RED,
    SECONDS_PER_SECOND,
    YELLOW,
    Column,
    Query,
    lines,
    number,
    rows,
)
from dashboards.steps import LOST_HIGH, LOST_STEPS, RATIO_STEPS, STALLED

WORKLOAD = "cluster, namespace, workload_kind, workload"
IN_CLUSTER = selector("cluster")
IN_NAMESPACE = selector("cluster", "namespace")
WORST = f"topk(25, workload:cgroup_cpu_throttled_seconds:rate5m{IN_NAMESPACE} > 0)"
MOST_STALLED = f"topk(15, workload:cgroup_cpu_pressure_stalled_seconds:max_rate5m{IN_NAMESPACE} > 0)"
TO_WORKLOAD = (
    "Why: this workload",
    (
        "/d/kte-workload?${datasource:queryparam}&var-cluster=${__data.fields.Cluster}"
        "&var-namespace=${__data.fields.Namespace}&var-workload=${__data.fields.Workload}&${__url_time_range}"
    ),
)
TO_NODE = (
    "This node",
    (
        "/d/kte-node?${datasource:queryparam}&var-cluster=${__data.fields.Cluster}"
        "&var-node=${__data.fields.Node}&${__url_time_range}"
    ),
)
NAMES = {"cluster": "Cluster", "namespace": "Namespace", "workload_kind": "Kind", "workload": "Workload"}


def build() -> Dashboard:
    """The dashboard to begin with."""
    board = new_dashboard(
        "kte-cluster",
        "CPU throttling / Cluster",
        "Where containers stand still, because of a quota or of each other, and since when.",
        "cluster",
        "namespace",
    )
    return _contention(_where(_now(board)))


def _now(board: Dashboard) -> Dashboard:
    return (
        board.with_row(Row("Now"))
        .with_panel(
            number(
                "CPU time lost to quotas",
                "CPU seconds that containers lost to their own quotas, every second, summed over CPUs: 2 s/s is two"
                " CPUs' worth of work that stood still. The one number to watch.",
                Query(f"sum(cluster:cgroup_cpu_throttled_seconds:rate5m{IN_CLUSTER})", "lost"),
                unit=SECONDS_PER_SECOND,
            )
        )
        .with_panel(
            number(
                "Containers throttled",
                "Containers that are over the thresholds of CPUThrottlingHigh at this moment: ratio, time lost and"
                " active periods together.",
                Query(f"sum(cluster:cgroup_cpu_throttled:count{IN_CLUSTER})", "containers"),
                unit=COUNT,
                steps=((1, ORANGE),),
            )
        )
        .with_panel(
            number(
                "Periods throttled",
                "Throttled share of all active CPU periods of all containers with a quota. It hides single containers:"
                " see the table.",
                Query(f"avg(cluster:cgroup_cpu_throttled_periods:ratio_rate5m{IN_CLUSTER})", "throttled periods"),
                unit=RATIO,
                steps=RATIO_STEPS,
            )
        )
        .with_panel(
            number(
                "Not pinned",
                "Guaranteed containers that ask for whole CPUs and run in the shared pool. Normal where the CPU"
                " manager's policy is none; GuaranteedPodNotPinned tells the others.",
                Query(
                    f"sum(cluster:cgroup_container_cpu_isolation:sum{selector('cluster', extra=_ELIGIBLE)})"
                    " or vector(0)",
                    "eligible",
                ),
                unit=COUNT,
                steps=((1, YELLOW),),
            )
        )
        .with_panel(
            number(
                "Limits that drifted",
                "Containers whose cgroup has another CPU limit than their spec asks for.",
                Query(f"sum(cluster:cgroup_container_cpu_limit_drift:sum{IN_CLUSTER})", "drifted"),
                unit=COUNT,
                steps=((1, ORANGE),),
            )
        )
        .with_panel(
            number(
                "Affected kernels",
                "Nodes whose kernel throttles far below the limit (512ac999d275 without de53fd7aedb1).",
                Query(f"count(cgroup_node_kernel_info{selector('cluster', extra=_AFFECTED)}) or vector(0)", "nodes"),
                unit=COUNT,
                steps=((1, RED),),
            )
        )
        .with_panel(
            rows(
                "Firing alerts",
                "Alerts of these rules that fire now; the name leads to its runbook, the workload to its dashboard.",
                Column(
                    "Alerts",
                    "count by (cluster, alertname, severity, namespace, workload, node)"
                    f" (ALERTS{selector('cluster', extra=_FIRING)})",
                    COUNT,
                    decimals=0,
                ),
                labels={
                    "alertname": "Alert",
                    "severity": "Severity",
                    "cluster": "Cluster",
                    "namespace": "Namespace",
                    "workload": "Workload",
                    "node": "Node",
                },
                height=7,
                links={
                    "Alert": ("Runbook", DOCS + "/runbooks/${__data.fields.Alert}.md"),
                    "Workload": TO_WORKLOAD,
                    "Node": TO_NODE,
                },
                sort="Severity",
            )
        )
    )


_ELIGIBLE = 'state="eligible"'
_AFFECTED = 'cfs_quota_bug="affected"'
_FIRING = f'alertstate="firing",alertname=~"{OUR_ALERTS}"'


def _where(board: Dashboard) -> Dashboard:
    at = f"and on ({WORKLOAD}) {WORST}"
    return (
        board.with_row(Row("Where it hurts: quotas"))
        .with_panel(
            rows(
                "Workloads that lose most",
                "By CPU time lost per second over the last five minutes, all replicas together. A high ratio with"
                " little time lost is a container that hardly runs.",
                Column("Lost", WORST, SECONDS_PER_SECOND, LOST_STEPS),
                Column(
                    "Throttled",
                    f"workload:cgroup_cpu_throttled_periods:ratio_rate5m{IN_NAMESPACE} {at}",
                    RATIO,
                    RATIO_STEPS,
                ),
                Column("Use", f"workload:cgroup_cpu_usage_seconds:rate5m{IN_NAMESPACE} {at}", CORES),
                Column(
                    "Stalled",
                    f"workload:cgroup_cpu_pressure_stalled_seconds:max_rate5m{IN_NAMESPACE} {at}",
                    RATIO,
                    ((STALLED, ORANGE),),
                ),
                labels=NAMES,
                links={"Workload": TO_WORKLOAD},
            )
        )
        .with_panel(
            lines(
                "CPU time lost, by namespace",
                "The trend behind the table: CPU seconds lost per second, the ten namespaces that lose most at each"
                " moment.",
                Query(f"topk(10, namespace:cgroup_cpu_throttled_seconds:rate5m{IN_NAMESPACE})", "{{namespace}}"),
                unit=SECONDS_PER_SECOND,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Periods throttled, by namespace",
                "Throttled share of the active periods, the ten worst namespaces. The dashed lines are the default"
                " thresholds of the alerts, which look at single containers.",
                Query(
                    f"topk(10, namespace:cgroup_cpu_throttled_periods:ratio_rate5m{IN_NAMESPACE})",
                    "{{namespace}}",
                ),
                unit=RATIO,
                steps=RATIO_STEPS,
                top=1,
            )
        )
        .with_panel(
            lines(
                "CPU time lost, by node",
                "One node that stands out points at the node (kernel, neighbours), many at the workload.",
                Query(f"topk(10, node:cgroup_cpu_throttled_seconds:rate5m{IN_CLUSTER})", "{{node}}"),
                unit=SECONDS_PER_SECOND,
            )
        )
        .with_panel(
            lines(
                "CPU time used and lost",
                "All containers together: what they got, and what quotas kept from them.",
                Query(f"sum(cluster:cgroup_cpu_usage_seconds:rate5m{IN_CLUSTER})", "used"),
                Query(f"sum(cluster:cgroup_cpu_throttled_seconds:rate5m{IN_CLUSTER})", "lost to quotas"),
                unit=SECONDS_PER_SECOND,
                stacked=True,
            )
        )
    )


def _contention(board: Dashboard) -> Dashboard:
    at = f"and on ({WORKLOAD}) {MOST_STALLED}"
    return board.with_row(Row("Where it hurts: neighbours")).with_panel(
        rows(
            "Workloads that wait for a CPU",
            "Share of time in which the worst container of the workload had work and ran on no CPU (cgroup v2). With"
            " time lost beside it the quota is the cause; without, neighbours are.",
            Column("Stalled", MOST_STALLED, RATIO, ((STALLED, ORANGE),)),
            Column(
                "Lost",
                f"workload:cgroup_cpu_throttled_seconds:rate5m{IN_NAMESPACE} {at}",
                SECONDS_PER_SECOND,
                ((LOST_HIGH, GREY),),
            ),
            Column("Use", f"workload:cgroup_cpu_usage_seconds:rate5m{IN_NAMESPACE} {at}", CORES),
            labels=NAMES,
            links={"Workload": TO_WORKLOAD},
        )
    )
