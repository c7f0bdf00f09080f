"""What the status page and the terminal say of a node and a container: order, headline, verdict and facts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from exporter.analysis import text as words
from exporter.analysis.findings import Finding, Name
from exporter.report.schema import Container, ContainersDocument, Exporter

SEVERITIES: Final = ("critical", "warning", "info")
"""Worst first."""
LEAST_LOST: Final = 0.001
"""Seconds per second; below, two counters that were not read at the same instant may differ."""
_ACRONYMS: Final = {"cpu": "CPU", "numa": "NUMA"}
_UNLIMITED: Final = {"none": "no CPU limit", "unsupported": "limits are not enforced on this node"}
_ISOLATION: Final = {
    "exclusive": "exclusive",
    "shared": "shared with others",
    "eligible": "shared, though it is Guaranteed with whole CPUs and could have exclusive ones",
}
Impact = tuple[bool, float, float, float, int, bool, str, str, str]


def impact(container: Container) -> Impact:
    """Return the sort key that puts the worst container first.

    A critical finding; time lost per second to quotas; throttled ratio, the larger of its own and its pod's; waiting
    for a CPU; any other finding; a live container before one that is gone; then by name, so that the order is total.
    """
    ledger = container["ledger"]
    return (
        container["severity"] != "critical",
        -(lost_seconds_per_second(container) or 0.0),
        -(throttled_ratio(container)[0] or 0.0),
        -((None if ledger is None else ledger["waited"]) or 0.0),
        rank(container["severity"] or ""),
        not container["live"],
        container["namespace"],
        container["pod"],
        container["container"],
    )


def throttled_ratio(container: Container) -> tuple[float | None, bool]:
    """Return the throttled ratio, the larger of its own and its pod's, and whether it is its pod's.

    The kernel counts a throttled period at the group whose quota ran out, so the container's own ratio is 0 or absent
    while its pod's quota stops it.
    """
    own, pod = container["throttling"]["ratio"], container["pod_cgroup"] and container["pod_cgroup"]["ratio"]
    return (pod, True) if pod is not None and pod > (own or 0.0) else (own, False)


def lost_seconds_per_second(container: Container) -> float | None:
    """Return CPU seconds per second lost to any quota, its own, above or inside; ``None`` where it is unknown.

    Where only the cgroup above tells of its quota, that is what all its containers lost together.
    """
    ledger, throttling = container["ledger"], container["throttling"]
    if ledger is None:
        counters = throttling["lost_seconds_per_second"], throttling["local_lost_seconds_per_second"]
        return max((lost for lost in counters if lost is not None), default=None)
    own, above, inside = ledger["own_quota"], ledger["quota_above"], ledger["quota_inside"]
    if own is None and above is None:
        return None
    both = (own or 0.0, above or 0.0)
    return (inside or 0.0) + (sum(both) if ledger["quota_above_is_exact"] else max(both))


def rank(severity: str) -> int:
    """Return 0 for the worst severity."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def full_name(one: Container | Name) -> str:
    """Return ``namespace/pod/container`` without the parts that are unknown."""
    return "/".join(part for part in (one["namespace"], one["pod"], one["container"]) if part)


