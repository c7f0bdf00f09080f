"""Scan, tick, snapshot: the three things the sampling thread does.

A *scan* walks the tree, learns what came and went, and reads what rarely changes. A *tick* reads the counters of what
can be throttled, at even spacing, into the histories. A *snapshot* reads what only a page needs and publishes all of
it. All three run in one thread, one after the other; the rest of the program sees only snapshots.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from exporter.analysis.trend import Scans
from exporter.analysis.windows import History
from exporter.cgroupfs.opener import Opener
from exporter.errors import ExporterError, ReadError
from exporter.model import CgroupRow, KubeletConfig, NodeRow, PodList, Snapshot
from exporter.sampler.ancestors import Ancestors
from exporter.sampler.due import Due
from exporter.sampler.inputs import available
from exporter.sampler.judge import Judge
from exporter.sampler.machine import Machine
from exporter.sampler.mapping import Directory, Patience, assign
from exporter.sampler.options import SamplerOptions, Wants
from exporter.sampler.population import Population
from exporter.sampler.rows import Name, newest_by_name, row_of
from exporter.sampler.tracked import PageNeeds, Tracked

_SHOWN = frozenset({"mapped", "unmapped"})
WHOLE_EVERY = 12
"""Scans in which each cgroup's settings are read once, whatever its other files say."""


