"""How the exporter itself is doing: what the composition root knows, and its document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from exporter.report import schema


class SourceHealth(NamedTuple):
    """One source of pods, as :class:`exporter.kube.cache.SourceStatus` has it."""

    name: str
    up: bool | None
    active: bool
    last_success: float | None
    last_error: str


class ErrorCount(NamedTuple):
    """Errors of one kind since the start."""

    stage: str
    reason: str
    number: int


@dataclass(frozen=True, slots=True)
class Health:
    """The exporter at the moment of a snapshot; seconds."""

    version: str
    node_name: str
    healthy: bool
    age_seconds: float | None
    samples: int
    interval_seconds: float
    window_seconds: float
    sources: tuple[SourceHealth, ...] = ()
    errors: tuple[ErrorCount, ...] = ()

    def document(self, cgroups: dict[str, int]) -> schema.Exporter:
        """With the number of cgroups by state."""
        return schema.Exporter(
            version=self.version,
            node=self.node_name,
            healthy=self.healthy,
            age_seconds=None if self.age_seconds is None else round(self.age_seconds, 3),
            samples=self.samples,
            interval_seconds=self.interval_seconds,
            window_seconds=self.window_seconds,
            cgroups=cgroups,
            sources=[
                schema.Source(
                    name=source.name,
                    up=source.up,
                    active=source.active,
                    last_success=source.last_success,
                    last_error=source.last_error,
                )
                for source in self.sources
            ],
            errors=[schema.Error(stage=stage, reason=reason, count=number) for stage, reason, number in self.errors],
        )
