"""One cgroup under observation: its open files, the last value read from each, and its row on a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, NamedTuple, TypeVar

from exporter.analysis.ledger import either_intervals, either_window
from exporter.analysis.recommend import DemandHistogram, recommend
from exporter.analysis.windows import Counters, CounterWindow, History, RatioHistogram
from exporter.cgroupfs.discover import Found
from exporter.cgroupfs.files import CgroupFiles, ChangeProbe, OnError
from exporter.errors import ExporterError, ParseError, ReadError, VanishedError
from exporter.identities import ContainerIdentity, PodIdentity
from exporter.model import CgroupRow, CpuLimits, Cpuset, CpuStat, IsolationState, Pressure, Recommendation

State = Literal["mapped", "unmapped", "pending", "sandbox", "empty"]
"""``empty``: without a name and without a task, as a container create that timed out leaves behind."""
Name = tuple[str, str, str | None]
"""Namespace, pod and container under which a cgroup is shown; no container for a pod's own."""
SHORT_ID = 12
NO_COUNTERS = CpuStat()
NO_MODES = (None, None)
Quota = tuple[float | None, float | None, float | None]
"""Limit in cores, period and burst: the settings on which ratios and losses depend."""
Value = TypeVar("Value")
_slots = count()
_NOTHING_NESTED: dict[str, float] = {}
_READ_FAILURES = (VanishedError, ExporterError, OverflowError, ValueError)
"""What a read may raise; the last two come from a fault in a parser."""


class Changed(NamedTuple):
    """What a reading of settings found to be other than before."""

    settings: bool = False
    quota: bool = False
    cpuset: bool = False


UNCHANGED = Changed()


class Derived(NamedTuple):
    """What follows from a cgroup's limits, cpuset and name; see :class:`exporter.model.CgroupRow`."""

    effective_limit_cores: float | None = None
    numa_nodes: int | None = None
    isolation: IsolationState | None = None
    exclusive: bool | None = None
    limit_drift: bool | None = None


UNDERIVED = Derived()


class PageNeeds(NamedTuple):
    """Which files the collectors need that neither a tick nor a scan reads."""

    local: bool
    pressure: bool
    modes: bool


