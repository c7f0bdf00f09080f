"""Scans, ticks and takes snapshots, all in one thread; the rest of the program sees only snapshots.

A *scan* walks the tree and reads what rarely changes. A *tick* reads the counters of cgroups that can be throttled, at
even spacing, into their histories. A *snapshot* reads what only a page needs and publishes all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from exporter.analysis.ledger import is_same_quota
from exporter.analysis.windows import History, ScanTimes
from exporter.cgroupfs.discover import ReaderFactory
from exporter.cgroupfs.files import OnError
from exporter.identities import KubeletConfig, PodList
from exporter.model import CgroupRow, Snapshot
from exporter.sampler.derive import Ancestors, Deriver, NodeFacts, parents
from exporter.sampler.inventory import CgroupInventory, SamplePlan
from exporter.sampler.mapping import MappingDeadline, PodIndex, assign, newest_by_name
from exporter.sampler.tracked import NO_COUNTERS, Name, PageNeeds, TrackedCgroup

FULL_RESYNC_SCANS = 12
"""Scans in which each cgroup's settings are read once, whether or not its change probe differs."""
_SHOWN = frozenset({"mapped", "unmapped"})
_CONTAINER_INPUTS: Mapping[str, tuple[str | None, Callable[[TrackedCgroup], object]]] = {
    "cpu_stat": (None, lambda one: (one.stat or NO_COUNTERS).periods),
    "cpu_stat_local": ("throttle", lambda one: one.local_throttled_seconds),
    "cpu_usage": ("usage", lambda one: (one.stat or NO_COUNTERS).usage_seconds),
    "cpu_pressure": ("pressure", lambda one: one.pressure),
    "cpuset": ("cpuset", lambda one: one.cpuset),
}
"""Input -> the collector that needs it, and a value that is ``None`` without it."""


@dataclass(frozen=True, slots=True)
class SamplerOptions:
    """Values of the settings that the sampler runs by; times in seconds."""

    proc: str
    sys: str
    checkpoint: str
    """Path of the CPU manager's checkpoint."""
    interval: float
    window: float
    linger: float
    collectors: frozenset[str]
    expects_names: bool
    """False with the pod source ``none``."""


class RefreshHint(Enum):
    """Whether a newer pod list would help."""

    NOTHING = auto()
    AGAIN = auto()
    """Containers wait for names that the last list did not have."""
    NEW = auto()
    """Containers have come since the last list."""


