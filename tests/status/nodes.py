"""Nodes to look at, each as the report that the page is made of."""

from __future__ import annotations

import math
from dataclasses import replace

from exporter.analysis.findings import Finding, Severity, find
from exporter.cpulist import cpu_list
from exporter.model import CgroupName, CgroupRow, Cpuset, CpuTimes, Interval, NodeRow, Overlap, Snapshot
from exporter.report.documents import Report
from exporter.report.history import MINUTES, MinuteHistory
from exporter.report.schema import Error, Exporter, Source
from exporter.web.status.rendering import MAX_FULL, MAX_NAMED
from tests.report.node import HEALTH
from tests.support import snapshots as make

MANY = 750
WORKLOADS = 60
CPUS = cpu_list("0-63", "")
OWNERS = 6
POOL = cpu_list("12-63", "")
HOSTILE = "<script>alert(1)</script>\"'&\u202ebackwards\x00\x1b[31m"

HEALTHY: Exporter = {
    **HEALTH,
    "node": "worker-3",
    "samples": 4711,
    "sources": [
        Source(name="kubelet", up=True, active=True, last_success=1_799_999_990.0, last_error=""),
        Source(name="apiserver", up=None, active=False, last_success=None, last_error=""),
    ],
    "errors": [],
}


def of(snapshot: Snapshot, health: Exporter = HEALTHY) -> Report:
    """Of a snapshot, with what is to be found in it."""
    return Report(snapshot, find(snapshot), {**health, "cgroups": dict(snapshot.cgroups)})


def empty() -> Report:
    """A node whose kubelet runs nothing."""
    return of(make.snapshot())


def starting() -> Report:
    """Nothing was read yet, and nobody answers."""
    silent = Source(name="kubelet", up=False, active=False, last_success=None, last_error="connection refused")
    bare = replace(make.snapshot(), node=NodeRow("v2", None, None, "unknown", None, None))
    return of(bare, {**HEALTHY, "age_seconds": None, "samples": 0, "sources": [silent]})


def unmapped() -> Report:
    """Two pods whose names no source knows; samples are late, and things went wrong."""
    rows = [
        make.container(name, limit=0.5)._replace(
            namespace="", pod=f"5c3e1b09-7a1d-4c0e-9d56-b9ff2359{name}", container=f"9d56b9ff{name}",
            identity=None, pod_identity=None,
        )
        for name in ("0001", "0002")
    ]  # fmt: skip
    failing = Source(
        name="kubelet", up=False, active=False, last_success=1_799_990_000.0, last_error="401 Unauthorized"
    )
    error = Error(stage="pods", reason="unauthorized", count=17)
    health: Exporter = {**HEALTHY, "healthy": False, "age_seconds": 34.0, "sources": [failing], "errors": [error]}
    return of(replace(make.snapshot(*rows), cgroups={"mapped": 0, "unmapped": 2, "sandbox": 2}), health)


def finding(
    subject: CgroupName | None, name: str = "throttled", severity: Severity = "warning", advice: str = "a"
) -> Finding:
    return make.finding(name, subject, severity, summary="why", advice=advice)


def findings() -> Report:
    """A finding of more containers than are named, one of as many as have their own advice, notes, and the node's.

    One container is gone; a source that fails is replaced by the next.
    """
    containers = [make.named(f"c{number}") for number in range(MAX_FULL + MAX_NAMED + 10)]
    gone = make.container("gone", live=False, limits=None, window=None, deltas=None)
    snapshot = make.snapshot(*(make.container(name.pod) for name in containers), gone)
    found = [
        *(finding(name) for name in (*containers, make.named("gone"))),
        *(finding(name, "contention", advice=name.pod) for name in containers[: MAX_FULL + 1]),
        *(finding(containers[0], name, "info") for name in ("no_quota", "numa_spread")),
        finding(None, "kernel_bug"),
    ]
    sources = [
        Source(name="kubelet", up=False, active=False, last_success=None, last_error="certificate: self-signed"),
        Source(name="apiserver", up=True, active=True, last_success=1_799_999_990.0, last_error=""),
    ]
    return Report(snapshot, found, {**HEALTHY, "sources": sources})


