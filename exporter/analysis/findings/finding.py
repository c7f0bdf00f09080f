"""What a rule is given and returns: a container with its numbers, and the finding as a document with its texts."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property, partial
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Final, Literal, NamedTuple

from typing_extensions import TypedDict

from exporter.analysis import text, thresholds
from exporter.analysis.ledger import Ledger, ledger_of
from exporter.analysis.nodeview import NodeView, name_of
from exporter.cpulist import format_cpu_list
from exporter.model import CgroupName, CgroupRow, CpuLimits, Window

Severity = Literal["critical", "warning", "info"]
Evidence = dict[str, float | str | None]  # by stable names that carry their unit; ``None`` is unknown
TEXTS: Final[dict[str, dict[str, Any]]] = tomllib.loads(Path(__file__).with_name("texts.toml").read_text("utf-8"))
"""What findings say; the file explains its notation."""


class Name(TypedDict):
    """Under what a container is shown."""

    namespace: Annotated[str, "empty while the pod's name is unknown"]
    pod: Annotated[str, "its uid while its name is unknown"]
    container: Annotated[str, "the first 12 digits of its id while its name is unknown"]


class Finding(TypedDict):
    """One problem, or an explanation (`info`)."""

    name: Annotated[str, "stable; what alerts, docs and scripts refer to"]
    severity: Annotated[Severity, "`info` explains and asks for nothing"]
    subject: Annotated[Name | None, "the container; `null` for the node"]
    summary: Annotated[str, "one sentence: the cause"]
    advice: Annotated[str, "one sentence: what to do"]
    commands: Annotated[list[str], "what carries the advice out; alternatives, empty where no command does"]
    reason: Annotated[str, "stable; which of the finding's causes it is, empty where it has one only"]
    evidence: Annotated[dict[str, float | int | str], "the numbers it rests on"]
    docs: Annotated[str, "its page, relative to the repository"]
    impact: Annotated[float, "CPUs lost or at stake; orders findings of one severity"]


def say(template: str, values: Mapping[str, object]) -> str:
    """Return a text of ``texts.toml`` with ``values``; bracketed parts with an unknown one (``None``) are left out."""
    said = []
    for is_optional, fields in _parsed(template):
        if not (is_optional and any(name and values[name] is None for _, name, _ in fields)):
            for literal, name, write in fields:
                said.append(literal + write(values[name]) if name else literal)
    return "".join(said)


@cache
def _parsed(template: str) -> list[tuple[bool, list[tuple[str, str | None, Callable[[Any], str]]]]]:
    """Return the parts of a text: whether it may be left out, and literals, each with the value that follows."""
    parts = [Formatter().parse(part) for part in re.split(r"\[(.*?)\]", template)]
    return [
        (number % 2 == 1, [(literal, name, _writer(kind or "")) for literal, name, kind, _ in part])
        for number, part in enumerate(parts)
    ]


def _writer(kind: str) -> Callable[[Any], str]:
    name, _, thing = kind.partition(" ")
    if thing:
        return partial(getattr(text, name), thing=thing)
    return getattr(text, name, None) or ("{:" + kind + "}").format


def finding(
    name: str,
    subject: CgroupRow | CgroupName | None,
    evidence: Mapping[str, float | str | None],
    *,
    reason: str = "",
    severity: Severity | None = None,
    impact: float = 0.0,
    commands: Iterable[str] = (),
    **said: object,
) -> Finding:
    """Return the document, without unknown evidence; ``said``: what its texts need beside the evidence."""
    texts = TEXTS[name] | TEXTS[name].get(reason, {})
    values = {**evidence, **said}
    return Finding(
        name=name,
        severity=severity or texts.get("severity", "warning"),
        subject=subject and Name(namespace=subject.namespace, pod=subject.pod, container=subject.container or ""),
        summary=say(texts["summary"].replace("{cause}", texts.get("cause", "")), values),
        advice=say(texts["advice"], values),
        commands=[*filter(None, (say(command, values) for command in texts.get("commands", ()))), *commands],
        reason=reason,
        evidence={
            key: value
            for key, value in evidence.items()
            if value is not None and (isinstance(value, str) or math.isfinite(value))
        },
        docs=f"docs/findings/{name}.md",
        impact=impact if math.isfinite(impact) else 0.0,
    )


_UNKNOWN_LIMITS = CpuLimits("unsupported")


class Throttling(NamedTuple):
    """A quota that takes enough to be a problem."""

    window: Window
    limit: float  # cores
    period: float  # seconds
    stopped: float  # share of wall time in throttled periods, at most
    share: float | None  # throttled time share; ``None`` when unknown
    severity: Severity


def throttling(
    window: Window | None, limits: CpuLimits | None, lost: float | None, share: float | None = None
) -> Throttling | None:
    """Return how hard a quota throttles a cgroup; ``None`` where it does not or not enough.

    The ratio alone misleads: an idle container has few periods. Throttled seconds alone mislead too: they are summed
    over CPUs. Wall time lost is below the throttled periods' length, and below the seconds.
    """
    if window is None or limits is None or limits.limit_cores is None or limits.period_seconds is None:
        return None
    if window.throttled_periods < thresholds.MIN_THROTTLED_PERIODS or not window.seconds > 0:
        return None
    if not max(window.ratio, share or 0.0) >= thresholds.THROTTLED_RATIO:
        return None
    stopped = min(1.0, window.throttled_periods * limits.period_seconds / window.seconds)
    if lost is not None:
        stopped = min(stopped, lost)
    if not stopped >= thresholds.STOPPED_SHARE:
        return None
    severity: Severity = "critical" if min(window.ratio, stopped) >= thresholds.CRITICAL_SHARE else "warning"
    return Throttling(window, limits.limit_cores, limits.period_seconds, stopped, share, severity)


class ContainerView:
    """One live container; ``None`` is unknown."""

    def __init__(self, view: NodeView, row: CgroupRow) -> None:
        self.of_node, self.node, self.row = view, view.node, row
        self.name, self.pod = name_of(row), view.pod_of(row)
        self.ledger = ledger_of(view, row) or Ledger(window=row.window)
        self.limits, self.spec = row.limits or _UNKNOWN_LIMITS, row.container_spec
        self.cpus = frozenset[int]() if row.cpuset is None else row.cpuset.cpus

    @cached_property
    def throttling(self) -> Throttling | None:
        """How hard its own quota throttles it."""
        own, used = self.ledger.own_quota, self.ledger.used
        share = own / (own + used) if own is not None and used is not None and own + used > 0 else None
        return throttling(self.ledger.window, self.row.limits, own, share)

    @cached_property
    def neighbours(self) -> dict[CgroupName, float]:
        """The cores that other containers used on its CPUs since it was placed there; without those of longer windows.

        What they did before it came took nothing from it.
        """
        own = 0.0 if self.row.placement_deltas is None else self.row.placement_deltas.seconds
        users = self.of_node.users(self.cpus).items() if own >= thresholds.MIN_SECONDS else ()
        return {
            name: used / own
            for name, (used, seconds) in users
            if name != self.name and own >= thresholds.SAME_WINDOW * seconds
        }

    @property
    def checkpointed(self) -> frozenset[int] | None:
        """The CPUs that the CPU manager's checkpoint has for it."""
        entries = {} if self.node.checkpoint is None else self.node.checkpoint.entries
        ref = self.row.ref
        return entries.get((ref.pod_uid, self.name.container)) or entries.get(("", ref.container_id or ""))

    def finding(self, name: str, evidence: Evidence, **said: Any) -> Finding:
        """Return a finding about it, see :func:`finding`."""
        return finding(name, self.row, evidence, **said)

    def evidence(self, *names: str) -> Evidence:
        """Return what it is known to have and to use, under the names of findings' evidence."""
        return {name: _FACTS[name](self) for name in names}


