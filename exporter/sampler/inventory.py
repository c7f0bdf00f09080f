"""The cgroups that exist: found by walking the tree, kept current between walks by inotify."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile

from exporter.cgroupfs.discover import NO_REF, Found, walk
from exporter.cgroupfs.files import OnError
from exporter.cgroupfs.inotify import Event, Inotify
from exporter.cgroupfs.names import SUBGROUP, Owners
from exporter.cgroupfs.readers import ReaderFactory
from exporter.errors import ReadError
from exporter.sampler.tracked import TrackedCgroup

SETTINGS = {
    *("cpu.max", "cpu.max.burst", "cpu.weight", "cpu.idle"),
    *("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us", "cpu.shares"),
    *("cpuset.cpus", "cpuset.cpus.partition", "cpuset.mems"),
}
"""Files of a cgroup directory whose writing changes its limits or CPUs."""
MAX_LINGERING = 10_000  # removed cgroups whose last counters are kept at most
INOTIFY_RETRY_SECONDS = 300.0
"""Time between attempts to get an inotify instance: its limits are shared, and may be lifted."""


class CgroupInventory:
    """The live cgroups of pods and containers by path, those above them, and removed ones whose counters linger."""

    def __init__(
        self, readers: ReaderFactory, *, now: float, linger: float, owners: Callable[[], Owners], on_error: OnError
    ) -> None:
        """``owners`` returns the containers of the last pod list."""
        self.live: dict[str, TrackedCgroup] = {}  # in the order in which they were found
        self.ancestors: dict[str, TrackedCgroup] = {}  # each is read once, however many pods are below it
        self.gone: list[TrackedCgroup] = []
        self._readers, self._linger, self._owners, self._on_error = readers, linger, owners, on_error
        self._root = readers.hierarchy.cpu
        self.generation = 0  # grows when a cgroup comes, goes or is forgotten
        self._written: dict[TrackedCgroup, None] = {}
        self._inotify: Inotify | None
        self._start_inotify(now)

    @property
    def everything(self) -> list[TrackedCgroup]:
        """The live and the lingering cgroups."""
        return [*self.live.values(), *self.gone]

    @property
    def existing(self) -> list[TrackedCgroup]:
        """The live cgroups and those above them."""
        return [*self.live.values(), *self.ancestors.values()]

    @property
    def containers(self) -> list[TrackedCgroup]:
        """The live cgroups of containers."""
        return [one for one in self.live.values() if one.ref.container_id is not None]

    @property
    def has_inotify(self) -> bool:
        """Whether the kernel reports changes; otherwise only scans find them."""
        return self._inotify is not None

    def younger_than(self, seconds: float, now: float) -> list[TrackedCgroup]:
        """Return the live cgroups found within the last ``seconds``."""
        return list(takewhile(lambda one: now - one.first_seen < seconds, reversed(self.live.values())))

    def scan(self, now: float, attempts: int) -> None:
        """Walk the whole tree and reconcile the inventory with it."""
        if self._inotify is None and now >= self._retry_at:
            self._start_inotify(now)
        walked = walk(self._root, known=self.live, owners=self._owners())
        for reason, count in walked.problems.items():
            for _ in range(count):
                self._on_error(ReadError(self._root, "a directory cannot be listed", reason=reason))
        self._readers.new_scan()
        for path, one in list(self.live.items()):
            here = walked.found.get(path)
            # Another inode at the same path is another cgroup: the first was removed between two scans.
            if here is None or here.inode != one.inode:
                self.retire(one, now)
        self._admit(walked.found, now, attempts)

    def forget(self, now: float) -> None:
        """Drop cgroups that have lingered long enough."""
        before = len(self.gone)
        if before:
            self.gone = [one for one in self.gone if one.gone_at is not None and now - one.gone_at < self._linger]
        self.generation += len(self.gone) < before

    def drain(self, now: float, attempts: int) -> None:
        """Apply the inotify events since the last call."""
        if self._inotify is not None:
            for event in self._inotify.drain():
                self._apply(self._inotify, event, now, attempts)

    def take_written(self) -> list[TrackedCgroup]:
        """Return the cgroups whose settings were written to since the last call."""
        written = list(self._written)
        self._written.clear()
        return written

    def retire_vanished(self, one: TrackedCgroup, now: float) -> None:
        """Retire a cgroup that a reading found to be gone."""
        if one.vanished:
            self.retire(one, now)

    def retire(self, one: TrackedCgroup, now: float) -> None:
        """Move a removed cgroup to those that linger, if its counters were ever read."""
        one.retire(now)
        self._written.pop(one, None)
        if self.ancestors.pop(one.ref.path, None) is one:
            return
        self.generation += 1
        self.live.pop(one.ref.path, None)
        if len(self.gone) >= MAX_LINGERING:
            del self.gone[: MAX_LINGERING // 10]
        if one.stat is not None:
            self.gone.append(one)
        if self._inotify is not None:
            self._inotify.unwatch(f"{self._root}/{one.ref.path}")

    def close(self) -> None:
        """Release all descriptors."""
        for one in self.existing:
            one.files.close()
        self.live.clear()
        self.ancestors.clear()
        if self._inotify is not None:
            self._inotify.close()

    def _start_inotify(self, now: float) -> None:
        self._inotify, self._retry_at = None, now + INOTIFY_RETRY_SECONDS
        try:
            self._inotify = Inotify()
        except ReadError as error:
            self._on_error(error)

    def _apply(self, inotify: Inotify, event: Event, now: float, attempts: int) -> None:
        parent = event.directory.removeprefix(self._root).strip("/")
        path = f"{parent}/{event.name}".lstrip("/")
        holder = self.live.get(parent)
        if event.kind == "overflow":
            self._on_error(ReadError(self._root, "more cgroups came and went than the kernel keeps", reason="overflow"))
            inotify.close()  # which of its watches are left is among the lost events
            self._start_inotify(now)
            self.scan(now, attempts)
            self._written.update(dict.fromkeys(self.existing))
        elif event.kind == "modified":
            written = holder or self.ancestors.get(parent)
            if event.name in SETTINGS and written is not None:
                self._written[written] = None
        elif event.kind == "deleted":
            if path in self.live:
                self.retire(self.live[path], now)
            inotify.unwatch(f"{self._root}/{path}")
        elif holder is None or holder.ref.container_id is None:
            # Watch first, then look: directories made in it before the watch give no event.
            self._watch(path)
            self._admit(walk(self._root, path, owners=self._owners()).found, now, attempts)
        else:
            holder.look_for_nested()
            if event.name == SUBGROUP:
                self._admit(walk(self._root, parent, known=self.live, owners=self._owners()).found, now, attempts)

    def _admit(self, found: Mapping[str, Found], now: float, attempts: int) -> None:
        for path, here in found.items():
            one = self.live.get(path)
            if one is None:
                pod = self.live.get(here.ref.pod_path)
                if pod is not None and here.ref.container_id is not None:
                    # The pod's own strings instead of one copy for each container.
                    here.ref = here.ref._replace(pod_path=pod.ref.path, pod_uid=pod.ref.pod_uid)
                self.generation += 1
                self.live[path] = self._track(here, now, attempts)
                for above in set(parents(here.ref.pod_path)) - self.ancestors.keys():
                    ancestor = self._track(Found(NO_REF._replace(path=above), 0, subgroup=False), now, attempts)
                    ancestor.read_settings()
                    self.ancestors[above] = ancestor
            elif here.subgroup != one.subgroup:
                one.files.close()
                one.files, one.subgroup = self._readers.open(here), here.subgroup
                self._written[one] = None
            # Itself for writes to its limits, all directories above it for pods and containers that appear there.
            above = path
            while self._watch(above) and above:
                above = above.rpartition("/")[0]

    def _track(self, found: Found, now: float, attempts: int) -> TrackedCgroup:
        return TrackedCgroup(
            found.ref, found.inode, found.subgroup, self._readers.open(found), self._on_error, now, attempts, now
        )

    def _watch(self, path: str) -> bool:
        """Watch a directory; True when it was not watched before."""
        inotify = self._inotify
        if inotify is None:
            return False
        before = len(inotify)
        try:
            inotify.watch(f"{self._root}/{path}" if path else self._root)
        except ReadError as error:
            self._on_error(error)
            inotify.close()  # with some directories unwatched, silence would not mean "no change"
            self._inotify = None
        return len(inotify) > before


def parents(path: str) -> Iterator[str]:
    """Yield the paths above ``path``, nearest first, without the root."""
    while path := path.rpartition("/")[0]:
        yield path
