"""Weeks in half a minute: a sampler with its clock in our hand, on a small tree, in a process of its own.

``python -m tests.soak.soak`` lives through 100,000 samples, a scan each ten and a page each thirty, with restarts
now and then; ``--lifetimes 100000`` makes and removes so many containers, two hundred at a time, each sampled, scanned
and shown once. Both print what the process' memory did, as JSON. Not in it: HTTP, pod sources, the kernel.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from exporter.kube.cache import PodCacheStatus
from exporter.metrics.own import OwnMetrics
from tests.sampler.rig import LINGER, Rig
from tests.support.lab import resident
from tests.support.recordings import overwrite
from tests.support.treebuilder import Builder, container_id, pod_uid, v2, write_files
from tests.support.trees import cgroupfs_pod

SCAN_EVERY, PAGE_EVERY, RESTART_EVERY = 10, 30, 50
PODS, CONTAINERS = 2, 3
BATCH = 200
READINGS = 120
"""How often memory is looked at."""


class Soaked:
    """A rig, its own metrics, and memory as it goes."""

    def __init__(self, root: Path) -> None:
        self.build: Builder = v2(root)
        self.pods = [
            self.build.pod(cgroupfs_pod(pod_uid(f"p{n}"), "Burstable"), pod_uid(f"p{n}"), "Burstable")
            for n in range(PODS)
        ]
        self.rig = Rig(root)
        self.own = OwnMetrics(interval=1.0, window=60.0, directory=lambda: PodCacheStatus(()))
        self.memory: list[int] = []
        self.blocks: list[int] = []
        """What Python has allocated: exact where resident memory goes in steps of an arena (1 MB)."""
        self.pages = self.samples = 0
        self.failures: dict[str, int] = {}

    def page(self) -> None:
        snapshot = self.rig.snapshot()
        self.own.publish(snapshot)
        text = self.rig.renderer.render(snapshot, "text") + self.own.render("text")
        self.pages, self.samples = self.pages + 1, max(self.samples, text.count(b"\n"))
        for (stage, reason), number in self.rig.failures().items():
            self.failures[f"{stage}/{reason}"] = self.failures.get(f"{stage}/{reason}", 0) + number

    def look(self) -> None:
        gc.collect()
        self.memory.append(resident(os.getpid()))
        self.blocks.append(sys.getallocatedblocks())

    def told(self, **more: object) -> dict[str, Any]:
        first, middle, last = thirds(self.memory)
        _, blocks_before, blocks_after = thirds(self.blocks)
        return {
            "pages": self.pages,
            "lines of a page": self.samples,
            "failures": self.failures,
            "resident MB": [round(number / 1e6, 2) for number in (first, middle, last)],
            "growth bytes": round(last - middle),
            "growth blocks": round(blocks_after - blocks_before),
            "descriptors": self.rig.budget.kept,
            **more,
        }


def thirds(readings: Sequence[float]) -> tuple[float, float, float]:
    """The median of each third; of fewer than three readings, of the last ones."""
    size = max(1, len(readings) // 3)
    first, middle, last = (median(readings[n * size : (n + 1) * size] or readings[-size:]) for n in range(3))
    return first, middle, last


def ticks(soaked: Soaked, number: int) -> dict[str, Any]:
    """So many samples of a node whose containers run, restart and are renamed by the list."""
    build, rig = soaked.build, soaked.rig
    living: dict[tuple[str, int], str] = {}
    restarts = 0

    def start(pod: str, slot: int) -> None:
        nonlocal restarts
        restarts += 1
        cid = living[pod, slot] = container_id(f"{pod} {slot} {restarts}")
        build.group(f"{pod}/{cid}", quota=50_000)

    for pod in soaked.pods:
        for slot in range(CONTAINERS):
            start(pod, slot)
    periods = 1_000_000  # above what a container begins with here: it must not look like a reset
    every = max(1, number // READINGS)
    for tick in range(number):
        if tick % RESTART_EVERY == 0:
            pod, slot = soaked.pods[tick // RESTART_EVERY % PODS], tick // RESTART_EVERY % CONTAINERS
            shutil.rmtree(build.root / pod / living[pod, slot])
            start(pod, slot)
            rig.pods(listed(soaked.pods, living))
        periods += 10
        text = f"usage_usec {periods}\nnr_periods {periods}\nnr_throttled {periods // 3}\nthrottled_usec {periods}\n"
        moving = list(living.items())[tick % len(living)]
        overwrite(build.root / moving[0][0] / moving[1] / "cpu.stat", text.encode())
        rig.tick()
        if tick % SCAN_EVERY == 0:
            rig.scan()
        if tick % PAGE_EVERY == 0:
            soaked.page()
        if tick % every == 0:
            soaked.look()
    return soaked.told(ticks=number, restarts=restarts)


def listed(pods: list[str], living: dict[tuple[str, int], str]) -> bytes:
    """A PodList of what lives, each container under its slot's name."""
    items = []
    for pod in pods:
        slots = [(f"c{slot}", cid) for (where, slot), cid in living.items() if where == pod]
        statuses = [
            {"name": name, "containerID": f"containerd://{cid}", "state": {"running": {}}} for name, cid in slots
        ]
        uid = pod.rpartition("/pod")[2]
        items.append(
            {
                "metadata": {"namespace": "soak", "name": f"pod-{uid[:8]}", "uid": uid},
                "spec": {"containers": [{"name": name} for name, _ in slots]},
                "status": {"containerStatuses": statuses},
            }
        )
    return json.dumps({"kind": "PodList", "items": items}).encode()


def lifetimes(soaked: Soaked, number: int) -> dict[str, Any]:
    """So many containers, each with the two files that every tick and scan of it reads."""
    root, rig, made = soaked.build.root / soaked.pods[0], soaked.rig, 0
    text = {"cpu.max": "50000 100000", "cpu.stat": "usage_usec 5\nnr_periods 3\nnr_throttled 1\nthrottled_usec 2"}
    every = max(1, number // BATCH // READINGS)
    while made < number:
        folders = [root / container_id(str(made + n)) for n in range(BATCH)]
        for folder in folders:
            write_files(folder, text)
        made += BATCH
        rig.tick()
        rig.scan()
        soaked.page()
        for folder in folders:
            shutil.rmtree(folder)
        rig.tick()
        # The last counters of all of them are let go.
        rig.now += LINGER
        rig.scan()
        if made // BATCH % every == 0:
            soaked.look()
    return soaked.told(lifetimes=made)


@contextmanager
def memory_folder() -> Iterator[Path]:
    """On a file system in memory where there is one: thousands of small files are made and removed."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def soak(work: Callable[[Soaked, int], dict[str, Any]], number: int) -> dict[str, Any]:
    """In a folder of its own, which is removed."""
    began = time.monotonic()
    with memory_folder() as folder:
        soaked = Soaked(folder)
        gc.collect()
        try:
            told = work(soaked, number)
        finally:
            soaked.rig.sampler.close()
    return told | {"seconds": round(time.monotonic() - began, 1), "kept after close": soaked.rig.budget.kept}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=100_000)
    parser.add_argument("--lifetimes", type=int)
    options = parser.parse_args()
    told = soak(ticks, options.ticks) if options.lifetimes is None else soak(lifetimes, options.lifetimes)
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
