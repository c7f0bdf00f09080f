"""A node made of files with all of the exporter on it but its port, in this process; its clock is the test's."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from exporter.app import Exporter
from exporter.cgroupfs.files import Descriptors
from exporter.kube.source import PodSource
from exporter.settings import Settings
from tests.support.pages import Page, duplicates, triples
from tests.support.treebuilder import Tree
from tests.support.trees import pod_list

CHECKPOINT = "cpu_manager_state"
PERIODS = "cgroup_container_cpu_periods_total"
AVAILABLE = "throttle_exporter_input_available"
ERRORS = "throttle_exporter_errors_total"


class Clock:
    """Seconds, as the test moves them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Place:
    """The files of one node below a folder."""

    folder: Path
    tree: Tree

    def __post_init__(self) -> None:
        self.write("pods.json", json.dumps(pod_list(self.tree)))
        self.write("proc/sys/kernel/osrelease", "6.12.0\n")
        self.write("proc/stat", jiffies(0))
        self.write("sys/devices/system/cpu/online", "0-3\n")
        self.write("sys/devices/system/node/node0/cpulist", "0-3\n")
        self.write(CHECKPOINT, json.dumps({"policyName": "static", "defaultCpuSet": "0-3", "entries": {}}))

    def write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    @property
    def paths(self) -> list[str]:
        """Where all that is but the pods, for the program."""
        return [f"--path.cgroup={self.tree.root}", *(f"--path.{name}={self.folder}/{name}" for name in ("proc", "sys"))]

    @property
    def options(self) -> list[str]:
        """Where all that is, for the program."""
        return [*self.paths, f"--pods.sources=file:{self.folder}/pods.json"]

    @property
    def settings(self) -> Settings:
        return Settings(
            path_cgroup=str(self.tree.root),
            path_proc=str(self.folder / "proc"),
            path_sys=str(self.folder / "sys"),
            path_cpu_manager_state=str(self.folder / CHECKPOINT),
            pods_sources=(f"file:{self.folder}/pods.json",),
        )


def jiffies(seconds: int) -> str:
    """``/proc/stat`` of four CPUs, half busy for so long."""
    busy = 50 * seconds
    return "".join(f"cpu{cpu} {busy + 10} 0 0 {busy + 10} 0 0 0 0 0 0\n" for cpu in ("", 0, 1, 2, 3))


@dataclass
class Node:
    """An exporter whose time passes when :meth:`lives` says so."""

    exporter: Exporter
    clock: Clock

    async def page(self) -> Page:
        """The page of now; it is whole, whatever is on it."""
        page = Page((await self.exporter.page(("text", False))).decode(), "text/plain")
        assert duplicates(page.text) == {}
        assert page.families
        return page

    async def document(self) -> dict[str, Any]:
        """The node's document of the API."""
        found: dict[str, Any] = json.loads(json.dumps((await self.exporter.report()).node()["node"]))
        return found

    async def lives(self, seconds: int) -> None:
        """So many seconds, with a scan and a sample each."""
        for _ in range(seconds):
            self.clock.now += 1.0
            await self.exporter.loop.scan()

    async def when(self, holds: Callable[[Page], object], seconds: float = 30.0) -> Page:
        """The first page on which ``holds``, with real time between two looks."""
        began = time.monotonic()
        while True:
            await self.lives(1)
            if holds(page := await self.page()):
                return page
            assert time.monotonic() - began < seconds, page.text[-3000:]
            self.exporter.directory.request_refresh(new=True)
            await asyncio.sleep(0.05)


def named(page: Page) -> int:
    """Containers that are shown under their own names, with whatever."""
    rows = triples(page.rows(PERIODS)) | triples(page.rows("cgroup_container_cpu_quota_state"))
    return sum(bool(namespace) for namespace, *_ in rows)


def failures(page: Page) -> dict[tuple[str, str], float]:
    """Counted failures by stage and reason."""
    rows = ((dict(labels), number) for labels, number in page.rows(ERRORS).items())
    return {(labels["stage"], labels["reason"]): number for labels, number in rows}


def grown(before: Page, after: Page) -> set[tuple[str, str]]:
    """The kinds of failures that were counted between two pages."""
    earlier = failures(before)
    return {kind for kind, number in failures(after).items() if number > earlier.get(kind, 0)}


@asynccontextmanager
async def by_hand(
    settings: Settings, wall: Callable[[], float] | None = None, sources: Sequence[PodSource] | None = None
) -> AsyncIterator[Node]:
    """A node that asked for its pods' names."""
    clock = Clock()
    make = partial(Exporter, settings, sources=sources, descriptors=Descriptors(0), monotonic=clock, wall=wall or clock)
    exporter = await asyncio.to_thread(make)  # it looks at files, and this loop is watched
    asking = asyncio.create_task(exporter.directory.run())
    try:
        await exporter.directory.first_result.wait()
        yield Node(exporter, clock)
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await exporter.close()


@contextmanager
def hung(file: Path) -> Iterator[None]:
    """Who opens the file waits: it is a FIFO without a writer. In the end they are let go, and it is as it was."""
    kept = file.read_bytes() if file.exists() else None
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    try:
        yield
    finally:
        spent = file.with_name(f"{file.name}.spent")
        file.rename(spent)
        if kept is not None:
            file.write_bytes(kept)
        with suppress(OSError):  # nobody waits
            os.close(os.open(spent, os.O_WRONLY | os.O_NONBLOCK))
        spent.unlink()
