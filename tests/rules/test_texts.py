"""What people read of each alert: summary, description, command and links, kept in tests/golden/alerts.yaml."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import yaml

from dashboards.rules import ROOT
from tests.conftest import Generated
from tests.dashboards.known import alerts
from tests.rules.scenario import EXPORTER_POD, RUNBOOKS, Container, Pod, Raw, Source, Target, pods_use, selected
from tests.rules.timeline import texts

DOCUMENT = ROOT / "tests" / "golden" / "alerts.yaml"
HEAD = "# What each alert says in tests/rules/test_texts.py; its runbook_url follows from its name.\n"
MINUTE = 40
"""The half hour of a workload's sums begins after the start."""
OUTER = "outer"
"""The external label ``cluster``."""

STUCK = Container(periods=10, throttled=10, lost=0.6, usage=0.4, limit=0.4)
FREE = Container(usage=0.5, quota_state="none")
DRIFTED = Container(usage=0.1, drift=1, limit=2, spec_limit=0.5)
AT_ITS_CONTAINER = {"namespace": "shop", "pod": "web-5d8f-abcde", "container": "app"}
PEAK = Raw("cgroup_container_cpu_throttled_ratio_peak", 1, AT_ITS_CONTAINER)
RECOMMENDED = Raw("cgroup_container_cpu_recommended_limit_cores", 1.2, AT_ITS_CONTAINER)
KNOWN: list[Source] = [STUCK, PEAK, RECOMMENDED, EXPORTER_POD]
UNCOVERED = Raw("kube_node_info", 1, {"os_image": "Debian"}, Target(node="node-2", instance="ksm", job="ksm"))
RELABELLED = Raw("cgroup_pod_cpu_usage_seconds_total", 1, {"namespace": "m", "pod": "x", "exported_pod": "web-1"})
ALIVE = Raw("throttle_exporter_build_info", 1)
FAILURE = {"stage": "read", "reason": "permission"}


def kernel(node: str) -> Raw:
    return Raw("cgroup_node_kernel_info", 1, {"release": "4.19.10", "cfs_quota_bug": "affected"}, Target(node=node))


# It lost most until it ended two minutes ago.
ENDED = STUCK.but(
    pod="web-ended", workload=None, quota_state=None, limit=None, periods="0+600x38 stale", throttled="0+600x38 stale"
).but(lost="0+54x38 stale", usage="0+24x38 stale")
ENDED_INFO = Raw(
    "cgroup_pod_info",
    "1x38 stale",
    {"namespace": "shop", "pod": "web-ended", "workload_kind": "Deployment", "workload": "web", "pod_uid": "ended"},
)
NOWHERE, ALONE = Target(node=""), Target(cluster=None)

CASES: Mapping[str, list[Source]] = {
    "WorkloadCPUThrottled": KNOWN,
    "WorkloadCPUThrottled: a pod that is gone": [*KNOWN, ENDED, ENDED_INFO],
    # Without node, no command names a random exporter.
    "WorkloadCPUThrottled: little known": [STUCK.but(target=NOWHERE), replace(EXPORTER_POD, target=NOWHERE)],
    "WorkloadCPUThrottled: external label": [STUCK.but(target=ALONE), replace(EXPORTER_POD, target=ALONE)],
    "WorkloadCPUThrottledSevere": KNOWN,
    "PodCPUThrottled": KNOWN,
    "CPUThrottledBelowLimit": [
        Container(periods=5, throttled=1, lost=0.09, usage=0.2, limit=1), RECOMMENDED, EXPORTER_POD
    ],
    "PodCPUThrottledByAncestor": [
        FREE, Pod(periods=10, throttled=8, lost=0.4, limit=0.5), RECOMMENDED, EXPORTER_POD
    ],
    "CPULimitDrift": [DRIFTED, EXPORTER_POD],
    "CPULimitDrift: no limit": [DRIFTED.but(limit=None), EXPORTER_POD],
    "CPULimitDrift: no limit in the spec": [DRIFTED.but(spec_limit=None), EXPORTER_POD],
    "KernelCFSQuotaBug": [kernel("node-1"), kernel("node-2"), ALIVE],
    "GuaranteedPodNotPinned": [
        Container(qos="Guaranteed", request=2, isolation="eligible"),
        Raw("cgroup_node_cpu_manager_info", 1, {"policy": "static"}),
        EXPORTER_POD,
    ],
    "ExclusiveCPUThrottled": [
        Container(periods=10, throttled=0.5, lost=0.02, usage=1.9, limit=2, isolation="exclusive"), EXPORTER_POD
    ],
    "ExclusiveCPUShared": [Container(isolation="exclusive", exclusive=0, cpus=2), EXPORTER_POD],
    "CPUContention": [Container(usage=0.5, request=0.25, stalled=0.4), EXPORTER_POD],
    "ThrottleExporterDown": [Raw("up", 0), ALIVE],
    "ThrottleExporterDown: no target": [Raw("up", 1, target=Target(job="node-exporter"))],
    "ThrottleExporterStale": [Raw("throttle_exporter_snapshot_timestamp_seconds", "0+60x10 600x50"), EXPORTER_POD],
    "ThrottleExporterPodsUnmapped": [Raw("throttle_exporter_cgroups", 2, {"state": "unmapped"}), ALIVE],
    "ThrottleExporterErrors": [Raw("throttle_exporter_errors_total", "0+1x60", FAILURE), EXPORTER_POD],
    "ThrottleExporterNodeUncovered": [UNCOVERED, ALIVE],
    "ThrottleExporterLabelsLost": [RELABELLED, ALIVE],
}  # fmt: skip
NO_TARGET = "ThrottleExporterDown: no target"
"""Its rule looks at all clusters at once."""


