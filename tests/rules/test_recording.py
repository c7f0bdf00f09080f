"""Every level says the same, in numbers small enough to add up by hand."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from dashboards.rules import ROOT, SOURCES
from tests.rules.scenario import ALIVE, Container, Pod, Target, check, query

NODE_2 = Target(node="node-2", instance="10.0.0.2:9843")
WEST = Target(cluster="west")

# Throttled in 8 of 10 periods, in 2 of 5, not throttled, idle, and without a quota; and another cluster.
CONTAINERS = [
    Container(pod="web-1", periods=10, throttled=8, lost=0.4, usage=0.4, stalled=0.5),
    Container(pod="web-2", periods=5, throttled=2, lost=0.2, usage=0.2, stalled=0.1, target=NODE_2, drift=1),
    Container(pod="api-1", workload="api", periods=5, throttled=0, lost=0, usage=0.3, drift=0, isolation="shared"),
    Container(pod="idle-1", workload="idle", periods=0, throttled=0, lost=0, usage=0),
    Container(pod="free-1", workload="free", usage=0.5, namespace="lab", kind="StatefulSet", isolation="eligible"),
    Container(pod="web-1", periods=10, throttled=1, lost=0.01, usage=0.6, target=WEST),
]
PODS = [Pod(pod="web-1", periods=10, throttled=5, lost=0.3, threshold=0.6)]

EAST = 'cluster="east"'
SHOP = f'{EAST},namespace="shop"'
WEB = f'{SHOP},workload_kind="Deployment",workload="web"'
PLACE_1 = f'{EAST},node="node-1",namespace="shop",pod="web-1"'
WEB_1 = f'{EAST},node="node-1",namespace="shop",pod="web-1",workload_kind="Deployment",workload="web"'

QOS_1 = f'{SHOP},pod="web-1",qos_class="Burstable",workload_kind="Deployment",workload="web"'

EXPECTED: Mapping[str, Mapping[str, float]] = {
    "pod:cgroup_pod_info:workload": {QOS_1: 1},
    "pod:cgroup_pod_alert_threshold_ratio:max": {f'{SHOP},pod="web-1"': 0.6},
    "container:cgroup_container_cpu_throttled_seconds:rate5m": {f'{PLACE_1},container="app"': 0.4},
    "container:cgroup_container_cpu_usage_seconds:throttled_rate5m": {f'{PLACE_1},container="app"': 0.4},
    "cluster:cgroup_container_cpu_isolation:sum": {f'{EAST},state="eligible"': 1},
    "container:cgroup_container_cpu_pressure_stalled_seconds:rate5m": {f'{WEB_1},container="app"': 0.5},
    "pod:cgroup_pod_cpu_throttled_seconds:rate5m": {PLACE_1: 0.3},
    "pod:cgroup_cpu_usage_seconds:throttled_rate5m": {WEB_1: 0.4},
    "pod:cgroup_cpu_usage_seconds:rate5m": {WEB_1: 0.4},
    "pod:cgroup_pod_info:mature": {f'{SHOP},pod="web-1"': 1},
    "pod:cgroup_cpu_throttled_seconds:max_rate5m": {WEB_1: 0.4},
    "pod:cgroup_cpu_throttled_seconds:active_rate5m": {WEB_1: 0.4},
    "pod:cgroup_cpu_periods:max_rate5m": {WEB_1: 10},
    "pod:cgroup_cpu_throttled_periods:max_rate5m": {WEB_1: 8},
    "workload:cgroup_pod_alert_threshold_ratio:max": {WEB: 0.6},
    "workload:cgroup_cpu_periods:rate5m": {WEB: 15},
    "workload:cgroup_cpu_throttled_periods:rate5m": {WEB: 10},
    "workload:cgroup_cpu_throttled_periods:ratio_rate5m": {WEB: 0.6667},
    "workload:cgroup_cpu_throttled_periods:ratio_sum30m": {WEB: 0.6667},
    "workload:cgroup_cpu_throttled_seconds:rate5m": {WEB: 0.6},
    "workload:cgroup_cpu_throttled_seconds:active_rate5m": {WEB: 0.6},
    "workload:cgroup_cpu_throttled_seconds:mature_rate5m": {WEB: 0.6},
    "workload:cgroup_cpu_throttled_time:share_sum5m": {WEB: 0.5},
    "workload:cgroup_cpu_throttled_time:share_sum30m": {WEB: 0.5},
    "workload:cgroup_cpu_throttled_time:mature_share_rate5m": {WEB: 0.5},
    "workload:cgroup_cpu_throttled_ratio:max": {WEB: 0.8},
    "workload:cgroup_cpu_throttled_ratio:max_min4m": {WEB: 0.8},
    "workload:cgroup_cpu_usage_seconds:rate5m": {WEB: 0.6},
    "workload:cgroup_cpu_pressure_stalled_seconds:max_rate5m": {WEB: 0.5},
    "namespace:cgroup_cpu_throttled_seconds:rate5m": {SHOP: 0.6, f'{EAST},namespace="lab"': 0},
    "namespace:cgroup_cpu_throttled_periods:ratio_rate5m": {SHOP: 0.5},
    "node:cgroup_cpu_throttled_seconds:rate5m": {
        f'{EAST},node="node-1"': 0.4,
        f'{EAST},node="node-2"': 0.2,
    },
}
WHOLE = 40
"""A minute from which sums over half an hour have no start in them."""
LEVELS = {
    "pod": f'{{{EAST},pod="web-1"}}',
    "container": f'{{{EAST},pod="web-1"}}',
    "workload": f'{{{EAST},workload="web"}}',
    "namespace": f"{{{EAST}}}",
    "node": f"{{{EAST}}}",
    "cluster": "",
}
"""Which series of each level EXPECTED has, all of them."""
# Their tests are below and in test_above_container.py.
ELSEWHERE = {
    "container:cgroup_container_cpu_usage_seconds:idle_rate5m",
    "container:cgroup_container_cpu_throttled_ancestor_seconds:rate5m",
    "pod:cgroup_pod_cpu_limit_cores:sum_of_containers",
}


def records() -> list[str]:
    groups = [group for path in SOURCES for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
    return [rule["record"] for group in groups for rule in group["rules"] if "record" in rule]


def test_every_recording_rule_is_expected_here() -> None:
    assert sorted(records()) == sorted({*EXPECTED, *ELSEWHERE})


def test_every_recording_rule_is_read() -> None:
    """By another rule, an alert, its text or a dashboard."""
    rules = [
        rule for path in SOURCES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]
    ]
    readers = [text for rule in rules for text in (rule["expr"], *rule.get("annotations", {}).values())]
    readers += [path.read_text() for path in (ROOT / "charts/kube-throttle-exporter/dashboards").glob("*.json")]
    read = {name for text in readers for name in re.findall(r"\w+:\w+:\w+", text)}
    assert set(records()) - read == set()


def test_every_level_adds_up(tmp_path: Path) -> None:
    check(
        tmp_path,
        [*CONTAINERS, *PODS, ALIVE],
        queries=[
            query(
                f"round({name}{LEVELS[name.partition(':')[0]]}, 0.0001)",
                WHOLE,
                [{"labels": f"{{{labels}}}", "value": value} for labels, value in samples.items()],
            )
            for name, samples in EXPECTED.items()
        ],
    )


def test_twice_the_scrapes_are_the_same_numbers(tmp_path: Path) -> None:
    once: list[Container | Pod] = [*CONTAINERS, *PODS]
    again = [source.but(target=replace(source.target, job="other")) for source in once]
    queries = [
        query(f"round({name}{{{WEB}}}, 0.0001)", WHOLE, [{"labels": f"{{{WEB}}}", "value": samples[WEB]}])
        for name, samples in EXPECTED.items()
        if WEB in samples
    ]
    assert len(queries) > 10
    check(tmp_path, [*once, *again], queries=queries)


def test_a_workload_that_runs_freely_is_at_zero_and_an_idle_one_is_nowhere(tmp_path: Path) -> None:
    ratio = "workload:cgroup_cpu_throttled_periods:ratio_rate5m"
    zero = query(f"count by (workload) ({ratio}{{{EAST}}} == 0)", 30, [{"labels": '{workload="api"}', "value": 1}])
    check(tmp_path, CONTAINERS, queries=[zero, query(f"{ratio}{{workload=~'idle|free'}}", 30, [])])


def test_of_containers_only_those_that_are_throttled_are_kept(tmp_path: Path) -> None:
    kept = f"count by (pod) (container:cgroup_container_cpu_throttled_seconds:rate5m{{{EAST}}})"
    both = [{"labels": f'{{pod="{pod}"}}', "value": 1} for pod in ("web-1", "web-2")]
    check(tmp_path, CONTAINERS, queries=[query(kept, 30, both)])


def test_almost_idle_containers_do_not_count_for_the_worst_ratio(tmp_path: Path) -> None:
    proxy = Container(pod="web-1", container="proxy", periods=10, throttled=10, lost=0.99, usage=0.007)
    idle = query(
        "count by (container) (container:cgroup_container_cpu_usage_seconds:idle_rate5m)",
        30,
        [{"labels": '{container="proxy"}', "value": 1}],
    )
    ratio = query("sum(workload:cgroup_cpu_throttled_ratio:max)", 30, [{"labels": "{}", "value": 0.2}])
    check(tmp_path, [Container(pod="web-1", periods=10, throttled=2, lost=0.1), proxy], queries=[idle, ratio])


def test_two_owners_of_one_pod_do_not_stop_the_rules(tmp_path: Path) -> None:
    odd = Container(pod="web-1", container="proxy", workload="other", periods=10, throttled=1, lost=0.1, usage=0.1)
    total = "round(sum(pod:cgroup_cpu_throttled_seconds:max_rate5m{pod='web-1',cluster='east'}), 0.0001)"
    check(tmp_path, [*CONTAINERS, odd], queries=[query(total, 30, [{"labels": "{}", "value": 0.5}])])


# Kubernetes gives a pod the sum of its containers' limits. With one container that is one limit in two groups, and the
# kernel books what it takes to either.
SOLE = Container(periods=10, throttled=2, lost=0.1, usage=0.4, limit=0.4)
SAME_LIMIT = Pod(periods=10, throttled=8, lost=0.6, limit=0.4)
ABOVE = Container(usage=0.5, quota_state="none")
OTHER_JOB = Target(job="other")
LOST: Mapping[str, tuple[list[Container | Pod], float]] = {
    "booked to the pod": ([SOLE.but(throttled=0, lost=0), SAME_LIMIT], 0.6),
    "some of it booked to both": ([SOLE, SAME_LIMIT.but(lost=0.4)], 0.4),
    "booked to the container": ([SOLE.but(lost=0.4), SAME_LIMIT.but(lost=0.1)], 0.4),
    "scraped twice": ([SOLE, SAME_LIMIT, SOLE.but(target=OTHER_JOB), SAME_LIMIT.but(target=OTHER_JOB)], 0.6),
    "lost to any ancestor": (
        [ABOVE.but(local_lost=0.3), ABOVE.but(container="proxy", local_lost=0.2), ABOVE.but(local_lost=0.3)], 0.5
    ),
}  # fmt: skip


def test_what_a_pod_lost_is_counted_once(tmp_path: Path) -> None:
    placed = [
        one.but(target=replace(one.target, cluster=cluster)) for cluster, (made, _) in LOST.items() for one in made
    ]
    names = ("pod:cgroup_cpu_throttled_seconds:max_rate5m", "pod:cgroup_cpu_throttled_seconds:active_rate5m")
    samples = [{"labels": f'{{cluster="{cluster}"}}', "value": lost} for cluster, (_, lost) in LOST.items()]
    check(tmp_path, placed, queries=[query(f"round(sum by (cluster) ({name}), 0.001)", 30, samples) for name in names])
