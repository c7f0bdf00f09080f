"""The events of a watch whose bytes a test gives, without a server."""

import asyncio
from collections.abc import Iterable
from functools import cache
from typing import Any
from unittest.mock import Mock

import aiohttp
from kubernetes.aio import watch

from exporter.kube.apiserver import events

_BUFFER_BYTES = 2**21  # as the package sets it
Event = tuple[str, Any, str]
"""Type, pod, and the version to go on from."""


async def watched(pieces: Iterable[bytes]) -> list[Event]:
    """Return what comes out of ``pieces``, which arrive at once and are followed by the end of the answer."""
    content = aiohttp.StreamReader(Mock(), _BUFFER_BYTES, loop=asyncio.get_running_loop())
    for piece in pieces:
        content.feed_data(piece)
    content.feed_eof()
    response = Mock(spec=aiohttp.ClientResponse, content=content)
    return [event async for event in events(_watch(), response, 60.0, "test")]


@cache
def _watch() -> Any:
    untyped: Any = watch
    return untyped.Watch()