def problems(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that ask for something: an ``info`` only explains."""
    return [finding for finding in findings if finding["severity"] != "info"]


def has_problem(container: Container) -> bool:
    """Whether a container that still runs has a problem."""
    return container["live"] and bool(problems(container["findings"]))


def headline(document: ContainersDocument) -> str:
    """Return the node's state in one line: ``3 of 12 containers have problems``. Late samples are never called good."""
    containers, exporter = document["containers"], document["exporter"]
    of_node = len(problems(document["node_findings"]))
    node = f"; the node has {words.count(of_node, 'problem')}" if of_node else ""
    pending = exporter["cgroups"].get("pending", 0)
    if exporter["age_seconds"] is None:
        return "No sample has been taken yet"
    if not containers:
        waiting = f"{words.count(pending, 'container')} found, waiting for the pods’ names"
        return (waiting if pending else "No container runs on this node") + node
    severities = Counter(one["severity"] == "critical" for one in containers if has_problem(one))
    found, critical, warnings = severities.total(), severities[True], severities[False]
    counts = ", ".join([f"{critical} critical"] * (critical > 0) + [words.count(warnings, "warning")] * (warnings > 0))
    total = words.count(len(containers), "container")
    if not exporter["healthy"]:
        known = f"{found} of {total} had problems then ({counts})" if found else f"the state of {total} is unknown"
        return f"Samples are late, the last is {age(exporter)} old: {known}{node}"
    if found:
        return f"{found} of {total} {'has' if found == 1 else 'have'} problems ({counts}){node}"
    return f"No problems in {total}{node}"


def age(exporter: Exporter) -> str:
    """Return how old the last sample is."""
    return "unknown" if exporter["age_seconds"] is None else duration(exporter["age_seconds"])


def duration(seconds: float) -> str:
    """Return ``0.3 s``, ``12 s``, ``3 min``, ``5 h`` or ``2 days``."""
    if seconds < 120:
        return f"{words.amount(seconds)} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172800 else f"{seconds / 86400:.0f} days"


def verdict(container: Container) -> str:
    """Return a container's state in one sentence."""
    found = problems(container["findings"])
    if not container["live"]:
        return "Ended: only its last counters are left."
    if found:
        others = f", and {words.count(len(found) - 1, 'more problem')}" if len(found) > 1 else ""
        return f"{found[0]['severity'].capitalize()}: {lowered(title(found[0]))}{others}."
    if container["usage_cores"] is None and container["throttling"]["ratio"] is None:
        return "Unknown: it has been watched for too short a time. Ask again in a few seconds."
    return f"No problems: {'; '.join(_reasons(container))}."


def verdict_severity(container: Container) -> str:
    """Return the worst severity, ``ok`` where something was measured and nothing is wrong, else an empty string."""
    if found := problems(container["findings"]):
        return found[0]["severity"]
    return "ok" if container["live"] and container["usage_cores"] is not None else ""


def title(finding: Finding) -> str:
    """Return ``throttled_below_limit`` as a heading: ``Throttled below limit``."""
    text = " ".join(_ACRONYMS.get(word, word) for word in finding["name"].split("_"))
    return text[:1].upper() + text[1:]


def lowered(text: str) -> str:
    """Return a title as it stands in the middle of a sentence."""
    return text if text.split(" ", 1)[0].isupper() else text[:1].lower() + text[1:]


def description(container: Container) -> str:
    """Return ``sidecar container, Burstable, of Deployment checkout``."""
    if not container["mapped"]:
        return f"{container['qos_class']}, name unknown"
    kind = "" if container["container_type"] in {None, "container"} else f"{container['container_type']} container"
    if not container["container"]:
        kind = "the whole pod, whose containers have no cgroups of their own"
    owner = " ".join(filter(None, (container["workload_kind"], container["workload"])))
    return ", ".join(filter(None, (kind, container["qos_class"], owner and f"of {owner}")))


def evidence(finding: Finding) -> Iterator[tuple[str, str]]:
    """Yield name and value of each number a finding rests on."""
    for name, value in finding["evidence"].items():
        yield name, value if isinstance(value, str) else f"{value:.6g}"


def facts(container: Container) -> Iterator[tuple[str, str]]:
    """Yield label and text of each number that applies; one that applies and was not measured is called unknown."""
    yield "CPU use", _use(container)
    yield "Limit", ", ".join(_limit(container))
    if container["quota_state"] not in _UNLIMITED:
        yield "Throttled", _throttled(container)
    if above := "; ".join(_above(container)):
        yield "Above it", above
    yield "Waiting", _waiting(container)
    yield "CPUs", ", ".join(_cpus(container)) or "unknown"
    if container["threads"] is not None:
        yield "Threads", str(container["threads"])


def _reasons(container: Container) -> Iterator[str]:
    """The numbers that show that nothing is wrong, and what could not be known."""
    throttling, usage, limit = container["throttling"], container["usage_cores"], container["limit_cores"]
    if container["quota_state"] in _UNLIMITED:
        yield f"{_UNLIMITED[container['quota_state'] or '']}, so its own quota cannot throttle it"
    elif throttling["periods"] == 0:
        yield "it was idle, so its quota did not throttle it"
    elif throttling["periods"] is not None and throttling["throttled_periods"] is not None:
        yield f"throttled in {throttling['throttled_periods']} of {words.count(throttling['periods'], 'active period')}"
    if usage is not None:
        yield f"it uses {words.cpus(usage)}" + (f" of its limit of {words.limit(limit)}" if limit else "")
    pressure = container["pressure"]
    if pressure["waiting_share"] is not None:
        yield f"it waited for a CPU {words.percent(pressure['waiting_share'])} of the time"
    elif pressure["runqueue_seconds_per_second"] is None:
        yield "whether it waits for a CPU is unknown"


def _use(one: Container) -> str:
    usage, limit = one["usage_cores"], one["effective_limit_cores"]
    if usage is None:
        return "unknown"
    return words.cpus(usage) + (f", {words.percent(usage / limit)} of its effective limit" if limit else "")


def _limit(one: Container) -> Iterator[str]:
    limit, effective, period = one["limit_cores"], one["effective_limit_cores"], one["period_seconds"]
    if limit is None:
        yield _UNLIMITED.get(one["quota_state"] or "", "unknown")
    else:
        per_period = f" ({words.milliseconds(limit * period)} in each {words.milliseconds(period)})" if period else ""
        yield words.limit(limit) + per_period
    if effective is not None and (limit is None or effective < limit):
        by = "its CPUs" if one["cpuset"] is not None and one["cpuset"]["count"] == effective else "a limit above it"
        yield f"at most {words.limit(effective)} by {by}"
    if one["spec_limit_cores"] is not None and one["limit_drift"]:
        yield f"the spec says {words.limit(one['spec_limit_cores'])}"
    if one["request_cores"] is not None:
        yield f"request {words.limit(one['request_cores'])}"
    if one["burst_seconds"]:
        yield f"burst {words.milliseconds(one['burst_seconds'])}"


def _throttled(one: Container) -> str:
    throttling = one["throttling"]
    ratio, periods, seconds = throttling["ratio"], throttling["periods"], throttling["window_seconds"]
    if ratio is None or periods is None or seconds is None:
        return "unknown"
    if periods == 0:
        return f"never: it was idle for the last {seconds:.0f} s"
    text = f"in {words.percent(ratio)} of {words.count(periods, 'active period')} of the last {seconds:.0f} s"
    if throttling["peak"] is not None:
        text += f", at most {words.percent(throttling['peak'])} in one sample"
    lost = throttling["lost_seconds_per_second"]
    return text if lost is None else f"{text}; {words.amount(lost)} s lost per second, summed over CPUs"


def _above(one: Container) -> Iterator[str]:
    pod = one["pod_cgroup"]
    if pod is not None and pod["limit_cores"] is not None:
        yield f"its pod may use {words.limit(pod['limit_cores'])} in all"
        if pod["ratio"] is not None:
            yield f"the pod was throttled in {words.percent(pod['ratio'])} of its active periods"
    own, local = one["throttling"]["lost_seconds_per_second"], one["throttling"]["local_lost_seconds_per_second"]
    if local is not None and (lost := local - (own or 0.0)) >= LEAST_LOST:
        yield f"limits above it cost {words.amount(lost)} s per second"


def _waiting(one: Container) -> str:
    pressure = one["pressure"]
    if pressure["waiting_share"] is not None:
        text = f"something waited for a CPU {words.percent(pressure['waiting_share'])} of the time"
        stalled = pressure["stalled_share"]
        return text if stalled is None else f"{text}, everything {words.percent(stalled)}"
    if pressure["runqueue_seconds_per_second"] is not None:
        return f"{words.amount(pressure['runqueue_seconds_per_second'])} s per second on run queues, over all tasks"
    return "unknown"


def _cpus(one: Container) -> Iterator[str]:
    cpuset = one["cpuset"]
    if cpuset is None:
        return
    yield f"{cpu_ranges(cpuset['cpus']) or 'none'} ({words.cpus(cpuset['count'])})"
    if one["isolation"] is not None:
        yield _ISOLATION.get(one["isolation"], one["isolation"])
    if cpuset["numa_nodes"] is not None and cpuset["numa_nodes"] > 1:
        yield f"on {cpuset['numa_nodes']} NUMA nodes"


def cpu_ranges(cpus: str) -> str:
    """Return a CPU list with each run of equal steps as one range: ``0,2,4,6`` is ``0-6 step 2``."""
    numbers = [int(part) for part in cpus.split(",") if part.isdigit()]
    if len(numbers) < 3 or len(numbers) != len(cpus.split(",")):
        return cpus
    step = numbers[1] - numbers[0]
    is_even = step > 0 and numbers == list(range(numbers[0], numbers[-1] + 1, step))
    return f"{numbers[0]}-{numbers[-1]} step {step}" if is_even else cpus
