"""From the tracked cgroups to the rows of a page: one row a name, the newest where several claim it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from exporter.node.topology import Topology
from exporter.readings import CpuStat
from exporter.sampler.tracked import Tracked
from exporter.snapshot import CgroupRow

Name = tuple[str, str, str | None]
SHORT_ID = 12
NO_COUNTERS = CpuStat()


def name_of(one: Tracked) -> Name | None:
    """Namespace, pod and container under which ``one`` is shown; ``None`` while it is not shown at all."""
    container_id = one.ref.container_id
    if one.state == "mapped" and one.pod is not None:
        if container_id is None:
            return one.pod.namespace, one.pod.name, None
        if one.container is not None:
            return one.pod.namespace, one.pod.name, one.container.name
    if one.state != "unmapped":
        return None
    return "", one.ref.pod_uid, None if container_id is None else container_id[:SHORT_ID]


def newest_by_name(tracked: Iterable[Tracked]) -> dict[Name, Tracked]:
    """What is shown under each name: a live cgroup before a lingering one, then the one made last.

    A name must never be on a page twice, whatever the pod list claims: Prometheus would drop the whole scrape.
    """
    chosen: dict[Name, Tracked] = {}
    for one in tracked:
        name = name_of(one)
        if name is not None:
            rival = chosen.get(name)
            if rival is None or (rival.live, rival.inode) < (one.live, one.inode):
                chosen[name] = one
    return chosen


def row_of(
    name: Name, one: Tracked, pod_limit: float | None, ancestor_limit: Callable[[str], float | None], topology: Topology
) -> CgroupRow:
    """The row of ``one``. ``pod_limit`` and ``ancestor_limit`` give the limits above it, in cores."""
    cpuset = one.cpuset
    limits = one.limits
    bounds = [
        None if limits is None else limits.limit_cores,
        pod_limit,
        ancestor_limit(one.ref.pod_path),
        float(len(cpuset.cpus)) if cpuset is not None and cpuset.cpus else None,
    ]
    return CgroupRow(
        name[0],
        name[1],
        name[2],
        one.live,
        one.ref,
        one.stat or NO_COUNTERS,
        one.local_throttled_seconds,
        one.pressure,
        None if one.history is None else one.history.window(),
        limits,
        min((bound for bound in bounds if bound is not None), default=None),
        cpuset,
        None if cpuset is None else topology.numa_nodes_of(cpuset.cpus),
        one.container,
        one.pod,
    )


def pod_limits(tracked: Iterable[Tracked]) -> Mapping[str, float]:
    """The limit in cores of each pod directory that has one."""
    return {
        one.ref.path: one.limits.limit_cores
        for one in tracked
        if one.ref.container_id is None and one.limits is not None and one.limits.limit_cores is not None
    }
