"""Which of the things the page is made of this node has, so that an absence is said and not only felt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from exporter.sampler.machine import Machine
from exporter.sampler.tracked import NO_COUNTERS, Tracked

_OF_CONTAINERS: Mapping[str, tuple[str | None, Callable[[Tracked], object]]] = {
    "cpu_stat": (None, lambda one: (one.stat or NO_COUNTERS).periods),
    "cpu_stat_local": ("throttle", lambda one: one.local_throttled_seconds),
    "cpu_usage": ("usage", lambda one: (one.stat or NO_COUNTERS).usage_seconds),
    "cpu_pressure": ("pressure", lambda one: one.pressure),
    "cpuset": ("cpuset", lambda one: one.cpuset),
}
"""The collector that wants it, and what is ``None`` without it."""


def available(
    live: Iterable[Tracked], machine: Machine, collectors: frozenset[str], *, notifications: bool
) -> dict[str, bool]:
    """By name of the input. What no collector wants is not said, nor what needs a container to be seen on."""
    containers = [one for one in live if one.ref.container_id is not None]
    found = {
        name: any(value_of(one) is not None for one in containers)
        for name, (collector, value_of) in _OF_CONTAINERS.items()
        if containers and (collector is None or collector in collectors)
    }
    return found | {
        "cpu_topology": machine.topology.online is not None,
        "proc_stat": machine.has_cpu_times,
        "cpu_manager_state": machine.checkpoint is not None,
        "kubelet_configz": machine.kubelet is not None,
        "inotify": notifications,
    }
