"""Which cgroups there are: found by walking the tree, kept current between walks by what the kernel tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exporter.cgroupfs.inotify import Event, Inotify
from exporter.cgroupfs.names import SUBGROUP
from exporter.cgroupfs.opener import Opener
from exporter.cgroupfs.tree import Found, Known, walk
from exporter.errors import ExporterError, ReadError
from exporter.sampler.tracked import Tracked

SETTINGS = frozenset(
    {
        "cpu.max",
        "cpu.max.burst",
        "cpu.weight",
        "cpu.idle",
        "cpu.cfs_quota_us",
        "cpu.cfs_period_us",
        "cpu.cfs_burst_us",
        "cpu.shares",
        "cpuset.cpus",
        "cpuset.cpus.partition",
        "cpuset.mems",
    }
)
"""Files of a cgroup directory whose writing changes its limits or CPUs."""

MOST_GONE = 10_000
"""Removed cgroups whose last counters are kept at most, however long they are to linger."""

ASK_AGAIN_SECONDS = 300.0
"""How long the kernel is not asked for notifications after it refused: limits on them are shared, and may be lifted."""


class Population:
    """The live cgroups by path, and those gone whose last counters linger."""

    def __init__(self, opener: Opener, *, linger: float, on_error: Callable[[ExporterError], None]) -> None:
        self.live: dict[str, Tracked] = {}
        self.gone: list[Tracked] = []
        self._opener, self._linger, self._on_error = opener, linger, on_error
        self._root = opener.hierarchy.cpu
        self.generation = 0
        """Grows when a cgroup comes, goes or is let go."""
        self._written: dict[Tracked, None] = {}
        self._inotify: Inotify | None = None
        self._refused_at: float | None = None
        self._listen()

    @property
    def everyone(self) -> list[Tracked]:
        """The live and the lingering."""
        return [*self.live.values(), *self.gone]

    @property
    def is_told(self) -> bool:
        """Whether the kernel tells what comes and goes; else walks find it, later."""
        return self._inotify is not None

    def scan(self, now: float, attempts: int) -> None:
        """Walk the whole tree: the truth, with which all that was told is reconciled."""
        if self._inotify is not None:
            self._refused_at = None
        elif self._refused_at is None:
            self._refused_at = now
        elif now - self._refused_at >= ASK_AGAIN_SECONDS:
            self._refused_at = now
            self._listen()
        walked = walk(self._root, known=self.live)
        for reason, count in walked.problems.items():
            for _ in range(count):
                self._on_error(ReadError(self._root, "a directory cannot be listed", reason=reason))
        self._opener.new_scan()
        for path, one in list(self.live.items()):
            here = walked.found.get(path)
            # The same path with another inode is another cgroup: its predecessor went away between two scans.
            if here is None or here.inode != one.inode:
                self.retire(one, now)
        self._admit(walked.found, now, attempts)

    def forget(self, now: float) -> None:
        """Let go of what has lingered long enough."""
        before = len(self.gone)
        if before:
            self.gone = [one for one in self.gone if one.gone_at is not None and now - one.gone_at < self._linger]
        self.generation += len(self.gone) < before

    def drain(self, now: float, attempts: int) -> None:
        """Take over what the kernel told since the last call."""
        if self._inotify is not None:
            for event in self._inotify.drain():
                self._follow(self._inotify, event, now, attempts)

    def take_written(self) -> list[Tracked]:
        """Cgroups whose settings were written to since the last call."""
        written = list(self._written)
        self._written.clear()
        return written

    def retire(self, one: Tracked, now: float) -> None:
        """A cgroup is gone: its last counters linger."""
        one.retire(now)
        self.generation += 1
        self._written.pop(one, None)
        self.live.pop(one.ref.path, None)
        if len(self.gone) >= MOST_GONE:
            del self.gone[: MOST_GONE // 10]
        self.gone.append(one)
        if self._inotify is not None:
            self._inotify.unwatch(f"{self._root}/{one.ref.path}")

    def close(self) -> None:
        """Give all descriptors back."""
        for one in self.live.values():
            one.files.close()
        self.live.clear()
        if self._inotify is not None:
            self._inotify.close()

    def _listen(self) -> None:
        self._inotify = None
        try:
            self._inotify = Inotify()
        except ReadError as error:
            self._on_error(error)  # walks alone find everything too, later

    def _follow(self, inotify: Inotify, event: Event, now: float, attempts: int) -> None:
        if event.kind == "overflow":
            self._on_error(ReadError(self._root, "more cgroups came and went than the kernel keeps", reason="overflow"))
            # Which watches are left is among what it did not keep.
            inotify.close()
            self._listen()
            self.scan(now, attempts)
            self._written.update(dict.fromkeys(self.live.values()))
            return
        parent = event.directory.removeprefix(self._root).strip("/")
        path = f"{parent}/{event.name}".lstrip("/")
        holder = self.live.get(parent)
        if event.kind == "modified":
            if holder is not None and event.name in SETTINGS:
                self._written[holder] = None
        elif event.kind == "deleted":
            one = self.live.get(path)
            if one is not None:
                self.retire(one, now)
            inotify.unwatch(f"{self._root}/{path}")
        elif holder is None or holder.ref.container_id is None:
            # What was made in it before it could be watched is found by looking, after the watch is on.
            self._watch(path)
            self._admit(walk(self._root, path).found, now, attempts)
        elif event.name == SUBGROUP:
            self._admit(walk(self._root, parent).found, now, attempts)

    def _admit(self, found: Mapping[str, Known], now: float, attempts: int) -> None:
        for path, here in found.items():
            one = self.live.get(path)
            if one is None:
                new = self._sharing(here)
                files = self._opener.open(new)
                self.generation += 1
                self.live[path] = Tracked(new, files, now=now, attempts=attempts)
            elif here.subgroup != one.subgroup:
                one.files.close()
                one.files, one.subgroup = self._opener.open(here), here.subgroup
                self._written[one] = None
            # Itself for what is written to its limits, all above it for the pods and containers that appear there.
            above = path
            while self._watch(above) and above:
                above = above.rpartition("/")[0]

    def _sharing(self, found: Known) -> Known:
        """The same with its pod's own strings, instead of one copy for each container."""
        pod = self.live.get(found.ref.pod_path)
        if pod is None or found.ref.container_id is None:
            return found
        ref = found.ref._replace(pod_path=pod.ref.path, pod_uid=pod.ref.pod_uid)
        return Found(ref, found.inode, found.subgroup)

    def _watch(self, path: str) -> bool:
        """True when ``path`` had not been watched yet and is now."""
        inotify = self._inotify
        if inotify is None:
            return False
        directory = f"{self._root}/{path}" if path else self._root
        before = len(inotify)
        try:
            inotify.watch(directory)
        except ReadError as error:
            self._on_error(error)
            inotify.close()  # half a picture would look like a whole one; the walks go on
            self._inotify = None
        return len(inotify) > before
