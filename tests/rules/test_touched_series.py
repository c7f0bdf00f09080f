"""What all rules read, counted on a model of a node's page: a new rule cannot raise it unseen."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from dashboards.rules import PLAIN_RULES
from tests.monitoring.scale import CONTAINERS, PODS, Row, Template, node_rows, selectors
from tests.rules.timeline import answers

NODES = 5
"""200 pods: two are throttled badly, one in five of those with a limit a little."""
MINUTES = 12
MEASURED = 11.7
"""By ``tests.monitoring.scale`` on 100 nodes in a real Prometheus; docs/scale.md."""
MOST = 12.0

# Families of a real page, of containers and pods with a limit and of all. What no rule reads is left out.
OF_LIMITED_CONTAINERS = (
    "cpu_periods_total cpu_throttled_periods_total cpu_throttled_seconds_total cpu_throttled_ratio cpu_limit_cores"
)
OF_CONTAINERS = (
    "cpu_throttled_local_seconds_total cpu_usage_seconds_total cpu_pressure_stalled_seconds_total cpuset_exclusive"
    " cpu_limit_drift"
)
OF_LIMITED_PODS = OF_LIMITED_CONTAINERS
OF_PODS = "cpu_usage_seconds_total"
OF_NODES = {
    'cgroup_node_kernel_info{release="6.8.0",cfs_quota_bug="fixed"}': 1,
    'cgroup_node_cpu_manager_info{policy="none"}': 1,
    **{f'cgroup_node_cpus{{state="{state}"}}': 1 for state in ("online", "exclusive", "shared", "reserved")},
    **{f'throttle_exporter_cgroups{{state="{state}"}}': 0 for state in ("mapped", "unmapped", "sandbox", "lingering")},
    "throttle_exporter_build_info{}": 1,
    "throttle_exporter_snapshot_timestamp_seconds{}": 1,
    'throttle_exporter_errors_total{stage="read",reason="eacces"}': 0,
    "up{}": 1,
}


def rows(kind: str, names: str) -> list[Row]:
    return [(f"cgroup_{kind}_{name}", "", 0.0) for name in names.split()]


def model() -> Template:
    """The page of a node as ``node_rows`` multiplies it."""
    containers: dict[bool, list[Row]] = {}
    pods: dict[bool, list[Row]] = {}
    for limited, state in ((True, "set"), (False, "none")):
        states: list[Row] = [
            ("cgroup_container_cpu_quota_state", f'state="{state}"', 1.0),
            ("cgroup_container_cpu_isolation", 'state="shared"', 1.0),
        ]
        containers[limited] = [
            *rows("container", OF_CONTAINERS),
            *(rows("container", OF_LIMITED_CONTAINERS) if limited else []),
            *states,
        ]
        pods[limited] = [
            *rows("pod", OF_PODS),
            *(rows("pod", OF_LIMITED_PODS) if limited else []),
            ("cgroup_pod_cpu_quota_state", f'state="{state}"', 1.0),
            ("cgroup_pod_info", 'pod_uid="uid",qos_class="Burstable",workload_kind="Deployment"', 1.0),
        ]
    return Template(containers, pods, "")


def series() -> dict[str, str]:
    made = model()
    found: dict[str, str] = {}
    for node in range(NODES):
        target = f'cluster="scale",node="node-{node}",instance="node-{node}:9843",job="kube-throttle-exporter"'
        for row, start, growth in node_rows(node, made):
            found[f"{row.strip().removesuffix('}')},{target}}}"] = f"{start:g}+{growth * 60:.6g}x{MINUTES}"
        for row, value in OF_NODES.items():
            found[f"{row.removesuffix('}')},{target}}}".replace("{,", "{")] = f"{value}x{MINUTES}"
    return found


def test_all_rules_read_at_most_12_series_a_minute_and_container(tmp_path: Path) -> None:
    reads: defaultdict[str, float] = defaultdict(float)
    for _, a_minute, selector in selectors(PLAIN_RULES):
        reads[selector] += a_minute
    query = " or ".join(
        f'label_replace(count(last_over_time({selector}[5m])) * {weight}, "of", "{number}", "", "")'
        for number, (selector, weight) in enumerate(reads.items())
    )
    found = answers(tmp_path, series(), query, [MINUTES], 60)
    touched = sum(value for _, _, value in found) / (NODES * PODS * CONTAINERS)

    assert touched <= MOST, touched
    # Calibration: the model finds what a real Prometheus found.
    assert abs(touched - MEASURED) < 0.1, touched
