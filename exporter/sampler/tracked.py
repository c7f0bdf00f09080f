"""One cgroup under observation: its open files, the last value read from each, and its row on a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from exporter.analysis.ledger import either_intervals, either_window
from exporter.analysis.recommend import DemandHistogram, recommend
from exporter.analysis.windows import CounterWindow, Reading, TickHistory, Ticks, reading_of
from exporter.cgroupfs.discover import Found
from exporter.cgroupfs.files import OnError
from exporter.cgroupfs.readers import Activity, CgroupFiles, ChangeProbe
from exporter.errors import ExporterError, ParseError, ReadError, VanishedError
from exporter.identities import ContainerIdentity, PodIdentity
from exporter.model import (
    Ancestor,
    CgroupRow,
    CpuLimits,
    Cpuset,
    CpuStat,
    Distribution,
    IsolationState,
    Pressure,
    Recommendation,
)

MappingState = Literal["mapped", "unmapped", "pending", "sandbox", "empty"]
"""``empty``: without a name and without a task, as a container create that timed out leaves behind."""
ShownName = tuple[str, str, str | None]
"""Namespace, pod and container under which a cgroup is shown; no container for a pod's own."""
SHORT_ID = 12
NO_COUNTERS = CpuStat()
NO_MODES = (None, None)
T = TypeVar("T")
_NOTHING_NESTED: dict[str, float] = {}
_NO_DETAILS = (None, None, None, ())
READ_FAILURES = (VanishedError, ExporterError, OverflowError, ValueError)
"""What a read may raise; the last two come from a fault in a parser."""


class Changed(NamedTuple):
    """What a reading of settings found to be other than before; quota: a limit, period or burst."""

    settings: bool = False
    quota: bool = False
    cpuset: bool = False


class Derived(NamedTuple):
    """What follows from a cgroup's limits, cpuset and name; see :class:`exporter.model.CgroupRow`."""

    effective_limit_cores: float | None = None
    numa_nodes: int | None = None
    isolation: IsolationState | None = None
    exclusive: bool | None = None
    limit_drift: bool | None = None


UNDERIVED = Derived()


class PageNeeds(NamedTuple):
    """Which files the collectors need that no tick reads."""

    local: bool
    pressure: bool
    modes: bool


