"""A sampler on a tree of its own, with its clock in the test's hand."""

from __future__ import annotations

import os
import resource
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from exporter.cgroupfs.discover import detect
from exporter.cgroupfs.files import Descriptors
from exporter.cgroupfs.readers import ReaderFactory
from exporter.errors import ExporterError
from exporter.kube.podlist import parse_pod_list
from exporter.metrics.catalog import CATALOG
from exporter.metrics.exposition import Renderer
from exporter.model import CgroupRow, Snapshot
from exporter.sampler.sampler import RefreshHint, Sampler, SamplerOptions
from tests.support.pages import Page
from tests.support.recordings import overwrite
from tests.support.treebuilder import container_id, pod_uid, v2
from tests.support.trees import cgroupfs_pod

COLLECTORS = frozenset(metric.collector for metric in CATALOG if metric.collector)
LINGER = 60.0


class Rig:
    """One sampler; time passes when :meth:`tick` says so."""

    def __init__(
        self,
        cgroup: Path,
        *,
        proc: Path | None = None,
        sys: Path | None = None,
        descriptors: int = 4096,
        opener: ReaderFactory | None = None,
        collectors: frozenset[str] = COLLECTORS,
        expects_names: bool = False,
        linger: float = LINGER,
        interval: float = 1.0,
    ) -> None:
        self.now, self.attempts = 1000.0, 0
        self.errors: list[ExporterError] = []
        self.budget = Descriptors(descriptors)
        self.interval = interval
        self.renderer = Renderer(collectors)
        absent = cgroup / "absent"
        self.sampler = Sampler(
            opener or ReaderFactory(detect(str(cgroup)), self.budget),
            SamplerOptions(
                proc=str(proc or absent),
                sys=str(sys or absent),
                checkpoint=str(absent / "cpu_manager_state"),
                interval=interval,
                window=60.0,
                linger=linger,
                collectors=collectors,
                expects_names=expects_names,
            ),
            monotonic=lambda: self.now,
            wall=lambda: self.now + 1e9,
            attempts=lambda: self.attempts,
            on_error=self.errors.append,
        )

    def scan(self) -> None:
        self.sampler.scan()

    def tick(self, seconds: float | None = None) -> RefreshHint:
        self.now += self.interval if seconds is None else seconds
        return self.sampler.tick()

    def pods(self, body: bytes) -> None:
        """A refresh that answered with ``body``."""
        self.attempts += 1
        self.sampler.set_pods(parse_pod_list(body, "test"))

    def snapshot(self, *, detailed: bool = False) -> Snapshot:
        return self.sampler.snapshot(detailed=detailed)

    def page(self) -> Page:
        """The page of now, through the one renderer of this rig."""
        return Page(self.renderer.render(self.snapshot(), "text").decode(), "text/plain")

    def failures(self) -> Counter[tuple[str, str]]:
        """Stage and reason of the errors since the last call."""
        found = Counter((error.stage, error.reason) for error in self.errors)
        self.errors.clear()
        return found


UID = pod_uid("web")


class SmallNode(Rig):
    """A rig on one pod of two containers, ``app`` and ``log``, with a quota each; v2 files."""

    def __init__(self, root: Path, *, descriptors: int = 4096, linger: float = LINGER) -> None:
        build = v2(root)
        self.pod = root / build.pod(cgroupfs_pod(UID, "Burstable"), UID, "Burstable")
        for name in ("app", "log"):
            build.container(f"{build.pods[0].path}/{container_id(name)}", container_id(name), "")
        self.tree = build
        super().__init__(root, descriptors=descriptors, linger=linger)

    def path(self, name: str) -> Path:
        """The cgroup of a container; of the pod under the name ``pod``."""
        return self.pod if name == "pod" else self.pod / container_id(name)

    def write(self, name: str, file: str, text: str) -> None:
        overwrite(self.path(name) / file, f"{text}\n".encode())

    def count(self, name: str, **fields: int) -> None:
        """New counters of a container, in place."""
        self.write(name, "cpu.stat", "\n".join(f"{key} {value}" for key, value in fields.items()))

    def rescan(self, ticks: int = 1) -> None:
        self.now += 10
        self.scan()
        for _ in range(ticks):
            self.tick()

    def found(self, name: str = "app") -> CgroupRow | None:
        return row(self.snapshot(), container_id(name))

    def app(self, name: str = "app") -> CgroupRow:
        return shown(self.snapshot(), container_id(name))


def without_inotify(tree: Path) -> Rig:
    """A rig whose process had no descriptor left for an inotify instance."""
    readers = ReaderFactory(detect(str(tree)), Descriptors(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        return Rig(tree, opener=readers)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


AnyRig = TypeVar("AnyRig", bound=Rig)


@contextmanager
def running(rig: AnyRig) -> Iterator[AnyRig]:
    """Scanned and ticked once; closed in the end, with nothing left open."""
    try:
        rig.scan()
        rig.tick(0.0)
        yield rig
    finally:
        rig.sampler.close()
    assert rig.budget.kept == 0


def row(snapshot: Snapshot, cid: str | None = None, uid: str | None = None) -> CgroupRow | None:
    """The row of container ``cid``, or of pod ``uid``; ``None`` when it is not shown."""
    rows = snapshot.pods if cid is None else snapshot.containers
    found = [one for one in rows if (one.ref.pod_uid == uid if cid is None else one.ref.container_id == cid)]
    assert len(found) <= 1
    return found[0] if found else None


def shown(snapshot: Snapshot, cid: str | None = None, uid: str | None = None) -> CgroupRow:
    found = row(snapshot, cid, uid)
    assert found is not None
    return found


def remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder)
