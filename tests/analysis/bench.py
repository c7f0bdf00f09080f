"""What the verdicts cost: ``python -m tests.analysis.bench`` prints CPU milliseconds for a node of 750 containers."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import process_time

from exporter.analysis.findings import find
from exporter.analysis.isolation import CpusetUser, isolate
from exporter.cpulist import cpu_list
from exporter.model import CgroupName, Snapshot
from tests.support import snapshots as make

CONTAINERS = 750
OWNERS = 8
ONLINE = cpu_list("0-63", "")


def users(*, reset: bool = False) -> list[CpusetUser]:
    """64 CPUs: eight containers own two each, the others share what is left, or everything after a ``reset``."""
    return [
        CpusetUser(
            CgroupName(f"team-{number % 20}", f"pod-{number // 3}", f"c{number % 3}"),
            f"kubepods/burstable/pod{number // 3}",
            cpu_list(
                f"{2 * number}-{2 * number + 1}" if number < OWNERS else "0-63" if reset else f"{2 * OWNERS}-63", ""
            ),
            2 if number < OWNERS else None,
            "container",
        )
        for number in range(CONTAINERS)
    ]


def node() -> Snapshot:
    """Of fifty containers one is throttled in bursts, one waits, the others are well; a third has no limit."""
    rows = []
    for number in range(CONTAINERS):
        row = make.container(f"c{number}", limit=None if number % 3 == 0 and number % 50 != 1 else 2.0)
        if number % 50 == 1:
            stopped = make.deltas(throttled_seconds=90.0, local_throttled_seconds=90.0, waiting_seconds=50.0)
            row = row._replace(window=make.window(0.8), deltas=stopped, intervals=make.intervals(0.3, 0.8))
        elif number % 50 == 3:
            row = row._replace(deltas=make.deltas(waiting_seconds=40.0))
        rows.append(row)
    return make.snapshot(*rows)


def measure(what: str, run: Callable[[], object], rounds: int = 50) -> None:
    """Print the median CPU time of ``rounds``."""
    spent = []
    for _ in range(rounds):
        start = process_time()
        run()
        spent.append(1000 * (process_time() - start))
    print(f"{what:30} {median(spent):6.2f} ms CPU for {CONTAINERS} containers")  # noqa: T201 - a program that prints


if __name__ == "__main__":
    good, broken, snapshot = users(), users(reset=True), node()
    memory = isolate(broken, ONLINE, {}, 0.0, 10.0).memory
    measure("isolation", lambda: isolate(good, ONLINE, {}, 0.0, 10.0))
    measure("isolation, all cpusets reset", lambda: isolate(broken, ONLINE, memory, 20.0, 10.0))
    measure("findings", lambda: find(snapshot))
