"""The limits above the pods: QoS groups, ``kubepods``, and whatever holds the kubelet's tree."""

from __future__ import annotations

from math import inf

from exporter.cgroupfs.group import OnError
from exporter.cgroupfs.opener import Opener
from exporter.errors import ExporterError, VanishedError
from exporter.sampler.judge import bound, smallest


class Ancestors:
    """Each directory is read once a scan, however many pods are below it."""

    def __init__(self, opener: Opener, on_error: OnError) -> None:
        self._opener, self._on_error = opener, on_error
        self._own: dict[str, float | None] = {}

    def moved(self) -> bool:
        """Read those again that were asked for; True when any has changed."""
        before, self._own = self._own, {}
        for path in before:
            self._read(path)
        return self._own != before

    def limit(self, pod_path: str) -> float | None:
        """The smallest limit of the directories above a pod, in cores; ``inf`` for none, ``None`` when not known."""
        found: float | None = inf
        parent = pod_path.rpartition("/")[0]
        while parent:
            if parent not in self._own:
                self._read(parent)
            found = smallest(found, self._own.get(parent, inf))
            parent = parent.rpartition("/")[0]
        return found

    def _read(self, path: str) -> None:
        try:
            self._own[path] = bound(self._opener.ancestor_limits(path))
        except VanishedError:
            pass  # with it went its limit, and all that was below
        except ExporterError as error:
            self._on_error(error)
            self._own[path] = None
