"""Cluster: which workloads lack CPU, how much, since when, and why."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.frame import DOCS, OUR_ALERTS, new_dashboard, selector, with_pressure
from dashboards.panels import (
    BLUE,
    CORES,
    COUNT,
    IN_CLUSTER,
    ORANGE,
    PURPLE,
    RATIO,
    RED,
    SECONDS,
    SECONDS_PER_SECOND,
    Column,
    Link,
    Query,
    lines,
    number,
    rows,
    worst,
)
from dashboards.steps import FULL, LOST_STEPS, NO_LOSS, RATIO_STEPS, SHARE_STEPS, STALLED

WORKLOAD = "cluster, namespace, workload_kind, workload"
IN_CLUSTERS = selector("cluster")
IN_NAMESPACE = selector("cluster", "namespace")
LOST = f"workload:cgroup_cpu_throttled_seconds:rate5m{IN_NAMESPACE}"
USED = f"workload:cgroup_cpu_usage_seconds:rate5m{IN_NAMESPACE}"
STALLED_SHARE = f"workload:cgroup_cpu_pressure_stalled_seconds:max_rate5m{IN_NAMESPACE}"
STALLED_ONE = f"container:cgroup_container_cpu_pressure_stalled_seconds:rate5m{IN_NAMESPACE}"
PERIODS = f"workload:cgroup_cpu_periods:rate5m{IN_NAMESPACE}"
THROTTLED_PERIODS = f"workload:cgroup_cpu_throttled_periods:rate5m{IN_NAMESPACE}"
NAMED = (
    "* on (cluster, node, namespace, pod) group_left (workload_kind, workload)"
    f" pod:cgroup_cpu_usage_seconds:throttled_rate5m{IN_NAMESPACE} ^ 0"
)
LOST_TO_OWN = f"container:cgroup_container_cpu_throttled_seconds:rate5m{IN_NAMESPACE}"
LOST_ABOVE = f"container:cgroup_container_cpu_throttled_ancestor_seconds:rate5m{IN_NAMESPACE}"
OWN = f"sum by ({WORKLOAD}) ({LOST_TO_OWN} {NAMED})"
ABOVE = f"sum by ({WORKLOAD}) ({LOST_ABOVE} {NAMED})"
MOST_STALLED = f"topk(15, {STALLED_SHARE} > 0)"
LACKING = f"(topk(25, {LOST} > 0) or topk(10, {STALLED_SHARE} > {STALLED}))"
"""Workloads that lose most, and those that wait most though they may lose nothing."""
TO_WORKLOAD = Link(
    "Why: this workload",
    f"/d/kte-workload?${{datasource:queryparam}}&{IN_CLUSTER}"
    "&var-workload=${__data.fields.Workload}&${__url_time_range}",
)
TO_NODE = Link(
    "This node",
    f"/d/kte-node?${{datasource:queryparam}}&{IN_CLUSTER}&var-node=${{__data.fields.Node}}&${{__url_time_range}}",
)
NAMES = {"cluster": "Cluster", "namespace": "Namespace", "workload_kind": "Kind", "workload": "Workload"}


def build() -> Dashboard:
    """Return the dashboard to start with."""
    board = new_dashboard(
        "kte-cluster",
        "CPU throttling / Cluster",
        "Which workloads lack CPU, how much, since when, and why.",
        "cluster",
        "namespace",
    )
    return _fleet(_trends(_neighbours(_causes(_now(board)))))


def _now(board: Dashboard) -> Dashboard:
    alerts = 'alertname=~"WorkloadCPUThrottled(Severe)?",alertstate="firing"'
    throttled = selector("cluster", "namespace", extra=alerts)
    pressure = with_pressure("cluster")
    return (
        board.with_panel(
            number(
                "Throttled time share",
                "CPU time lost to quotas, divided by CPU time used and lost: the share of the time in which containers"
                " could have run that a quota stopped them. The one number to watch; it depends neither on the number"
                " of threads nor on idle containers.",
                Query(f"sum({LOST}) / (sum({LOST}) + sum({USED}))", "share"),
                unit=RATIO,
                steps=SHARE_STEPS,
                no_value="no pods or rules",
            )
        )
        .with_panel(
            number(
                "CPU time lost to quotas",
                "CPU-seconds per second that containers lose to their own quota or their pod's, summed over CPUs: 2"
                " means that two CPUs' worth of work is held back.",
                Query(f"sum({LOST})", "lost"),
                unit=SECONDS_PER_SECOND,
                no_value="no pods or rules",
            )
        )
        .with_panel(
            number(
                "Workloads throttled",
                "Workloads with a firing alert, WorkloadCPUThrottled or WorkloadCPUThrottledSevere.",
                Query(f"count(group by ({WORKLOAD}) (ALERTS{throttled})) or sum({USED}) * 0", "workloads"),
                unit=COUNT,
                steps=((1, ORANGE),),
                no_value="no pods or rules",
            )
        )
        .with_panel(
            number(
                "Throttled periods",
                "Throttled CPU periods divided by all active periods of containers with a quota. It hides single"
                " containers: see the table.",
                Query(f"sum({THROTTLED_PERIODS}) / (sum({PERIODS}) > 0)", "ratio"),
                unit=RATIO,
                no_value="no quota or rules",
            )
        )
        .with_panel(
            number(
                "Lost to a quota above",
                "CPU-seconds per second that containers lose to the quota of their pod or a slice above it (kernel 6.6"
                " or newer).",
                Query(f"sum({ABOVE}) or sum({USED}) * 0", "above"),
                unit=SECONDS_PER_SECOND,
                no_value="no pods or rules",
            )
        )
        .with_panel(
            number(
                "Workloads waiting",
                f"Workloads with a container that had work and ran on no CPU for more than {STALLED:.0%} of the time,"
                " because of a quota or of neighbours (cgroup v2).",
                Query(f"count({STALLED_SHARE} > {STALLED}) or {pressure}", "workloads"),
                unit=COUNT,
                steps=((1, ORANGE),),
                no_value="no PSI or rules",
            )
        )
    )


def _causes(board: Dashboard) -> Dashboard:
    at = f"and on ({WORKLOAD}) {LACKING}"
    return board.with_panel(
        rows(
            "Which workloads lack CPU, and why?",
            "The 25 that lose most CPU time to quotas over five minutes, all replicas together, and the ten that wait"
            " most. Why: 'own quota' is the container's limit, 'quota above' the pod's or a slice's, 'neighbours'"
            f" waits on a node whose containers use more than {FULL:.0%} of its CPUs, 'waits for CPU' on one with room."
            " There no metric tells of processes outside of all containers, a small shared pool, a quota inside the"
            " container: throttle-exporter explain does. Limit and Recommended are those of its container that loses"
            " most. For: the age of its oldest alert or, without one, how long it has lost time or waited, in steps of"
            " five minutes and three hours at most.",
            Column("Lost", f"{LOST} {at}", SECONDS_PER_SECOND, LOST_STEPS),
            Column(
                "Why",
                f"({_why()}) {at}",
                COUNT,
                decimals=0,
                texts={
                    1: ("own quota", RED),
                    2: ("quota above", PURPLE),
                    3: ("waits for CPU", BLUE),
                    4: ("neighbours", ORANGE),
                },
            ),
            Column("Share", f"{LOST} / ({LOST} + on ({WORKLOAD}) {USED}) {at}", RATIO, SHARE_STEPS),
            Column(
                "Ratio", f"workload:cgroup_cpu_throttled_periods:ratio_rate5m{IN_NAMESPACE} {at}", RATIO, RATIO_STEPS
            ),
            Column("Stalled", f"{STALLED_SHARE} {at}", RATIO, ((STALLED, ORANGE),)),
            Column("Total use", f"{USED} {at}", CORES),
            Column("Limit", f"{_of_worst('cgroup_container_cpu_limit_cores')} {at}", CORES),
            Column("Recommended", f"{_of_worst('cgroup_container_cpu_recommended_limit_cores')} {at}", CORES),
            Column("For", f"({_since()}) {at}", SECONDS, decimals=1),
            labels=NAMES,
            links={"Workload": TO_WORKLOAD},
            height=11,
            no_value="no workload loses CPU time to a quota or waits for a CPU",
        )
    ).with_panel(
        rows(
            "Which alerts fire?",
            "One row per alert and workload, or node. The name links to its runbook, the workload and the node to their"
            " dashboards.",
            Column(
                "Severity",
                " or ".join(
                    f"{rank} * {_alerts('ALERTS', severity)}"
                    for rank, severity in ((3, "critical"), (2, "warning"), (1, "info"))
                ),
                COUNT,
                decimals=0,
                texts={3: ("critical", RED), 2: ("warning", ORANGE), 1: ("info", BLUE)},
            ),
            Column("Alerts", _alerts("ALERTS", ".+", "count"), COUNT, decimals=0),
            labels={
                "alertname": "Alert",
                "cluster": "Cluster",
                "namespace": "Namespace",
                "workload": "Workload",
                "node": "Node",
            },
            height=8,
            links={
                "Alert": Link("Runbook", DOCS + "/runbooks/${__data.fields.Alert}.md"),
                "Workload": TO_WORKLOAD,
                "Node": TO_NODE,
            },
            no_value="no alert fires, or no rules",
        )
    )


def _why() -> str:
    """Return 1 for workloads that lose most to their own quota, 2 to one above, 3 if they wait, 4 on a full node."""
    pod = "cluster, node, namespace, pod"
    # A pod whose limit is only the sum of its containers' has no quota of another kind: the kernel books to either.
    pods = (
        f"sum by ({WORKLOAD}) (pod:cgroup_cpu_throttled_seconds:max_rate5m{IN_NAMESPACE}"
        f" unless on ({pod}) pod:cgroup_pod_cpu_limit_cores:sum_of_containers)"
    )
    online = selector("cluster", extra='state="online"')
    full = (
        f"sum by (cluster, node) (pod:cgroup_cpu_usage_seconds:rate5m{IN_CLUSTERS})"
        f" > {FULL} * max by (cluster, node) (cgroup_node_cpus{online})"
    )
    # Of containers: the column takes the largest of a workload, here as where two of these hold.
    contended = f"({STALLED_ONE} > {STALLED} and on (cluster, node) ({full}))"
    return (
        f"(({contended} * 0 + 4 or ({STALLED_SHARE} > {STALLED}) * 0 + 3) unless on ({WORKLOAD}) {LOST} > {NO_LOSS})"
        f" or ({pods} - ({OWN} or {LOST} * 0) > {LOST} / 2) * 0 + 2"
        f" or {LOST} * 0 + 1"
    )


def _since() -> str:
    """Return for how many seconds each workload has lacked CPU: its alert's age, or since it last did not."""
    alerts = selector("cluster", "namespace", extra=f'alertname=~"{_ABOUT_TIME}"')
    lacking = f"({LOST} > {NO_LOSS} or {STALLED_SHARE} > {STALLED})"
    # Without such a time, since its first sample. On the rules' own minutes of the past only.
    begin = f"max_over_time(timestamp({USED} unless {lacking})[3h:5m]) or min_over_time(timestamp({USED})[3h:5m])"
    return f"time() - (min by ({WORKLOAD}) (ALERTS_FOR_STATE{alerts}) or ({begin}) and on ({WORKLOAD}) {lacking})"


