"""A node made of files with all of the exporter on it but its port, in this process; its clock may be the test's."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from exporter.app import Exporter
from exporter.cgroupfs.files import Descriptors
from exporter.kube.source import FileSource, PodSource
from exporter.settings import Settings
from tests.support.pages import Page, duplicates, triples
from tests.support.treebuilder import Builder, Tree, container_id, pod_uid
from tests.support.trees import pod_list, systemd_pod

CHECKPOINT = "cpu_manager_state"
PERIODS = "cgroup_container_cpu_periods_total"
AVAILABLE = "throttle_exporter_input_available"
ERRORS = "throttle_exporter_errors_total"
FAST = 0.2
"""Sample and scan interval of a node on real time, in seconds."""


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
    listed: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.listed = pod_list(self.tree)
        self.write("pods.json", json.dumps(self.listed))
        self.write("proc/sys/kernel/osrelease", "6.12.0\n")
        self.write("proc/stat", jiffies(0))
        self.write("sys/devices/system/cpu/online", "0-3\n")
        self.write("sys/devices/system/node/node0/cpulist", "0-3\n")
        self.write(CHECKPOINT, json.dumps({"policyName": "static", "defaultCpuSet": "0-3", "entries": {}}))

    def write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def write_logs(self) -> None:
        """The log directory says what is listed."""
        links = self.folder / "logs/containers"
        links.mkdir(parents=True, exist_ok=True)
        for item in self.listed["items"]:
            about = item["metadata"]
            folder = self.folder / f"logs/pods/{about['namespace']}_{about['name']}_{about['uid']}"
            folder.mkdir(parents=True, exist_ok=True)
            for status in item["status"]["containerStatuses"]:
                name, cid = status["name"], status["containerID"].partition("://")[2]
                link = links / f"{about['name']}_{about['namespace']}_{name}-{cid}.log"
                if not link.is_symlink():
                    link.symlink_to(folder / name / "0.log")

    def add_pod(self, name: str) -> None:
        """A pod with one container that was not there before, in the v2 tree and in what is listed."""
        build = Builder(self.tree.root, "v2")
        uid, cid = pod_uid(name), container_id(name)
        pod = build.pod(systemd_pod(uid, "Burstable"), uid, "Burstable")
        build.container(f"{pod}/cri-containerd-{cid}.scope", cid, "containerd")
        self.listed["items"] += pod_list(build)["items"]

    @property
    def options(self) -> list[str]:
        """Where all that is, for the program."""
        return [f"--path.cgroup={self.tree.root}", *(f"--path.{name}={self.folder}/{name}" for name in ("proc", "sys"))]

    def settings(self, **more: Any) -> Settings:
        return Settings(
            path_cgroup=str(self.tree.root),
            path_proc=str(self.folder / "proc"),
            path_sys=str(self.folder / "sys"),
            path_cpu_manager_state=str(self.folder / CHECKPOINT),
            **more,
        )


def jiffies(seconds: int) -> str:
    """``/proc/stat`` of four CPUs, half busy for so long."""
    busy = 50 * seconds
    return "".join(f"cpu{cpu} {busy + 10} 0 0 {busy + 10} 0 0 0 0 0 0\n" for cpu in ("", 0, 1, 2, 3))


@dataclass
class Node:
    """The exporter on a place."""

    place: Place
    exporter: Exporter
    clock: Clock | None

    @property
    def containers(self) -> int:
        return len(self.place.tree.containers)

    async def page(self) -> Page:
        """The page of now; it is whole, whatever is on it."""
        page = Page((await self.exporter.page("text")).decode(), "text/plain")
        assert duplicates(page.text) == {}
        assert page.families
        return page

    async def document(self) -> dict[str, Any]:
        """The node's document of the API."""
        found: dict[str, Any] = json.loads(json.dumps((await self.exporter.report()).node()["node"]))
        return found

    async def lives(self, seconds: int) -> None:
        """So many seconds, with a sample each and the scans that fall into them."""
        if self.clock is None:
            raise AssertionError("this node lives by itself")
        for _ in range(seconds):
            self.clock.now += 1.0
            await self.exporter.loop.scan()

    async def when(self, holds: Callable[[Page], object], seconds: float = 30.0) -> Page:
        """The first page on which ``holds``."""
        began = time.monotonic()
        while not holds(page := await self.page()):
            assert time.monotonic() - began < seconds, page.text[-3000:]
            await asyncio.sleep(FAST)
        return page


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
async def by_hand(place: Place, wall: Callable[[], float] | None = None) -> AsyncIterator[Node]:
    """A node whose time passes when :meth:`Node.lives` says so; its pods are in a file."""
    clock = Clock()
    make = partial(
        Exporter,
        place.settings(),
        sources=[FileSource(str(place.folder / "pods.json"))],
        descriptors=Descriptors(0),
        monotonic=clock,
        wall=wall or clock,
    )
    exporter = await asyncio.to_thread(make)  # it looks at files, and this loop is watched
    asking = asyncio.create_task(exporter.directory.run())
    try:
        await exporter.directory.first_result.wait()
        yield Node(place, exporter, clock)
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await exporter.close()


@asynccontextmanager
async def by_itself(place: Place, sources: Sequence[PodSource]) -> AsyncIterator[Node]:
    """A node on real time, its tasks running; it ends within seconds whatever hangs."""
    settings = place.settings(sample_interval=FAST, scan_interval=FAST, sample_window=10.0, pods_interval=1.0)
    exporter = await asyncio.to_thread(partial(Exporter, settings, sources=sources, descriptors=Descriptors(0)))
    supervise = exporter.supervisor.run
    tasks = [
        asyncio.create_task(supervise("sampling", exporter.loop.run)),
        asyncio.create_task(supervise("pods", exporter.directory.run)),
    ]
    try:
        yield Node(place, exporter, None)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(5.0):
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