@dataclass(slots=True, eq=False)
class TrackedCgroup(Found):
    """A pod's or container's cgroup, from its discovery until its last counters have lingered long enough.

    No ``read_*`` raises: a vanished cgroup sets :attr:`vanished`, any other failure goes to ``on_error`` and leaves the
    value absent, so that an old number is never served as a current one.

    All readings in :attr:`history` and :attr:`window` are of one epoch: made since the limits changed last, its own or
    those above it.
    """

    files: CgroupFiles
    on_error: OnError
    first_seen: float
    first_attempts: int
    """Refreshes of the pod list that had ended by then."""
    epoch_began: float
    placement_began: float
    """When its cpuset, its isolation or the node's configuration changed last."""
    epoch: int = 0
    resync_slot: int = field(default_factory=_slots.__next__)
    gone_at: float | None = None
    vanished: bool = False
    state: State = "pending"
    is_empty: bool = False
    """Whether a container without a name has no task; only read of those."""
    has_containers: bool = False
    """Whether a pod's cgroup has containers in it: with kubelet and runtime of different drivers it exists twice."""
    pod: PodIdentity | None = None
    container: ContainerIdentity | None = None
    history: History | None = None
    window: CounterWindow = field(default_factory=CounterWindow)
    histogram: RatioHistogram | None = None
    stat: CpuStat | None = None
    change_probe: ChangeProbe | None = None
    limits: CpuLimits | None = None
    quota: Quota | None = None
    """The last one known."""
    cpuset: Cpuset | None = None
    pressure: Pressure | None = None
    local_throttled_seconds: float | None = None
    nested_throttled_seconds: float = 0.0
    """Grown since discovery."""
    nested: dict[str, float] | None = None
    """Throttled seconds of each cgroup below at the last reading; ``None`` before the first."""
    modes: tuple[float | None, float | None] = NO_MODES
    threads: int | None = None
    demand: DemandHistogram | None = None
    learned_at: float = 0.0
    recommendation: Recommendation | None = None
    derived: Derived = UNDERIVED

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
            self.stat = stat = files.stat(self.on_error) if fresh_usage else files.tick_stat(self.on_error)
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
            self.on_error(ReadError(self.ref.path, "a counter ran backwards", reason="counter_reset"))

    def observe(self) -> None:
        """Add the newest interval to the histogram of ratios."""
        if self.history is not None:
            self.histogram = self.histogram or RatioHistogram()
            self.histogram.observe(self.history.last_interval())

    def read_stat(self) -> None:
        """Read the counters; a vanished cgroup keeps its last ones."""
        try:
            self.stat = self.files.stat(self.on_error)
        except _READ_FAILURES as error:
            self._handle(error)
            if not self.vanished:
                self.stat = None

    def read_page(self, needs: PageNeeds) -> None:
        """Read all counters that a page shows; a vanished cgroup keeps its last values."""
        files = self.files
        try:
            stat = files.stat(self.on_error)
            local = files.local_throttled_seconds() if needs.local and self.ref.container_id is not None else None
            pressure = files.pressure() if needs.pressure else None
            modes = files.modes() if needs.modes else NO_MODES
        except _READ_FAILURES:
            self.read_stat()
            self.read_extras(needs)
        else:
            self.stat, self.local_throttled_seconds, self.pressure, self.modes = stat, local, pressure, modes

    def read_extras(self, needs: PageNeeds) -> None:
        """Read what :meth:`read_page` reads beside :meth:`read_stat`, each value for itself."""
        files = self.files
        local = self._try(files.local_throttled_seconds) if needs.local and self.ref.container_id is not None else None
        pressure = self._try(files.pressure) if needs.pressure else None
        modes = self._try(files.modes) if needs.modes and self.stat is not None else None
        if not self.vanished:
            self.local_throttled_seconds, self.pressure, self.modes = local, pressure, modes or NO_MODES

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
            return UNCHANGED
        before, moved = self.quota, self.quota is not None and cpuset != self.cpuset
        self.limits, self.cpuset = limits, cpuset
        if not self.has_quota:
            self.history = None
        if limits is not None:
            self.quota = limits.limit_cores, limits.period_seconds, limits.burst_seconds
        return Changed(settings=True, quota=before is not None and self.quota != before, cpuset=moved)

    def begin_epoch(self, now: float, needs: PageNeeds) -> None:
        """Drop all readings made under other limits, and read the first ones of the new epoch."""
        self.epoch, self.epoch_began, self.history, self.recommendation = self.epoch + 1, now, None, None
        if self.demand is not None:
            self.demand.restart()
        self.window.clear()
        self.read_counters(now, needs, now)

    def begin_placement(self, now: float, needs: PageNeeds, window_began: float) -> None:
        """Read the counters from which waiting is counted after it was placed on other CPUs, or beside others."""
        self.placement_began = now
        self.read_counters(now, needs, window_began)

    def read_counters(self, now: float, needs: PageNeeds, window_began: float) -> None:
        """Read all counters into the window."""
        self.read_page(needs)
        self.read_nested()
        if not self.vanished:
            self.window.push(self.counters(now), window_began)

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

    @property
    def is_throttled(self) -> bool:
        """Whether a quota, its own, above or below, has stopped it within the window."""
        return self.window.has_losses

    def read_threads(self, *, pod_is_throttled: bool) -> None:
        """Read the number of threads of a container that a quota has stopped."""
        is_throttled = pod_is_throttled or self.is_throttled
        self.threads = self._try(self.files.threads) if is_throttled else None

    def learn(self, now: float, pod: TrackedCgroup | None) -> None:
        """Learn its bursts from the samples since the last call; ``pod``: where that has the same quota once more."""
        history, limits = self.history, self.limits
        began, self.learned_at = self.learned_at, now
        if history is None or limits is None or not limits.limit_cores or not limits.period_seconds:
            return
        total = history.total_since(began)
        if total is None or total.periods <= 0:
            return
        above = None if pod is None or pod.history is None else pod.history.total_since(began)
        of_pod = pod.history if pod is not None and above is not None and above.throttled_periods > 0 else None
        intervals = [total]
        if total.throttled_periods > 0 or of_pod is not None:
            intervals = list(history.since(began))
            if of_pod is not None:  # which of the two cgroups the kernel stops in a period is chance
                intervals = either_intervals(intervals, list(of_pod.since(began)))
        if self.demand is None:
            self.demand = DemandHistogram()
        self.demand.learn(intervals, limit=limits.limit_cores, period=limits.period_seconds, now=now)
        self._recommend(now, limits.limit_cores, limits.period_seconds, pod)

    def _recommend(self, now: float, limit: float, period: float, pod: TrackedCgroup | None) -> None:
        window = None if self.history is None else self.history.window()
        if window is None or self.demand is None or not window.seconds > 0:
            return
        lost = self.window.rate("throttled")
        if pod is not None and pod.history is not None and (above := pod.history.window()) and above.throttled_periods:
            window = either_window(window, above)
            lost = None if lost is None else lost + (pod.window.rate("throttled") or 0.0)
        self.recommendation = recommend(
            self.demand.burst_seconds(now),
            limit=limit,
            period=period,
            window=window,
            lost=lost,
            threads=self.threads,
            cpus=None if self.cpuset is None else len(self.cpuset.cpus),
        )

    def read_is_empty(self) -> bool:
        """Read whether a container without a name has no task; True when that has changed."""
        before = self.is_empty
        if self.ref.container_id is not None and self.container is None and self.state != "sandbox":
            self.is_empty = self._try(self.files.threads) == 0
        return self.is_empty != before

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
            nested_throttled=self.nested_throttled_seconds,
        )

    def retire(self, now: float) -> None:
        """Close the files of a cgroup that is gone; its last counters stay."""
        self.gone_at = now
        self.history = None
        self.files.close()

    def row(self, name: Name, now: float, *, detailed: bool) -> CgroupRow:
        """Return the row under ``name``; with deltas and sample intervals when ``detailed``."""
        history, derived, (user, system) = self.history, self.derived, self.modes
        stat, deltas, placement_deltas = self.stat or NO_COUNTERS, None, None
        if detailed and self.live:
            counters = self.counters(now)
            deltas = self.window.deltas(counters)
            placement_deltas = deltas
            if self.placement_began > self.window.began:
                placement_deltas = self.window.deltas(counters, self.placement_began)
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
            epoch=self.epoch,
            epoch_seconds=now - self.epoch_began,
            deltas=deltas,
            placement_deltas=placement_deltas,
            recommendation=self.recommendation,
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
            (on_error or self.on_error)(error)
        else:
            (on_error or self.on_error)(ParseError(self.ref.path, str(error), "unexpected text", reason="unexpected"))
