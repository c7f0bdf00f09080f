"""Node: owners of its CPUs, neighbours in the shared pool, saturation."""

from __future__ import annotations

from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import stat
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.models import common

from dashboards.frame import SEEN, new_dashboard, selector, with_pressure
from dashboards.panels import (
    BLUE,
    CORES,
    COUNT,
    GREEN,
    IN_CLUSTER,
    ORANGE,
    RATIO,
    SECONDS,
    SECONDS_PER_SECOND,
    SOURCE,
    YELLOW,
    Column,
    Link,
    Query,
    lines,
    number,
    range_target,
    rows,
    value_texts,
    worst,
)
from dashboards.steps import LOST_STEPS, STALLED

HERE = selector("cluster", "node")
CONTAINER = "cluster, namespace, pod, container"
ONE = "{{pod}} {{container}}"
NAMES = {"namespace": "Namespace", "workload": "Workload", "pod": "Pod", "container": "Container"}
PODS_USE = f"pod:cgroup_cpu_usage_seconds:rate5m{HERE}"
OF_WORKLOAD = f"* on (cluster, namespace, pod) group_left (workload) {PODS_USE} ^ 0"
USED = f"max by ({CONTAINER}) (rate(cgroup_container_cpu_usage_seconds_total{HERE}[5m]))"
MOST_USED = (
    f"max by ({CONTAINER}) (rate(cgroup_container_cpu_usage_seconds_total{HERE}[$__rate_interval]))"
    f" and on ({CONTAINER}) topk(10, max by ({CONTAINER})"
    f" (rate(cgroup_container_cpu_usage_seconds_total{HERE}[$__range] @ end())))"
)
LOST = f"container:cgroup_container_cpu_throttled_seconds:rate5m{HERE}"
STALLED_SHARE = f"container:cgroup_container_cpu_pressure_stalled_seconds:rate5m{HERE}"
TO_POD = Link(
    "Why: this pod",
    f"/d/kte-workload?${{datasource:queryparam}}&{IN_CLUSTER}"
    "&var-workload=${__data.fields.Workload}&var-pod=${__data.fields.Pod}&${__url_time_range}",
)


def build() -> Dashboard:
    """Return the dashboard of CPUs and neighbours."""
    board = new_dashboard(
        "kte-node",
        "CPU throttling / Node",
        "The CPUs of one node: owners, neighbours in the shared pool, and containers that wait.",
        *("cluster", "node"),
        one=("cluster", "node"),
    )
    return _settings(_neighbours(_cpus(_now(board))))


def _now(board: Dashboard) -> Dashboard:
    seen = selector("cluster", "node", extra=SEEN)
    online = f"max(cgroup_node_cpus{selector('cluster', 'node', extra=_state('online'))})"
    for panel in (
        number(
            "Use of the CPUs",
            "CPU time used by containers, divided by the CPUs that are online: how saturated the node is. Processes"
            " outside of containers are not in it.",
            Query(f"sum({PODS_USE}) / {online}", "used"),
            unit=RATIO,
            span=6,
            no_value="no pod/rules",
        ),
        number(
            "Time lost to quotas",
            "CPU-seconds per second that the containers of this node lose to quotas.",
            Query(f"sum(node:cgroup_cpu_throttled_seconds:rate5m{HERE}) or sum({PODS_USE}) * 0", "lost"),
            unit=SECONDS_PER_SECOND,
            span=6,
            no_value="no pod/rules",
        ),
        number(
            "Containers waiting",
            f"Containers that had work and ran on no CPU for more than {STALLED:.0%} of the time (cgroup v2).",
            Query(f"count({STALLED_SHARE} > {STALLED}) or {with_pressure('cluster', 'node')}", "containers"),
            unit=COUNT,
            span=6,
            steps=((1, ORANGE),),
            no_value="no PSI/rules",
        ),
        number(
            "Containers",
            "Containers on this node that the exporter sees.",
            Query(f"sum(max by (state) (throttle_exporter_cgroups{seen}))", "containers"),
            unit=COUNT,
            span=6,
            no_value="no exporter",
        ),
    ):
        board.with_panel(panel)
    return board


def _state(state: str) -> str:
    return f'state="{state}"'


def _cpus(board: Dashboard) -> Dashboard:
    board = board.with_row(Row("Which CPU belongs to which container?"))
    for title, state, colour, description in (
        ("Online", "online", "", "CPUs that the kernel schedules on."),
        ("Exclusive", "exclusive", GREEN, "CPUs that belong to one container alone, green in the map."),
        ("Shared", "shared", BLUE, "CPUs of the shared pool, for all containers without their own, blue in the map."),
        ("Reserved", "reserved", "", "CPUs that the kubelet keeps for the system (reservedSystemCPUs)."),
    ):
        query = Query(f"max(cgroup_node_cpus{selector('cluster', 'node', extra=_state(state))})", state)
        board.with_panel(number(title, description, query, unit=COUNT, span=6, no_value="no cpusets", colour=colour))
    exclusive = f"(max by ({CONTAINER}) (cgroup_container_cpuset_exclusive{HERE}) == 1)"
    return board.with_panel(_map()).with_panel(
        rows(
            "Owners of CPUs",
            "Containers with CPUs of their own. More than one NUMA node means that access to memory of the other node"
            " is slower; topology-manager-policy=single-numa-node keeps them together.",
            Column(
                "NUMA",
                f"max by ({CONTAINER}, cpus) (cgroup_container_cpuset_info{HERE}) * 0 + on ({CONTAINER}) group_left"
                f" (workload) (max by ({CONTAINER}) (cgroup_container_cpuset_numa_nodes{HERE}) and on ({CONTAINER})"
                f" {exclusive}) {OF_WORKLOAD}",
                COUNT,
                ((2, YELLOW),),
                decimals=0,
            ),
            labels={"cpus": "CPUs", **NAMES},
            height=8,
            links={"Pod": TO_POD},
            no_value="no container has CPUs of its own",
        )
    )


