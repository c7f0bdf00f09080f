"""The targets of the design, and whether a measurement meets them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.bench.results import Parts, Size
from tests.bench.stats import Spread, ratios, spread

TARGETS_CONTAINERS = 750
LARGEST_GROWTH = 4.4
CREDIBLE_SPEED = 3.0
"""A machine so much slower, or so busy, is slow in other ways too: dividing by its slowness proves nothing."""
SCRAPE_MS, SCRAPE_P99_MS = 15.0, 40.0

Word = Literal["median", "p99", "most", "least"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One target, what was measured, and the verdict that follows from both."""

    what: str
    containers: str
    limit: float
    unit: str
    measured: Spread
    speed: float | None = None
    """How slow the machine was; ``None`` for what does not depend on it: ratios, memory."""
    judged: Word = "median"
    at_least: bool = False
    beside: str = ""

    @property
    def value(self) -> float:
        """The number that is held against the limit."""
        value: float = getattr(self.measured, self.judged)
        return value

    @property
    def scaled(self) -> float | None:
        """It as the machine would have it on which the targets were set."""
        return None if self.speed is None else self.value / self.speed

    @property
    def verdict(self) -> str:
        """In words; ``missed`` says by how much, after the machine's slowness is taken off."""
        if self._holds(self.value):
            return "met"
        if self.scaled is not None and self._holds(self.scaled):
            if self.speed is not None and self.speed > CREDIBLE_SPEED:
                return f"undecided: {self.speed:.1f} x as slow"
            return "met at that machine's speed"
        value = self.value if self.scaled is None else self.scaled
        return f"missed: {value / self.limit:.2f} x"

    def _holds(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


def evaluate(small: Size, large: Size | None) -> list[Result]:
    """The targets for one node at ``small``; those of the large one and of growth at ``large``."""
    results = [*_parts(small), *_process(small)]
    if large is not None:
        results.append(_memory(large, 110.0))
        results += _growth(small, large)
    return results


def _parts(size: Size) -> list[Result]:
    at = f"{size.containers:,}"
    results = []
    for parts, load in ((size.quiet, f"{size.active} awake"), (size.awake, "all awake")):
        c_ratios = spread(ratios(parts.tick, parts.c_loop))
        results += [
            Result(
                what=f"tick, {load}, CPU",
                containers=at,
                limit=4.0,
                unit="ms",
                measured=spread(parts.tick),
                speed=parts.speed,
                beside=f"{c_ratios.median:.2f} x the C loop",
            ),
            Result(
                what=f"tick, {load}, against the C loop",
                containers=at,
                limit=10.0,
                unit="x",
                measured=c_ratios,
            ),
        ]
    for parts, load in ((size.quiet, f"{size.active} awake"), (size.awake, "all awake")):
        results.append(
            Result(
                what=f"page, {load}, CPU a sample",
                containers=at,
                limit=1.0,
                unit="us",
                measured=spread(parts.page).times(1000 / parts.samples),
                speed=parts.speed,
                beside=f"{spread(ratios(parts.page, parts.client)).median:.2f} x `generate_latest`",
            )
        )
    return results


def _process(size: Size) -> list[Result]:
    at, scrapes, peer = f"{size.containers:,}", size.scrapes, size.cadvisor
    beside = {"scrape": "", "cpu": "", "memory": ""}
    if peer is not None and peer.scrapes is not None and peer.running is not None:
        median = spread(peer.scrapes.last_ms).median
        beside["scrape"] = f"{spread(scrapes.last_ms).median / median:.3f} x {peer.version}"
        cpu = spread(peer.running.core_percent).median
        beside["cpu"] = f"{spread(size.running.core_percent).median / cpu:.2f} x {peer.version}"
        beside["memory"] = f"{size.running.rss_mb / peer.running.rss_mb:.2f} x {peer.version}"
    last = spread(scrapes.last_ms)
    scrape, p99 = (
        Result(
            what=f"scrape to its last byte, {word}",
            containers=at,
            limit=limit,
            unit="ms",
            measured=last,
            speed=scrapes.speed,
            judged=word,
            beside=beside["scrape"] if word == "median" else "",
        )
        for word, limit in _SCRAPE_LIMITS
    )
    results = [scrape, p99]
    for running, load in ((size.running, f"{size.active} awake"), (size.running_awake, "all awake")):
        results.append(
            Result(
                what=f"whole process, {load}, of a core",
                containers=at,
                limit=1.5,
                unit="%",
                measured=spread(running.core_percent),
                speed=running.speed,
                beside=beside["cpu"] if running is size.running else "",
            )
        )
    results.append(_memory(size, 64.0, beside["memory"]))
    results.append(
        Result(
            what="start to first complete page",
            containers=at,
            limit=1.5,
            unit="s",
            measured=spread(size.starts),
            speed=size.starts_speed,
        )
    )
    if size.arrivals is not None:
        results += [
            Result(
                what="new container served after",
                containers=at,
                limit=3.0,
                unit="s",
                measured=spread(size.arrivals.served_after),
                judged="most",
            ),
            Result(
                what="lived 3 s, on the page of a 15 s scrape",
                containers=at,
                limit=size.arrivals.lived,
                unit="pods",
                measured=spread([size.arrivals.found]),
                at_least=True,
            ),
        ]
    return results


_SCRAPE_LIMITS: tuple[tuple[Word, float], ...] = (("median", SCRAPE_MS), ("p99", SCRAPE_P99_MS))


def _memory(size: Size, limit: float, beside: str = "") -> Result:
    rss = size.running.rss_mb
    return Result(
        what="resident memory",
        containers=f"{size.containers:,}",
        limit=limit,
        unit="MB",
        measured=spread([rss]),
        beside=beside,
    )


def _growth(small: Size, large: Size) -> list[Result]:
    """Medians against medians; the machine's speed at the one time against that at the other."""

    def factor(before: list[float], after: list[float]) -> float:
        return spread(after).median / spread(before).median

    def grown(what: str, cost: Callable[[Size], tuple[list[float], float]], beside: str = "") -> Result:
        (before, speed_before), (after, speed_after) = cost(small), cost(large)
        return Result(
            what=f"growth of {what}",
            containers=f"{small.containers:,} to {large.containers:,}",
            limit=LARGEST_GROWTH,
            unit="x",
            measured=spread([factor(before, after)]),
            speed=speed_after / speed_before,
            beside=beside,
        )

    def part(name: str, choose: Callable[[Size], Parts]) -> Callable[[Size], tuple[list[float], float]]:
        return lambda size: (getattr(choose(size), name), choose(size).speed)

    c_quiet = f"the C loop {factor(small.quiet.c_loop, large.quiet.c_loop):.2f}"
    c_awake = f"the C loop {factor(small.awake.c_loop, large.awake.c_loop):.2f}"
    return [
        grown(f"a tick, {small.active} awake", part("tick", lambda size: size.quiet), c_quiet),
        grown("a tick, all awake", part("tick", lambda size: size.awake), c_awake),
        grown("a scan", part("scan", lambda size: size.quiet)),
        grown(f"a page, {small.active} awake", part("page", lambda size: size.quiet)),
        grown("a page, all awake", part("page", lambda size: size.awake)),
        grown("a scrape", lambda size: (size.scrapes.last_ms, size.scrapes.speed)),
    ]
