"""The node's own facts, read at each scan."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from exporter.errors import ExporterError, ReadError
from exporter.model import CpuManagerState, CpuTimes, Driver, HierarchyVersion, KubeletConfig, NodeRow
from exporter.node.cpumanager import read_cpu_manager_state
from exporter.node.kernel import cfs_quota_bug, read_release
from exporter.node.procstat import Jiffies, cpu_times, read_proc_stat
from exporter.node.topology import Topology, read_topology
from exporter.threads import TimedCall

T = TypeVar("T")

PATIENCE_SECONDS = 1.0
"""How long a read may take. lxcfs (FUSE) may be behind procfs and sysfs, any disk behind the checkpoint."""


class Machine:
    """Kernel, topology, CPU times and the CPU manager's checkpoint. What hangs, fails or is missing is absent."""

    def __init__(
        self,
        *,
        proc: str,
        sys: str,
        checkpoint_path: str,
        on_error: Callable[[ExporterError], None],
    ) -> None:
        self._on_error = on_error
        self._read_topology = TimedCall(partial(read_topology, sys), PATIENCE_SECONDS)
        self._read_release = TimedCall(partial(read_release, proc), PATIENCE_SECONDS)
        self._read_checkpoint = TimedCall(partial(read_cpu_manager_state, checkpoint_path), PATIENCE_SECONDS)
        self._read_ticks = TimedCall(partial(read_proc_stat, proc), PATIENCE_SECONDS)
        self._ticks: deque[tuple[float, Mapping[int, Jiffies]]] = deque()
        self.topology = Topology()
        self.checkpoint: CpuManagerState | None = None
        self.kubelet: KubeletConfig | None = None
        self._release: str | None = None

    def read(self, now: float, began: float) -> None:
        """All of it, at monotonic ``now``; what CPUs did is told from ``began`` on."""
        self.topology = self._survive(self._read_topology, "CPU topology") or Topology()
        for problem in self.topology.problems:
            self._on_error(problem)
        if self._release is None:  # no kernel changes under a process
            self._release = self._survive(self._read_release, "kernel release")
        self.checkpoint = self._survive(self._read_checkpoint, "CPU manager's checkpoint")
        ticks = self._survive(self._read_ticks, "CPU times")
        if ticks is None:
            self._ticks.clear()
            return
        self._ticks.append((now, ticks))
        while self._ticks and self._ticks[0][0] < began:
            self._ticks.popleft()

    def _survive(self, read: TimedCall[T], what: str) -> T | None:
        try:
            return read()
        except TimeoutError:
            self._on_error(ReadError(what, f"not read within {read.seconds:g} s", reason="timeout"))
        except ExporterError as error:
            self._on_error(error)
        return None

    @property
    def has_cpu_times(self) -> bool:
        """Whether the last read of ``/proc/stat`` succeeded."""
        return bool(self._ticks)

    def cpu_times(self) -> Mapping[int, CpuTimes]:
        """What each online CPU did over the last window; empty before there are two readings."""
        if len(self._ticks) < 2:
            return {}
        (first_at, first), (last_at, last) = self._ticks[0], self._ticks[-1]
        return cpu_times(first, last, last_at - first_at)

    def row(self, hierarchy: HierarchyVersion, driver: Driver | None) -> NodeRow:
        """What of it is published; isolation is added by the caller."""
        return NodeRow(
            hierarchy=hierarchy,
            driver=driver,
            kernel_release=self._release,
            cfs_quota_bug=cfs_quota_bug(self._release),
            online_cpus=self.topology.online,
            kubelet=self.kubelet,
            numa_node=self.topology.numa_node,
            checkpoint=self.checkpoint,
            cpu_times=self.cpu_times(),
        )
