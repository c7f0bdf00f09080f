"""What the status page and the terminal say of a node and a container: order, headline, verdict and facts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from exporter.analysis import text as words
from exporter.analysis.findings import Finding, Name
from exporter.analysis.findings.finding import say
from exporter.report.schema import Container, ContainersDocument, Exporter

SEVERITIES: Final = ("critical", "warning", "info")  # worst first
LEAST_LOST: Final = 0.001  # seconds per second; below, two counters that were not read at the same instant may differ
_UNLIMITED: Final = {"none": "no CPU limit", "unsupported": "limits are not enforced on this node"}
_ISOLATION: Final = {
    "exclusive": "exclusive",
    "shared": "shared with others",
    "eligible": "shared, though it is Guaranteed with whole CPUs and could have exclusive ones",
}
_FACTS: Final = {
    "CPU use": "[{usage_cores:cpus}][, {use_share:percent} of its effective limit]",
    "Limit": "[{limit_cores:limit}][ ({quota_seconds:milliseconds} in each {period_seconds:milliseconds})][{unlimited}]"
    "[, at most {at_most:limit} by {bound}][, the spec says {drifted_from:limit}][, request {request_cores:limit}]"
    "[, burst {burst_seconds:milliseconds}]",
    "Throttled": "[never: it was idle for the last {idle_seconds:.0f} s]"
    "[in {ratio:percent} of {active:count active period} of the last {window_seconds:.0f} s]"
    "[, at most {peak:percent} in one sample][; {lost:amount} s lost per second, summed over CPUs]",
    "Above it": "[; its pod may use {pod_limit:limit} in all]"
    "[; the pod was throttled in {pod_ratio:percent} of its active periods]"
    "[; limits above it cost {lost_above:amount} s per second]",
    "Waiting": "[something waited for a CPU {waiting_share:percent} of the time][, everything {stalled_share:percent}]"
    "[{queued:amount} s per second on run queues, over all tasks]",
    "CPUs": "[{cpus} ({count:cpus})][, {isolation}][, on {numa_nodes} NUMA nodes]",
    "Threads": "[{threads}]",
}
"""Label and text, in the notation of ``findings/texts.toml``."""


def impact(container: Container) -> tuple[bool, float, float, float, int, bool, str, str, str]:
    """Return the sort key that puts the worst container first; names make the order total."""
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
    """Return the throttled ratio, the larger of its own and its pod's, and whether it is its pod's."""
    # The kernel counts a throttled period where the quota ran out, which may be the pod's.
    own, pod = container["throttling"]["ratio"], container["pod_cgroup"] and container["pod_cgroup"]["ratio"]
    return (pod, True) if pod is not None and pod > (own or 0.0) else (own, False)


def lost_seconds_per_second(container: Container) -> float | None:
    """Return CPU seconds per second lost to any quota (to one above: of all below it, if inexact), or None."""
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
    text = " ".join({"cpu": "CPU", "numa": "NUMA"}.get(word, word) for word in finding["name"].split("_"))
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
        kind = "the whole pod, whose containers run inside a sandbox that is not visible on the host"
    owner = " ".join(filter(None, (container["workload_kind"], container["workload"])))
    return ", ".join(filter(None, (kind, container["qos_class"], owner and f"of {owner}")))


def evidence(finding: Finding) -> Iterator[tuple[str, str]]:
    """Yield name and value of each number a finding rests on."""
    for name, value in finding["evidence"].items():
        yield name, value if isinstance(value, str) else f"{value:.6g}"


def facts(one: Container) -> Iterator[tuple[str, str]]:
    """Yield label and text of each number that applies; one that applies and was not measured is called unknown."""
    limit, effective, period = one["limit_cores"], one["effective_limit_cores"], one["period_seconds"]
    throttling, pod, cpuset, usage = one["throttling"], one["pod_cgroup"], one["cpuset"], one["usage_cores"]
    own, local = throttling["lost_seconds_per_second"], throttling["local_lost_seconds_per_second"]
    lost_above = 0.0 if local is None else local - (own or 0.0)
    is_bounded = effective is not None and (limit is None or effective < limit)
    values = {
        **one, **throttling, **one["pressure"],
        "use_share": usage / effective if usage is not None and effective else None,
        "unlimited": _UNLIMITED.get(one["quota_state"] or "", "unknown") if limit is None else None,
        "quota_seconds": limit * period if limit is not None and period else None,
        "at_most": effective if is_bounded else None,
        "bound": "its CPUs" if cpuset is not None and cpuset["count"] == effective else "a limit above it",
        "drifted_from": one["spec_limit_cores"] if one["limit_drift"] else None,
        "burst_seconds": one["burst_seconds"] or None,
        "idle_seconds": throttling["window_seconds"] if throttling["periods"] == 0 else None,
        "active": throttling["periods"] or None,
        "peak": throttling["peak"] if throttling["periods"] else None,
        "lost": own if throttling["periods"] else None,
        "pod_limit": pod and pod["limit_cores"],
        "pod_ratio": pod["ratio"] if pod is not None and pod["limit_cores"] is not None else None,
        "lost_above": lost_above if lost_above >= LEAST_LOST else None,
        "queued": one["pressure"]["runqueue_seconds_per_second"] if one["pressure"]["waiting_share"] is None else None,
        "cpus": cpuset and (cpu_ranges(cpuset["cpus"]) or "none"),
        "count": cpuset and cpuset["count"],
        "isolation": cpuset and _ISOLATION.get(one["isolation"] or "", one["isolation"]),
        "numa_nodes": cpuset["numa_nodes"] if cpuset is not None and (cpuset["numa_nodes"] or 1) > 1 else None,
    }  # fmt: skip
    optional = {"Above it", "Threads"} | ({"Throttled"} if one["quota_state"] in _UNLIMITED else set())
    for label, template in _FACTS.items():
        text = say(template, values).lstrip(",; ")
        if text or label not in optional:
            yield label, text or "unknown"


def _reasons(container: Container) -> Iterator[str]:
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


def cpu_ranges(cpus: str) -> str:
    """Return a CPU list with each run of equal steps as one range: ``0,2,4,6`` is ``0-6 step 2``."""
    parts = cpus.split(",")
    if len(parts) < 3 or not all(map(str.isdigit, parts)):
        return cpus
    first, second, *_, last = map(int, parts)
    is_even = first < second and parts == list(map(str, range(first, last + 1, second - first)))
    return f"{first}-{last} step {second - first}" if is_even else cpus
