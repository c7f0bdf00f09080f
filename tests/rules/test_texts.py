"""What people read of each alert: summary, description, command and links, kept in tests/golden/alerts.yaml."""

from pathlib import Path

import pytest
import yaml

from dashboards.rules import ROOT
from tests.dashboards.known import alerts
from tests.rules.scenario import EXPORTER_POD, RUNBOOKS, Container, Labels, Pod, Raw, Source, Target, check, text

GOLDEN = yaml.safe_load((ROOT / "tests" / "golden" / "alerts.yaml").read_text(encoding="utf-8"))

STUCK = Container(periods=10, throttled=10, lost=0.6, usage=0.4, limit=0.4)
FREE = Container(usage=0.5, quota_state="none")
DRIFTED = Container(usage=0.1, drift=1, limit=2, spec_limit=0.5)
AT_ITS_CONTAINER = {"namespace": "shop", "pod": "web-5d8f-abcde", "container": "app"}
KNOWN: list[Source] = [
    STUCK,
    Raw("cgroup_container_cpu_throttled_ratio_peak", 1, AT_ITS_CONTAINER),
    Raw("cgroup_container_cpu_recommended_limit_cores", 1.2, AT_ITS_CONTAINER),
    EXPORTER_POD,
]
UNCOVERED = Raw("kube_node_info", 1, {"os_image": "Debian"}, Target(node="node-2", instance="ksm", job="ksm"))
RELABELLED = Raw("cgroup_pod_cpu_usage_seconds_total", 1, {"namespace": "m", "pod": "x", "exported_pod": "web-1"})
ALIVE = Raw("throttle_exporter_build_info", 1)

EAST = {"cluster": "east"}
WORKLOAD = {"namespace": "shop", "workload_kind": "Deployment", "workload": "web"}
POD = {**EAST, **WORKLOAD, "node": "node-1", "pod": "web-5d8f-abcde"}
CONTAINER = {**POD, "container": "app"}
NODE = {**EAST, "node": "node-1"}
INSTANCE = {**NODE, "instance": "10.0.0.1:9843"}
JOB = {"job": "kube-throttle-exporter"}
FAILURE = {"stage": "read", "reason": "permission"}

CASES: dict[str, tuple[list[Source], Labels]] = {
    "WorkloadCPUThrottled": (KNOWN, {**EAST, **WORKLOAD}),
    # Without node, no command names a random exporter.
    "WorkloadCPUThrottled: little known": (
        [STUCK.but(target=Target(cluster=None, node="")), EXPORTER_POD],
        WORKLOAD,
    ),
    "WorkloadCPUThrottledSevere": (KNOWN, {**EAST, **WORKLOAD}),
    "PodCPUThrottled": ([STUCK, EXPORTER_POD], POD),
    "CPUThrottledBelowLimit": (
        [Container(periods=5, throttled=1, lost=0.09, usage=0.2, limit=1), EXPORTER_POD],
        CONTAINER,
    ),
    "PodCPUThrottledByAncestor": ([FREE, Pod(periods=10, throttled=8, lost=0.4, limit=0.5), EXPORTER_POD], POD),
    "CPULimitDrift": ([DRIFTED, EXPORTER_POD], CONTAINER),
    "CPULimitDrift: no limit": ([DRIFTED.but(limit=None), EXPORTER_POD], CONTAINER),
    "CPULimitDrift: no limit in the spec": ([DRIFTED.but(spec_limit=None), EXPORTER_POD], CONTAINER),
    "KernelCFSQuotaBug": (
        [
            Raw("cgroup_node_kernel_info", 1, {"release": "4.19.10", "cfs_quota_bug": "affected"}, Target(node=node))
            for node in ("node-1", "node-2")
        ],
        {**EAST, "release": "4.19.10"},
    ),
    "GuaranteedPodNotPinned": (
        [
            Container(qos="Guaranteed", request=2, isolation="eligible"),
            Raw("cgroup_node_cpu_manager_info", 1, {"policy": "static"}),
            EXPORTER_POD,
        ],
        CONTAINER,
    ),
    "ExclusiveCPUThrottled": (
        [
            Container(periods=10, throttled=0.5, lost=0.02, usage=1.9, limit=2, isolation="exclusive"),
            EXPORTER_POD,
        ],
        CONTAINER,
    ),
    "ExclusiveCPUShared": ([Container(isolation="exclusive", exclusive=0, cpus=2), EXPORTER_POD], CONTAINER),
    "CPUContention": ([Container(usage=0.5, request=0.25, stalled=0.4), EXPORTER_POD], CONTAINER),
    "ThrottleExporterDown": ([Raw("up", 0), ALIVE], {**INSTANCE, **JOB}),
    "ThrottleExporterDown: no target": ([Raw("up", 1, target=Target(job="node-exporter"))], {}),
    "ThrottleExporterStale": (
        [Raw("throttle_exporter_snapshot_timestamp_seconds", "0+60x10 600x50"), EXPORTER_POD],
        INSTANCE,
    ),
    "ThrottleExporterPodsUnmapped": ([Raw("throttle_exporter_cgroups", 2, {"state": "unmapped"}), ALIVE], INSTANCE),
    "ThrottleExporterErrors": (
        [Raw("throttle_exporter_errors_total", "0+1x60", FAILURE), EXPORTER_POD],
        {**INSTANCE, **FAILURE},
    ),
    "ThrottleExporterNodeUncovered": ([UNCOVERED, ALIVE], {**EAST, "node": "node-2"}),
    "ThrottleExporterLabelsLost": ([RELABELLED, ALIVE], {**EAST, **JOB, "lost": "pod"}),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_its_text(case: str, tmp_path: Path) -> None:
    sources, labels = CASES[case]
    name = case.partition(":")[0]
    severity = alerts()[name]["labels"]["severity"]
    texts = {**GOLDEN[case], "runbook_url": f"{RUNBOOKS}/{name}.md"}
    # The half hour of a workload's sums begins after the start.
    minute = 40 if name.startswith("Workload") else 30
    check(tmp_path, sources, alerts=[text({"alertname": name, "severity": severity, **labels}, minute, **texts)])


def test_every_case_has_its_text() -> None:
    assert set(CASES) == set(GOLDEN)
