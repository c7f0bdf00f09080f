"""The finding: one document, made once, that the API serves and that page and ``explain`` show."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Final, Literal

from typing_extensions import TypedDict

from exporter.analysis import text
from exporter.model import CgroupName, CgroupRow

Severity = Literal["critical", "warning", "info"]
Evidence = dict[str, float | str | None]
"""By stable names that carry their unit; ``None`` is unknown."""
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