def hostile() -> Report:
    """Every text that comes from elsewhere is somebody's attempt; one name is as long as Kubernetes allows."""
    evil = make.container("evil", limit=1.0)._replace(
        namespace=HOSTILE, pod=HOSTILE, container="\udc80half", window=make.window(0.9),
        deltas=make.deltas(usage_seconds=58.0, throttled_seconds=50.0, local_throttled_seconds=50.0),
        intervals=make.intervals(1.0, 0.9),
    )  # fmt: skip
    long = make.container("long", limit=1.0)._replace(namespace="n" * 63, pod="p" * 253, container="c" * 63)
    owner = CgroupName(HOSTILE, HOSTILE, "\udc80half")
    node = make.node(
        kernel_release=HOSTILE,
        owners={7: owner},
        shared_cpus=make.CPUS - {7},
        overlaps=(Overlap(owner, CgroupName("n" * 63, "p" * 253, "c" * 63), frozenset({7}), 40.0),),
    )
    source = Source(name=HOSTILE, up=False, active=False, last_success=None, last_error=HOSTILE)
    error = Error(stage=HOSTILE, reason=HOSTILE, count=1)
    health: Exporter = {**HEALTHY, "node": HOSTILE, "sources": [source], "errors": [error]}
    return of(make.snapshot(evil, long, on=node), health)


def many(count: int = MANY) -> Report:
    """64 CPUs on two NUMA nodes; of ``count`` containers, six own two CPUs each and every twelfth is throttled."""
    rows = [_one_of_many(number) for number in range(count)]
    owners = {
        cpu: CgroupName(row.namespace, row.pod, row.container or "")
        for row in rows[:OWNERS]
        for cpu in (row.cpuset.cpus if row.cpuset else ())
    }
    node = make.node(
        online_cpus=CPUS,
        numa_node={cpu: cpu % 2 for cpu in CPUS},
        kubelet=replace(make.static(), reserved_system_cpus="62-63"),
        owners=owners,
        shared_cpus=CPUS - frozenset(owners),
        cpu_times={cpu: _times(cpu, owned=cpu in owners) for cpu in CPUS},
    )
    snapshot = replace(make.snapshot(*rows, on=node), cgroups={"mapped": count, "unmapped": 0, "sandbox": count // 3})
    return Report(snapshot, find(snapshot), HEALTHY, six_hours(snapshot))


def six_hours(snapshot: Snapshot, calm_minutes: int = 200) -> MinuteHistory:
    """What the snapshot shows, since ``calm_minutes`` of the last six hours; nothing was throttled before."""
    calm = [row._replace(window=row.window and make.window(0.0), deltas=make.deltas()) for row in snapshot.containers]
    history = MinuteHistory()
    for minute in range(MINUTES):
        rows = tuple(calm) if minute < calm_minutes else snapshot.containers
        taken_at = snapshot.taken_at - 60.0 * (MINUTES - 1 - minute)
        history.record(replace(snapshot, containers=rows, taken_at=taken_at))
    return history


def _times(cpu: int, *, owned: bool) -> CpuTimes:
    return make.busy(0.11 if owned else 0.35 + 0.3 * math.sin(cpu), irq_seconds=0.6)


def _one_of_many(number: int) -> CgroupRow:
    """The same at every run: what it does follows from its number."""
    if number < OWNERS:
        return _named(make.pinned(f"solver-{number}", f"{2 * number}-{2 * number + 1}"), number)
    limit = None if number % 3 == 0 else 0.5 * (1 + number % 4)
    row = make.container(f"app-{number}", limit=limit)._replace(cpuset=Cpuset(POOL, frozenset({0, 1}), "member"))
    if number % 12 == 1 and limit is not None:
        ratio = 0.3 + (number % 60) / 100
        lost = make.deltas(
            usage_seconds=6.0 * limit, throttled_seconds=60 * ratio, local_throttled_seconds=60 * ratio,
            waiting_seconds=60 * ratio,
        )  # fmt: skip
        row = row._replace(
            window=make.window(ratio), deltas=lost, intervals=_wave(7 * number, ratio, limit),
            threads=4 + number % 60,
        )  # fmt: skip
    elif limit is not None:
        row = row._replace(intervals=_wave(number, 0.02, limit))
    return _named(row, number)


def _wave(start: int, ratio: float, limit: float) -> tuple[Interval, ...]:
    """A minute of ups and downs around ``ratio``."""
    waves = [ratio * (1 + 0.6 * math.sin(second / (4 + ratio * 9))) for second in range(start, start + 60)]
    return tuple(Interval(1.0, 10, min(10, round(10 * wave)), 0.1 * limit * (1 + wave)) for wave in waves)


def _named(row: CgroupRow, number: int) -> CgroupRow:
    workload = number * WORKLOADS // MANY
    assert row.pod_identity is not None
    return row._replace(
        namespace=f"team-{workload % 20:02}", pod=f"{row.pod}-7d9f8b6c5d-x{number // 3:03}", container=f"c{number % 3}",
        pod_identity=replace(row.pod_identity, workload_kind="Deployment", workload=f"service-{workload}"),
    )  # fmt: skip
