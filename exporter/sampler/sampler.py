"""Scans, ticks and takes snapshots, all in one thread; the rest of the program sees only snapshots.

A *scan* walks the tree and reads what rarely changes. A *tick* reads the counters of cgroups that can be throttled, at
even spacing, into their histories. A *snapshot* reads what only a page needs and publishes all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from math import inf
from typing import Any

from exporter.analysis.ledger import is_same_quota
from exporter.analysis.windows import ScanTimes, Ticks
from exporter.cgroupfs.files import OnError
from exporter.cgroupfs.readers import ReaderFactory
from exporter.identities import KubeletConfig, PodList
from exporter.model import Snapshot
from exporter.sampler.activity import PodGroup
from exporter.sampler.inventory import CgroupInventory, parents
from exporter.sampler.mapping import DEADLINE_SECONDS, PodIndex, assign, deadline, newest_by_name
from exporter.sampler.node import NodeFacts
from exporter.sampler.tracked import NO_COUNTERS, PageNeeds, TrackedCgroup

FULL_RESYNC_SCANS = 12  # scans in which each cgroup's settings are read once, whether or not its change probe differs
SETTLING_SECONDS = 5.0
"""How long a new cgroup's limits are read at each tick: a runtime sets them a moment after it makes the cgroup."""
NAME_WAIT_SECONDS = 60.0
"""How long newer pod lists are asked for the name of a container: the status of one that ran for seconds comes late."""
_SHOWN = frozenset({"mapped", "unmapped"})
_Shown = list[tuple[TrackedCgroup, tuple[Any, ...]]]
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
    checkpoint: str  # path of the CPU manager's checkpoint
    interval: float
    window: float
    linger: float
    collectors: frozenset[str]
    expects_names: bool  # False with the pod source none