def _of_worst(metric: str) -> str:
    """Return a gauge of that container of each workload that loses most."""
    container = "cluster, namespace, pod, container"
    worst_one = f"topk by ({WORKLOAD}) (1, ({LOST_TO_OWN} or {LOST_ABOVE}) {NAMED}) ^ 0"
    return (
        f"max by ({container}) ({metric}{IN_NAMESPACE}) * on ({container})"
        f" group_left (workload_kind, workload) ({worst_one})"
    )


_ABOUT_TIME = "WorkloadCPU.+|PodCPU.+|CPUContention"
_OURS = f'alertname=~"{OUR_ALERTS}"'


def _alerts(metric: str, severity: str, by: str = "max") -> str:
    """Return firing alerts of a severity, by workload, and by node those of no workload."""
    firing = f'{_OURS},alertstate="firing",severity=~"{severity}"'
    of_workloads = selector("cluster", "namespace", extra=f'{firing},workload!=""')
    of_nodes = selector("cluster", extra=f'{firing},workload=""')
    return (
        f"({by} by (alertname, cluster, namespace, workload) ({metric}{of_workloads})"
        f" or {by} by (alertname, cluster, node) ({metric}{of_nodes}))"
    )


def _neighbours(board: Dashboard) -> Dashboard:
    at = f"and on ({WORKLOAD}) {MOST_STALLED}"
    return board.with_row(
        Row("Neighbours")
        .collapsed(True)
        .with_panel(
            rows(
                "Which workloads wait for a CPU?",
                "Share of time in which the worst container of the workload had work and ran on no CPU (cgroup v2)."
                " With time lost beside it the quota is the cause; without, neighbours are.",
                Column("Stalled", MOST_STALLED, RATIO, ((STALLED, ORANGE),)),
                Column("Lost", f"{LOST} {at}", SECONDS_PER_SECOND),
                Column("Total use", f"{USED} {at}", CORES),
                labels=NAMES,
                links={"Workload": TO_WORKLOAD},
                no_value="no workload waits, or no pressure counters (cgroup v1)",
            )
        )
    )


