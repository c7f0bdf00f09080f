"""A kubepods tree of plain files in cgroup v2's layout whose counters move; for machines where no cgroup can be made.

Files are rewritten in place, with one write and never shorter than before: a reader that keeps them open, as the
exporter does, sees them change and never sees half of one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self

from exporter.lab import placing
from exporter.lab.motion import PERIOD_US, Counters, Group, advance
from exporter.lab.owner import own_prefix, owner_is_dead
from exporter.lab.spec import CpuSettings, Pod, Workload, weight
from exporter.model import Driver

Render = Callable[[Counters], str]


def _cpu_stat(counters: Counters) -> str:
    user = counters.usage * 4 // 5
    return (
        f"usage_usec {counters.usage}\nuser_usec {user}\nsystem_usec {counters.usage - user}\n"
        f"nr_periods {counters.periods}\nnr_throttled {counters.throttled_periods}\n"
        f"throttled_usec {counters.throttled}\nnr_bursts {counters.bursts}\nburst_usec {counters.burst}\n"
    )


def _cpu_stat_local(counters: Counters) -> str:
    return f"throttled_usec {counters.local}\n"


def _cpu_pressure(counters: Counters) -> str:
    averages = "avg10=0.00 avg60=0.00 avg300=0.00"
    return f"some {averages} total={counters.waiting}\nfull {averages} total={counters.stalled}\n"


_MOVING: dict[str, Render] = {
    "cpu.stat": _cpu_stat,
    "cpu.stat.local": _cpu_stat_local,
    "cpu.pressure": _cpu_pressure,
}


class SyntheticTree:
    """Pods as files below a temporary directory, :attr:`root`; a context manager that removes it.

    Time passes in :meth:`advance_to` only, in whole periods.
    """

    def __init__(self, cpus: frozenset[int], driver: Driver = "cgroupfs", directory: Path | None = None) -> None:
        self.driver: Driver = driver
        self.cpus = cpus
        self.root = (directory or Path(tempfile.gettempdir())) / own_prefix("synthetic")
        self._pods: list[tuple[Group, list[Group]]] = []
        self._files: list[tuple[int, Render, Counters]] = []
        self._period = 0
        self._thread_ids = iter(range(1_000_000, 10_000_000))

    def __enter__(self) -> Self:
        self.root.mkdir(mode=0o700)
        (self.root / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor, _render, _counters in self._files:
            os.close(descriptor)
        self._files.clear()
        shutil.rmtree(self.root)

    def add_pod(self, pod: Pod, shared_cpus: frozenset[int] | None = None) -> None:
        """An identified pod with its sandbox and containers, which begin to work with the next period."""
        top = self._add(placing.pod_group(self.driver, pod.qos_class, pod.uid), pod.settings(), Workload(workers=0))
        self._add(self._container(pod, pod.sandbox_id), CpuSettings(shares=2), Workload())
        groups = []
        for container in pod.containers:
            if not container.finished:
                settings = pod.container_settings(container, shared_cpus)
                groups.append(self._add(self._container(pod, container.container_id), settings, container.workload))
        self._pods.append((top, groups))

    def advance_to(self, seconds: float) -> None:
        """Lets time pass up to so many seconds after the start, and rewrites what changed."""
        target = int(seconds * 1e6) // PERIOD_US
        for period in range(self._period, target):
            for pod, containers in self._pods:
                advance(pod, containers, period)
        self._period = max(self._period, target)
        for descriptor, render, counters in self._files:
            os.pwrite(descriptor, render(counters).encode("ascii"), 0)

    def _container(self, pod: Pod, container_id: str) -> str:
        return placing.container_group(self.driver, pod.qos_class, pod.uid, container_id)

    def _add(self, path: str, settings: CpuSettings, workload: Workload) -> Group:
        cpus = settings.cpus or self.cpus
        directory = self.root / path
        directory.mkdir(parents=True)
        quota = settings.quota_us
        cpu_list = ",".join(map(str, sorted(cpus)))
        threads = "".join(f"{next(self._thread_ids)}\n" for _ in range(workload.workers))
        for name, text in {
            "cgroup.controllers": "cpuset cpu io memory pids\n",
            "cgroup.procs": threads,
            "cgroup.threads": threads,
            "cpu.max": f"{'max' if quota is None else quota} {settings.period_us}\n",
            "cpu.max.burst": f"{round((settings.burst_seconds or 0.0) * 1e6)}\n",
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


def sweep_synthetic(directory: Path | None = None) -> list[str]:
    """Removes trees whose owner is dead; returns their names."""
    where = directory or Path(tempfile.gettempdir())
    swept = [name for name in sorted(os.listdir(where)) if owner_is_dead(name)]
    for name in swept:
        shutil.rmtree(where / name, ignore_errors=True)
    return swept
