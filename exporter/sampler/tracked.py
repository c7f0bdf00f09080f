"""One cgroup under observation: its open files, the last value read from each, and its row on a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Literal, NamedTuple, TypeVar

from exporter.analysis.windows import Counters, CounterWindow, History, RatioHistogram
from exporter.cgroupfs.discover import Found
from exporter.cgroupfs.files import CgroupFiles, ChangeProbe, OnError
from exporter.errors import ExporterError, ParseError, ReadError, VanishedError
from exporter.model import (
    CgroupRow,
    ContainerIdentity,
    CpuLimits,
    Cpuset,
    CpuStat,
    IsolationState,
    PodIdentity,
    Pressure,
)

State = Literal["mapped", "unmapped", "pending", "sandbox"]
Name = tuple[str, str, str | None]
"""Namespace, pod and container under which a cgroup is shown; no container for a pod's own."""
SHORT_ID = 12
NO_COUNTERS = CpuStat()
Value = TypeVar("Value")
_slots = count()
_READ_FAILURES = (VanishedError, ExporterError, OverflowError, ValueError)
"""What a read may raise; the last two come from a fault in a parser."""


class Derived(NamedTuple):
    """What follows from a cgroup's limits, cpuset and name; see :class:`exporter.model.CgroupRow`."""

    effective_limit_cores: float | None = None
    numa_nodes: int | None = None
    isolation: IsolationState | None = None
    exclusive: bool | None = None
    limit_drift: bool | None = None


class PageNeeds(NamedTuple):
    """Which files the collectors need that neither a tick nor a scan reads."""

    local: bool
    pressure: bool
    modes: bool