def name_of(case: str) -> str:
    return case.partition(":")[0]


def in_a_cluster(number: int, sources: Iterable[Source]) -> Iterable[Source]:
    """Where it has one."""
    for source in sources:
        target = source.target
        yield source if target.cluster is None else replace(source, target=replace(target, cluster=f"east{number}"))


@cache
def said() -> Mapping[str, Mapping[str, str]]:
    """The texts of each case, as if its cluster was called east."""
    found = {}
    with tempfile.TemporaryDirectory() as workspace:
        for cases in ([NO_TARGET], [case for case in CASES if case != NO_TARGET]):
            sources = [
                one
                for number, case in enumerate(cases)
                for one in in_a_cluster(number, [*CASES[case], *pods_use(CASES[case])])
            ]
            names = {name_of(case) for case in cases}
            made = texts(Path(workspace), selected(sources), names, MINUTE, {"cluster": OUTER})
            for number, case in enumerate(cases):
                cluster = "" if "external" in case or case == NO_TARGET else f"east{number}"
                [found[case]] = [
                    {key: text.replace(f"east{number}", "east") for key, text in annotations.items()}
                    for labels, annotations in made
                    if labels["alertname"] == name_of(case) and labels.get("cluster", "") == cluster
                ]
    return found


@pytest.mark.golden
def test_texts_are_those_of_the_document(generated: Generated) -> None:
    keys = ("summary", "description", "command", "dashboard_url")
    ordered = {case: {key: said()[case][key] for key in keys} for case in CASES}
    generated(DOCUMENT, HEAD + yaml.safe_dump(ordered, sort_keys=False, width=115, allow_unicode=True))


@pytest.mark.parametrize("case", CASES)
def test_it_has_a_runbook_and_no_hole(case: str) -> None:
    told = said()[case]
    assert told["runbook_url"] == f"{RUNBOOKS}/{name_of(case)}.md"
    assert not re.search(r"<no value>|<error|%!|NaN|\{\{|  ", "\n".join(told.values()))


@pytest.mark.parametrize("case", [case for case in CASES if "Throttled" in case and "little" not in case])
def test_an_alert_about_throttling_says_how_much_in_each_measure(case: str) -> None:
    text = said()[case]["description"]
    wanted = ["hrottled time share", r"Throttled ratio: [\d.]+% of its CPU periods", r"[\d.]+ CPU-seconds per second"]
    if "Exclusive" not in case and "external" not in case:
        wanted.append(r"[Rr]ecommended limit(?: of app)?: 1.20 CPUs")
    assert [pattern for pattern in wanted if not re.search(pattern, text)] == []


def test_no_text_names_a_pod_that_is_gone() -> None:
    told = said()["WorkloadCPUThrottled: a pod that is gone"]
    assert "Lost now: 1.23 CPU-seconds per second" in told["description"]
    assert "Most is lost by pod web-5d8f-abcde on node" in told["description"]
    assert told["command"].endswith("explain shop/web-5d8f-abcde")


def test_no_text_reads_a_whole_metric() -> None:
    """It is made anew at each evaluation for each alert: a division by all pods took most of the rules' time."""
    asked = [
        name
        for rule in alerts().values()
        for text in rule["annotations"].values()
        for query in re.findall(r'printf "([^"]*=%q[^"]*)"', text)
        for name in re.findall(r"\b(?:\w+:)?(?:cgroup|throttle)_\w+(?::\w+)?(?![\w:{])", query)
    ]
    assert asked == []


def test_every_alert_has_a_case() -> None:
    assert {name_of(case) for case in CASES} == set(alerts())
