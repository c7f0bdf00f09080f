"""What all dashboards share: their names, variables, links among them, the alerts drawn into their graphs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.models import dashboard

from dashboards.panels import SOURCE

TAG = "kube-throttle-exporter"
DOCS = "https://github.com/kube-throttle-exporter/kube-throttle-exporter/blob/main/docs"
Uid = Literal["kte-cluster", "kte-workload", "kte-node", "kte-exporter"]
Variable = Literal["cluster", "namespace", "workload", "pod", "container", "node"]

DATA_SOURCE = "DS_PROMETHEUS"
"""Name of the input that an import by hand sets the variable from."""
OUR_ALERTS = "WorkloadCPU.+|CPU.+|Pod.+|Guaranteed.+|Exclusive.+|Kernel.+|ThrottleExporter.+"
SEEN = 'state=~"mapped|unmapped|pending"'
"""Cgroups of containers that run."""
WORKLOADS = "pod:cgroup_pod_info:workload"

# Query and description; each is narrowed down by those to its left.
_VARIABLES: dict[Variable, tuple[str, str]] = {
    "cluster": (
        "label_values(throttle_exporter_build_info, cluster)",
        "Clusters in this data source; empty if its series have no label cluster.",
    ),
    "namespace": (
        f'label_values({WORKLOADS}{{cluster=~"$cluster"}}, namespace)',
        "Namespaces with containers.",
    ),
    "workload": (
        f'label_values({WORKLOADS}{{cluster=~"$cluster",namespace=~"$namespace"}}, workload)',
        "Owners of the pods: Deployments, StatefulSets, DaemonSets and the like.",
    ),
    "pod": (
        f'label_values({WORKLOADS}{{cluster=~"$cluster",namespace=~"$namespace",workload=~"$workload"}}, pod)',
        "Pods of the workload.",
    ),
    "container": (
        'label_values(cgroup_container_info{cluster=~"$cluster",namespace=~"$namespace",pod=~"$pod"}, container)',
        "Containers of the pods.",
    ),
    "node": (
        'label_values(throttle_exporter_build_info{cluster=~"$cluster"}, node)',
        "Nodes with an exporter.",
    ),
}


def new_dashboard(
    uid: Uid, title: str, description: str, *variables: Variable, one: Collection[Variable] = ()
) -> builder.Dashboard:
    """Return an empty dashboard with its variables; of those in ``one`` exactly one value is chosen."""
    made = (
        builder.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .time("now-3h", "now")
        .refresh("1m")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .editable()
        .link(
            builder.DashboardLink("CPU throttling")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .link(
            builder.DashboardLink("Which panel answers what")
            .type(dashboard.DashboardLinkType.LINK)
            .icon("doc")
            .url(f"{DOCS}/dashboards.md")
            .target_blank(True)
        )
        .with_variable(
            builder.DatasourceVariable("datasource")
            .label("Data source")
            .type("prometheus")
            .current(dashboard.VariableOption(selected=True, text=f"${{{DATA_SOURCE}}}", value=f"${{{DATA_SOURCE}}}"))
        )
    )
    for name in variables:
        made.with_variable(_variable(name, many=name not in one))
    return made.annotation(_alerts(uid, variables))


def selector(*names: str, extra: str = "") -> str:
    """``{cluster=~"$cluster",...}`` for the variables of these names, and what else is asked."""
    pairs = [f'{name}=~"${name}"' for name in names]
    return "{" + ",".join([*pairs, *([extra] if extra else [])]) + "}"


def with_pressure(*names: str) -> str:
    """Return 0 if any exporter of the chosen ones can read pressure counters: without them nobody knows who waits."""
    where = selector(*names, extra='input="cpu_pressure"')
    # Nor does anybody without the rules, which record something of every namespace, unless there are no containers.
    recorded = f"namespace:cgroup_cpu_throttled_seconds:rate5m{selector('cluster')}"
    none = f"sum(throttle_exporter_cgroups{selector(*names, extra=SEEN)}) == 0"
    return f"max(throttle_exporter_input_available{where} == 1) * 0 and on () ({recorded} or {none})"


def _variable(name: Variable, *, many: bool) -> builder.QueryVariable:
    query, description = _VARIABLES[name]
    made = (
        builder.QueryVariable(name)
        .label(name.capitalize())
        .description(description)
        .datasource(SOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(many)
        .include_all(many)
    )
    if not many:
        return made
    # Not the list of values: of 200 pods that is a regular expression of 7 kB in every query.
    return made.all_value(".*").current(dashboard.VariableOption(selected=True, text="All", value="$__all"))


def _alerts(uid: Uid, variables: tuple[Variable, ...]) -> builder.AnnotationQuery:
    shown = [name for name in variables if name in {"cluster", "namespace", "workload", "node"}]
    drawn = "ThrottleExporter.+" if uid == "kte-exporter" else OUR_ALERTS
    where = selector(*shown, extra=f'alertstate="firing",alertname=~"{drawn}"')
    return (
        builder.AnnotationQuery()
        .name("Alerts")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("red")
        .expr(f"max by (cluster, alertname, namespace, workload, node) (ALERTS{where})")
    )
