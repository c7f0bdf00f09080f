"""The lines of an endless answer, each at most so long, with a bound on silence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple, Protocol

from exporter.errors import MappingError

_MAX_LINE_BYTES = 4 * 1024 * 1024
"""Twice what etcd lets an object be."""


class ByteStream(Protocol):
    """As :class:`aiohttp.StreamReader`."""

    async def readany(self) -> bytes:
        """What has arrived, at least one byte; empty at the end."""
        ...


class WatchEvent(NamedTuple):
    """One line of a watch."""

    kind: str
    """``ADDED``, ``MODIFIED``, ``DELETED``, ``BOOKMARK`` or ``ERROR``."""
    item: dict[str, Any]
    """The object as decoded JSON; for ``ERROR`` a Status."""

    @property
    def version(self) -> str:
        """``metadata.resourceVersion``: where to go on from after this event; empty when it says none."""
        metadata = self.item.get("metadata")
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        return version if isinstance(version, str) else ""


async def watch_events(content: ByteStream, silence: float, where: str) -> AsyncGenerator[WatchEvent, None]:
    """Until the server ends the answer. A line without its end is forgotten: the next watch brings it again.

    Raises :class:`MappingError` for a line that is no event, and :class:`TimeoutError` after ``silence`` seconds
    without a byte.
    """
    begun = bytearray()
    while True:
        async with asyncio.timeout(silence):
            chunk = await content.readany()
        if not chunk:
            return
        # Only what is new is looked at: a long line may come in a thousand small pieces.
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            line = begun + end
            begun.clear()
            if line.strip():
                yield _event(line, where)
        begun += rest
        if len(begun) > _MAX_LINE_BYTES:
            raise MappingError(f"{where}: an event of more than {_MAX_LINE_BYTES} bytes", reason="too_large")


def _event(line: bytearray, where: str) -> WatchEvent:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MappingError(f"{where}: a watch event is not JSON", reason="malformed") from error
    kind = event.get("type") if isinstance(event, dict) else None
    item = event.get("object") if isinstance(event, dict) else None
    if not isinstance(kind, str) or not isinstance(item, dict):
        raise MappingError(f"{where}: a watch event without type or object", reason="malformed")
    return WatchEvent(kind, item)
