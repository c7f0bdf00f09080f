"""From the tracked cgroups to the rows of a page: one row a name, the newest where several claim it."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.model import CgroupRow, CpuStat
from exporter.sampler.tracked import NO_COUNTERS, Tracked

Name = tuple[str, str, str | None]
SHORT_ID = 12


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
    """What is shown under each name: a live cgroup before a lingering one, then the one that went or was made last.

    A name must never be on a page twice, whatever the pod list claims: Prometheus would drop the whole scrape.
    """
    chosen: dict[Name, Tracked] = {}
    for one in tracked:
        name = name_of(one)
        if name is not None:
            rival = chosen.get(name)
            if rival is None or _rank(rival) < _rank(one):
                chosen[name] = one
    return chosen


def _rank(one: Tracked) -> tuple[bool, float, int]:
    return one.live, one.gone_at or 0.0, one.inode


def row_of(name: Name, one: Tracked, now: float, *, detailed: bool) -> CgroupRow:
    """The row of ``one`` under ``name``; with its sample intervals when ``detailed``."""
    history = one.history
    verdict = one.verdict
    return CgroupRow(
        name[0],
        name[1],
        name[2],
        one.live,
        one.ref,
        _stat(one),
        one.local_throttled_seconds,
        one.pressure,
        None if history is None else history.window(),
        one.limits,
        verdict.effective_limit_cores,
        one.cpuset,
        verdict.numa_nodes,
        one.container,
        one.pod,
        verdict.isolation,
        verdict.exclusive,
        verdict.limit_drift,
        one.threads,
        one.trend.deltas(one.totals(now)) if detailed and one.live else None,
        None if one.observed is None else one.observed.so_far(),
        tuple(history.intervals()) if detailed and history is not None else (),
    )


def _stat(one: Tracked) -> CpuStat:
    stat, modes = one.stat or NO_COUNTERS, one.modes
    # Only with the collector usage_modes; v2 has them in cpu.stat, and shows them only then.
    return stat if modes == (None, None) else stat._replace(user_seconds=modes[0], system_seconds=modes[1])
