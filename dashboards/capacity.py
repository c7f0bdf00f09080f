"""How many series a cluster gives, and what Prometheus needs for them: ``python -m dashboards.capacity --help``.

Series per container are counted on a real page (``tests/monitoring`` does so again), memory and time per series were
measured by ``tests/monitoring/scale.py``; ``docs/scale.md`` says on which machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dashboards.rules import ROOT


class PerCgroup(NamedTuple):
    """Series of one collector: of a container and of a pod, each with a CPU limit and without."""

    limited: int
    unlimited: int
    limited_pod: int
    unlimited_pod: int


SERIES: Mapping[str, PerCgroup] = {
    "throttle": PerCgroup(6, 1, 5, 0),
    "burst": PerCgroup(3, 0, 0, 0),
    "usage": PerCgroup(1, 1, 1, 1),
    "pressure": PerCgroup(2, 2, 2, 2),
    "limits": PerCgroup(5, 4, 2, 1),
    "cpuset": PerCgroup(5, 5, 0, 0),
    "spec": PerCgroup(3, 2, 0, 0),
    "info": PerCgroup(2, 2, 1, 1),
}
"""On cgroup v2 and kernel 6.6 or newer, with the collectors that are on by default; every container has a request."""

PER_NODE = 80
"""Of the node and of the exporter itself; each CPU adds one."""

RECORDED = PerCgroup(1, 0, 6, 2)
"""Recorded for each container and pod, on average, sums over them included, where one limited pod in three is
throttled a little: of throttling only what there is is kept."""

PAGE = ROOT / "docs" / "scale.md"

KIB_PER_SERIES = 4.4
"""Memory of Prometheus for one series in its head, scraped every 15 to 60 s."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What is asked about."""

    nodes: int
    pods: int
    """Per node."""
    containers: float
    """Per pod."""
    limited: float
    """Share of the containers that have a CPU limit."""
    off: Collection[str] = ()
    """Collectors that are switched off."""
    interval: float = 30.0
    """Of scrapes, in seconds."""

    def scraped(self) -> int:
        """Series on all pages."""
        on = [row for name, row in SERIES.items() if name not in self.off]
        return self.nodes * (PER_NODE + self._per_node(on))

    def recorded(self) -> int:
        """Series that the rules add."""
        return self.nodes * self._per_node([RECORDED])

    def samples_per_second(self) -> float:
        """That Prometheus has to take in."""
        return self.scraped() / self.interval + self.recorded() / 60

    def memory_gib(self) -> float:
        """Of Prometheus, for its head."""
        return (self.scraped() + self.recorded()) * KIB_PER_SERIES / 1024**2

    def _per_node(self, rows: Sequence[PerCgroup]) -> int:
        per_container = sum(row.limited * self.limited + row.unlimited * (1 - self.limited) for row in rows)
        per_pod = sum(row.limited_pod * self.limited + row.unlimited_pod * (1 - self.limited) for row in rows)
        return round(self.pods * (self.containers * per_container + per_pod))


def table() -> str:
    """The rows of :data:`SERIES` in Markdown, with their sums."""
    rows = [*SERIES.items(), ("all", PerCgroup(*map(sum, zip(*SERIES.values(), strict=True))))]
    lines = [f"| {name} | {' | '.join(map(str, row))} |" for name, row in rows]
    header = "| Collector | container with limit | container without | pod with limit | pod without |"
    return "\n".join([header, "| --- | ---: | ---: | ---: | ---: |", *lines]) + "\n"


def estimates() -> str:
    """What the calculator says of two sizes of cluster, in Markdown."""
    header = "| Nodes | Scraped series | Recorded series | Samples per second | Memory of the head |"
    lines = [
        f"| {nodes:,} | {one.scraped() / 1e6:.2f} million | {one.recorded() / 1e6:.2f} million"
        f" | {one.samples_per_second():,.0f} | {one.memory_gib():.0f} GiB |"
        for nodes in (100, 1000, 5000)
        for one in [Cluster(nodes=nodes, pods=40, containers=2, limited=0.6)]
    ]
    return "\n".join([header, "| ---: | ---: | ---: | ---: | ---: |", *lines]) + "\n"


def page() -> Mapping[Path, str]:
    """``docs/scale.md`` with its tables made anew."""
    text = PAGE.read_text(encoding="utf-8")
    for name, made in (("series", table()), ("estimates", estimates())):
        begin, end = f"<!-- made by make docs: {name} -->\n", "<!-- end -->"
        head, found, tail = text.partition(begin)
        if not found:
            raise ValueError(f"{PAGE} has no place for {name}")
        text = f"{head}{begin}{made}{end}{tail.partition(end)[2]}"
    return {PAGE: text}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the estimate for one cluster."""
    parser = argparse.ArgumentParser(description="Series, samples and memory for a cluster.")
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--pods", type=int, default=40, help="per node (40)")
    parser.add_argument("--containers", type=float, default=2.0, help="per pod (2)")
    parser.add_argument("--limited", type=float, default=0.6, help="share of containers with a CPU limit (0.6)")
    parser.add_argument("--interval", type=float, default=30.0, help="seconds between scrapes (30)")
    parser.add_argument("--off", nargs="*", default=[], choices=list(SERIES), help="collectors that are off")
    one = Cluster(**vars(parser.parse_args(arguments)))
    print(f"series on all pages   {one.scraped():>12,}")  # noqa: T201 a program prints
    print(f"recorded series       {one.recorded():>12,}")  # noqa: T201 a program prints
    print(f"samples per second    {one.samples_per_second():>12,.0f}")  # noqa: T201 a program prints
    print(f"memory of the head    {one.memory_gib():>8.1f} GiB")  # noqa: T201 a program prints


if __name__ == "__main__":
    main()
