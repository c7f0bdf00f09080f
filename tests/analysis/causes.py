"""Everything that can take a container's CPU, as a snapshot each, and what must be said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from exporter.cpulist import cpu_list
from exporter.identities import ContainerIdentity, KubeletConfig
from exporter.model import Ancestor, CgroupRow, CpuLimits, CpuManagerState, CpuTimes, NodeRow, Overlap, Snapshot
from tests.support import snapshots as make

Said = tuple[str, str]
"""Name and reason of a finding."""


@dataclass(frozen=True)
class Case:
    """One cause, and all that is found."""

    title: str
    snapshot: Snapshot
    findings: tuple[Said, ...]


def _throttled(limit: float = 2.0, *, usage: float = 0.4, stopped: float = 100.0, **changes: Any) -> CgroupRow:
    calm = make.container(
        limit=limit,
        window=make.window(0.8, periods=300),
        deltas=make.deltas(
            usage_seconds=60 * usage,
            throttled_seconds=stopped,
            local_throttled_seconds=stopped,
            waiting_seconds=min(stopped, 30.0),
        ),
        intervals=make.intervals(usage, 0.8),
    )
    row = calm._replace(**changes)
    return row._replace(recommendation=make.recommended(row, burst=0.26))


def _of(kind: str, row: CgroupRow) -> CgroupRow:
    """``row`` as the container of a pod that ``kind`` owns, so that commands change its template."""
    assert row.pod_identity is not None
    return row._replace(pod_identity=replace(row.pod_identity, workload_kind=kind, workload="owner"))


def _above(pod_limit: float | None, throttled: float, limit: float | None = 4.0) -> Snapshot:
    row = make.container(limit=limit, deltas=make.deltas(local_throttled_seconds=30.0, waiting_seconds=31.0))
    row = _of("StatefulSet" if limit else "CronJob", row)
    pod = make.pod(row, limit=pod_limit, deltas=make.deltas(throttled_seconds=60 * throttled / 2))
    return make.snapshot(row, pods=(pod._replace(window=make.window(throttled)) if pod_limit else pod,))


def _above_by_its_own_file() -> Snapshot:
    row = make.container(deltas=make.deltas(local_throttled_seconds=None, waiting_seconds=31.0))
    above = Ancestor(make.limits(1.0), make.deltas(throttled_seconds=30.0))
    return make.snapshot(row, on=make.node(ancestors={"kubepods/burstable": above, "kubepods": above}))


def on_cpu_0(name: str, usage: float, waiting: float | None = 0.0, **changes: Any) -> CgroupRow:
    """An unlimited container on CPU 0, with a request that fits."""
    grown = make.deltas(usage_seconds=usage, waiting_seconds=waiting)
    return make.container(name, cpus="0", request=1.0, deltas=grown)._replace(**changes)


def _full(*rows: CgroupRow) -> Snapshot:
    return make.snapshot(*rows, on=make.node(cpu_times={0: make.busy(1.0)}))


def eligible(**changes: Any) -> CgroupRow:
    """Guaranteed with two CPUs, on all eight."""
    row = make.pinned(cpuset=make.container().cpuset, isolation="eligible", exclusive=False)
    return row._replace(limits=make.limits(2.0), window=make.window(0.0), **changes)


def _identity() -> ContainerIdentity:
    identity = eligible().identity
    assert identity is not None
    return identity


def _static(**changes: Any) -> NodeRow:
    return make.node(kubelet=make.static(), **changes)


def checkpoint(policy: str = "static", **cpus: str) -> CpuManagerState:
    entries = {(f"uid-{pod}", "app"): cpu_list(text, "") for pod, text in cpus.items()}
    return CpuManagerState(policy, cpu_list("0-5", ""), entries)


def _pinned(on: NodeRow | None = None, **changes: Any) -> Snapshot:
    row = make.pinned(**changes)
    return make.snapshot(row, on=on or make.owning(row))


def _disturbed(**times: float) -> Snapshot:
    row = make.pinned()
    return make.snapshot(row, on=make.owning(row, {cpu: make.busy(0.5, **times) for cpu in make.CPUS}))


def _spread(cpus: str) -> Snapshot:
    row = make.pinned(cpus=cpus, numa_nodes=2)
    return make.snapshot(row, on=make.owning(row))


def _drifted(actual: float | None, wanted: float | None, *, pod: float | None = None) -> Snapshot:
    row = make.container(limit=wanted, pod_limit=pod, limits=make.limits(actual), limit_drift=True, window=None)
    return make.snapshot(make.with_spec(row, allocated_limit_cores=wanted))


def _not_enforced(limits: CpuLimits, effective: float = 8.0, **on: Any) -> Snapshot:
    row = make.container(limit=2.0, limits=limits, window=None, effective_limit_cores=effective)
    return make.snapshot(row, on=make.node(**on))


_OLD = make.node(kernel_release="4.18.20", cfs_quota_bug="affected")
_STOLEN = make.node(cpu_times={cpu: CpuTimes(60.0, 30.0, 6.0, 0.0) for cpu in make.CPUS})
_LITTLE = make.node(cpu_times={cpu: CpuTimes(60.0, 30.0, 1.2, 0.0) for cpu in make.CPUS})
_OVERLAPS = tuple(Overlap(make.named("owner"), make.named(f"n{at}"), cpu_list("7", ""), 40.0 + at) for at in range(7))
_LAX = KubeletConfig(cpu_manager_policy="none", cpu_cfs_quota=False)

CASES = (
    # Own quota
    Case("own quota, used up", make.snapshot(_throttled(usage=1.95)), (("throttled", ""),)),
    Case("64 threads, and a kubelet that resizes pods",
         make.snapshot(make.with_spec(_of("Deployment", _throttled(threads=64)), allocated_limit_cores=2.0)),
         (("throttled_below_limit", "threads"),)),
    Case("64 threads that use the limit up",
         make.snapshot(_of("DaemonSet", _throttled(usage=1.95, stopped=324.0, threads=64))), (("throttled", ""),)),
    Case("40 threads of which one runs",
         make.snapshot(_throttled(0.5, usage=0.49, stopped=27.0, threads=40)._replace(recommendation=None)),
         (("throttled", ""),)),
    Case("bursts of nobody knows how many threads", make.snapshot(_throttled(threads=None)),
         (("throttled_below_limit", "burst"),)),
    Case("a limit under one CPU", make.snapshot(_throttled(0.2, usage=0.04, stopped=20.0, threads=1)),
         (("throttled_below_limit", "below_one_cpu"),)),
    Case("a short period", make.snapshot(_throttled(0.5, usage=0.1, limits=make.limits(0.5, 0.01),
                                                    window=make.window(0.8, periods=3000))),
         (("throttled_below_limit", "short_period"),)),
    # An ancestor's quota
    Case("the pod's quota", _above(1.5, 0.9), (("ancestor_throttled", "pod"),)),
    Case("the pod's quota, of a container without one", _above(1.5, 0.9, limit=None), (("ancestor_throttled", "pod"),)),
    Case("a quota above the pod", _above(None, 0.9), (("ancestor_throttled", "above_pod"),)),
    Case("a quota above, and no pod to ask",
         replace(_above(None, 0.9), pods=()), (("ancestor_throttled", ""),)),
    Case("a quota above, during bursts",
         make.snapshot(_throttled(deltas=make.deltas(usage_seconds=24.0, throttled_seconds=20.0,
                                                     local_throttled_seconds=50.0, waiting_seconds=50.0))),
         (("ancestor_throttled", "above_pod"), ("throttled_below_limit", "ancestor"))),
    Case("a quota above the pod, on a kernel without cpu.stat.local", _above_by_its_own_file(),
         (("ancestor_throttled", "above_pod"),)),
    # Contention
    Case("a neighbour on the same CPU",
         _full(_of("ReplicaSet", on_cpu_0("web", 20.0, 38.0)), on_cpu_0("hog", 40.0, 0.0)),
         (("contention", "neighbours"),)),
    Case("a neighbour with a small request",
         _full(_of("ReplicaSet", on_cpu_0("web", 20.0, 38.0)),
               make.with_spec(on_cpu_0("hog", 40.0, 0.0), request_cores=0.05)),
         (("contention", "neighbours"), ("no_quota", "unbounded"))),
    Case("many that each use little",
         _full(_of("ReplicaSet", on_cpu_0("web", 10.0, 12.0)), *(on_cpu_0(f"n{at}", 8.0, 0.0) for at in range(6))),
         (("contention", "many"),)),
    Case("waiting beyond what throttling explains",
         make.snapshot(make.container(limit=2.0, deltas=make.deltas(usage_seconds=20.0, waiting_seconds=38.0,
                                                                    throttled_seconds=1.0,
                                                                    local_throttled_seconds=1.0))),
         (("contention", ""),)),
    Case("a neighbour, as v1 tells it", _full(on_cpu_0("web", 20.0, None), on_cpu_0("hog", 40.0, None)),
         (("cpu_saturated", "waiting_unknown"),)),
    Case("every CPU is full, and nobody waits", make.snapshot(make.container(deltas=make.deltas(waiting_seconds=0.0)),
                                            on=make.node(cpu_times=dict.fromkeys(make.CPUS, make.busy(0.99)))),
         (("cpu_saturated", ""),)),
    Case("a quota inside the container",
         make.snapshot(make.container(limit=4.0, deltas=make.deltas(nested_throttled_seconds=50.0,
                                                                    waiting_seconds=54.0))),
         (("nested_throttled", ""),)),
    Case("host processes on the same CPU", _full(on_cpu_0("web", 20.0, 38.0)), (("contention", "outside"),)),
    Case("its own threads", _full(on_cpu_0("web", 59.0, 50.0)), (("contention", "own_threads"),)),
    Case("waiting for nobody knows whom", make.snapshot(on_cpu_0("web", 20.0, 38.0), on=make.node(cpu_times={})),
         (("contention", ""),)),
    Case("an unlimited neighbour without a request",
         _full(on_cpu_0("hog", 50.0, 0.0, identity=make.container(request=None).identity), on_cpu_0("web", 2.0, 0.0)),
         (("no_quota", "unbounded"),)),
    Case("an unlimited neighbour", _full(on_cpu_0("hog", 50.0, 0.0, identity=make.container().identity),
                                         on_cpu_0("web", 2.0, 0.0)),
         (("no_quota", "unbounded"),)),
    Case("limits that are not enforced",
         _not_enforced(make.limits(None), kubelet=_LAX), (("limit_not_enforced", "kubelet"),)),
    Case("limits that are not enforced, under another quota",
         _not_enforced(make.limits(None), effective=3.0, kubelet=_LAX), (("limit_not_enforced", "kubelet"),)),
    Case("a kernel without CFS bandwidth", _not_enforced(CpuLimits("unsupported", weight=100)),
         (("limit_not_enforced", "no_cfs_bandwidth"),)),
    Case("no cpu controller", _not_enforced(CpuLimits("unsupported")),
         (("limit_not_enforced", "no_cpu_controller"),)),
    Case("real-time threads", make.snapshot(make.container(limit=0.2, deltas=make.deltas(usage_seconds=36.0))),
         (("limit_not_enforced", "real_time"),)),
    # Not pinned
    Case("the policy is none", make.snapshot(eligible()), (("eligible_not_pinned", "policy_none"),)),
    Case("started before the policy", make.snapshot(eligible(), on=_static()),
         (("eligible_not_pinned", "before_policy"),)),
    Case("CPUs that were lost at a restart",
         make.snapshot(eligible()._replace(identity=replace(_identity(), restart_count=1)), on=_static()),
         (("eligible_not_pinned", "lost"),)),
    Case("pod-level resources", make.snapshot(make.with_pod_spec(eligible(), limit_cores=2.0), on=_static()),
         (("eligible_not_pinned", "pod_level"),)),
    Case("no kubelet to ask", make.snapshot(eligible(), on=make.node(kubelet=None)), (("eligible_not_pinned", ""),)),
    Case("not a whole number",
         make.snapshot(make.container(limit=2.5, request=2.5, qos_class="Guaranteed"), on=_static()),
         (("eligible_not_pinned", "request_not_whole"),)),
    Case("a cpuset that was reset", make.snapshot(eligible(), on=_static(checkpoint=checkpoint(owner="6-7"))),
         (("cpu_manager_disagrees", "cpuset"), ("eligible_not_pinned", "cpuset_changed"))),
    # Pinned badly
    Case("pinned and throttled",
         _pinned(limits=make.limits(2.0), window=make.window(0.1)), (("pinned_but_limited", "throttled"),)),
    Case("pinned and limited",
         _pinned(limits=make.limits(2.0), window=make.window(0.0)), (("pinned_but_limited", "not_throttled"),)),
    Case("pinned, limited and young", _pinned(limits=make.limits(2.0), window=None),
         (("pinned_but_limited", "not_throttled"),)),
    Case("far apart", _spread("3-4"), (("numa_spread", "fits_one_node"),)),
    Case("larger than a NUMA node", _spread("1-6"), (("numa_spread", "larger_than_a_node"),)),
    Case("others on its CPUs", _pinned(_static(overlaps=_OVERLAPS), exclusive=False),
         (("exclusive_cpu_shared", ""),)),
    Case("pinned by somebody else", _pinned(_static(checkpoint=checkpoint())),
         (("cpu_manager_disagrees", "not_in_checkpoint"),)),
    Case("two policies", make.snapshot(on=make.node(checkpoint=checkpoint())), (("cpu_manager_disagrees", "policy"),)),
    # The kernel
    Case("an affected kernel", make.snapshot(make.container(limit=2.0), on=_OLD), (("kernel_bug", ""),)),
    Case("throttled by an affected kernel", make.snapshot(_throttled(threads=64), on=_OLD),
         (("kernel_bug", ""), ("throttled_below_limit", "kernel"))),
    # Somebody outside of Kubernetes
    Case("a process outside of kubepods", _disturbed(), (("exclusive_cpu_disturbed", "outside"),)),
    Case("interrupts", _disturbed(irq_seconds=24.0), (("exclusive_cpu_disturbed", "interrupts"),)),
    Case("a hypervisor that steals", make.snapshot(make.container(), on=_STOLEN), (("cpu_steal", ""),)),
    # Drift
    Case("another limit", _drifted(1.0, 2.0), (("limit_drift", "different"),)),
    Case("a lost limit", _drifted(None, 2.0), (("limit_drift", "missing"),)),
    Case("not the pod's limit", _drifted(1.0, None, pod=2.0), (("limit_drift", "different"),)),
    Case("a limit nobody asked for", _drifted(1.0, None), (("limit_drift", "unexpected"),)),
    # Health
    Case("an idle container", make.snapshot(make.container(limit=1.0)), ()),
    Case("an idle container that was throttled three times",
         make.snapshot(make.container(limit=1.0, window=make.window(0.3, periods=10))), ()),
    Case("an unlimited container", make.snapshot(make.container()), ()),
    Case("an unlimited container with its CPU to itself",
         _full(on_cpu_0("hog", 50.0, 0.0, identity=make.container().identity)), ()),
    Case("a hypervisor that steals little", make.snapshot(on=_LITTLE), ()),
    Case("a kubelet whose policy is not known",
         make.snapshot(on=make.node(kubelet=KubeletConfig(), checkpoint=checkpoint())), ()),
    Case("a busy container within its limit",
         make.snapshot(make.container(limit=2.0, deltas=make.deltas(usage_seconds=100.0),
                                      intervals=make.intervals(1.7, 0.0))), ()),
    Case("a pinned container", _pinned(), ()),
    Case("an empty node", make.snapshot(), ()),
)  # fmt: skip
