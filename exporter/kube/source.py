"""Interface of a pod source, what sources share (reasons, backoff), and the sources ``file`` and ``none``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from exporter.errors import MappingError
from exporter.identities import PodList
from exporter.kube.podlist import parse_pod_list
from exporter.threads import TimedCall

REASONS = (
    *("forbidden", "http_status", "malformed", "no_token", "not_found", "refused", "timeout", "tls", "too_large"),
    *("unauthorized", "unreachable", "unreadable"),
)
"""Every reason of a :class:`exporter.errors.MappingError`: the labels under which failures are counted."""

PROBLEMS = (
    *("bad_annotation", "bad_quantity", "duplicate_container_id", "duplicate_container_name", "duplicate_pod_uid"),
    *("malformed_container", "malformed_name", "malformed_pod", "malformed_status", "not_a_pod"),
    *("pod_without_status", "pod_without_uid"),
)
"""Every reason by which :attr:`exporter.identities.PodList.problems` counts."""

_FILE_SECONDS = 10.0
_FILE_BYTES = 32 * 1024 * 1024


class PodSource(Protocol):
    """Lists the pods of this node."""

    name: str
    """``kubelet``, ``apiserver``, ``logs``, ``file`` or ``none``."""

    async def pods(self) -> PodList:
        """Return the whole list as of now; raises :class:`exporter.errors.MappingError`."""
        ...


def full_jitter(failures: int, first: float, last: float, jitter: Callable[[], float]) -> float:
    """Return the seconds to wait after ``failures`` in a row: up to ``first`` x 2^(failures-1), at most ``last``.

    Drawn from a fifth of that on, so that no draw makes a tight loop. ``jitter`` gives numbers in [0, 1).
    """
    ceiling = min(last, first * 2.0 ** min(failures - 1, 30))
    return ceiling * (0.2 + 0.8 * jitter())


async def timed(call: TimedCall[PodList], where: str) -> PodList:
    """Return the result of ``call``; raises :class:`MappingError`, reason ``timeout`` and those of the call."""
    try:
        return await call.awaited()
    except TimeoutError as error:
        raise MappingError(f"{where}: not read within {call.seconds:g} s", reason="timeout") from error


def file_error(where: str, error: OSError) -> MappingError:
    """Return the error for a file or directory that cannot be read: ``not_found`` or ``unreadable``."""
    reason = "not_found" if isinstance(error, FileNotFoundError) else "unreadable"
    return MappingError(f"{where}: {error.strerror}", reason=reason)


class FileSource:
    """A PodList in a JSON file, read again at each refresh: ``kubectl get pods -A -o json``, or a kubelet's answer."""

    name = "file"

    def __init__(self, path: str, max_bytes: int = _FILE_BYTES, timeout_seconds: float = _FILE_SECONDS) -> None:
        self._path, self._where, self._max_bytes = path, f"file {path}", max_bytes
        self._call = TimedCall(self._read, timeout_seconds)

    async def pods(self) -> PodList:
        """Raises :class:`MappingError`: ``not_found``, ``unreadable``, ``too_large``, ``malformed`` or ``timeout``."""
        return await timed(self._call, self._where)

    def _read(self) -> PodList:
        try:
            with open(self._path, "rb") as file:
                body = file.read(self._max_bytes + 1)
        except OSError as error:
            raise file_error(self._where, error) from error
        if len(body) > self._max_bytes:
            raise MappingError(f"{self._where}: more than {self._max_bytes} bytes", reason="too_large")
        return parse_pod_list(body, self._where)


class NoneSource:
    """An empty list: rows are labelled by pod uid and container id."""

    name = "none"

    async def pods(self) -> PodList:
        """Return no pods."""
        return PodList(pods={})
