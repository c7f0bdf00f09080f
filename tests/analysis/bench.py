"""What the verdicts cost: ``python -m tests.analysis.bench`` prints CPU milliseconds for a node of 750 containers.

And what recommendations add to a tick and to memory, on plain files: the kernel's part of a read is missing there, so
that the shares are upper bounds.
"""

from __future__ import annotations

import gc
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

from exporter.analysis.findings import find
from exporter.analysis.isolation import CpusetUser, isolate
from exporter.cpulist import cpu_list
from exporter.model import CgroupName, Snapshot
from tests.sampler.rig import COLLECTORS, Rig
from tests.support import snapshots as make
from tests.support.treebuilder import container_id, pod_uid, v2
from tests.support.trees import cgroupfs_pod

CONTAINERS = 750
OWNERS = 8
ONLINE = cpu_list("0-63", "")
SCANS, TICKS_A_SCAN = 12, 10


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


class Throttled:
    """A tree of 750 containers under a quota, of which the first ``awake`` are throttled in half of their periods."""

    def __init__(self, root: Path, awake: int) -> None:
        build, self._files, self._seconds = v2(root), list[Path](), 0
        for number in range(CONTAINERS):
            uid, cid = pod_uid(f"p{number // 3}"), container_id(f"c{number}")
            path = cgroupfs_pod(uid, "Burstable")
            if number % 3 == 0:
                build.pod(path, uid, "Burstable")
            build.container(f"{path}/{cid}", cid, "", quota=20_000)
            self._files.append(root / path / cid / "cpu.stat")
        self._awake = self._files[:awake]

    def second(self) -> None:
        """A burst of 80 ms: two throttled periods, the one in which it ends, and an idle one."""
        self._seconds += 1
        periods = 1_000_000 + 4 * self._seconds
        fields = {"nr_periods": periods, "nr_throttled": periods // 2, "throttled_usec": 30_000 * periods}
        text = "".join(f"{key} {value}\n" for key, value in {"usage_usec": 20_000 * periods, **fields}.items())
        for file in self._awake:
            file.write_text(text)


def recommendations(awake: int) -> None:
    """Print CPU time of a tick, with its share of a scan, and bytes a container, with recommendations and without."""
    spent: dict[str, list[float]] = {"recommend": [], "": []}
    held: dict[str, int] = {}
    for without in spent:
        with tempfile.TemporaryDirectory() as folder:
            tree = Throttled(Path(folder), awake)
            tree.second()
            gc.collect()
            tracemalloc.start()
            rig = Rig(Path(folder), collectors=COLLECTORS - {without})
            for _ in range(SCANS // 2):
                _scan_and_ticks(rig, tree)
            gc.collect()
            held[without] = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            spent[without] = [_scan_and_ticks(rig, tree) for _ in range(SCANS)]
            rig.sampler.close()
    plain, whole = (median(spent[without]) / TICKS_A_SCAN for without in ("recommend", ""))
    added = (held[""] - held["recommend"]) / CONTAINERS
    print(  # noqa: T201 - a program that prints
        f"{awake} of {CONTAINERS} throttled: tick {plain:.2f} ms, with recommendations {whole:.2f} ms "
        f"(+{100 * (whole / plain - 1):.1f} %); {added:.0f} bytes a container"
    )


def _scan_and_ticks(rig: Rig, tree: Throttled) -> float:
    spent = 0.0
    for number in range(TICKS_A_SCAN):
        tree.second()
        start = process_time()
        rig.tick()
        if number == TICKS_A_SCAN - 1:
            rig.scan()
        spent += 1000 * (process_time() - start)
    return spent


if __name__ == "__main__":
    good, broken, snapshot = users(), users(reset=True), node()
    memory = isolate(broken, ONLINE, {}, 0.0, 10.0).memory
    measure("isolation", lambda: isolate(good, ONLINE, {}, 0.0, 10.0))
    measure("isolation, all cpusets reset", lambda: isolate(broken, ONLINE, memory, 20.0, 10.0))
    measure("findings", lambda: find(snapshot))
    for awake in (30, CONTAINERS):
        recommendations(awake)