@dataclass(slots=True, eq=False)
class TrackedCgroup(Found):
    """A pod's or container's cgroup, or one above them, until its last counters have lingered long enough.

    No ``read_*`` raises: a vanished cgroup sets :attr:`vanished` and keeps its last counters, any other failure goes to
    ``on_error`` and leaves the value absent, so that an old number is never served as a current one.

    All readings in :attr:`history` and :attr:`window` are of one epoch: made since the limits changed last, its own or
    those above it.
    """

    files: CgroupFiles
    on_error: OnError
    first_seen: float
    first_attempts: int  # refreshes of the pod list that had ended by then
    placement_began: float  # when its cpuset, its isolation or the node's configuration changed last
    gone_at: float | None = None
    vanished: bool = False
    state: MappingState = "pending"
    is_empty: bool = False  # whether a container without a name has no task; only read of those
    has_containers: bool = False
    """Whether a pod's cgroup has containers in it: with kubelet and runtime of different drivers it exists twice."""
    pod: PodIdentity | None = None
    container: ContainerIdentity | None = None
    history: TickHistory | None = None
    window: CounterWindow = field(default_factory=CounterWindow)
    distribution: Distribution | None = None
    stat: CpuStat | None = None
    pushed: CpuStat | None = None  # what the history got last
    changed_at: float = 0.0  # when its counters were seen last to differ from before, or could not be read
    change_probe: ChangeProbe | None = None
    limits: CpuLimits | None = None
    known_limits: CpuLimits | None = None  # the last ones known
    cpuset: Cpuset | None = None
    pressure: Pressure | None = None
    local_throttled_seconds: float | None = None
    nested_throttled_seconds: float = 0.0  # grown since discovery
    nested: dict[str, float] | None = None
    """Throttled seconds of each cgroup below at the last reading; ``None`` before the first."""
    modes: tuple[float | None, float | None] = NO_MODES
    threads: int | None = None
    demand: DemandHistogram | None = None
    recommendation: Recommendation | None = None
    derived: Derived = UNDERIVED
    page: tuple[tuple[Any, ...], tuple[Any, ...], CgroupRow] | None = None
    """Settings and readings of the last row without details, and the row."""

    @property
    def live(self) -> bool:
        """Whether the cgroup existed at the last read."""
        return self.gone_at is None

    @property
    def has_quota(self) -> bool:
        """Whether its own quota can throttle it."""
        return self.limits is not None and self.limits.quota_state == "set"

    @property
    def name(self) -> ShownName | None:
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

    def counts_in(self, pod: TrackedCgroup) -> bool:
        """Tell whether its usage is part of the pod's: on v1 the two may be elsewhere in the tree of cpuacct."""
        above, own = self._try(pod.files.usage_directory), self._try(self.files.usage_directory)
        return above is not None and own is not None and (own == above or own.startswith(f"{above}/"))

    def sample(self, now: float, ticks: Ticks, activity: Activity | None = None) -> None:
        """Read the counters into the history; the usage may be as old as the last change of the period counters."""
        before = self.stat
        try:
            self.stat = self.files.tick_stat(self.on_error, activity)
        except READ_FAILURES as error:
            self._handle(error)
            if not self.vanished:
                self.stat = None
        if self.stat is not before or before is None:
            self.changed_at = now
        if self.stat is not self.pushed or self.history is None or self.vanished:
            self.push_history(ticks)

    def push_history(self, ticks: Ticks) -> None:
        """Add the counters read last to the history; a counter that ran backwards is an error."""
        stat, history = self.stat, self.history
        self.pushed = stat
        if stat is None or stat.periods is None or stat.throttled_periods is None or self.vanished:
            self.history = None
            return
        if history is None:
            history = self.history = TickHistory(ticks)
        if not history.push(stat.periods, stat.throttled_periods, stat.usage_seconds):
            self.on_error(ReadError(self.ref.path, "a counter ran backwards", reason="counter_reset"))

    def observe(self) -> None:
        """Add the newest interval to the distribution of ratios."""
        if self.history is not None:
            interval, before = self.history.total(1), self.distribution or Distribution()
            self.distribution = before if interval is None else before.with_interval(interval)

    def read_stat(self) -> None:
        """Read ``cpu.stat``."""
        stat = self._try(lambda: self.files.stat(self.on_error))
        if not self.vanished:
            self.stat = stat

    def read_page(self, now: float, needs: PageNeeds, activity: Activity | None = None) -> None:
        """Read all counters that a page shows."""
        files, has_local = self.files, needs.local and self.ref.container_id is not None
        before, failed = (self.stat, self.local_throttled_seconds, self.pressure, self.modes), False
        try:
            stat = files.stat(self.on_error, activity)
            local = files.local_throttled_seconds() if has_local else None
            pressure = files.pressure() if needs.pressure else None
            modes = files.modes() if needs.modes else NO_MODES
        except READ_FAILURES:  # each for itself
            failed = True
            self.read_stat()
            stat = self.stat
            local = self._try(files.local_throttled_seconds) if has_local else None
            pressure = self._try(files.pressure) if needs.pressure else None
            modes = (self._try(files.modes) if needs.modes and stat is not None else None) or NO_MODES
            if self.vanished:
                return
        self.stat, self.local_throttled_seconds, self.pressure, self.modes = after = stat, local, pressure, modes
        if failed or after != before or stat is None or stat.usage_seconds is None:
            self.changed_at = now

    def probe_settings(self) -> bool:
        """Read the two files in which most changes of settings show; True when one may have changed."""
        before, self.change_probe = self.change_probe, self._try(self.files.change_probe)
        return (self.change_probe is None or self.change_probe != before) and not self.vanished

    def read_settings(self) -> Changed:
        """Read limits and cpuset."""
        failures: list[ExporterError] = []
        limits = self._try(self.files.limits, failures.append)
        cpuset = self._try(self.files.cpuset, failures.append)
        for error in failures:
            self.on_error(error)
        if failures or (cpuset is None and self.cpuset is not None):
            self.change_probe = None  # read again at the next scan
        if self.vanished or (limits, cpuset) == (self.limits, self.cpuset):
            return Changed()
        before, moved = self.known_limits, self.known_limits is not None and cpuset != self.cpuset
        self.limits, self.cpuset = limits, cpuset
        if not self.has_quota:
            self.history = None
        if limits is not None:
            self.known_limits = limits
        changed = before is not None and limits is not None and _quota(limits) != _quota(before)
        return Changed(settings=True, quota=changed, cpuset=moved)

    def begin_epoch(self, now: float, needs: PageNeeds) -> None:
        """Drop all readings made under other limits, and read the first ones of the new epoch."""
        self.history = self.recommendation = None
        if self.demand is not None:
            self.demand.restart()
        self.window.clear()
        self.read_window(now, needs, now)

    def read_window(self, now: float, needs: PageNeeds, window_began: float) -> None:
        """Read all counters into the window."""
        self.read_page(now, needs)
        self.read_nested()
        if not self.vanished:
            self.window.push(self._reading(now), window_began)

    def read_nested(self) -> None:
        """Add what the cgroups below lost to their own quotas since the last call; they come and go."""
        before = self.nested
        if self.ref.container_id is None or (before is not None and not before):
            return
        after = self._try(self.files.nested_throttled)
        if after is not None:
            if before is not None:
                grown = sum(max(0.0, seconds - before.get(path, 0.0)) for path, seconds in after.items())
                self.nested_throttled_seconds += grown
            self.nested = after or _NOTHING_NESTED

    def look_for_nested(self) -> None:
        """Have the next :meth:`read_nested` look for cgroups that came since."""
        if self.nested is not None:
            self.nested = self.nested or {"": 0.0}

    def read_threads(self) -> None:
        """Read the number of threads."""
        self.threads = self._try(self.files.threads)

    def learn(self, now: float, samples: int, pod: TrackedCgroup | None) -> None:
        """Learn its bursts from the newest samples; ``pod``: where that has the same quota once more."""
        history, limits = self.history, self.limits
        total = None if history is None else history.total(samples)
        if history is None or total is None or total.periods <= 0:
            return
        if limits is None or not limits.limit_cores or not limits.period_seconds:
            return
        of_pod = None if pod is None else pod.history
        above = None if of_pod is None else of_pod.total(samples)
        if self.demand is None:
            self.demand = DemandHistogram()
        intervals, of_pods = [total], [] if above is None else [above]
        if (total.throttled_periods or (above is not None and above.throttled_periods)) and self.demand.ends_burst(
            total
        ):
            intervals = list(history.intervals(samples))
            of_pods = [] if of_pod is None else list(of_pod.intervals(samples))
        if of_pods:  # which of the two cgroups the kernel stops in a period is chance
            intervals = either_intervals(intervals, of_pods)
        cpus = None if self.cpuset is None else len(self.cpuset.cpus)
        self.demand.learn(
            intervals,
            limit=limits.limit_cores,
            period=limits.period_seconds,
            now=now,
            at_once=min(self.threads or cpus or 1, cpus or self.threads or 1),
        )
        window, pod_window = history.window(), None if of_pod is None else of_pod.window()
        if window is None or not window.seconds > 0:
            return
        lost = self.lost_rate if window.throttled_periods or (pod_window and pod_window.throttled_periods) else None
        if pod is not None and pod_window is not None and pod_window.throttled_periods:
            window = either_window(window, pod_window)
            lost = None if lost is None else lost + (pod.lost_rate or 0.0)
        self.recommendation = recommend(
            self.demand.burst_seconds(now),
            limit=limits.limit_cores,
            period=limits.period_seconds,
            window=window,
            lost=lost,
            threads=self.threads,
            cpus=cpus,
        )

    @property
    def lost_rate(self) -> float | None:
        """The seconds lost to its own quota in each second of the window."""
        deltas = self.window.deltas()
        return None if deltas is None or deltas.throttled_seconds is None else deltas.throttled_seconds / deltas.seconds

    def read_is_empty(self) -> bool:
        """Read whether a container without a name has no task; True when that has changed."""
        before = self.is_empty
        if self.ref.container_id is not None and self.container is None:
            self.is_empty = self._try(self.files.pids) == 0
        return self.is_empty != before

    def retire(self, now: float) -> None:
        """Close the files of a cgroup that is gone; its last counters stay."""
        self.gone_at = now
        self.history = None
        self.files.close()

    def settings(self, name: ShownName) -> tuple[Any, ...]:
        """Return the first fields of its rows, which stay until ``settings_version`` changes."""
        return (*name, self.live, self.ref, self.limits, self.cpuset, self.container, self.pod, *self.derived)

    def row(self, settings: tuple[Any, ...], detailed_at: float | None) -> CgroupRow:
        """Return the row with ``settings``; with deltas until monotonic ``detailed_at`` and sample intervals.

        Without these it is the same object while nothing has changed but the length of a window without periods.
        """
        stat, (user, system), history = self.stat or NO_COUNTERS, self.modes, self.history
        if user is not None or system is not None:  # only with the collector usage_modes
            stat = stat._replace(user_seconds=user, system_seconds=system)
        window = None if history is None else history.window()
        before = self.page if detailed_at is None and self.page is not None and self.page[0] is settings else None
        if before is not None and before[1][0] == stat and (kept := before[1][3]) and window and kept[1:] == window[1:]:
            window = kept
        readings = (stat, self.local_throttled_seconds, self.pressure, window, self.recommendation, self.distribution)
        if detailed_at is not None:
            return CgroupRow._make(settings + readings + self._details(detailed_at))
        if before is None or before[1] != readings:
            self.page = before = settings, readings, CgroupRow._make(settings + readings + _NO_DETAILS)
        return before[2]

    def _details(self, now: float) -> tuple[Any, ...]:
        deltas = placement_deltas = None
        if self.live:
            reading = self._reading(now)
            deltas = placement_deltas = self.window.deltas(reading)
            if self.placement_began > self.window.began:
                placement_deltas = self.window.deltas(reading, self.placement_began)
        intervals = () if self.history is None else tuple(self.history.intervals())
        return self.threads, deltas, placement_deltas, intervals

    def ancestor(self, now: float) -> Ancestor:
        """Return limits and deltas until ``now`` of a cgroup above the pods."""
        return Ancestor(self.limits, self.window.deltas(self._reading(now)))

    def _reading(self, now: float) -> Reading:
        stat, local = self.stat or NO_COUNTERS, self.local_throttled_seconds
        return reading_of(now, stat, self.pressure, local, self.nested_throttled_seconds)

    def _try(self, read: Callable[[], T], on_error: OnError | None = None) -> T | None:
        try:
            return read()
        except READ_FAILURES as error:
            self._handle(error, on_error)
        return None

    def _handle(self, error: Exception, on_error: OnError | None = None) -> None:
        if isinstance(error, VanishedError):
            self.vanished = True
        elif isinstance(error, ExporterError):
            (on_error or self.on_error)(error)
        else:
            (on_error or self.on_error)(ParseError(self.ref.path, str(error), "unexpected text", reason="unexpected"))


def _quota(limits: CpuLimits) -> tuple[float | None, ...]:
    return limits.limit_cores, limits.period_seconds, limits.burst_seconds