class TrackedCgroup(Found):
    """A pod's or container's cgroup, from its discovery until its last counters have lingered long enough.

    No ``read_*`` raises: a vanished cgroup sets :attr:`vanished`, any other failure goes to ``on_error`` and leaves the
    value absent, so that an old number is never served as a current one.
    """

    __slots__ = (
        "_on_error",
        "change_probe",
        "container",
        "cpuset",
        "derived",
        "files",
        "first_attempts",
        "first_seen",
        "gone_at",
        "histogram",
        "history",
        "limits",
        "local_throttled_seconds",
        "modes",
        "pod",
        "pressure",
        "resync_slot",
        "stat",
        "state",
        "threads",
        "vanished",
        "window",
    )

    def __init__(self, found: Found, files: CgroupFiles, *, now: float, attempts: int, on_error: OnError) -> None:
        """``attempts``: refreshes of the pod list that had ended by then."""
        super().__init__(found.ref, found.inode, subgroup=found.subgroup)
        self.files, self._on_error = files, on_error
        self.resync_slot = next(_slots)
        self.first_seen, self.first_attempts = now, attempts
        self.gone_at: float | None = None
        self.vanished = False
        self.state: State = "pending"
        self.pod: PodIdentity | None = None
        self.container: ContainerIdentity | None = None
        self.history: History | None = None
        self.stat: CpuStat | None = None
        self.change_probe: ChangeProbe | None = None
        self.limits: CpuLimits | None = None
        self.cpuset: Cpuset | None = None
        self.pressure: Pressure | None = None
        self.local_throttled_seconds: float | None = None
        self.modes: tuple[float | None, float | None] = (None, None)
        self.threads: int | None = None
        self.histogram: RatioHistogram | None = None
        self.window = CounterWindow()
        self.derived = Derived()

    @property
    def live(self) -> bool:
        """Whether the cgroup existed at the last read."""
        return self.gone_at is None

    @property
    def has_quota(self) -> bool:
        """Whether its own quota can throttle it."""
        return self.limits is not None and self.limits.quota_state == "set"

    @property
    def name(self) -> Name | None:
        """The name under which it is shown; ``None`` while it is not shown."""
        container_id = self.ref.container_id
        if self.state == "mapped" and self.pod is not None:
            if container_id is None:
                return self.pod.namespace, self.pod.name, None
            if self.container is not None:
                return self.pod.namespace, self.pod.name, self.container.name
        if self.state != "unmapped":
            return None
        return "", self.ref.pod_uid, None if container_id is None else container_id[:SHORT_ID]

    def sample(self, now: float, new_history: Callable[[], History], *, fresh_usage: bool) -> None:
        """Read the counters of a cgroup under a quota into its history; a counter that ran backwards is an error.

        Unless ``fresh_usage``, the usage may be as old as the last change of the period counters.
        """
        files = self.files
        try:
            self.stat = stat = files.stat(self._on_error) if fresh_usage else files.tick_stat(self._on_error)
        except _READ_FAILURES as error:
            self._handle(error)
            if self.vanished:
                return
            self.stat = stat = None
        if stat is None or stat.periods is None or stat.throttled_periods is None:
            self.history = None
            return
        if self.history is None:
            self.history = new_history()
        if not self.history.push(now, stat.periods, stat.throttled_periods, stat.usage_seconds):
            self._on_error(ReadError(self.ref.path, "a counter ran backwards", reason="counter_reset"))

    def observe(self) -> None:
        """Add the newest interval to the histogram of ratios."""
        if self.history is not None:
            if self.histogram is None:
                self.histogram = RatioHistogram()
            self.histogram.observe(self.history.last_interval())

    def read_stat(self) -> None:
        """Read the counters; a vanished cgroup keeps its last ones."""
        try:
            self.stat = self.files.stat(self._on_error)
        except _READ_FAILURES as error:
            self._handle(error)
            if not self.vanished:
                self.stat = None

    def read_page_extras(self, needs: PageNeeds) -> None:
        """Read what a page needs beside :meth:`read_stat`; a vanished cgroup keeps its last values."""
        if needs.local and self.ref.container_id is not None:
            local = self._try(self.files.local_throttled_seconds)
            self.local_throttled_seconds = self.local_throttled_seconds if self.vanished else local
        if needs.pressure:
            pressure = self._try(self.files.pressure)
            self.pressure = self.pressure if self.vanished else pressure
        if needs.modes:
            modes = None if self.stat is None else self._try(self.files.modes)
            self.modes = self.modes if self.vanished else modes or (None, None)

    def probe_settings(self) -> bool:
        """Read the two files in which most changes of settings show; True when one may have changed."""
        before, self.change_probe = self.change_probe, self._try(self.files.change_probe)
        return (self.change_probe is None or self.change_probe != before) and not self.vanished

    def read_settings(self) -> bool:
        """Read limits and cpuset; True when one of them changed."""
        failures: list[ExporterError] = []
        limits = self._try(self.files.limits, failures.append)
        cpuset = self._try(self.files.cpuset, failures.append)
        for error in failures:
            self._on_error(error)
        if failures or (cpuset is None and self.cpuset is not None):
            self.change_probe = None  # read again at the next scan
        if self.vanished or (limits, cpuset) == (self.limits, self.cpuset):
            return False
        self.limits, self.cpuset = limits, cpuset
        if not self.has_quota:
            self.history = None
        return True

    def read_threads(self) -> None:
        """Read the number of threads of a throttled cgroup."""
        window = None if self.history is None else self.history.window()
        throttled = window is not None and window.throttled_periods > 0
        self.threads = self._try(self.files.threads) if throttled else None

    def counters(self, now: float) -> Counters:
        """Return the values read last of the counters that the window holds."""
        stat, pressure = self.stat or NO_COUNTERS, self.pressure
        return Counters(
            time=now,
            usage=stat.usage_seconds,
            throttled=stat.throttled_seconds,
            local_throttled=self.local_throttled_seconds,
            waiting=None if pressure is None else pressure.waiting_seconds,
            stalled=None if pressure is None else pressure.stalled_seconds,
            runqueue_wait=stat.runqueue_wait_seconds,
        )

    def retire(self, now: float) -> None:
        """Close the files of a cgroup that is gone; its last counters stay."""
        self.gone_at = now
        self.history = None
        self.files.close()

    def row(self, name: Name, now: float, *, detailed: bool) -> CgroupRow:
        """Return the row under ``name``; with deltas and sample intervals when ``detailed``."""
        history, derived, (user, system) = self.history, self.derived, self.modes
        stat = self.stat or NO_COUNTERS
        if user is not None or system is not None:  # only with the collector usage_modes
            stat = stat._replace(user_seconds=user, system_seconds=system)
        return CgroupRow(
            namespace=name[0],
            pod=name[1],
            container=name[2],
            live=self.live,
            ref=self.ref,
            stat=stat,
            local_throttled_seconds=self.local_throttled_seconds,
            pressure=self.pressure,
            window=None if history is None else history.window(),
            limits=self.limits,
            effective_limit_cores=derived.effective_limit_cores,
            cpuset=self.cpuset,
            numa_nodes=derived.numa_nodes,
            identity=self.container,
            pod_identity=self.pod,
            isolation=derived.isolation,
            exclusive=derived.exclusive,
            limit_drift=derived.limit_drift,
            threads=self.threads,
            deltas=self.window.deltas(self.counters(now)) if detailed and self.live else None,
            distribution=None if self.histogram is None else self.histogram.snapshot(),
            intervals=tuple(history.intervals()) if detailed and history is not None else (),
        )

    def _try(self, read: Callable[[], Value], on_error: OnError | None = None) -> Value | None:
        try:
            return read()
        except _READ_FAILURES as error:
            self._handle(error, on_error)
        return None

    def _handle(self, error: Exception, on_error: OnError | None = None) -> None:
        if isinstance(error, VanishedError):
            self.vanished = True
        elif isinstance(error, ExporterError):
            (on_error or self._on_error)(error)
        else:
            (on_error or self._on_error)(ParseError(self.ref.path, str(error), "unexpected text", reason="unexpected"))


def newest_by_name(tracked: Iterable[TrackedCgroup]) -> dict[Name, TrackedCgroup]:
    """Return the cgroup shown under each name: a live one before a lingering one, then the one that went or came last.

    A name must never be on a page twice, whatever the pod list says: Prometheus would drop the whole scrape.
    """
    chosen: dict[Name, TrackedCgroup] = {}
    for one in tracked:
        name = one.name
        if name is not None:
            rival = chosen.get(name)
            if rival is None or _rank(rival) < _rank(one):
                chosen[name] = one
    return chosen


def _rank(one: TrackedCgroup) -> tuple[bool, float, int]:
    return one.live, one.gone_at or 0.0, one.inode
