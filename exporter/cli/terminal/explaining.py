"""One container in words: the verdict, what was found, and the numbers beside it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from exporter.analysis import text as words
from exporter.cli.terminal.names import full_name
from exporter.cli.terminal.text import SEVERITY_STYLE, Look, made_harmless
from exporter.report import DOCS, Container, Finding

LABEL: Final = 11
"""Width of what stands before a text."""
LEAST_LOST: Final = 0.001
"""Seconds per second; below, two counters that were not read at the same instant may differ."""


def is_trouble(finding: Finding) -> bool:
    """Whether it asks for something: an ``info`` only explains."""
    return finding["severity"] != "info"


def troubles(findings: Iterable[Finding]) -> list[Finding]:
    """Those findings that ask for something."""
    return [finding for finding in findings if is_trouble(finding)]


def explained(container: Container, look: Look) -> list[str]:
    """All lines about one container."""
    one = made_harmless(container)
    style = verdict_style(one)
    lines = [look.paint(full_name(one), "bold"), *look.wrap(_what(one), indent=2)]
    lines += [look.paint(line, style) for line in look.wrap(verdict(one), indent=2)]
    for finding in one["findings"]:
        lines += ["", *finding_lines(finding, look)]
    if one["live"]:
        lines += ["", *_wrapped(_numbers(one), look)]
    return lines


def finding_lines(finding: Finding, look: Look) -> list[str]:
    """One finding: what it is, why, what to do, what it rests on, where to read on."""
    severity = finding["severity"]
    reason = f" ({finding['reason']})" if finding["reason"] else ""
    evidence = ", ".join(f"{name}={_plain(value)}" for name, value in finding["evidence"].items())
    head = f"  {look.paint(severity.upper(), SEVERITY_STYLE[severity], 'bold')} {finding['name']}{reason}"
    body = [
        ("", finding["summary"]),
        ("Do:", finding["advice"]),
        *([("Evidence:", evidence)] if evidence else []),
    ]
    # In one piece, however long: terminals make a link of it, and people copy it.
    page = f"{'Read:':{LABEL}}{DOCS}{finding['docs']}"
    return [head, *_wrapped(body, look, indent=4), " " * 4 + page]


def verdict(container: Container) -> str:
    """One sentence that says it."""
    found = troubles(container["findings"])
    if not container["live"]:
        return "Gone: only its last counters are left."
    if found:
        worst = found[0]
        others = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return f"{worst['severity'].capitalize()}: {worst['name'].replace('_', ' ')}{others}."
    if container["usage_cores"] is None and container["throttling"]["ratio"] is None:
        return "Nothing is known yet: it has been watched for too short a time. Ask again in a few seconds."
    said = "; ".join(_health(container))
    return f"Healthy: {said}."


def _health(container: Container) -> Iterator[str]:
    """The numbers that show that nothing is wrong."""
    throttling, pressure = container["throttling"], container["pressure"]
    if throttling["periods"] == 0:
        yield "it was idle, so its quota was not in its way"
    elif throttling["periods"] is not None and throttling["throttled_periods"] is not None:
        yield f"throttled in {throttling['throttled_periods']} of {words.count(throttling['periods'], 'active period')}"
    elif container["quota_state"] == "none":
        yield "it has no quota, so nothing of its own can throttle it"
    if container["usage_cores"] is not None:
        yield f"it uses {words.cpus(container['usage_cores'])}{_of_limit(container)}"
    if pressure["waiting_share"] is not None:
        yield f"it waited for a CPU {words.percent(pressure['waiting_share'])} of the time"


def _of_limit(container: Container) -> str:
    limit = container["limit_cores"]
    return f" of its limit of {words.limit(limit)}" if limit else ""


def verdict_style(container: Container) -> str:
    """The colour of :func:`verdict`."""
    found = troubles(container["findings"])
    if found:
        return SEVERITY_STYLE[found[0]["severity"]]
    return "green" if container["live"] and container["usage_cores"] is not None else ""


def _what(container: Container) -> str:
    if not container["mapped"]:
        return f"{container['qos_class']}; its name is not known"
    kind = "" if container["container_type"] in {None, "container"} else f"{container['container_type']} container, "
    owner = " ".join(filter(None, (container["workload_kind"], container["workload"])))
    return f"{kind}{container['qos_class']}{f', of {owner}' if owner else ''}"


def _numbers(one: Container) -> Iterator[tuple[str, str]]:
    """Label and text of each thing that is known."""
    if (use := _use(one)) is not None:
        yield "CPU use", use
    yield "Limit", _limit(one)
    if (throttled := _throttled(one)) is not None:
        yield "Throttled", throttled
    if (above := _above(one)) is not None:
        yield "Above it", above
    if (waiting := _waiting(one)) is not None:
        yield "Waiting", waiting
    if (cpus := _cpus(one)) is not None:
        yield "CPUs", cpus
    if one["threads"] is not None:
        yield "Threads", str(one["threads"])


def _use(one: Container) -> str | None:
    usage, limit = one["usage_cores"], one["effective_limit_cores"]
    if usage is None:
        return None
    share = f", {words.percent(usage / limit)} of what it may use" if limit else ""
    return words.cpus(usage) + share


def _limit(one: Container) -> str:
    parts = []
    limit, effective = one["limit_cores"], one["effective_limit_cores"]
    if limit is not None:
        period = one["period_seconds"]
        slot = f" ({words.milliseconds(limit * period)} in each {words.milliseconds(period)})" if period else ""
        parts.append(words.limit(limit) + slot)
    else:
        parts.append({"none": "no quota", "unsupported": "quotas are off"}.get(one["quota_state"] or "", "not known"))
    if effective is not None and (limit is None or effective < limit):
        by = "its CPUs" if one["cpuset"] is not None and one["cpuset"]["count"] == effective else "a limit above it"
        parts.append(f"at most {words.limit(effective)} by {by}")
    if one["spec_limit_cores"] is not None and one["limit_drift"]:
        parts.append(f"the spec says {words.limit(one['spec_limit_cores'])}")
    if one["request_cores"] is not None:
        parts.append(f"request {words.limit(one['request_cores'])}")
    if one["burst_seconds"]:
        parts.append(f"burst {words.milliseconds(one['burst_seconds'])}")
    return ", ".join(parts)


def _throttled(one: Container) -> str | None:
    throttling = one["throttling"]
    ratio, periods, seconds = throttling["ratio"], throttling["periods"], throttling["window_seconds"]
    if ratio is None or periods is None or seconds is None:
        return "not known yet" if one["quota_state"] == "set" else None
    if periods == 0:
        return f"not once: it was idle for the last {seconds:.0f} s"
    text = f"in {words.percent(ratio)} of {words.count(periods, 'active period')} of the last {seconds:.0f} s"
    if throttling["peak"] is not None:
        text += f", at most {words.percent(throttling['peak'])} in one sample"
    lost = throttling["lost_seconds_per_second"]
    return text if lost is None else f"{text}; {_lost(lost)}"


def _above(one: Container) -> str | None:
    """What limits above the container did to it."""
    parts = []
    pod = one["pod_cgroup"]
    if pod is not None and pod["limit_cores"] is not None:
        parts.append(f"its pod may use {words.limit(pod['limit_cores'])} in all")
        if pod["ratio"] is not None:
            parts.append(f"the pod was throttled in {words.percent(pod['ratio'])} of its active periods")
    own, local = one["throttling"]["lost_seconds_per_second"], one["throttling"]["local_lost_seconds_per_second"]
    if local is not None and (lost := local - (own or 0.0)) >= LEAST_LOST:
        parts.append(f"quotas above cost it {words.amount(lost)} s per second")
    return "; ".join(parts) or None


def _lost(seconds: float) -> str:
    return f"{words.amount(seconds)} s lost per second, summed over CPUs"


def _waiting(one: Container) -> str | None:
    pressure = one["pressure"]
    if pressure["waiting_share"] is not None:
        text = f"something waited for a CPU {words.percent(pressure['waiting_share'])} of the time"
        stalled = pressure["stalled_share"]
        return text if stalled is None else f"{text}, everything {words.percent(stalled)}"
    if pressure["runqueue_seconds_per_second"] is not None:
        return f"{words.amount(pressure['runqueue_seconds_per_second'])} s per second on run queues, over all tasks"
    return None


def _cpus(one: Container) -> str | None:
    cpuset = one["cpuset"]
    if cpuset is None:
        return None
    parts = [f"{cpuset['cpus']} ({words.cpus(cpuset['count'])})" if cpuset["count"] > 1 else cpuset["cpus"] or "none"]
    if one["isolation"] is not None:
        parts.append(
            {
                "exclusive": "its own alone",
                "shared": "shared with others",
                "eligible": "shared, though it could own CPUs",
            }.get(one["isolation"], one["isolation"])
        )
    if cpuset["numa_nodes"] is not None and cpuset["numa_nodes"] > 1:
        parts.append(f"on {cpuset['numa_nodes']} NUMA nodes")
    return ", ".join(parts)


def _wrapped(parts: Iterable[tuple[str, str]], look: Look, indent: int = 2) -> list[str]:
    lines: list[str] = []
    for label, text in parts:
        first, *rest = look.wrap(text, f"{label:{LABEL}}" if label else "", indent)
        lines += [first, *rest]
    return lines


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
