"""The finding: one document, made once, that the API serves and that page and ``explain`` show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from typing_extensions import TypedDict

from exporter.analysis.advice import Advice
from exporter.model import CgroupName, CgroupRow

Severity = Literal["critical", "warning", "info"]
Evidence = dict[str, float | str | None]
"""By stable names that carry their unit; ``None`` is unknown."""


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


def finding(
    name: str,
    subject: CgroupRow | CgroupName | None,
    *,
    summary: str,
    advice: Advice | str,
    evidence: Mapping[str, float | str | None],
    reason: str = "",
    severity: Severity = "warning",
    impact: float = 0.0,
) -> Finding:
    """Return the document; ``evidence`` that is unknown (``None`` or not finite) is left out of it."""
    return Finding(
        name=name,
        severity=severity,
        subject=None
        if subject is None
        else Name(namespace=subject.namespace, pod=subject.pod, container=subject.container or ""),
        summary=summary,
        advice=advice if isinstance(advice, str) else advice.text,
        commands=[] if isinstance(advice, str) else list(advice.commands),
        reason=reason,
        evidence={key: value for key, value in evidence.items() if value is not None and _is_shown(value)},
        docs=f"docs/findings/{name}.md",
        impact=impact if math.isfinite(impact) else 0.0,
    )


def _is_shown(value: float | str) -> bool:
    return isinstance(value, str) or math.isfinite(value)
