"""The node's own facts, read at each scan."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from exporter.errors import ExporterError
from exporter.node.cpumanager import read_cpu_manager_state
from exporter.node.kernel import cfs_quota_bug, read_release
from exporter.node.procstat import Jiffies, cpu_times, read_proc_stat
from exporter.node.topology import Topology, read_topology
from exporter.readings import Driver, HierarchyVersion, KubeletConfig
from exporter.snapshot import CpuManagerState, CpuTimes, NodeRow

MOST_READINGS = 64


class Machine:
    """Kernel, topology, CPU times and the CPU manager's checkpoint."""

    def __init__(
        self,
        *,
        proc: str,
        sys: str,
        checkpoint_path: str,
        window: float,
        on_error: Callable[[ExporterError], None],
    ) -> None:
        self._proc, self._sys, self._checkpoint_path = proc, sys, checkpoint_path
        self._window, self._on_error = window, on_error
        self._ticks: deque[tuple[float, Mapping[int, Jiffies]]] = deque(maxlen=MOST_READINGS)
        self.topology = Topology()
        self.checkpoint: CpuManagerState | None = None
        self.kubelet: KubeletConfig | None = None
        self._release: str | None = None

    def read(self, now: float) -> None:
        """All of it, at monotonic ``now``."""
        self.topology = read_topology(self._sys)
        for problem in self.topology.problems:
            self._on_error(problem)
        self._release = read_release(self._proc)
        try:
            self.checkpoint = read_cpu_manager_state(self._checkpoint_path)
        except ExporterError as error:
            self.checkpoint = None
            self._on_error(error)
        try:
            ticks = read_proc_stat(self._proc)
        except ExporterError as error:
            self._on_error(error)
            ticks = None
        if ticks is None:
            self._ticks.clear()
            return
        self._ticks.append((now, ticks))
        while len(self._ticks) > 2 and now - self._ticks[1][0] >= self._window:
            self._ticks.popleft()

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
