"""Each alert that is not about a workload: what it fires for, from when to when, and what only looks like it.

All scenes are one run of promtool, each in a cluster of its own. Slower groups are evaluated at their own interval, so
that a rule of five minutes fires up to five minutes late. What ends in a scene ends at minute 30.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.rules.scenario import ALIVE, NODE_1, OFF, Container, Labels, Pod, Raw, Source, Target, pods_use, selected
from tests.rules.timeline import answers, stretches

MINUTES = 62
FIRING = 'ALERTS{alertstate="firing",alertname!~"WorkloadCPUThrottled.*"}'
NODE = {"node": "node-1"}
POD = {**NODE, "namespace": "shop", "pod": "web-5d8f-abcde", "workload_kind": "Deployment", "workload": "web"}
CONTAINER = {**POD, "container": "app"}
INSTANCE = {**NODE, "instance": "10.0.0.1:9843"}
OTHER_JOB, NODE_2 = Target(job="other"), Target(node="node-2")


def alert(name: str, severity: str, **labels: str) -> Labels:
    return {"alertname": name, "severity": severity, **labels}


ANCESTOR = alert("PodCPUThrottledByAncestor", "info", **POD)
DRIFT = alert("CPULimitDrift", "warning", **CONTAINER)
KERNEL = alert("KernelCFSQuotaBug", "warning", release="4.19.10")
NOT_PINNED = alert("GuaranteedPodNotPinned", "warning", **CONTAINER)
OWNER_THROTTLED = alert("ExclusiveCPUThrottled", "warning", **CONTAINER)
SHARED = alert("ExclusiveCPUShared", "warning", **CONTAINER)
CONTENTION = alert("CPUContention", "warning", **CONTAINER)
EVIDENCE = alert("PodCPUThrottled", "info", **POD)
BELOW = alert("CPUThrottledBelowLimit", "info", **CONTAINER)
STALE = alert("ThrottleExporterStale", "warning", **INSTANCE)
UNMAPPED = alert("ThrottleExporterPodsUnmapped", "warning", **INSTANCE)
ERRORS = alert("ThrottleExporterErrors", "warning", stage="read", reason="permission", **INSTANCE)
UNCOVERED = alert("ThrottleExporterNodeUncovered", "warning", node="node-2")


def lost(what: str) -> Labels:
    return alert("ThrottleExporterLabelsLost", "warning", lost=what, job="kube-throttle-exporter")


def down(job: str = "kube-throttle-exporter") -> Labels:
    return alert("ThrottleExporterDown", "warning", job=job, node="node-1", instance="10.0.0.2:9843")


def ends(per_second: float) -> str:
    """A counter that does not grow from minute 30 on."""
    return f"0+{per_second * 60:g}x30 {per_second * 60 * 30:g}x40"


@dataclass(frozen=True)
class Scene:
    sources: list[Source]
    alert: Labels | None = None
    minutes: tuple[int, int] | None = None
    """The first minute in which it fires, and the first in which it does not any more; none where it goes on."""


def fires(one: Labels, sources: list[Source], begin: int, end: int = MINUTES) -> Scene:
    return Scene(sources, one, (begin, end))


def silent(*sources: Source) -> Scene:
    return Scene(list(sources))


# ---- above the container ----

FREE = Container(usage=0.5, quota_state="none")
POD_OUT = Pod(periods=10, throttled=8, lost=0.4, limit=0.5)
# Kubernetes gives a pod the sum of its containers' limits. With one container that is one limit in two groups, and the
# kernel books what it takes to either.
SOLE = Container(periods=10, throttled=0, lost=0, usage=0.4, limit=0.4, spec_limit=0.4)
SAME_LIMIT = Pod(periods=10, throttled=8, lost=0.6, limit=0.4)
OWN = FREE.but(periods=10, throttled=1, lost=0.05, quota_state="set")
LIMITED = FREE.but(periods=10, throttled=1, lost=0.03, quota_state="set", limit=0.6)
SIDECAR = FREE.but(container="proxy", local_lost=0.2)
ABOVE = {
    "pod out of quota, containers without": fires(ANCESTOR, [FREE, POD_OUT], 20),
    "pod out of quota until 30": fires(ANCESTOR, [FREE, POD_OUT.but(lost=ends(0.4))], 20, 35),
    "pod with less than its containers' limits": fires(ANCESTOR, [LIMITED, POD_OUT], 20),
    "one container without a limit": fires(ANCESTOR, [FREE, LIMITED.but(container="proxy", limit=0.5), POD_OUT], 20),
    "limits are not told": fires(ANCESTOR, [FREE.but(quota_state=None), POD_OUT.but(limit=None)], 20),
    "90 ms of every second": silent(FREE, POD_OUT.but(lost=0.09)),
    "pod's quota, muted": silent(FREE, POD_OUT.but(threshold=OFF)),
    "its container's limit": silent(SOLE, SAME_LIMIT),
    "its containers' limits": silent(SOLE, SOLE.but(container="proxy"), SAME_LIMIT.but(limit=0.8)),
    "a quota above such a pod": fires(ANCESTOR, [SOLE.but(local_lost=0.3), SAME_LIMIT.but(throttled=0, lost=0)], 20),
    "what the pod itself lost": silent(SOLE.but(local_lost=0.3), SAME_LIMIT.but(lost=0.3)),
    "110 ms to any ancestor": fires(ANCESTOR, [FREE.but(local_lost=0.11)], 25),
    "90 ms to any ancestor": silent(FREE.but(local_lost=0.09)),
    "own throttling is taken off, 120 ms": fires(ANCESTOR, [OWN.but(local_lost=0.17)], 25),
    "own throttling is taken off, 90 ms": silent(OWN.but(local_lost=0.14)),
    "an ancestor's quota, muted": silent(FREE.but(local_lost=0.2), Pod(threshold=OFF)),
    "one pod is one alert": fires(
        ANCESTOR, [FREE.but(local_lost=0.3), SIDECAR, SIDECAR.but(target=OTHER_JOB), POD_OUT], 20
    ),
}  # fmt: skip

# ---- drift and the kernel ----

DRIFTED = Container(usage=0.1, drift=1, limit=2, spec_limit=0.5)


def kernel(bug: str, release: str = "4.19.10", node: str = "node-1") -> Raw:
    return Raw("cgroup_node_kernel_info", 1, {"release": release, "cfs_quota_bug": bug}, Target(node=node))


HOST = {
    "drift": fires(DRIFT, [DRIFTED], 15),
    "drift until 30": fires(DRIFT, [DRIFTED.but(drift="1x29 0x40")], 15, 30),
    "drift, scraped twice": fires(DRIFT, [DRIFTED, DRIFTED.but(target=OTHER_JOB)], 15),
    "no drift": silent(DRIFTED.but(drift=0)),
    "drift unknown": silent(DRIFTED.but(drift=None)),
    "drift, muted": silent(DRIFTED, Pod(threshold=OFF)),
    "a resize that takes 13 minutes": silent(DRIFTED.but(drift="0x20 1x13 0x40")),
    "two nodes with the bug": fires(
        KERNEL, [kernel("affected"), kernel("affected", node="node-2"), kernel("fixed", "6.1.0", "node-3")], 15
    ),
    "upgraded at 30": fires(KERNEL, [replace(kernel("affected"), values="1x29 stale")], 15, 30),
    "fixed kernel": silent(kernel("fixed")),
    "unknown kernel": silent(kernel("unknown")),
}

# ---- isolation ----

ELIGIBLE = Container(qos="Guaranteed", usage=1.5, request=2, isolation="eligible")
OWNER = Container(qos="Guaranteed", periods=10, throttled=0.5, lost=0.02, usage=1.9, limit=2, isolation="exclusive")
INVADED = Container(qos="Guaranteed", usage=1.2, isolation="exclusive", exclusive=0, cpus=2)
WAITING = Container(usage=0.5, request=0.25, stalled=0.4)


def policy(name: str, target: Target = NODE_1) -> Raw:
    return Raw("cgroup_node_cpu_manager_info", 1, {"policy": name}, target)


def pinned(cpus: int) -> Raw:
    return Raw("cgroup_node_cpus", cpus, {"state": "exclusive"})


STATIC = policy("static")
ISOLATION = {
    "eligible where the node pins": fires(NOT_PINNED, [ELIGIBLE, STATIC], 15),
    "eligible, scraped twice": fires(NOT_PINNED, [ELIGIBLE, ELIGIBLE.but(target=OTHER_JOB), STATIC], 15),
    "eligible beside a pinned neighbour": fires(NOT_PINNED, [ELIGIBLE, pinned(2)], 15),
    "eligible until its pod is deleted at 30": fires(
        NOT_PINNED, [ELIGIBLE, replace(STATIC, values="1x29 stale")], 15, 30
    ),
    "the node pins nobody": silent(ELIGIBLE, policy("none")),
    "nobody is pinned": silent(ELIGIBLE, pinned(0)),
    "nothing known of the node": silent(ELIGIBLE),
    "pinned": silent(ELIGIBLE.but(isolation="exclusive"), STATIC),
    "never promised": silent(ELIGIBLE.but(isolation="shared"), STATIC),
    "another node pins": silent(ELIGIBLE, policy("static", NODE_2)),
    "eligible, muted": silent(ELIGIBLE, STATIC, Pod(threshold=OFF)),
    "a quota on exclusive CPUs": fires(OWNER_THROTTLED, [OWNER], 15),
    "a quota on exclusive CPUs until 30": fires(OWNER_THROTTLED, [OWNER.but(lost=ends(0.02))], 15, 35),
    "owner, scraped twice": fires(OWNER_THROTTLED, [OWNER, OWNER.but(target=OTHER_JOB)], 15),
    "owner loses 9 ms": silent(OWNER.but(lost=0.009)),
    "throttled, CPUs not its own": silent(OWNER.but(isolation="eligible")),
    "throttled, isolation unknown": silent(OWNER.but(isolation=None)),
    "owner, muted": silent(OWNER, Pod(threshold=OFF)),
    "a neighbour on exclusive CPUs": fires(SHARED, [INVADED], 10),
    "a neighbour until 30": fires(SHARED, [INVADED.but(exclusive="0x29 1x40")], 10, 30),
    "invaded, scraped twice": fires(SHARED, [INVADED, INVADED.but(target=OTHER_JOB)], 10),
    "alone there": silent(INVADED.but(exclusive=1)),
    "exclusive unknown": silent(INVADED.but(exclusive=None)),
    "never placed": silent(INVADED.but(isolation="eligible")),
    "shared by right": silent(INVADED.but(isolation="shared")),
    "invaded, muted": silent(INVADED, Pod(threshold=OFF)),
    "8 minutes are no invasion": silent(INVADED.but(exclusive="1x20 0x8 1x40")),
    "waiting": fires(CONTENTION, [WAITING], 20),
    # The rate is below its threshold from minute 34 at the latest; kept for 15 minutes against flapping.
    "waiting until 30": fires(CONTENTION, [WAITING.but(stalled=ends(0.4))], 20, 50),
    "waiting, scraped twice": fires(CONTENTION, [WAITING, WAITING.but(target=OTHER_JOB)], 20),
    "waiting for 24 % of the time": silent(WAITING.but(stalled=0.24)),
    "no pressure counters": silent(WAITING.but(stalled=None)),
    "its own quota explains it": silent(WAITING.but(periods=10, throttled=1, lost=0.06)),
    "the pod's quota explains it": silent(WAITING, Pod(periods=10, throttled=1, lost=0.06)),
    "an ancestor's quota explains it": silent(WAITING.but(local_lost=0.06)),
    "it asked for nothing": silent(WAITING.but(qos="BestEffort")),
    "waiting, muted": silent(WAITING, Pod(threshold=OFF)),
    "a little throttling hides nothing": fires(
        CONTENTION, [WAITING.but(periods=10, throttled=1, lost=0.04), Pod(periods=10, throttled=1, lost=0.04)], 20
    ),
    "a little above hides nothing": fires(CONTENTION, [WAITING.but(local_lost=0.04)], 20),
}

# ---- evidence ----

# The worked example of docs/numbers.md: one thread that always wants to run, under 40 ms of every 100 ms.
STUCK = Container(periods=10, throttled=10, lost=0.6, usage=0.4, limit=0.4)
BURSTY = Container(periods=5, throttled=1, lost=0.09, usage=0.2, limit=1)
PODS = {
    "a throttled pod": fires(EVIDENCE, [STUCK], 10),
    "a throttled pod until 30": fires(EVIDENCE, [STUCK.but(lost=ends(0.6))], 10, 35),
    "a throttled pod that is gone at 30": fires(
        EVIDENCE, [STUCK.but(lost="0+36x29 stale", usage="0+24x29 stale", periods="0+600x29 stale")], 10, 35
    ),
    "a throttled pod, muted": silent(STUCK, Pod(threshold=OFF)),
    "9.9 % of a pod's run time": silent(STUCK.but(lost=0.044)),
}
BELOW_LIMIT = {
    "the average explains nothing": fires(BELOW, [BURSTY], 20),
    "until 30": fires(BELOW, [BURSTY.but(lost=ends(0.1))], 20, 35),
    "below its limit, muted": silent(BURSTY, Pod(threshold=OFF)),
    "9.9 % of its run time": silent(BURSTY.but(lost=0.022)),
    "uses 51 % of the limit": silent(BURSTY.but(usage=0.51)),
    "no limit": silent(BURSTY.but(limit=None)),
}

# ---- the exporter itself; promtool's clock starts at 0, and so do these timestamps ----

TAKEN = "throttle_exporter_snapshot_timestamp_seconds"
EVERY_3 = " ".join(str(minute // 3) for minute in range(27))
FAILURE = {"stage": "read", "reason": "permission"}
MAPPED = Container(usage=0.1)


def up(values: str | float, job: str = "kube-throttle-exporter") -> Raw:
    return Raw("up", values, target=Target(instance="10.0.0.2:9843", job=job))


def built(values: str) -> Raw:
    return Raw("throttle_exporter_build_info", values, target=Target(instance="10.0.0.2:9843", job="cgroups"))


def cgroups(state: str, values: str | float) -> Raw:
    return Raw("throttle_exporter_cgroups", values, {"state": state})


def errors(values: str) -> Raw:
    return Raw("throttle_exporter_errors_total", values, FAILURE)


def node(name: str, values: str | float = 1, **labels: str) -> Raw:
    target = Target(node=name, instance="ksm", job="ksm")
    return Raw("kube_node_info", values, {"os_image": "Debian", **labels}, target)


EXPORTER = {
    "does not answer": fires(down(), [up(0)], 10),
    "does not answer until 30": fires(down(), [up("0x29 1x40")], 10, 30),
    "a node that restarts in 8 minutes": silent(up("1x30 0x8 1x40")),
    "another's job": silent(up(0, "node-exporter")),
    "job of a PodMonitor": fires(down("monitoring/throttle-exporter"), [up(0, "monitoring/throttle-exporter")], 10),
    "job of another release": fires(down("lab-kube-throttle-exporter"), [up(0, "lab-kube-throttle-exporter")], 10),
    "a job of any name answers": silent(up(1, "cgroups"), built("1x70")),
    "a job of any name is down": fires(down("cgroups"), [up("1x9 0x60", "cgroups"), built("1x9 stale")], 20),
    "does not grow from 10": fires(STALE, [Raw(TAKEN, "0+60x10 600x60")], 20),
    "does not grow from 10 to 30": fires(STALE, [Raw(TAKEN, "0+60x10 600x19 1860+60x40")], 20, 31),
    "fresh": silent(Raw(TAKEN, "0+60x80")),
    "stood still for five minutes": silent(Raw(TAKEN, "0+60x24 1440x5 1800+60x60")),
    "the clock is ahead": silent(Raw(TAKEN, f"{MINUTES * 60 - 50}x80")),
    "the clock is 600 s behind": silent(Raw(TAKEN, "-600+60x80")),
    "containers without a name": fires(UNMAPPED, [cgroups("unmapped", 2), cgroups("mapped", 30), MAPPED], 15),
    "without a name until 30": fires(UNMAPPED, [cgroups("unmapped", "2x29 0x40")], 15, 30),
    "all have a name": silent(cgroups("unmapped", 0), cgroups("mapped", 30), cgroups("pending", 2), MAPPED),
    "without a name for 13 minutes": silent(cgroups("unmapped", "0x20 2x13 0x40")),
    "an error every 3 minutes": fires(ERRORS, [errors(EVERY_3 + " 9x40")], 30, 35),
    "an error every minute": fires(ERRORS, [errors("0+1x80")], 20),
    "an error every 6 minutes": silent(errors("0x5 1x5 2x5 3x5 4x5 5x5 6x5 7x5 8x5 9x20")),
    "a burst of failures": silent(errors("0x20 0+20x5 100x40")),
    "a node without an exporter": fires(UNCOVERED, [node("node-1"), node("node-2")], 15),
    "without an exporter until 30": fires(UNCOVERED, [node("node-2", "1x29 stale")], 15, 30),
    "nodes that need none": silent(
        node("node-1"), node("fargate-ip-10-0-0-9"), node("win-1", os_image="Windows Server 2022")
    ),
    "rows without names of workloads": fires(lost("workload"), [cgroups("mapped", 3)], 15),
    "names again from 30 on": fires(
        lost("workload"),
        [cgroups("mapped", 3), Raw("cgroup_pod_info", "_x29 1x40", {"pod": "x", "namespace": "shop", "workload": "x"})],
        15, 30,
    ),
    "scraped with honorLabels from 30 on": fires(
        lost("pod"), [Raw("cgroup_pod_cpu_usage_seconds_total", "1x29 stale", {"exported_pod": "web-1"})], 15, 30
    ),
    "a label node from 30 on": fires(
        lost("node"), [Raw("throttle_exporter_build_info", "1x29 stale", target=Target(node=""))], 15, 30
    ),
    "no source of names": silent(cgroups("mapped", 0), Pod(usage=0.3)),
}  # fmt: skip

SCENES: Mapping[str, Scene] = {**ABOVE, **HOST, **ISOLATION, **PODS, **BELOW_LIMIT, **EXPORTER}


@cache
def fired() -> Mapping[str, Mapping[tuple[tuple[str, str], ...], list[int]]]:
    """Minutes by scene and by an alert's labels, but for its cluster."""
    series: dict[str, str] = {}
    for number, scene in enumerate(SCENES.values()):
        made = [ALIVE, *scene.sources, *pods_use(scene.sources)]
        series |= selected(replace(one, target=replace(one.target, cluster=str(number))) for one in made)
    found: dict[str, dict[tuple[tuple[str, str], ...], list[int]]] = {name: defaultdict(list) for name in SCENES}
    names = list(SCENES)
    with tempfile.TemporaryDirectory() as workspace:
        for minute, labels, _ in answers(Path(workspace), series, FIRING, range(MINUTES), 60):
            alerts = found[names[int(labels.pop("cluster"))]]
            del labels["__name__"], labels["alertstate"]
            alerts[tuple(sorted(labels.items()))].append(minute)
    return found


def test_a_prometheus_that_has_lost_all_targets_says_so(tmp_path: Path) -> None:
    elsewhere = Raw("up", 1, target=Target(job="node-exporter"))
    found = answers(tmp_path, selected([elsewhere]), 'ALERTS{alertstate="firing"}', [30], 60)
    assert [labels["alertname"] for _, labels, _ in found] == ["ThrottleExporterDown"]


@pytest.mark.parametrize("name", SCENES)
def test_scene(name: str) -> None:
    scene, expected = SCENES[name], dict[Any, Any]()
    if scene.alert is not None:
        expected = {tuple(sorted(scene.alert.items())): [scene.minutes]}
    told = {labels: stretches(minutes) for labels, minutes in fired()[name].items()}
    if name not in PODS:  # what else is throttled has it too
        told = {labels: minutes for labels, minutes in told.items() if ("alertname", "PodCPUThrottled") not in labels}
    assert told == expected