def _trends(board: Dashboard) -> Dashboard:
    def namespace(expr: str) -> str:
        return f'label_replace({expr}, "namespace", "(no pod)", "namespace", "")'

    return (
        board.with_row(Row("Since when, and where?"))
        .with_panel(
            lines(
                "CPU time lost, by namespace",
                "CPU-seconds lost per second, the ten namespaces that lose most at each moment.",
                Query(
                    namespace(
                        worst(f"namespace:cgroup_cpu_throttled_seconds:rate5m{IN_NAMESPACE}", "cluster, namespace")
                    ),
                    "{{cluster}} {{namespace}}",
                ),
                unit=SECONDS_PER_SECOND,
                stacked=True,
                no_value="nothing lost",
            )
        )
        .with_panel(
            lines(
                "CPU time lost, by node, all namespaces",
                "One node that stands out points at the node (kernel, neighbours), many at the workload.",
                Query(
                    worst(f"node:cgroup_cpu_throttled_seconds:rate5m{IN_CLUSTERS}", "cluster, node"),
                    "{{cluster}} {{node}}",
                ),
                unit=SECONDS_PER_SECOND,
                no_value="nothing lost",
            )
        )
        .with_panel(
            lines(
                "Throttled periods, by namespace",
                "Throttled periods divided by active periods, the ten highest namespaces. The dashed lines are the"
                " default thresholds of the alerts, which look at single containers.",
                Query(
                    namespace(
                        worst(
                            f"namespace:cgroup_cpu_throttled_periods:ratio_rate5m{IN_NAMESPACE}", "cluster, namespace"
                        )
                    ),
                    "{{cluster}} {{namespace}}",
                ),
                unit=RATIO,
                steps=RATIO_STEPS,
                no_value="no container has a quota",
            )
        )
        .with_panel(
            lines(
                "CPU time used and lost",
                "All containers together: CPU time used, and CPU time lost to quotas.",
                Query(f"sum({USED})", "used"),
                Query(f"sum({LOST})", "lost to quotas"),
                unit=SECONDS_PER_SECOND,
                stacked=True,
                no_value="no containers",
            )
        )
    )