class RefreshHint(Enum):
    """Whether a newer pod list would help."""

    NOTHING = auto()
    AGAIN = auto()  # containers wait for names that the last list did not have
    NEW = auto()  # containers have come since the last list


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
        self._readers, self._options = readers, options
        self._monotonic, self._wall, self._count_attempts = monotonic, wall, attempts
        collectors = options.collectors
        self._samples_quota = not collectors.isdisjoint({"throttle", "distribution", "recommend"})
        self._needs = PageNeeds(*(name in collectors for name in ("throttle", "pressure", "usage_modes")))
        self._inventory = CgroupInventory(
            readers, now=monotonic(), linger=options.linger, owners=lambda: self._pods.owners, on_error=on_error
        )
        paths = {"proc": options.proc, "sys": options.sys, "checkpoint_path": options.checkpoint}
        self._node = NodeFacts(readers, **paths, on_error=on_error)
        self._pods = PodIndex()
        self._ticks = self._version = self._scans = self._learned_at = 0
        self._scan_times, self._scanned = ScanTimes(options.window), False
        self._attempts, self._generation = 0, -1
        self._must_assign = self._must_derive = True
        self._changed_quotas: set[str] = set()
        self._waiting, self._deadline = list[TrackedCgroup](), inf
        self._counts, self._missing = dict[str, int](), 0
        self._times = Ticks(options.window, options.interval)
        self._groups: dict[str, PodGroup] = {}
        self._grouped_at, self._shown_at = (-1, -1, False), (-1, -1)
        self._shown: tuple[_Shown, _Shown] = ([], [])

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
        for one in self._inventory.existing:
            resync = is_new or (hash(one.ref.path) + self._scans) % FULL_RESYNC_SCANS == 0
            if one.probe_settings() or resync:
                self._read_settings(one, now)
            if resync:
                one.look_for_nested()
            if self._options.expects_names:
                self._must_assign |= one.read_is_empty()
            self._inventory.retire_vanished(one, now)
        self._begin_epochs(now)
        if self._node.topology != topology or self._node.has_overlaps:
            self._must_derive = True
        if topology.online is not None and self._node.topology.online != topology.online:
            self._begin_placements(self._inventory.live.values(), now)
        self._scanned = True

    def tick(self) -> RefreshHint:
        """Sample the cgroups under a quota and the new ones; after a scan, all of them."""
        now = self._monotonic()
        self._ticks += 1
        self._times.push(now)
        self._follow_changes(now, is_tick=True)
        if self._scanned:
            self._scanned = False
            self._sample_all(now)
        else:
            self._sample(now)
        self._follow_changes(now, is_tick=False)
        if "distribution" in self._options.collectors:
            for one in self._inventory.containers:
                one.observe()
        return self._assign(now)

    def _follow_changes(self, now: float, *, is_tick: bool) -> None:
        """Apply what inotify has reported: new and removed cgroups, changed settings.

        Called after counters were read, too: a change that is reported by then may lie before the reading, so that no
        interval may end with it.
        """
        self._inventory.drain(now, self._attempts)
        written = dict.fromkeys(self._inventory.take_written())
        settling = [one for one in self._inventory.younger_than(SETTLING_SECONDS, now) if one not in written]
        for one in [*written, *(one for one in settling if is_tick or one.limits is None)]:
            self._read_settings(one, now)
            if one.stat is None:
                one.read_stat()
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

    def _begin_epochs(self, now: float) -> None:
        """Begin an epoch of every cgroup at and below a changed quota."""
        if self._changed_quotas:
            for one in self._inventory.existing:
                if not self._changed_quotas.isdisjoint((one.ref.path, *parents(one.ref.path))):
                    one.begin_epoch(now, self._needs)
            self._changed_quotas.clear()

    def _begin_placements(self, moved: Iterable[TrackedCgroup], now: float) -> None:
        """Read the counters from which waiting is counted after cgroups were placed on other CPUs, or beside others."""
        for one in moved:
            one.placement_began = now
            one.read_window(now, self._needs, self._scan_times.began)

    @property
    def _state(self) -> tuple[int, int]:
        """Changes when any cgroup comes, goes, or gets other settings or another name."""
        return self._version, self._inventory.generation

    def _find_groups(self) -> Iterable[PodGroup]:
        if self._grouped_at != (state := (*self._state, self._inventory.has_inotify)):
            self._grouped_at = state
            before, live, members = self._groups, self._inventory.live, dict[str, list[TrackedCgroup]]()
            for one in live.values():
                members.setdefault(one.ref.pod_path, []).append(one)
            self._groups = {}
            for path, found in members.items():
                found.sort(key=lambda one: one.ref.container_id is not None)
                pod = live.get(path)
                if pod is not None and not self._can_gate(pod, found):
                    pod = None
                sampled = [one for one in found if one.has_quota] if self._samples_quota else []
                group = PodGroup(pod, [one for one in found if one.state in _SHOWN], sampled)
                same = before.get(path) if all(one.history is not None for one in sampled) else None
                self._groups[path] = same if same == group else group
        return self._groups.values()

    def _can_gate(self, pod: TrackedCgroup, found: list[TrackedCgroup]) -> bool:
        """Tell whether the pod's usage covers all that its cgroups count; without inotify, reads tell what is gone."""
        ancestors = self._inventory.ancestors
        above = [ancestors[path] for path in parents(pod.ref.path) if path in ancestors]
        if not self._inventory.has_inotify or len(found) < 2 or any(one.has_quota for one in above):
            return False
        return all(one.counts_in(pod) for one in found)

    def _sample(self, now: float) -> None:
        for group in list(self._find_groups()):
            if group.sample(now, self._times):
                for one in group.sampled:
                    if one.vanished:
                        self._inventory.retire(one, now)
        # The young are read at each tick: they may be gone at the next.
        for one in self._inventory.younger_than(self._options.linger, now):
            if not (self._samples_quota and one.has_quota):
                one.read_stat()
                self._inventory.retire_vanished(one, now)

    def _sample_all(self, now: float) -> None:
        """Read all counters of all cgroups, into the windows that findings compare, once a scan."""
        for one in self._inventory.existing:
            one.read_window(now, self._needs, self._scan_times.began)
            self._inventory.retire_vanished(one, now)
        for group in self._find_groups():
            for one in group.sampled:
                one.push_history(self._times)
        live = list(self._inventory.live.values())
        throttled = {one.ref.path for one in live if one.ref.container_id is None and one.window.has_losses}
        for one in live:
            if one.ref.container_id is not None and (one.ref.pod_path in throttled or one.window.has_losses):
                one.read_threads()
                self._inventory.retire_vanished(one, now)
            else:
                one.threads = None
        if "recommend" in self._options.collectors:
            self._learn(live, now)

    def _learn(self, live: Iterable[TrackedCgroup], now: float) -> None:
        samples, self._learned_at = self._ticks - self._learned_at, self._ticks
        pods = {one.ref.path: one for one in live if one.ref.container_id is None and one.has_quota}
        containers = [one for one in live if one.ref.container_id is not None and one.state in _SHOWN]
        count = Counter[str](one.ref.pod_path for one in containers)
        for one in containers:
            if one.has_quota:
                pod = pods.get(one.ref.pod_path) if count[one.ref.pod_path] == 1 else None
                one.learn(now, samples, pod if pod is not None and is_same_quota(one.limits, pod.limits) else None)

    def snapshot(self, *, detailed: bool = False) -> Snapshot:
        """Take a snapshot now; ``detailed`` with what findings need."""
        now = self._monotonic()
        self._inventory.drain(now, self._attempts)
        self._assign(now)
        for group in list(self._find_groups()):
            group.read_page(now, self._needs)
            for one in group.shown:
                if detailed:
                    one.read_nested()
                    if not self._inventory.has_inotify and one.probe_settings():
                        self._read_settings(one, now)
                self._inventory.retire_vanished(one, now)
        ancestors = self._inventory.ancestors if detailed else {}
        for one in list(ancestors.values()):
            one.read_stat()
        self._follow_changes(now, is_tick=False)
        self._assign(now)
        if self._state != self._shown_at:
            self._show()
        detailed_at = now if detailed else None
        containers, pods = (tuple([one.row(settings, detailed_at) for one, settings in shown]) for shown in self._shown)
        driver = next((one.ref.driver for one in self._inventory.live.values()), None)
        return Snapshot(
            taken_at=self._wall(),
            tick=self._ticks,
            settings_version=self._version,
            containers=containers,
            pods=pods,
            node=self._node.row(driver, {path: one.ancestor(now) for path, one in ancestors.items()}),
            cgroups=self._counts | {"missing": self._missing},
            inputs=self._inputs(),
        )

    def _assign(self, now: float) -> RefreshHint:
        """Map cgroups to containers, and derive what depends on names and settings, where either has changed."""
        attempts, hint = self._count_attempts(), RefreshHint.NOTHING
        self._inventory.forget(now)
        has_changed = self._inventory.generation != self._generation
        if has_changed or self._must_assign or attempts != self._attempts or now >= self._deadline:
            self._must_assign = True  # until it is done
            self._attempts, self._generation = attempts, self._inventory.generation
            pods, options = self._pods, self._options
            has_waited = deadline(attempts, now, expects_names=options.expects_names)
            if assign(self._inventory.everything, pods, has_waited) or has_changed:
                self._version += 1
                self._must_derive = True
            self._waiting = self._inventory.everything if options.expects_names else []
            pending = (one.first_seen for one in self._waiting if one.state == "pending")
            self._deadline = min(pending, default=inf) + DEADLINE_SECONDS
            self._missing = pods.missing(self._inventory.containers)
            self._must_assign = pods is not self._pods or options is not self._options  # meanwhile
        self._waiting = [one for one in self._waiting if self._waits_for_name(one, now)]
        if self._waiting:
            is_new = any(one.first_attempts == attempts for one in self._waiting)
            hint = RefreshHint.NEW if is_new else RefreshHint.AGAIN
        if self._must_derive or self._node.kubelet is not self._node.derived_for:
            has_changed, moved = self._node.derive(self._inventory, now)
            self._must_derive = False
            self._version += has_changed
            self._begin_placements(moved, now)
        return hint

    def _waits_for_name(self, one: TrackedCgroup, now: float) -> bool:
        """Tell whether a newer pod list may name ``one``, live or lingering."""
        return one.state == "pending" or (one.state == "unmapped" and now - one.first_seen < NAME_WAIT_SECONDS)

    def _show(self) -> None:
        """Choose the cgroups that are shown, and count all of them."""
        shown = newest_by_name(self._inventory.everything)
        rows = [(one, one.settings(name)) for name, one in shown.items()]
        containers = [row for row in rows if row[0].ref.container_id is not None]
        pods = [row for row in rows if row[0].ref.container_id is None]
        self._shown, self._shown_at = (containers, pods), self._state
        count = Counter[str](one.state for one in self._inventory.containers)
        self._counts = {state: count[state] for state in ("mapped", "unmapped", "pending", "sandbox", "empty")}
        self._counts["lingering"] = sum(not one.live for one, _ in containers)

    def _inputs(self) -> dict[str, bool]:
        """Tell which inputs this node has; without those that no collector needs or no container shows."""
        containers = self._inventory.containers
        found = {
            name: any(value_of(one) is not None for one in containers)
            for name, (collector, value_of) in _CONTAINER_INPUTS.items()
            if containers and (collector is None or collector in self._options.collectors)
        }
        return found | self._node.inputs | {"inotify": self._inventory.has_inotify}
