"""What was measured, as plain values: everything that tables are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Parts:
    """CPU milliseconds, round by round; what stands at one place of these lists was measured within one second."""

    tick: list[float]
    c_loop: list[float]
    page: list[float]
    client: list[float]
    """``generate_latest`` of as many samples as the page has."""
    scan: list[float]
    """One every tenth round."""
    samples: int
    speed: float
    """How slow the machine was meanwhile, see ``peers.Speed``."""


@dataclass(frozen=True, kw_only=True)
class Scrapes:
    """Wall milliseconds of scrapes over HTTP."""

    first_ms: list[float]
    last_ms: list[float]
    bytes: int
    speed: float = 1.0

    def at(self, speed: float) -> Scrapes:
        """The same, with how slow the machine was meanwhile."""
        return replace(self, speed=speed)


@dataclass(frozen=True, kw_only=True)
class Running:
    """What a process cost while it ran, from outside; percent of one core in each slice of 15 s."""

    core_percent: list[float]
    rss_mb: float
    peak_mb: float
    speed: float


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Many scrapers at once."""

    scrapers: int
    seconds: float
    scrapes: Scrapes
    failed: int
    ticks: float
    late: float
    """Ticks that were missed because the one before had not ended."""
    slow: dict[str, float]
    """Ticks that took longer than so many seconds, by bound."""
    core_percent: float


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Pods that came while it was watched, and stayed for three seconds."""

    served_after: list[float]
    """Seconds from the cgroup to the page that names it."""
    lived: int
    found: int
    """Of those that lived three seconds, how many the page of a 15 s scrape still had, with their usage."""


@dataclass(frozen=True, kw_only=True)
class Cadvisor:
    """cAdvisor beside the same tree, or why there are no numbers."""

    version: str
    scrapes: Scrapes | None = None
    running: Running | None = None
    why_not: str = ""


@dataclass(frozen=True, kw_only=True)
class Size:
    """All that was measured at one size."""

    pods: int
    containers: int
    active: int
    quiet: Parts
    awake: Parts
    starts: list[float]
    starts_speed: float
    scrapes: Scrapes
    running: Running
    running_awake: Running
    arrivals: Arrivals | None
    crowd: Crowd | None
    cadvisor: Cadvisor | None
    calibration_ms: list[float]
    """``generate_latest`` of 11,250 samples, from before all this until after it."""


@dataclass(frozen=True, kw_only=True)
class Import:
    """One top-level package of what ``serve`` imports."""

    name: str
    milliseconds: float | None
    modules: int | None
    megabytes: float | None = None
    """What a fresh interpreter grows by when it imports this alone."""
