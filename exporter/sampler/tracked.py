"""One cgroup under observation: its open files and the last that was read from each."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Literal, NamedTuple, TypeVar

from exporter.analysis.trend import Totals, Trend
from exporter.analysis.windows import History, Observed
from exporter.cgroupfs.group import CgroupFiles, Hinge, OnError
from exporter.cgroupfs.tree import Known
from exporter.errors import ExporterError, ParseError, VanishedError
from exporter.model import ContainerIdentity, CpuLimits, Cpuset, CpuStat, IsolationState, PodIdentity, Pressure

State = Literal["mapped", "unmapped", "pending", "sandbox"]


class Verdict(NamedTuple):
    """What follows from a cgroup's limits, cpuset and name; see :class:`exporter.model.CgroupRow`."""

    effective_limit_cores: float | None = None
    numa_nodes: int | None = None
    isolation: IsolationState | None = None
    exclusive: bool | None = None
    limit_drift: bool | None = None


class PageNeeds(NamedTuple):
    """What the collectors want of each cgroup that nothing but a page needs."""

    local: bool
    pressure: bool
    modes: bool


Value = TypeVar("Value")
NO_COUNTERS = CpuStat()
_turns = count()
_SURVIVED = (VanishedError, ExporterError, OverflowError, ValueError)
"""What a read may raise: the last two are a parser's own fault."""


class Tracked:
    """A pod's or container's cgroup, from its discovery until its last counters have lingered long enough.

    Every ``read_*`` survives: a vanished cgroup is marked gone, any other failure goes to ``on_error`` and leaves the
    value absent, so that a stale number is never served as a current one.
    """

    __slots__ = (
        "container",
        "cpuset",
        "files",
        "first_attempts",
        "first_seen",
        "gone_at",
        "hinge",
        "history",
        "inode",
        "limits",
        "local_throttled_seconds",
        "modes",
        "observed",
        "pod",
        "pressure",
        "ref",
        "stat",
        "state",
        "subgroup",
        "threads",
        "trend",
        "turn",
        "vanished",
        "verdict",
    )

    def __init__(self, found: Known, files: CgroupFiles, *, now: float, attempts: int) -> None:
        self.ref, self.inode, self.subgroup, self.files = found.ref, found.inode, found.subgroup, files
        self.turn = next(_turns)
        self.first_seen, self.first_attempts = now, attempts
        self.gone_at: float | None = None
        self.vanished = False
        self.state: State = "pending"
        self.pod: PodIdentity | None = None
        self.container: ContainerIdentity | None = None
        self.history: History | None = None
        self.stat: CpuStat | None = None
        self.hinge: Hinge | None = None
        self.limits: CpuLimits | None = None
        self.cpuset: Cpuset | None = None
        self.pressure: Pressure | None = None
        self.local_throttled_seconds: float | None = None
        self.modes: tuple[float | None, float | None] = (None, None)
        self.threads: int | None = None
        self.observed: Observed | None = None
        self.trend = Trend()
        self.verdict = Verdict()

    @property
    def live(self) -> bool:
        """Whether the cgroup was there when last looked at."""
        return self.gone_at is None

    @property
    def has_quota(self) -> bool:
        """Whether throttling is possible, so that the fine grain is worth its cost."""
        return self.limits is not None and self.limits.quota_state == "set"

    def sample(self, now: float, on_error: OnError, new_history: Callable[[], History], *, fresh_usage: bool) -> bool:
        """One reading of a cgroup under a quota, into its history; False when a counter ran backwards.

        Unless ``fresh_usage``, the usage may be as old as the last change of the period counters.
        """
        files = self.files
        try:
            self.stat = stat = files.stat(on_error) if fresh_usage else files.tick_stat(on_error)
        except _SURVIVED as error:
            self._survive(error, on_error)
            if self.vanished:
                return True
            self.stat = stat = None
        if stat is None or stat.periods is None or stat.throttled_periods is None:
            self.history = None
            return True
        if self.history is None:
            self.history = new_history()
        return self.history.push(now, stat.periods, stat.throttled_periods, stat.usage_seconds)

    def observe(self) -> None:
        """Add the newest interval to the histogram of ratios."""
        if self.history is not None:
            if self.observed is None:
                self.observed = Observed()
            self.observed.observe(self.history.last_interval())

    def read_stat(self, on_error: OnError) -> None:
        """The counters, fresh. A vanished cgroup keeps its last ones."""
        try:
            self.stat = self.files.stat(on_error)
        except _SURVIVED as error:
            self._survive(error, on_error)
            if not self.vanished:
                self.stat = None

    def read_page_extras(self, needs: PageNeeds, on_error: OnError) -> None:
        """What only a page needs, beside :meth:`read_stat`."""
        if needs.local and self.ref.container_id is not None:
            read = self._try(self.files.local_throttled_seconds, on_error)
            self.local_throttled_seconds = self.local_throttled_seconds if self.vanished else read
        if needs.pressure:
            pressure = self._try(self.files.pressure, on_error)
            self.pressure = self.pressure if self.vanished else pressure
        if needs.modes:
            modes = None if self.stat is None else self._try(self.files.modes, on_error)
            self.modes = self.modes if self.vanished else modes or (None, None)

    def settings_moved(self, on_error: OnError) -> bool:
        """Whether the files that tell most changes of limits and cpuset tell one."""
        before, self.hinge = self.hinge, self._try(self.files.hinge, on_error)
        return (self.hinge is None or self.hinge != before) and not self.vanished

    def read_settings(self, on_error: OnError) -> bool:
        """Limits and cpuset; True when one of them changed."""
        failures: list[ExporterError] = []
        limits = self._try(self.files.limits, failures.append)
        cpuset = self._try(self.files.cpuset, failures.append)
        for error in failures:
            on_error(error)
        if failures or (cpuset is None and self.cpuset is not None):
            self.hinge = None  # to be tried again at the next scan
        if self.vanished or (limits, cpuset) == (self.limits, self.cpuset):
            return False
        self.limits, self.cpuset = limits, cpuset
        if not self.has_quota:
            self.history = None  # nothing is throttled any more, or nobody knows: the window says nothing of now
        return True

    def read_threads(self, on_error: OnError) -> None:
        """Number of threads, where throttling makes it matter."""
        window = None if self.history is None else self.history.window()
        throttled = window is not None and window.throttled_periods > 0
        self.threads = self._try(self.files.threads, on_error) if throttled else None

    def totals(self, now: float) -> Totals:
        """What the trend is made of, as last read."""
        stat, pressure = self.stat or NO_COUNTERS, self.pressure
        return Totals(
            now,
            stat.usage_seconds,
            stat.throttled_seconds,
            self.local_throttled_seconds,
            None if pressure is None else pressure.waiting_seconds,
            None if pressure is None else pressure.stalled_seconds,
            stat.runqueue_wait_seconds,
        )

    def retire(self, now: float) -> None:
        """The cgroup is gone: let its files go, keep its last counters."""
        self.gone_at = now
        self.history = None
        self.files.close()

    def _try(self, read: Callable[[], Value], on_error: OnError) -> Value | None:
        try:
            return read()
        except _SURVIVED as error:
            self._survive(error, on_error)
        return None

    def _survive(self, error: Exception, on_error: OnError) -> None:
        if isinstance(error, VanishedError):
            self.vanished = True
        elif isinstance(error, ExporterError):
            on_error(error)
        else:
            # It must not cost the page; it is counted apart from the kernel's faults.
            on_error(ParseError(self.ref.path, str(error), "unexpected text", reason="unexpected"))
