"""The limits above the pods: QoS groups, ``kubepods``, and whatever holds the kubelet's tree."""

from __future__ import annotations

from math import inf

from exporter.cgroupfs.group import OnError
from exporter.cgroupfs.opener import Opener
from exporter.errors import ExporterError, VanishedError
from exporter.sampler.judge import bound, smallest


class Ancestors:
    """Each directory is read once, however many pods are below it, until :meth:`forget`."""

    def __init__(self, opener: Opener, on_error: OnError) -> None:
        self._opener, self._on_error = opener, on_error
        self._limits: dict[str, float | None] = {}

    def forget(self) -> None:
        """They may have changed."""
        self._limits.clear()

    def limit(self, pod_path: str) -> float | None:
        """The smallest limit of the directories above a pod, in cores; ``inf`` for none, ``None`` when not known."""
        parent = pod_path.rpartition("/")[0]
        if not parent:
            return inf
        if parent not in self._limits:
            own: float | None = None
            try:
                own = bound(self._opener.ancestor_limits(parent))
            except VanishedError:
                own = inf
            except ExporterError as error:
                self._on_error(error)
            self._limits[parent] = smallest(own, self.limit(parent))
        return self._limits[parent]