_FACTS: Final[dict[str, Callable[[ContainerView], float | str | None]]] = {
    "allocated_limit_cores": lambda one: None if one.spec is None else one.spec.allocated_limit_cores,
    "burst_seconds": lambda one: one.limits.burst_seconds,
    "cpu_manager_policy": lambda one: one.of_node.cpu_manager_policy,
    "cpus": lambda one: format_cpu_list(one.cpus),
    "cpuset_cpus": lambda one: len(one.cpus) or None,
    "effective_limit_cores": lambda one: one.row.effective_limit_cores,
    "limit_cores": lambda one: one.limits.limit_cores,
    "period_seconds": lambda one: one.limits.period_seconds,
    "periods": lambda one: one.row.window and one.row.window.periods,
    "pod_spec_limit_cores": lambda one: None if one.row.pod_spec is None else one.row.pod_spec.limit_cores,
    "recommended_limit_cores": lambda one: one.ledger.recommendation and one.ledger.recommendation.limit_cores,
    "spec_limit_cores": lambda one: None if one.spec is None else one.spec.limit_cores,
    "threads": lambda one: one.row.threads,
    "throttled_periods": lambda one: one.row.window and one.row.window.throttled_periods,
    "throttled_ratio": lambda one: one.row.window and one.row.window.ratio,
    "throttled_seconds_per_second": lambda one: one.ledger.own_quota,
    "throttled_time_share": lambda one: one.ledger.throttled_time_share,
    "usage_cores": lambda one: one.ledger.used,
}
