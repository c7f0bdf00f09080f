"""What the queries answer where names, nodes and exporters are not as simple as usual; promtool evaluates them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.dashboards.boards import boards, panels
from tests.rules.scenario import Container, Pod, Raw, Source, Target, check, query

OLD, NEW, NAMELESS = Target(), Target(node="node-2", instance="b"), Target(cluster=None, node="node-3", instance="d")
ROLLED_OUT = Target(node="node-2", instance="c")
TARGETS = (OLD, NEW, ROLLED_OUT, NAMELESS)
"""The third is the second's successor, on the same node."""
BUSY: Mapping[str, Any] = {"periods": 10, "throttled": 5, "lost": 0.2, "local_lost": 0.3, "usage": 0.2, "stalled": 0.5}
CONTAINERS = [
    # A pod that came back on another node, in another class, and is still on the old node's page.
    Container(target=OLD, pod="a.b-0", workload="a.b", kind="StatefulSet", limit=1, **BUSY),
    Container(target=NEW, pod="a.b-0", workload="a.b", kind="StatefulSet", limit=1, qos="Guaranteed", **BUSY),
    Container(target=ROLLED_OUT, pod="a.b-0", workload="a.b", kind="StatefulSet", limit=1, qos="Guaranteed", **BUSY),
    Container(target=NEW, pod="a-b-0", workload="a-b", kind="StatefulSet", limit=1, **BUSY),
    Container(target=NAMELESS, pod="a.b-0", workload="a.b", kind="StatefulSet", limit=1, **BUSY),
]
SOURCES: list[Source] = [
    *CONTAINERS,
    Pod(target=NEW, pod="a-b-0", threshold=0.01),
    *(Raw("throttle_exporter_build_info", 1, {"pod": f"exporter-{at.instance}"}, at) for at in TARGETS),
    *(
        Raw("throttle_exporter_cgroups", number, {"pod": f"exporter-{at.instance}", "state": state}, at)
        for at in TARGETS
        for state, number in (("mapped", 2), ("unmapped", 1))
    ),
    *(Raw("throttle_exporter_input_available", 1, {"input": "cpu_pressure"}, at) for at in TARGETS),
    *(Raw("cgroup_node_cpus", 4, {"state": "online"}, at) for at in TARGETS),
    *(Raw("cgroup_node_info", 1, {"version": "v2", "driver": "systemd"}, at) for at in TARGETS),
    *(Raw("cgroup_node_kernel_info", 1, {"release": "6.12", "cfs_quota_bug": "fixed"}, at) for at in TARGETS),
    *(
        Raw(
            "cgroup_container_info",
            1,
            {"namespace": "shop", "pod": one.pod, "container": "app", "runtime": "crio", "container_id": "f" * 64},
            one.target,
        )
        for one in CONTAINERS
    ),
]
CHOSEN = {"cluster": "east", "namespace": "shop", "workload": "a.b", "node": "node-2"}
TIMES = {"$__rate_interval": "4m", "$__interval": "1m", "$__range": "20m"}


def sent(expr: str, chosen: Mapping[str, str] = CHOSEN) -> str:
    """The query as Grafana sends it, each variable of several values on All."""
    for name, text in TIMES.items():
        expr = expr.replace(name, text)
    expr = expr.replace(" @ end()", "")  # of an instant query
    texts = {"=~": dict.fromkeys((*CHOSEN, "pod", "container"), ".*"), "=": chosen}
    return re.sub(r'(=~?)"\$([a-z]+)"', lambda found: f'{found[1]}"{texts[found[1]][found[2]]}"', expr)


def asked() -> Iterator[tuple[str, str, str]]:
    for board, content in boards().items():
        for panel in panels(content):
            for target in panel["targets"]:
                yield board, f"{panel['title']} {target['refId']}", target["expr"]


def of(board: str, where: str, chosen: Mapping[str, str] = CHOSEN) -> str:
    [expr] = [expr for name, place, expr in asked() if (name, place) == (board, where)]
    return sent(expr.removesuffix(" or vector(NaN)"), chosen)


@pytest.mark.system
def test_every_query_is_evaluated_while_a_pod_moves_and_exporters_are_rolled_out(tmp_path: Path) -> None:
    every = [f"count({sent(expr)}) * 0 or vector(0)" for *_, expr in asked()]
    assert len(every) > 100
    check(tmp_path, SOURCES, queries=[query(expr, 30, [{"labels": "{}", "value": 0}]) for expr in every])


@pytest.mark.system
def test_one_value_is_that_value_and_a_node_with_two_exporters_is_counted_once(tmp_path: Path) -> None:
    def number(expr: str, *values: float) -> Mapping[str, Any]:
        return query(f"round({expr}, 0.0001)", 30, [{"labels": "{}", "value": value} for value in values])

    nameless = {**CHOSEN, "cluster": ""}
    lost = "CPU time lost to quotas A"
    check(
        tmp_path,
        SOURCES,
        queries=[
            # On both nodes, and not what a-b loses, which the pattern a.b matches; nor what the other cluster's does.
            number(of("workload", lost), 0.6),
            number(of("workload", lost, nameless), 0.3),
            number(of("cluster", lost), 1.2),
            number(of("node", "Containers A"), 3),
            number(of("exporter", "Containers without a name A"), 3),
            # Of a-b the pod's own, and of its neighbour the default.
            number(of("workload", "Throttled periods E", {**CHOSEN, "workload": "a-b"}), 0.01),
            number(of("workload", "Throttled periods E"), 0.05),
        ],
    )


@pytest.mark.system
def test_a_muted_workload_has_no_alert_threshold(tmp_path: Path) -> None:
    muted = [*SOURCES, Pod(target=OLD, pod="a.b-0", threshold=" ".join(["Inf"] * 61))]
    check(tmp_path, muted, queries=[query(of("workload", "Throttled periods E"), 30, [])])


def test_without_recording_rules_nothing_is_green() -> None:
    """What needs no rule says how things are; a number that is below its threshold must have been recorded."""
    green = 0
    for board, content in boards().items():
        for panel in panels(content):
            steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
            about_itself = board == "exporter" or "kernel" in panel["title"]
            if panel["type"] == "stat" and len(steps) > 1 and not about_itself:
                assert all(":cgroup_" in target["expr"] for target in panel["targets"]), (board, panel["title"])
                green += 1
    assert green > 8
