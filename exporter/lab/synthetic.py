"""A kubepods tree of plain files in cgroup v2's layout, moved by :mod:`~exporter.lab.cfs_simulation`.

Files are rewritten in place, with one write and never shorter than before: the exporter, which keeps them open, never
reads half of one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self

from exporter.lab.cfs_simulation import PERIOD_US, Counters, Group, advance
from exporter.lab.spec import CpuSettings, Pod, Workload, weight
from exporter.lab.stale_marker import is_stale, own_prefix
from exporter.model import Driver

_CONTROLLERS = "cpuset cpu io memory pids\n"


def _cpu_stat(counters: Counters) -> str:
    user = counters.usage * 4 // 5
    return (
        f"usage_usec {counters.usage}\nuser_usec {user}\nsystem_usec {counters.usage - user}\n"
        f"nr_periods {counters.periods}\nnr_throttled {counters.throttled_periods}\n"
        f"throttled_usec {counters.throttled}\nnr_bursts {counters.bursts}\nburst_usec {counters.burst}\n"
    )


def _cpu_pressure(counters: Counters) -> str:
    averages = "avg10=0.00 avg60=0.00 avg300=0.00"
    return f"some {averages} total={counters.waiting}\nfull {averages} total={counters.stalled}\n"


_MOVING: dict[str, Callable[[Counters], str]] = {
    "cpu.stat": _cpu_stat,
    "cpu.stat.local": lambda counters: f"throttled_usec {counters.local}\n",
    "cpu.pressure": _cpu_pressure,
}


class SyntheticTree:
    """Pods as files below :attr:`root`, a temporary directory that this context manager removes.

    Time passes in :meth:`advance_to` only.
    """

    def __init__(self, cpus: frozenset[int], driver: Driver = "cgroupfs", directory: Path | None = None) -> None:
        self.driver: Driver = driver
        self.cpus = cpus
        self.root = (directory or Path(tempfile.gettempdir())) / own_prefix("synthetic")
        self._pods: list[tuple[Group, list[Group]]] = []
        self._files: list[tuple[int, Callable[[Counters], str], Counters]] = []
        self._period = 0
        self._thread_ids = iter(range(1_000_000, 10_000_000))

    def __enter__(self) -> Self:
        self.root.mkdir(mode=0o700)
        (self.root / "cgroup.controllers").write_text(_CONTROLLERS)
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor, _render, _counters in self._files:
            os.close(descriptor)
        self._files.clear()
        shutil.rmtree(self.root)

    def add_pod(self, pod: Pod, shared_cpus: frozenset[int] | None = None) -> None:
        """Add an identified pod with its sandbox and containers, which begin to work with the next period."""
        top = self._add(pod.cgroup(self.driver), pod.settings(), Workload(workers=0))
        self._add(pod.cgroup(self.driver, pod.sandbox_id), CpuSettings(shares=2), Workload())
        groups = [
            self._add(pod.cgroup(self.driver, one.container_id), pod.container_settings(one, shared_cpus), one.workload)
            for one in pod.running
        ]
        self._pods.append((top, groups))

    def advance_to(self, seconds: float) -> None:
        """Let whole periods pass up to so many seconds after the start, and rewrite the files."""
        target = int(seconds * 1e6) // PERIOD_US
        for period in range(self._period, target):
            for pod, containers in self._pods:
                advance(pod, containers, period)
        self._period = max(self._period, target)
        for descriptor, render, counters in self._files:
            os.pwrite(descriptor, render(counters).encode("ascii"), 0)

    def _add(self, path: str, settings: CpuSettings, workload: Workload) -> Group:
        cpus = settings.cpus or self.cpus
        cpu_list = ",".join(map(str, sorted(cpus)))
        quota = "max" if settings.quota_us is None else settings.quota_us
        threads = "".join(f"{next(self._thread_ids)}\n" for _ in range(workload.workers))
        directory = self.root / path
        directory.mkdir(parents=True)
        for name, text in {
            "cgroup.controllers": _CONTROLLERS,
            "cgroup.procs": threads,
            "cgroup.threads": threads,
            "cpu.max": f"{quota} {settings.period_us}\n",
            "cpu.max.burst": f"{settings.burst_us}\n",
            "cpu.weight": f"{weight(settings.shares or 2)}\n",
            "cpuset.cpus": f"{cpu_list if settings.cpus else ''}\n",
            "cpuset.cpus.effective": f"{cpu_list}\n",
            "cpuset.cpus.partition": "member\n",
            "cpuset.mems": "\n",
            "cpuset.mems.effective": "0\n",
        }.items():
            (directory / name).write_text(text)
        group = Group(settings, len(cpus), workload)
        for name, render in _MOVING.items():
            descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.pwrite(descriptor, render(group.counters).encode("ascii"), 0)
            self._files.append((descriptor, render, group.counters))
        return group


def remove_stale_synthetic(directory: Path | None = None) -> list[str]:
    """Remove the trees of dead owners, and return their names."""
    where = directory or Path(tempfile.gettempdir())
    stale = [name for name in sorted(os.listdir(where)) if is_stale(name)]
    for name in stale:
        shutil.rmtree(where / name, ignore_errors=True)
    return stale