def _map() -> stat.Panel:
    """Return a grid of CPUs, 128 of them in one screen: a tile per CPU, coloured by its state."""
    assigned = "cgroup_node_cpu_assignment"
    shared, exclusive = (selector("cluster", "node", extra=f'pod{operator}""') for operator in ("=", "!="))
    expr = f"{assigned}{exclusive} * 2 or {assigned}{shared}"
    # Three digits each, so that the order of labels is the order of numbers.
    for pattern in (".", ".."):
        expr = f'label_replace({expr}, "cpu", "0$1", "cpu", "({pattern})")'
    return (
        stat.Panel()
        .title("CPU map")
        .description(
            "A tile for each CPU: blue in the shared pool, green if it belongs to one of the containers in the table."
        )
        .datasource(SOURCE)
        .unit(COUNT)
        .height(6)
        .span(24)
        .mappings([value_texts({1: ("shared", BLUE), 2: ("exclusive", GREEN)})])
        .no_value("cpusets unknown")
        .text_mode(common.BigValueTextMode.NAME)
        .color_mode(common.BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text(common_builder.VizTextDisplayOptions().value_size(10))
        .reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .max_data_points(2)
        .with_target(range_target("A", Query(f"max by (cpu) ({expr})", "{{cpu}}")))
    )


def _neighbours(board: Dashboard) -> Dashboard:
    def column(title: str, metric: str, unit: str = CORES) -> Column:
        top = f"topk(30, {USED})"
        value = f"max by ({CONTAINER}) ({metric}{HERE}) and on ({CONTAINER}) {top}"
        return Column(title, f"({value}) {OF_WORKLOAD}", unit)

    return (
        board.with_row(Row("Neighbours: which containers use the CPUs, and which wait?"))
        .with_panel(
            lines(
                "Use, by container",
                "The ten containers that use most CPU here.",
                Query(MOST_USED, ONE),
                unit=CORES,
                stacked=True,
                no_value="no containers",
            )
        )
        .with_panel(
            lines(
                "Stalled, by container",
                "Share of time in which a container had work and ran on no CPU, because of a quota or of neighbours"
                " (cgroup v2); the ten highest.",
                Query(worst(STALLED_SHARE, CONTAINER), ONE),
                unit=RATIO,
                steps=((STALLED, ORANGE),),
                no_value="no pressure counters (cgroup v1), or nothing waits",
            )
        )
        .with_panel(
            lines(
                "CPU time lost to quotas, by container",
                "Waiting that no neighbour causes; the ten that lose most.",
                Query(worst(LOST, CONTAINER), ONE),
                unit=SECONDS_PER_SECOND,
                steps=LOST_STEPS,
                span=24,
                no_value="nothing lost",
            )
        )
        .with_panel(
            rows(
                "Use and requests",
                "The thirty containers that use most. One that uses more than its request waits first when all CPUs are"
                " busy.",
                Column("Use", f"topk(30, {USED}) {OF_WORKLOAD}", CORES),
                column("Request", "cgroup_container_spec_cpu_request_cores"),
                column("Limit", "cgroup_container_cpu_limit_cores"),
                column("CPUs", "cgroup_container_cpuset_cpus", COUNT)._replace(decimals=0),
                labels=NAMES,
                height=10,
                links={"Pod": TO_POD},
                no_value="no containers",
            )
        )
    )


def _settings(board: Dashboard) -> Dashboard:
    row = Row("Kernel and kubelet").collapsed(True)
    for panel in (
        rows(
            "Kernel and cgroups",
            "Kernel release, whether it throttles below the limit (512ac999d275), and the cgroup version.",
            Column(
                "Node",
                # In one query: of two a table would make two rows. The hierarchy is one also while it changes.
                f"max by (cluster, node, release, cfs_quota_bug) (cgroup_node_kernel_info{HERE}) * on (cluster, node)"
                " group_left (version, driver) topk by (cluster, node)"
                f" (1, max by (cluster, node, version, driver) (cgroup_node_info{HERE}))",
                COUNT,
                shown=False,
            ),
            labels={
                "node": "Node",
                "release": "Release",
                "cfs_quota_bug": "CFS quota bug",
                "version": "Cgroup",
                "driver": "Driver",
            },
            span=18,
            height=5,
            sort="Node",
            no_value="no exporter on this node",
        ),
        number(
            "CFS period",
            "Length of the period in which quotas are counted, as the kubelet sets it.",
            Query(f"max(cgroup_node_cpu_cfs_period_seconds{HERE})", "period"),
            unit=SECONDS,
            span=6,
            no_value="no /configz",
        ).height(5),
        rows(
            "Kubelet",
            "CPU manager, topology manager and CFS quota settings; empty if the kubelet does not let the exporter read"
            " them.",
            Column("CPU manager", f"cgroup_node_cpu_manager_info{HERE}", COUNT, shown=False),
            labels={
                "policy": "CPU manager policy",
                "policy_options": "Options",
                "topology_policy": "Topology policy",
                "cfs_quota": "Limits enforced",
            },
            span=24,
            height=5,
            sort="CPU manager policy",
            no_value="the kubelet does not let the exporter read its settings",
        ),
    ):
        row.with_panel(panel)
    return board.with_row(row)
