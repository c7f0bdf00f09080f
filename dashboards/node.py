"""Node: which CPU belongs to whom, and who shares the rest."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.frame import new_dashboard, selector
from dashboards.panels import (
    CORES,
    COUNT,
    ORANGE,
    RATIO,
    SECONDS,
    SECONDS_PER_SECOND,
    YELLOW,
    Column,
    Query,
    lines,
    number,
    rows,
)
from dashboards.steps import LOST_STEPS, STALLED

HERE = selector("cluster", "node")
CONTAINER = "cluster, node, namespace, pod, container"
ONE = "{{namespace}} {{pod}} {{container}}"
NAMES = {"namespace": "Namespace", "pod": "Pod", "container": "Container"}
TO_POD = (
    "Why: this pod",
    (
        "/d/kte-workload?${datasource:queryparam}&var-cluster=${cluster}&var-namespace=${__data.fields.Namespace}"
        "&var-workload=$__all&var-pod=${__data.fields.Pod}&${__url_time_range}"
    ),
)


def build() -> Dashboard:
    """The dashboard of CPUs and neighbours."""
    board = new_dashboard(
        "kte-node",
        "CPU throttling / Node",
        "The CPUs of one node: who owns them, who shares them, who waits for them.",
        "cluster",
        "node",
        one_node=True,
    )
    return _neighbours(_cpus(_now(board)))


def _now(board: Dashboard) -> Dashboard:
    def cpus(title: str, state: str, description: str) -> tuple[str, str, Query]:
        where = selector("cluster", "node", extra=f'state="{state}"')
        return title, description, Query(f"max(cgroup_node_cpus{where})", state)

    for title, description, query in (
        cpus("CPUs online", "online", "CPUs that the kernel schedules on."),
        cpus("Owned", "exclusive", "CPUs that one container has for itself."),
        cpus("Shared pool", "shared", "CPUs for all who own none."),
        cpus("Reserved", "reserved", "CPUs the kubelet keeps for the system (reservedSystemCPUs)."),
    ):
        board.with_panel(number(title, description, query, unit=COUNT, span=3, no_value="unknown"))
    return (
        board.with_panel(
            number(
                "CPU time lost to quotas",
                "CPU seconds that the containers of this node lose to their own quotas every second.",
                Query(f"sum(node:cgroup_cpu_throttled_seconds:rate5m{HERE})", "lost"),
                unit=SECONDS_PER_SECOND,
            )
        )
        .with_panel(
            number(
                "Used by containers",
                "CPUs that containers use on average, of those that are online.",
                Query(f"sum(node:cgroup_cpu_usage_seconds:rate5m{HERE})", "used"),
                unit=CORES,
            )
        )
        .with_panel(
            number(
                "CFS period",
                "Length of the period in which quotas are counted, as the kubelet sets it. A shorter one throttles in"
                " smaller pieces.",
                Query(f"max(cgroup_node_cpu_cfs_period_seconds{HERE})", "period"),
                unit=SECONDS,
                no_value="kubelet does not say",
            )
        )
    )


def _cpus(board: Dashboard) -> Dashboard:
    numa = "cgroup_container_cpuset_numa_nodes"
    return (
        board.with_row(Row("CPUs"))
        .with_panel(
            rows(
                "CPU map",
                "Each CPU, its NUMA node and its owner; a CPU without one belongs to the shared pool.",
                Column(
                    "CPUs",
                    f"max by (cpu, numa_node, namespace, pod, container) (cgroup_node_cpu_assignment{HERE})",
                    COUNT,
                    decimals=0,
                ),
                labels={"numa_node": "NUMA node", "cpu": "CPU", **NAMES},
                span=14,
                height=10,
                links={"Pod": TO_POD},
                sort="CPU",
                numbers=False,
            )
        )
        .with_panel(
            rows(
                "Node",
                "Kernel, cgroup version and the kubelet's CPU settings.",
                Column(
                    "Kernel",
                    f"max by (node, release, cfs_quota_bug) (cgroup_node_kernel_info{HERE})",
                    COUNT,
                    decimals=0,
                ),
                Column("Hierarchy", f"max by (node, version, driver) (cgroup_node_info{HERE})", COUNT, decimals=0),
                Column(
                    "CPU manager",
                    "max by (node, policy, policy_options, topology_policy, topology_scope, cfs_quota)"
                    f" (cgroup_node_cpu_manager_info{HERE})",
                    COUNT,
                    decimals=0,
                ),
                labels={
                    "release": "Release",
                    "cfs_quota_bug": "Throttles below the limit",
                    "version": "Cgroup",
                    "driver": "Driver",
                    "policy": "CPU manager policy",
                    "topology_policy": "Topology policy",
                    "cfs_quota": "Limits enforced",
                },
                span=10,
                height=10,
                sort="Release",
                numbers=False,
            )
        )
        .with_panel(
            rows(
                "Spread over NUMA nodes",
                "Containers with CPUs of their own on more than one NUMA node: each access to memory of the other one"
                " is slower. topology-manager-policy=single-numa-node keeps them together.",
                Column(
                    "NUMA nodes",
                    f"max by ({CONTAINER}) ({numa}{HERE}) > 1 and on ({CONTAINER}) cgroup_container_cpu_isolation"
                    + selector("cluster", "node", extra='state="exclusive"'),
                    COUNT,
                    ((2, YELLOW),),
                    decimals=0,
                ),
                labels=NAMES,
                span=24,
                height=5,
                links={"Pod": TO_POD},
            )
        )
    )


def _neighbours(board: Dashboard) -> Dashboard:
    return (
        board.with_row(Row("Neighbours"))
        .with_panel(
            lines(
                "Use, by container",
                "The fifteen containers that use most CPU here: the neighbours of whoever waits.",
                Query(f"topk(15, container:cgroup_container_cpu_usage_seconds:rate5m{HERE})", ONE),
                unit=CORES,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Stalled, by container",
                "Share of time in which a container had work and ran on no CPU, for whatever reason (cgroup v2).",
                Query(f"topk(15, container:cgroup_container_cpu_pressure_stalled_seconds:rate5m{HERE})", ONE),
                unit=RATIO,
                steps=((STALLED, ORANGE),),
                top=1,
            )
        )
        .with_panel(
            lines(
                "CPU time lost to quotas, by container",
                "Who is kept off the CPUs by a quota of its own: waiting that no neighbour causes.",
                Query(f"topk(15, container:cgroup_cpu_throttled_seconds:max_rate5m{HERE})", ONE),
                unit=SECONDS_PER_SECOND,
                steps=LOST_STEPS,
            )
        )
        .with_panel(
            rows(
                "Requests and use",
                "Who uses more than it requests is first to wait when all want the CPUs.",
                Column("Use", f"topk(30, container:cgroup_container_cpu_usage_seconds:rate5m{HERE})", CORES),
                Column("Request", _beside("cgroup_container_spec_cpu_request_cores"), CORES),
                Column("Limit", _beside("cgroup_container_cpu_limit_cores"), CORES),
                Column("CPUs", _beside("cgroup_container_cpuset_cpus"), COUNT, decimals=0),
                labels=NAMES,
                span=12,
                height=8,
                links={"Pod": TO_POD},
            )
        )
    )


def _beside(metric: str) -> str:
    """The metric of the thirty containers of the first column, with its labels."""
    return (
        f"topk(30, container:cgroup_container_cpu_usage_seconds:rate5m{HERE}) * 0 + on ({CONTAINER}) group_left ()"
        f" max by ({CONTAINER}) ({metric}{HERE})"
    )
