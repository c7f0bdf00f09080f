"""Pods without a cluster: from a file, or none at all."""

from __future__ import annotations

import errno

from exporter.errors import MappingError
from exporter.kube.podlist import parse_pod_list
from exporter.model import PodList
from exporter.threads import TimedCall

_TIMEOUT_SECONDS = 10.0
_MAX_BYTES = 32 * 1024 * 1024


class FileSource:
    """A PodList in a JSON file, read again at each refresh: ``kubectl get pods -A -o json``, or a kubelet's answer."""

    name = "file"

    def __init__(self, path: str, max_bytes: int = _MAX_BYTES, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._call = TimedCall(self._read, timeout_seconds)

    async def pods(self) -> PodList:
        """Raises :class:`MappingError`: ``not_found``, ``unreadable``, ``too_large``, ``malformed`` or ``timeout``."""
        try:
            return await self._call.awaited()
        except TimeoutError as error:
            reading = f"file {self._path}: not read within {self._call.seconds:g} s"
            raise MappingError(reading, reason="timeout") from error

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _read(self) -> PodList:
        try:
            with open(self._path, "rb") as file:
                body = file.read(self._max_bytes + 1)
        except OSError as error:
            reason = "not_found" if error.errno == errno.ENOENT else "unreadable"
            raise MappingError(f"file {self._path}: {error.strerror}", reason=reason) from error
        if len(body) > self._max_bytes:
            raise MappingError(f"file {self._path}: more than {self._max_bytes} bytes", reason="too_large")
        return parse_pod_list(body, f"file {self._path}")


class NoneSource:
    """No names for anything: the page goes by pod uid and container id."""

    name = "none"

    async def pods(self) -> PodList:
        """An empty list."""
        return PodList(pods={})

    async def aclose(self) -> None:
        """Nothing is held open."""