class Sampler:
    """All that is known of the node. Not thread-safe but for ``set_pods``, ``set_kubelet`` and ``stop_waiting``."""

    def __init__(
        self,
        readers: ReaderFactory,
        options: SamplerOptions,
        *,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        attempts: Callable[[], int],
        on_error: OnError,
    ) -> None:
        """``attempts`` returns the number of ended refreshes of the pod list, successful or not."""
        self._readers, self._options, self._on_error = readers, options, on_error
        self._monotonic, self._wall, self._count_attempts = monotonic, wall, attempts
        collectors = options.collectors
        self._has_histograms = "distribution" in collectors
        self._recommends = "recommend" in collectors
        self._samples_quota = not collectors.isdisjoint({"throttle", "distribution", "recommend"})
        self._page_needs = PageNeeds(*(name in collectors for name in ("throttle", "pressure", "usage_modes")))
        self._inventory = CgroupInventory(
            readers, linger=options.linger, owners=lambda: self._pods.owners, on_error=on_error
        )
        self._plan = SamplePlan(samples_quota=self._samples_quota, youth=options.linger)
        self._ancestors, self._deriver = Ancestors(readers, on_error), Deriver()
        self._node = NodeFacts(
            readers, proc=options.proc, sys=options.sys, checkpoint_path=options.checkpoint, on_error=on_error
        )
        self._pods = PodIndex()
        self._ticks = self._version = self._scans = 0
        self._scan_times, self._scanned = ScanTimes(options.window), False
        self._attempts, self._generation = 0, -1
        self._must_assign = self._must_derive = True
        self._derived_for: KubeletConfig | None = None
        self._changed_quotas: set[str] = set()
        self._shown: dict[Name, TrackedCgroup] = {}
        self._shown_at: tuple[int, int] | None = None

    def set_pods(self, pods: PodList) -> None:
        """Take over a new pod list; from any thread."""
        self._pods = PodIndex.of(pods)
        self._must_assign = True

    def set_kubelet(self, config: KubeletConfig) -> None:
        """Take over the kubelet's configuration; from any thread."""
        self._node.kubelet = config

    def stop_waiting(self) -> None:
        """Show unknown containers under their ids at once; from any thread."""
        self._options = replace(self._options, expects_names=False)
        self._must_assign = True

    def close(self) -> None:
        """Release all descriptors."""
        self._inventory.close()
        self._ancestors.close()

    def scan(self) -> None:
        """Find new and removed cgroups; read limits, cpusets and the node's facts."""
        now = self._monotonic()
        hierarchy, topology = self._readers.hierarchy, self._node.topology
        # First: a cgroup made again under its old path, perhaps with its old inode, is another one.
        self._inventory.drain(now, self._attempts)
        self._inventory.scan(now, self._attempts)
        self._scan_times.push(now)
        self._node.read(now, self._scan_times.began)
        is_new = self._readers.hierarchy != hierarchy  # a controller's tree was mounted
        self._scans += 1
        for one in list(self._inventory.live.values()):
            resync = is_new or (one.resync_slot + self._scans) % FULL_RESYNC_SCANS == 0
            if one.probe_settings() or resync:
                self._read_settings(one, now)
            if resync:
                one.look_for_nested()
            if self._options.expects_names:
                self._must_assign |= one.read_is_empty()
            if one.vanished:
                self._inventory.retire(one, now)
        self._refresh_ancestors(now)
        self._begin_epochs(now)
        if self._node.topology != topology or self._deriver.has_overlaps:
            self._must_derive = True
        if topology.online is not None and self._node.topology.online != topology.online:
            self._begin_placements(self._inventory.live.values(), now)
        self._scanned = True

    def tick(self) -> RefreshHint:
        """Sample the cgroups under a quota and the new ones; after a scan, all of them."""
        now = self._monotonic()
        self._ticks += 1
        self._follow_changes(now, is_tick=True)
        self._plan.update(self._inventory.live, now, self._state)
        self._sample(now)
        if self._scanned:
            self._scanned = False
            self._read_windows(now)
        self._follow_changes(now, is_tick=False)
        if self._has_histograms:
            for one in self._plan.under_quota:
                if one.ref.container_id is not None:
                    one.observe()
        return self._assign(now)

    def _follow_changes(self, now: float, *, is_tick: bool) -> None:
        """Apply what inotify has reported: new and removed cgroups, changed settings.

        Called after counters were read, too: a change that is reported by then may lie before the reading, so that no
        interval may end with it.
        """
        self._inventory.drain(now, self._attempts)
        self._plan.update(self._inventory.live, now, self._state)
        due = dict.fromkeys(self._inventory.take_written())
        for one in [*due, *(one for one in self._plan.settling(now) if one not in due)]:
            if is_tick or one in due or one.limits is None:
                self._read_settings(one, now)
                if one.stat is None:
                    one.read_stat()
        if self._inventory.ancestors_written:
            self._refresh_ancestors(now)
        self._begin_epochs(now)

    def _read_settings(self, one: TrackedCgroup, now: float) -> None:
        changed = one.read_settings()
        if changed.settings:
            self._version += 1
            # Limits also tell a sandbox from a container.
            self._must_assign = self._must_derive = True
        if changed.quota:
            self._changed_quotas.add(one.ref.path)
        if changed.cpuset:
            self._begin_placements([one], now)

    def _refresh_ancestors(self, now: float) -> None:
        self._inventory.ancestors_written = False
        has_changed, quotas = self._ancestors.refresh(now)
        self._must_derive |= has_changed
        self._changed_quotas.update(quotas)

    def _begin_epochs(self, now: float) -> None:
        """Begin an epoch of every cgroup at and below a changed quota."""
        if self._changed_quotas:
            for one in list(self._inventory.live.values()):
                if not self._changed_quotas.isdisjoint((one.ref.path, *parents(one.ref.path))):
                    one.begin_epoch(now, self._page_needs)
            self._changed_quotas.clear()

    def _begin_placements(self, moved: Iterable[TrackedCgroup], now: float) -> None:
        for one in moved:
            one.begin_placement(now, self._page_needs, self._scan_times.began)

    @property
    def _state(self) -> tuple[int, int]:
        """Changes when any cgroup comes, goes, or gets other settings or another name."""
        return self._version, self._inventory.generation

    def _sample(self, now: float) -> None:
        everything = self._scanned
        for one in self._plan.under_quota:
            one.sample(now, self._new_history, fresh_usage=everything)
            if one.vanished:
                self._inventory.retire(one, now)
        sampled = self._samples_quota
        # The young are read at each tick: they may be gone at the next.
        for one in list(self._inventory.live.values()) if everything else self._plan.young:
            if not (sampled and one.has_quota) and (everything or now - one.first_seen < self._options.linger):
                one.history = None
                one.read_stat()
                if one.vanished:
                    self._inventory.retire(one, now)

    def _read_windows(self, now: float) -> None:
        """Read the counters that findings compare over a window, once a scan, after those that :meth:`tick` reads."""
        live, began = list(self._inventory.live.values()), self._scan_times.began
        for one in live:
            one.read_extras(self._page_needs)
            one.read_nested()
            if not one.vanished:
                one.window.push(one.counters(now), began)
        throttled = {one.ref.path for one in live if one.ref.container_id is None and one.is_throttled}
        for one in live:
            if one.ref.container_id is not None:
                one.read_threads(pod_is_throttled=one.ref.pod_path in throttled)
            if one.vanished:
                self._inventory.retire(one, now)
        if self._recommends:
            self._learn(live, now)
        self._ancestors.read_counters(now, began)

    @staticmethod
    def _learn(live: Iterable[TrackedCgroup], now: float) -> None:
        pods = {one.ref.path: one for one in live if one.ref.container_id is None and one.has_quota}
        containers = [one for one in live if one.ref.container_id is not None and one.state in _SHOWN]
        count = Counter[str](one.ref.pod_path for one in containers)
        for one in containers:
            if one.has_quota:
                pod = pods.get(one.ref.pod_path) if count[one.ref.pod_path] == 1 else None
                one.learn(now, pod if pod is not None and is_same_quota(one.limits, pod.limits) else None)

    def snapshot(self, *, detailed: bool = False) -> Snapshot:
        """Take a snapshot now; ``detailed`` with what findings need."""
        now = self._monotonic()
        self._inventory.drain(now, self._attempts)
        self._assign(now)
        for one in list(self._inventory.live.values()):
            if one.state in _SHOWN:
                one.read_page(self._page_needs)
                if detailed:
                    one.read_nested()
                    if not self._inventory.has_inotify and one.probe_settings():
                        self._read_settings(one, now)
                if one.vanished:
                    self._inventory.retire(one, now)
        ancestors = self._ancestors.rows(now) if detailed else {}
        self._follow_changes(now, is_tick=False)
        self._assign(now)
        if self._state != self._shown_at:
            self._shown, self._shown_at = newest_by_name(self._inventory.everything), self._state
        rows = [one.row(name, now, detailed=detailed) for name, one in self._shown.items()]
        driver = next((one.ref.driver for one in self._inventory.live.values()), None)
        return Snapshot(
            taken_at=self._wall(),
            tick=self._ticks,
            settings_version=self._version,
            containers=tuple(row for row in rows if row.container is not None),
            pods=tuple(row for row in rows if row.container is None),
            node=self._node.row(driver, self._deriver.isolation, ancestors),
            cgroups=self._count(rows),
            inputs=self._inputs(),
        )

    def _new_history(self) -> History:
        return History(self._options.window, self._options.interval)

    def _assign(self, now: float) -> RefreshHint:
        """Map cgroups to containers, and derive what depends on names and settings, where either has changed."""
        attempts, hint = self._count_attempts(), RefreshHint.NOTHING
        self._inventory.forget(now)
        has_changed = self._inventory.generation != self._generation
        if has_changed or self._must_assign or attempts != self._attempts:
            self._must_assign = True  # until it is done
            self._attempts, self._generation = attempts, self._inventory.generation
            deadline = MappingDeadline(attempts, now, self._options.expects_names)
            if assign(self._inventory.everything, self._pods, deadline) or has_changed:
                self._version += 1
                self._must_derive = True
            waiting = [one for one in self._inventory.live.values() if one.state == "pending"]
            self._must_assign = bool(waiting)  # the deadline passes by the clock
            if waiting and self._options.expects_names:
                is_new = any(one.first_attempts == attempts for one in waiting)
                hint = RefreshHint.NEW if is_new else RefreshHint.AGAIN
        kubelet = self._node.kubelet  # another thread may set it meanwhile; the next tick derives for that one
        if self._must_derive or kubelet is not self._derived_for:
            live = list(self._inventory.live.values())
            has_changed, moved = self._deriver.derive(
                live,
                now=now,
                topology=self._node.topology,
                kubelet=kubelet,
                checkpoint=self._node.checkpoint,
                effective_cpus=self._node.effective_cpus,
                ancestor_limit=self._ancestors.limit,
            )
            self._version += has_changed
            is_reconfigured = self._derived_for is not None and kubelet != self._derived_for
            self._begin_placements(live if is_reconfigured else moved, now)
            self._must_derive, self._derived_for = False, kubelet
        return hint

    def _count(self, rows: Iterable[CgroupRow]) -> dict[str, int]:
        containers = [one for one in self._inventory.live.values() if one.ref.container_id is not None]
        count = Counter[str](one.state for one in containers)
        states = ("mapped", "unmapped", "pending", "sandbox", "empty")
        return {state: count[state] for state in states} | {
            "lingering": sum(not row.live for row in rows if row.container is not None),
            "missing": self._pods.missing(containers),
        }

    def _inputs(self) -> dict[str, bool]:
        """Tell which inputs this node has; without those that no collector needs or no container shows."""
        containers = [one for one in self._inventory.live.values() if one.ref.container_id is not None]
        found = {
            name: any(value_of(one) is not None for one in containers)
            for name, (collector, value_of) in _CONTAINER_INPUTS.items()
            if containers and (collector is None or collector in self._options.collectors)
        }
        return found | {
            "cpu_topology": self._node.topology.online is not None,
            "proc_stat": self._node.has_cpu_times,
            "cpu_manager_state": self._node.checkpoint is not None,
            "kubelet_configz": self._node.kubelet is not None,
            "inotify": self._inventory.has_inotify,
        }
