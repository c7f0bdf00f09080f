"""What a finding is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from exporter.model import CgroupName

Severity = Literal["critical", "warning", "info"]
Evidence = Mapping[str, float | int | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that takes CPU from somebody, as the function that looks for it tells it."""

    summary: str
    """One sentence: the cause, with the numbers it rests on."""
    advice: str
    """One sentence: what to do about it."""
    evidence: Evidence
    """The numbers by stable names that carry their unit; only what is known."""
    reason: str = ""
    """A stable word, where the same finding has several causes."""
    severity: Severity | None = None
    """Where it is not the one in the table."""
    weight: float = 0.0
    """CPUs lost or at stake: orders findings of one severity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A cause with its name and whom it concerns."""

    name: str
    severity: Severity
    subject: CgroupName | None
    """``None`` for the node."""
    summary: str
    advice: str
    reason: str
    evidence: Evidence = field(default_factory=dict)
