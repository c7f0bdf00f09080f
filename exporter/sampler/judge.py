"""What follows from limits, cpusets and names: effective limits, isolation, drift. Worked out when one changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf

from exporter.analysis.drift import limit_drift
from exporter.analysis.isolation import CpusetUser, Isolation, Pair, claim_is_known, isolate, whole_cpus
from exporter.model import CgroupName, CpuLimits, KubeletConfig
from exporter.node.topology import Topology
from exporter.sampler.rows import Name, newest_by_name
from exporter.sampler.tracked import Tracked, Verdict

RECONCILE_SECONDS = 10.0
"""The kubelet's default ``cpuManagerReconcilePeriod``: for so long cpusets may overlap while pods come and go."""

PARTITIONS = frozenset({"root", "isolated"})


class Judge:
    """Keeps how long each overlap of cpusets has lasted; all else is worked out anew each time."""

    def __init__(self) -> None:
        self._memory: Mapping[Pair, float] = {}
        self.isolation: Isolation | None = None

    @property
    def is_watching(self) -> bool:
        """Whether cpusets overlap that should not: for how long is part of the verdict."""
        return bool(self._memory)

    def judge(
        self,
        live: Iterable[Tracked],
        *,
        now: float,
        topology: Topology,
        kubelet: KubeletConfig | None,
        ancestor_limit: Callable[[str], float | None],
    ) -> bool:
        """Set the verdict of every cgroup; True when any changed."""
        shown = newest_by_name(live)
        users = [user for name, one in shown.items() if (user := _cpuset_user(name, one)) is not None]
        patience = (kubelet and kubelet.cpu_manager_reconcile_seconds) or RECONCILE_SECONDS
        pins = kubelet is None or kubelet.cpu_manager_policy != "none"
        isolation = isolate(users, topology.online, self._memory, now, patience, pins=pins)
        self._memory, self.isolation = isolation.memory, isolation
        pod_limits = {one.ref.path: bound(one.limits) for one in shown.values() if one.ref.container_id is None}
        changed = False
        for name, one in shown.items():
            bounds = (pod_limits.get(one.ref.pod_path, inf), ancestor_limit(one.ref.pod_path))
            verdict = _verdict(name, one, bounds, isolation, topology, kubelet)
            if verdict != one.verdict:
                one.verdict, changed = verdict, True
        return changed


def bound(limits: CpuLimits | None) -> float | None:
    """A cgroup's limit in cores, ``inf`` without a quota; ``None`` when it is not known."""
    if limits is None:
        return None
    return inf if limits.limit_cores is None else limits.limit_cores


def smallest(*bounds: float | None) -> float | None:
    """The smallest of several limits; ``None`` when one is not known, since that might be the smallest."""
    known = [one for one in bounds if one is not None]
    return min(known) if len(known) == len(bounds) else None


def _verdict(
    name: Name,
    one: Tracked,
    bounds: tuple[float | None, float | None],
    isolation: Isolation,
    topology: Topology,
    kubelet: KubeletConfig | None,
) -> Verdict:
    cpuset, limits = one.cpuset, one.limits
    cpus = inf if cpuset is None or not cpuset.cpus else float(len(cpuset.cpus))
    limit = smallest(bound(limits), *bounds, cpus)
    if limit == inf:
        limit = None
    if one.ref.container_id is None:
        return Verdict(limit)
    key = CgroupName(name[0], name[1], name[2] or "")
    state = isolation.states.get(key)
    return Verdict(
        effective_limit_cores=limit,
        numa_nodes=None if cpuset is None else topology.numa_nodes_of(cpuset.cpus),
        isolation=state,
        exclusive=isolation.exclusive.get(key),
        limit_drift=limit_drift(limits, one.container, one.pod, isolation=state, kubelet=kubelet),
    )


def _cpuset_user(name: Name, one: Tracked) -> CpusetUser | None:
    if one.ref.container_id is None or one.cpuset is None or name[2] is None:
        return None
    return CpusetUser(
        name=CgroupName(name[0], name[1], name[2]),
        pod_path=one.ref.pod_path,
        cpus=one.cpuset.cpus,
        whole_cpus=whole_cpus(one.ref, one.limits, one.container, one.pod),
        container_type=None if one.container is None else one.container.container_type,
        claim_is_known=claim_is_known(one.ref, one.limits, one.container, one.pod),
        is_partition=one.cpuset.partition in PARTITIONS,
    )
