"""What a place to learn pods from looks like, and the reasons for which it may fail."""

from __future__ import annotations

from typing import Protocol

from exporter.model import KubeletConfig, PodList

REASONS = (
    "forbidden",
    "http_status",
    "malformed",
    "no_token",
    "not_found",
    "refused",
    "timeout",
    "tls",
    "too_large",
    "unauthorized",
    "unreachable",
    "unreadable",
)
"""Every reason of a :class:`exporter.errors.MappingError`: the labels under which failures are counted."""

PROBLEMS = (
    "bad_annotation",
    "bad_quantity",
    "duplicate_container_id",
    "duplicate_container_name",
    "duplicate_pod_uid",
    "malformed_container",
    "malformed_name",
    "malformed_pod",
    "malformed_status",
    "not_a_pod",
    "pod_without_status",
    "pod_without_uid",
)
"""Every reason by which :attr:`exporter.model.PodList.problems` counts."""


class PodSource(Protocol):
    """Tells which pods run on this node."""

    @property
    def name(self) -> str:
        """``kubelet``, ``apiserver``, ``logs``, ``file`` or ``none``."""
        ...

    async def pods(self) -> PodList:
        """The whole list as of now; raises :class:`exporter.errors.MappingError`."""
        ...

    async def aclose(self) -> None:
        """Gives up connections; the source is not used again."""
        ...


class ConfigSource(Protocol):
    """Tells how this node's kubelet manages CPUs."""

    async def config(self) -> KubeletConfig:
        """The settings as of now; raises :class:`exporter.errors.MappingError`."""
        ...
