"""How the exporter itself does, for the foot of the page, and what of it has to be said at its head. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.analysis import text as words
from exporter.report import Exporter
from exporter.report.schema import Source
from exporter.web.status import figures

_CGROUPS: Final = {
    "mapped": "Containers with a known name",
    "unmapped": "Containers without a known name",
    "pending": "Containers waiting for their name",
    "sandbox": "Pod sandboxes, not shown",
    "lingering": "Cgroups that are gone, last counters kept",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLine:
    """One source of the pods' names."""

    name: str
    state: str
    severity: str
    """``ok``, ``warning``, or empty for one that was not asked yet."""
    success: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthView:
    """The whole section."""

    version: str
    window: str
    facts: Sequence[tuple[str, str]]
    sources: Sequence[SourceLine]
    errors: Sequence[tuple[str, str, int]]
    notices: Sequence[str]
    """What makes the rest of the page less than it seems."""


def health_view(exporter: Exporter, taken_at: float) -> HealthView:
    """At the moment at which the page was made."""
    age = exporter["age_seconds"]
    pace = "on time" if exporter["healthy"] else "late"
    facts = [
        ("Last sample", figures.NOT_KNOWN if age is None else f"{figures.seconds(age)} old, {pace}"),
        ("Samples", f"{exporter['samples']}, every {figures.seconds(exporter['interval_seconds'])}"),
        ("Window", figures.seconds(exporter["window_seconds"])),
        *(
            (_CGROUPS.get(state, state), str(number))
            for state, number in exporter["cgroups"].items()
            if number or state == "mapped"
        ),
    ]
    is_served = any(source["active"] and source["up"] for source in exporter["sources"])
    return HealthView(
        version=exporter["version"],
        window=figures.seconds(exporter["window_seconds"]),
        facts=facts,
        sources=[_source(source, taken_at, is_served=is_served) for source in exporter["sources"]],
        errors=[(one["stage"], one["reason"].replace("_", " "), one["count"]) for one in exporter["errors"]],
        notices=list(_notices(exporter)),
    )


def _source(source: Source, taken_at: float, *, is_served: bool) -> SourceLine:
    up, last = source["up"], source["last_success"]
    if up is None:
        state = "not asked yet"
    elif not up and is_served:
        state = "fails, another serves"
    elif not up:
        state = "fails, its last answer is in use" if source["active"] else "fails"
    else:
        state = "in use" if source["active"] else "answers"
    return SourceLine(
        name=source["name"],
        state=state,
        severity="ok" if up else "" if up is None or is_served else "warning",
        success=figures.ABSENT if last is None else f"{figures.seconds(max(0.0, taken_at - last))} before this page",
        error=source["last_error"],
    )


def _notices(exporter: Exporter) -> Iterator[str]:
    age, sources = exporter["age_seconds"], exporter["sources"]
    if age is None:
        yield "The exporter has just started; its first sample is on its way. Ask again in a few seconds."
    elif not exporter["healthy"]:
        yield f"Sampling is late: these figures are {figures.seconds(age)} old. The node may be overloaded."
    if sources and not any(source["up"] for source in sources):
        tried = [f"{source['name']}: {source['last_error']}" for source in sources if source["last_error"]]
        why = f" ({'; '.join(tried)})" if tried else ""
        yield f"No pod source answers, so names may be missing or old{why}."
    unmapped = exporter["cgroups"].get("unmapped", 0)
    if unmapped:
        who = f"{words.count(unmapped, 'container')} {'is' if unmapped == 1 else 'are'}"
        why = "" if sources else " (no pod source is set: --pods.sources)"
        yield f"{who} shown by pod uid and container id: no source knows the name{why}."