def _fleet(board: Dashboard) -> Dashboard:
    eligible = selector("cluster", extra='state="eligible"')
    drifted = selector("cluster", extra='alertname="CPULimitDrift"')
    affected = selector("cluster", extra='cfs_quota_bug="affected"')
    row = Row("Whole clusters, all namespaces").collapsed(True)
    for panel in (
        number(
            "Not pinned",
            "Guaranteed containers that ask for whole CPUs and run in the shared pool. Normal with the CPU manager"
            " policy none; GuaranteedPodNotPinned fires for the others.",
            Query(
                f"sum(cluster:cgroup_container_cpu_isolation:sum{eligible}) or sum({USED}) * 0",
                "eligible",
            ),
            unit=COUNT,
            span=8,
            steps=((1, ORANGE),),
            no_value="no pods or rules",
        ),
        number(
            "Limits that drifted",
            "Containers whose cgroup has another CPU limit than their spec asks for: alerts CPULimitDrift, pending or"
            " firing.",
            Query(f"count(ALERTS{drifted}) or sum({USED}) * 0", "drifted"),
            unit=COUNT,
            span=8,
            steps=((1, ORANGE),),
            no_value="no pods or rules",
        ),
        number(
            "Affected kernels",
            "Nodes whose kernel throttles below the limit (512ac999d275 without de53fd7aedb1).",
            Query(
                f"count(cgroup_node_kernel_info{affected}) or count(cgroup_node_kernel_info{IN_CLUSTERS}) * 0", "nodes"
            ),
            unit=COUNT,
            span=8,
            steps=((1, RED),),
            no_value="no exporter",
        ),
    ):
        row.with_panel(panel)
    return board.with_row(row)
