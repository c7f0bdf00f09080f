"""List, then watch, for ever: a copy of this node's pods that follows the API server's.

The protocol is ``client-go/tools/cache/reflector.go``'s: list from the server's cache, go on from the version the list
has, list anew when that version is too old (410 Gone).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

import aiohttp

from exporter.errors import MappingError
from exporter.kube.body import read_body
from exporter.kube.failures import named_failures, refusal
from exporter.kube.podlist import PodStore, read_list
from exporter.kube.schedule import full_jitter
from exporter.kube.watchlines import WatchEvent, watch_events

_PAGE_PODS = 500
_MAX_PAGES = 100
_MAX_PAGE_BYTES = 32 * 1024 * 1024
_ANY_VERSION = "0"
"""Whatever the server's cache has: a list from its database would scan all pods of the cluster for each node."""
_NEWEST = ""
_GOOD_WATCH_SECONDS = 1.0
_MOST_MUTE_WATCHES = 3
"""Watches in a row that end at once and bring nothing."""

_FORBIDDEN = "the ClusterRole needs verbs list and watch on pods, which the chart grants when this source is chosen"
_CA_ADVICE = "the CA file is that of the service account"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long what may take, in seconds."""

    answer_seconds: float = 8.0
    watch_seconds: int = 300
    """Asked of the server: it ends a watch by itself."""
    silent_seconds: float = 120.0
    """A server sends a bookmark about every minute; a connection that says nothing for two is dead."""
    first_retry: float = 0.5
    last_retry: float = 30.0
    idle_seconds: float = 300.0
    """How long to follow without anybody asking."""


class PodRequests(Protocol):
    """The one request there is."""

    async def __call__(self, **parameters: Any) -> aiohttp.ClientResponse:
        """``GET /api/v1/pods`` of this node, by the names of the Python client's parameters."""
        ...


class _ExpiredError(Exception):
    """The version to go on from is no longer kept: 410."""


class Reflector:
    """``store`` is complete whenever :attr:`synced` is set and :attr:`failure` is ``None``."""

    def __init__(
        self,
        get: PodRequests,
        store: PodStore,
        *,
        where: str,
        pace: Pace,
        jitter: Callable[[], float],
    ) -> None:
        self._get = get
        self._store = store
        self._where = where
        self._pace = pace
        self._jitter = jitter
        self._version = _ANY_VERSION
        self._heard = False
        """Whether the watch has brought anything."""
        self.synced = False
        self.failure: MappingError | None = None
        self.settled = asyncio.Event()
        """Set once it is known whether the server answers."""

    async def run(self) -> None:
        """Until cancelled."""
        failures = mute = 0
        while True:
            began = asyncio.get_running_loop().time()
            self._heard = False
            try:
                if not self.synced:
                    await self._list()
                await self._watch()
            except _ExpiredError:
                self.synced, self._version = False, _NEWEST
            except MappingError as error:
                self.failure = error
                self.settled.set()
            # A server that hangs up at once is treated as one that fails, whatever it says.
            lasted = asyncio.get_running_loop().time() - began
            if self._heard or lasted >= _GOOD_WATCH_SECONDS:
                mute = 0
            elif self.failure is None:
                mute += 1
                # It may not be an API server at all; a list would tell.
                self.synced = self.synced and mute < _MOST_MUTE_WATCHES
            failures = 0 if lasted >= _GOOD_WATCH_SECONDS and self.failure is None else failures + 1
            if failures:
                await asyncio.sleep(full_jitter(failures, self._pace.first_retry, self._pace.last_retry, self._jitter))

    async def _list(self) -> None:
        fresh = PodStore()
        token = ""
        for _ in range(_MAX_PAGES):
            page = {"_continue": token} if token else {"resource_version": self._version}
            async with self._request(limit=_PAGE_PODS, **page) as response, asyncio.timeout(self._pace.answer_seconds):
                body = await read_body(response, _MAX_PAGE_BYTES, self._where)
            fields = await asyncio.to_thread(read_list, body, self._where, fresh.put)
            metadata = fields.get("metadata")
            metadata = metadata if isinstance(metadata, dict) else {}
            token = str(metadata.get("continue") or "")
            if not token:
                self._store.adopt(fresh)
                self._version = str(metadata.get("resourceVersion") or _ANY_VERSION)
                self.synced = True
                return
        raise MappingError(f"{self._where}: a list of more than {_MAX_PAGES} pages", reason="too_large")

    async def _watch(self) -> None:
        request = self._request(
            watch=True,
            allow_watch_bookmarks=True,
            resource_version=self._version,
            timeout_seconds=self._pace.watch_seconds,
            _request_timeout=float(self._pace.watch_seconds + self._pace.answer_seconds),
        )
        async with request as response:
            self.failure = None
            self.settled.set()
            try:
                async with contextlib.aclosing(
                    watch_events(response.content, self._pace.silent_seconds, self._where)
                ) as events:
                    async for event in events:
                        self._apply(event)
            except (aiohttp.ClientError, OSError) as error:
                # Ordinary: a load balancer's idle time, an API server that restarts. Whether it is more, the next
                # request tells.
                _log.debug("%s: the watch broke off: %s", self._where, type(error).__name__)

    def _apply(self, event: WatchEvent) -> None:
        self._heard = True
        match event.kind:
            case "ADDED" | "MODIFIED":
                self._store.put(event.item)
            case "DELETED":
                self._store.remove(event.item)
            case "ERROR":
                code = event.item.get("code")
                self._check(code if isinstance(code, int) else 0)
            case _:
                pass  # BOOKMARK: the version is all it says
        self._version = event.version or self._version

    @contextlib.asynccontextmanager
    async def _request(self, **parameters: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """One answer of status 200, or what stands for any other."""
        async with named_failures(self._where, self._pace.answer_seconds, _CA_ADVICE):
            async with asyncio.timeout(self._pace.answer_seconds):
                response = await self._get(**parameters)
            async with response:
                self._check(response.status)
                yield response

    def _check(self, status: int) -> None:
        if status == HTTPStatus.GONE:
            raise _ExpiredError
        if status != HTTPStatus.OK:
            raise refusal(self._where, status, _FORBIDDEN)
