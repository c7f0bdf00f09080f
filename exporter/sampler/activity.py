"""The activity gate: below a pod in which nothing has run, nothing is read.

The usage of a cgroup includes that of all cgroups below it, so one read of the pod's tells whether anything ran. A tick
makes it where nothing had changed at the last one: of a pod that runs all the time it would be one read more. What a
file says may yet change while the usage does not; then it is read on (``kernel/sched/fair.c``, ``kernel/sched/psi.c``):

- ``cpu.stat``: the period timer ends twice after the last run, each time a period. A group in debt of its quota stays
  throttled for whole periods, and each of them is counted. So a pod's cgroups are read until nothing has changed for
  two of their periods.
- ``cpu.stat.local``: grows when a stop by an ancestor's quota ends. The pod's own periods count until then; pods below
  a cgroup with a quota are always read.
- ``cpu.pressure``: grows while tasks wait and none runs, in the pod's own file as well, which is read for each page; a
  read brings the totals up to date, in ``psi_show`` (only the averages wait for their 2 s).
- ``cpuacct.stat``, ``cpuacct.usage``: never.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from exporter.analysis.windows import Ticks
from exporter.cgroupfs.readers import Activity
from exporter.sampler.tracked import READ_FAILURES, PageNeeds, TrackedCgroup

PAGE_SETTLING_SECONDS = 2.5  # two of the longest periods (1 s), and a late timer


@dataclass(slots=True)
class PodGroup:
    """A pod's cgroup and its containers', which are read together or not at all."""

    pod: TrackedCgroup | None  # the gate; None where all files are always read
    shown: list[TrackedCgroup]  # on a page, the pod first
    sampled: list[TrackedCgroup]  # at each tick: those under a quota, the pod first
    settling: float = field(init=False, compare=False)
    ran_at: float = field(default=0.0, init=False, compare=False)  # when it was seen last that something had run
    seen: object = field(default=None, init=False, compare=False)
    is_quiet: bool = field(default=False, init=False, compare=False)
    """Whether a tick found that nothing had changed for long enough, and should look whether anything has run."""
    idle: bool = field(default=False, init=False, compare=False)  # whether a tick need not read
    page_idle: bool = field(default=False, init=False, compare=False)
    page_read_at: float = field(default=0.0, init=False, compare=False)
    """When a page last read all of them; the tick after a scan reads a pod's pressure, too."""

    def __post_init__(self) -> None:
        """Derive how long after a change another may come."""
        limits = [one.limits for one in self.sampled if one.limits is not None]
        self.settling = 2 * max((one.period_seconds or 0.0 for one in limits), default=0.0)

    def sample(self, now: float, ticks: Ticks) -> bool:
        """Sample the cgroups under a quota; False when that was not needed."""
        activity, pod = None, self.pod
        if self.is_quiet and pod is not None:
            activity = self._look(pod, now)
            if self.idle:
                return False
        for one in self.sampled:
            one.sample(now, ticks, activity if one is pod else None)
        if pod is not None:
            if pod.changed_at == now and pod.stat is not None:  # as good as a look
                self._note(pod.stat if pod.files.is_v2 else pod.stat.usage_seconds, now)
            self.is_quiet = len(self.sampled) > 1 and self._has_settled(self.sampled, now, self.settling)
            self.idle = self.is_quiet and now - self.ran_at >= self.settling
        return True

    def read_page(self, now: float, needs: PageNeeds) -> bool:
        """Read all that a page shows; False when no container was read."""
        activity, pod, rest = None, self.pod, self.shown
        if pod is not None:
            activity = self._look(pod, now)
            if pod.files.is_v2:  # its pressure is part of the gate
                pod.read_page(now, needs, activity)
                rest = [one for one in rest if one is not pod]
                self.page_idle &= pod.changed_at < self.page_read_at
            if self.page_idle:
                return False
        for one in rest:
            one.read_page(now, needs, activity if one is pod else None)
        self.page_read_at = now
        settled = now - self.ran_at >= PAGE_SETTLING_SECONDS
        self.page_idle = settled and self._has_settled(self.shown, now, PAGE_SETTLING_SECONDS)
        return True

    def _look(self, pod: TrackedCgroup, now: float) -> Activity | None:
        """Read whether anything has run; what cannot be read is no sign of idleness, and an error where it is shown."""
        try:
            activity = pod.files.activity()
        except READ_FAILURES:
            activity = None
        self._note(activity, now)
        return activity

    def _note(self, activity: Activity | None, now: float) -> None:
        if activity is None or activity is not self.seen:
            self.seen, self.ran_at = activity, now
            self.idle = self.page_idle = False

    @staticmethod
    def _has_settled(read: Iterable[TrackedCgroup], now: float, seconds: float) -> bool:
        for one in read:  # noqa: SIM110 -- runs for each pod of each tick: a generator takes twice the time
            if now - one.changed_at < seconds:
                return False
        return True
