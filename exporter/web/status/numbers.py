"""All that is known of one container, as labelled values with their units. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from exporter.analysis import text as words
from exporter.report import Container
from exporter.web.status.figures import NOT_KNOWN

_QUOTA: Final = {"none": "none: it has no quota", "unsupported": "none: this kernel enforces no quotas"}
_ISOLATION: Final = {
    "exclusive": "its own alone",
    "shared": "shared with others",
    "eligible": "shared, though it is Guaranteed with whole CPUs and could own them",
}


class Section(NamedTuple):
    """Values that belong together."""

    title: str
    values: Sequence[tuple[str, str]]


def sections(one: Container) -> Iterator[Section]:
    """What does not apply is left out; what applies and is not known says so."""
    yield Section("Throttled by its own quota", list(_throttling(one)))
    yield Section("CPU use and limits", list(_limits(one)))
    if one["pod_cgroup"] is not None:
        yield Section("Its pod’s cgroup", list(_pod(one)))
    yield Section("Waiting for a CPU", list(_waiting(one)))
    yield Section("Where it may run", list(_cpus(one)))
    yield Section("Who it is", list(_identity(one)))


def _throttling(one: Container) -> Iterator[tuple[str, str]]:
    throttling = one["throttling"]
    periods, throttled, window = throttling["periods"], throttling["throttled_periods"], throttling["window_seconds"]
    if one["quota_state"] in _QUOTA:
        yield "Throttled", "never: it has no quota of its own"
    elif throttling["ratio"] is None or periods is None or throttled is None or window is None:
        yield "Throttled", NOT_KNOWN
    elif periods == 0:
        yield "Throttled", f"not once: it was idle for the last {window:.0f} s"
    else:
        of = f"{throttled} of {words.count(periods, 'active period')}, last {window:.0f} s"
        yield "Throttled", f"{words.percent(throttling['ratio'])} ({of})"
        yield "Highest in one sample", _percent(throttling["peak"])
    if throttling["lost_seconds_per_second"] is not None:
        yield "Time lost, summed over CPUs", _rate(throttling["lost_seconds_per_second"])
    if throttling["local_lost_seconds_per_second"] is not None:
        yield "Lost to its own and its ancestors’ quotas", _rate(throttling["local_lost_seconds_per_second"])


def _limits(one: Container) -> Iterator[tuple[str, str]]:
    limit, period, effective = one["limit_cores"], one["period_seconds"], one["effective_limit_cores"]
    share = (
        f", {words.percent(one['usage_cores'] / effective)} of what it may use"
        if one["usage_cores"] and effective
        else ""
    )
    yield "Uses, on average", _cpus_of(one["usage_cores"]) + share
    if limit is None:
        yield "Limit", _QUOTA.get(one["quota_state"] or "", NOT_KNOWN)
    else:
        slot = f", {words.milliseconds(limit * period)} in each {words.milliseconds(period)}" if period else ""
        yield "Limit", words.cpus(limit) + slot
    if effective is not None:
        yield "Effective limit", f"{words.cpus(effective)}{_effective_by(one, effective)}"
    if one["burst_seconds"]:
        yield "Burst", f"{words.milliseconds(one['burst_seconds'])} above the quota, if saved up"
    yield "Request of the spec", _spec(one, one["request_cores"])
    drift = ", not what the cgroup has" if one["limit_drift"] else ""
    yield "Limit of the spec", _spec(one, one["spec_limit_cores"]) + drift
    if one["threads"] is not None:
        yield "Threads", str(one["threads"])


def _spec(one: Container, cores: float | None) -> str:
    """A known spec that has no such value says so."""
    return "none" if one["mapped"] and cores is None else _cpus_of(cores)


def _effective_by(one: Container, effective: float) -> str:
    if one["limit_cores"] == effective:
        return ""
    by_cpus = one["cpuset"] is not None and one["cpuset"]["count"] == effective
    return ", by the number of its CPUs" if by_cpus else ", by a limit above it"


def _pod(one: Container) -> Iterator[tuple[str, str]]:
    pod = one["pod_cgroup"]
    if pod is None:
        return
    yield "Uses, on average", _cpus_of(pod["usage_cores"])
    if pod["limit_cores"] is not None:
        yield "Limit of all its containers", words.cpus(pod["limit_cores"])
    if pod["ratio"] is not None:
        yield "Throttled", f"{words.percent(pod['ratio'])} of its active periods"
        yield "Highest in one sample", _percent(pod["peak"])
    if pod["lost_seconds_per_second"] is not None:
        yield "Time lost, summed over CPUs", _rate(pod["lost_seconds_per_second"])


def _waiting(one: Container) -> Iterator[tuple[str, str]]:
    pressure = one["pressure"]
    if pressure["runqueue_seconds_per_second"] is not None:
        yield "On run queues, summed over threads", _rate(pressure["runqueue_seconds_per_second"])
        return
    yield "Something in it waited", _share_of_time(pressure["waiting_share"])
    yield "Everything in it waited", _share_of_time(pressure["stalled_share"])


def _cpus(one: Container) -> Iterator[tuple[str, str]]:
    cpuset = one["cpuset"]
    if cpuset is None:
        yield "CPUs", NOT_KNOWN
        return
    yield "CPUs", f"{cpuset['cpus'] or 'none'} ({words.cpus(cpuset['count'])})"
    if one["isolation"] is not None:
        yield "They are", _ISOLATION.get(one["isolation"], one["isolation"])
    if cpuset["numa_nodes"] is not None:
        yield "NUMA nodes they are on", str(cpuset["numa_nodes"])
    yield "Memory nodes", cpuset["mems"] or NOT_KNOWN
    if cpuset["partition"] not in {"", "member"}:
        yield "Cpuset partition", cpuset["partition"]


def _identity(one: Container) -> Iterator[tuple[str, str]]:
    yield "Namespace", one["namespace"] or NOT_KNOWN
    yield "Pod", one["pod"] if one["mapped"] else NOT_KNOWN
    yield "Container", one["container"] if one["mapped"] else NOT_KNOWN
    yield "QoS class", one["qos_class"]
    if one["container_type"] is not None:
        yield "Type", one["container_type"]
    if one["workload_kind"] is not None:
        yield "Owner", " ".join(filter(None, (one["workload_kind"], one["workload"])))
    yield "Runtime", one["runtime"] or NOT_KNOWN
    yield "Pod uid", one["pod_uid"]
    yield "Container id", one["container_id"]
    yield "Cgroup", one["cgroup"]


def _cpus_of(cores: float | None) -> str:
    return NOT_KNOWN if cores is None else words.cpus(cores)


def _percent(share: float | None) -> str:
    return NOT_KNOWN if share is None else words.percent(share)


def _share_of_time(share: float | None) -> str:
    return NOT_KNOWN if share is None else f"{words.percent(share)} of the time"


def _rate(seconds: float) -> str:
    return f"{words.amount(seconds)} s per second"