class Sampler:
    """All that is known of the node. Not thread-safe but for :meth:`set_pods` and :meth:`set_kubelet`."""

    def __init__(
        self,
        opener: Opener,
        options: SamplerOptions,
        *,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        attempts: Callable[[], int],
        on_error: Callable[[ExporterError], None],
    ) -> None:
        """``attempts`` tells how many refreshes of the pod list have ended, well or not."""
        self._opener, self._options, self._on_error = opener, options, on_error
        self._monotonic, self._wall = monotonic, wall
        self._population = Population(opener, linger=options.linger, on_error=on_error)
        self._directory, self._ticks, self._version = Directory(), 0, 0
        self._scans, self._scan_times = 0, Scans(options.window)
        self._count_attempts, self._attempts, self._generation = attempts, 0, -1
        self._must_assign = self._must_judge = True
        self._judged_for: KubeletConfig | None = None
        self._reads_all = False
        self._observes = "distribution" in options.collectors
        self._is_fine = self._observes or "throttle" in options.collectors
        self._page_needs = PageNeeds(*(name in options.collectors for name in ("throttle", "pressure", "usage_modes")))
        self._due = Due(fine=self._is_fine, youth=options.linger)
        self._shown: dict[Name, Tracked] = {}
        self._shown_at: tuple[int, int] | None = None
        self._ancestors = Ancestors(opener, on_error)
        self._judge = Judge()
        self._machine = Machine(
            proc=options.proc,
            sys=options.sys,
            checkpoint_path=options.checkpoint,
            on_error=on_error,
        )

    def set_pods(self, pods: PodList) -> None:
        """Take over a new pod list; from any thread."""
        self._directory = Directory.of(pods)
        self._must_assign = True

    def set_kubelet(self, config: KubeletConfig) -> None:
        """Take over the kubelet's configuration; from any thread."""
        self._machine.kubelet = config

    def scan(self) -> None:
        """Learn what came and went; read limits, cpusets and the machine."""
        now = self._monotonic()
        before = self._opener.hierarchy, self._machine.topology
        self._population.scan(now, self._attempts)
        self._scan_times.push(now)
        self._machine.read(now, self._scan_times.began)
        is_new = self._opener.hierarchy != before[0]  # a controller's tree was mounted
        self._scans += 1
        for one in list(self._population.live.values()):
            whole = is_new or (one.turn + self._scans) % WHOLE_EVERY == 0
            if one.settings_moved(self._on_error) or whole:
                self._read_settings(one)
            if one.vanished:
                self._population.retire(one, now)
        if self._ancestors.moved() or self._machine.topology != before[1] or self._judge.is_watching:
            self._must_judge = True
        self._reads_all = True

    def tick(self) -> Wants:
        """One sample of what can be throttled or has just come; after a scan, one of everything."""
        now = self._monotonic()
        self._ticks += 1
        self._population.drain(now, self._attempts)
        self._due.look(self._population.live, now, self._state)
        # A runtime makes the cgroup first and sets its limits a moment later; a resize sets them while it lives.
        for one in {**dict.fromkeys(self._due.settling(now)), **dict.fromkeys(self._population.take_written())}:
            self._read_settings(one)
        self._due.look(self._population.live, now, self._state)
        self._sample(now)
        if self._reads_all:
            self._reads_all = False
            self._read_trends(now)
        return self._assign(now)

    def _read_settings(self, one: Tracked) -> None:
        if one.read_settings(self._on_error):
            self._version += 1
            # Limits also tell a sandbox from a container.
            self._must_assign = self._must_judge = True

    @property
    def _state(self) -> tuple[int, int]:
        """Changes when any cgroup comes, goes, or gets other settings or another name."""
        return self._version, self._population.generation

    def _sample(self, now: float) -> None:
        """The counters of all under a quota, into their histories, and of the young: they may be gone at the next."""
        everything, observes = self._reads_all, self._observes
        for one in self._due.fine:
            steady = one.sample(now, self._on_error, self._new_history, fresh_usage=everything)
            if one.vanished:
                self._population.retire(one, now)
            elif not steady:
                self._on_error(ReadError(one.ref.path, "a counter ran backwards", reason="counter_reset"))
            if observes and one.ref.container_id is not None:
                one.observe()
        sampled = self._is_fine
        for one in list(self._population.live.values()) if everything else self._due.young:
            if not (sampled and one.has_quota) and (everything or now - one.first_seen < self._options.linger):
                one.history = None  # nothing is throttled any more, or nobody knows: the window says nothing of now
                one.read_stat(self._on_error)
                if one.vanished:
                    self._population.retire(one, now)

    def _read_trends(self, now: float) -> None:
        """What findings compare over the last window, read at the grain of a scan."""
        for one in list(self._population.live.values()):
            one.read_page_extras(self._page_needs, self._on_error)
            one.read_threads(self._on_error)
            if one.vanished:
                self._population.retire(one, now)
            else:
                one.trend.push(one.totals(now), self._scan_times.began)

    def snapshot(self, *, detailed: bool = False) -> Snapshot:
        """The node as it is now; ``detailed`` with all that findings need."""
        now = self._monotonic()
        self._assign(now)
        for one in list(self._population.live.values()):
            if one.state in _SHOWN:
                one.read_stat(self._on_error)
                one.read_page_extras(self._page_needs, self._on_error)
                if one.vanished:
                    self._population.retire(one, now)
        self._assign(now)
        if self._state != self._shown_at:
            self._shown, self._shown_at = newest_by_name(self._population.everyone), self._state
        rows = [row_of(name, one, now, detailed=detailed) for name, one in self._shown.items()]
        return Snapshot(
            taken_at=self._wall(),
            tick=self._ticks,
            settings_version=self._version,
            containers=tuple(row for row in rows if row.container is not None),
            pods=tuple(row for row in rows if row.container is None),
            node=self._node(),
            cgroups=self._count(rows),
            inputs=available(
                self._population.live.values(),
                self._machine,
                self._options.collectors,
                notifications=self._population.is_told,
            ),
        )

    def stop_waiting(self) -> None:
        """Show what is unknown as unknown, at once; from any thread."""
        self._options = replace(self._options, expects_names=False)
        self._must_assign = True

    def close(self) -> None:
        """Give all descriptors back."""
        self._population.close()

    def _new_history(self) -> History:
        return History(self._options.window, self._options.interval)

    def _assign(self, now: float) -> Wants:
        """Name and judge the cgroups where anything has changed that names or verdicts depend on."""
        attempts = self._count_attempts()
        self._population.forget(now)
        came_or_went = self._population.generation != self._generation
        wants = Wants.NOTHING
        if came_or_went or self._must_assign or attempts != self._attempts:
            self._must_assign = True  # until it is done
            self._attempts, self._generation = attempts, self._population.generation
            patience = Patience(attempts, now, self._options.expects_names)
            if assign(self._population.everyone, self._directory, patience) or came_or_went:
                self._version += 1
                self._must_judge = True
            waiting = [one for one in self._population.live.values() if one.state == "pending"]
            self._must_assign = bool(waiting)  # patience ends by the clock
            if waiting and self._options.expects_names:
                wants = Wants.NEW if any(one.first_attempts == attempts for one in waiting) else Wants.AGAIN
        kubelet = self._machine.kubelet  # another may be set meanwhile: that is judged at the next tick
        if self._must_judge or kubelet is not self._judged_for:
            self._version += self._judge.judge(
                self._population.live.values(),
                now=now,
                topology=self._machine.topology,
                kubelet=kubelet,
                ancestor_limit=self._ancestors.limit,
            )
            self._must_judge, self._judged_for = False, kubelet
        return wants

    def _node(self) -> NodeRow:
        driver = next((one.ref.driver for one in self._population.live.values()), None)
        row = self._machine.row(self._opener.hierarchy.version, driver)
        isolation = self._judge.isolation
        if isolation is None:
            return row
        return replace(row, shared_cpus=isolation.shared, owners=isolation.owners, overlaps=isolation.overlaps)

    def _count(self, rows: Sequence[CgroupRow]) -> dict[str, int]:
        containers = [one for one in self._population.live.values() if one.ref.container_id is not None]
        count = Counter[str](one.state for one in containers)
        states = ("mapped", "unmapped", "pending", "sandbox")
        return {state: count[state] for state in states} | {
            "lingering": sum(not row.live for row in rows if row.container is not None)
        }
