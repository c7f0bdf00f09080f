"""Pods of this node from the API server: a list, then a watch from its version on; a new list after 410 Gone.

Requests, watch lines and their resource versions, bookmarks included, are the ``kubernetes`` package's. It has no
reflector (its informer is for threads, and decodes whole lists), so these are here: lists read item by item, a token
and a CA file that rotate, time and size limits, backoff. The protocol is ``client-go/tools/cache/reflector.go``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import ModuleType
from typing import Any, NamedTuple

import aiohttp

from exporter.errors import ConfigError, MappingError
from exporter.identities import PodList
from exporter.kube.http import http_error, mapping_errors, read_body
from exporter.kube.podlist import PodStore, read_list
from exporter.kube.source import full_jitter
from exporter.kube.tls import CaBundle, Token

_PAGE_PODS = 500
_MAX_PAGES = 100
_MAX_PAGE_BYTES = 32 * 1024 * 1024
_ANY_VERSION = "0"
"""Whatever the server's cache has: a list from its database would scan all pods of the cluster for each node."""
_NEWEST = ""
_GOOD_WATCH_SECONDS = 1.0
_MAX_EMPTY_WATCHES = 3
"""Watches in a row that end at once and bring nothing."""
_FORBIDDEN = "the ClusterRole needs verbs list and watch on pods, which the chart grants when this source is chosen"
_CA_ADVICE = "the CA file is that of the service account"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchTiming:
    """Time limits and waits, in seconds."""

    answer_seconds: float = 8.0
    watch_seconds: int = 300
    """Asked of the server: it ends a watch by itself."""
    silent_seconds: float = 120.0
    """A server sends a bookmark about every minute; a connection without an event for two is dead."""
    first_retry: float = 0.5
    last_retry: float = 30.0
    idle_seconds: float = 300.0
    """A watch that ends so long after the last call of :meth:`ApiServerSource.pods` is not begun again."""


DEFAULT_TIMING = WatchTiming()


def in_cluster_url(environ: Mapping[str, str]) -> str:
    """Return the API server's URL as a pod finds it; raises :class:`ConfigError` outside of a cluster."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise ConfigError("--pods.sources: apiserver: KUBERNETES_SERVICE_HOST and _PORT are not set: not in a cluster")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


class ApiServerSource:
    """A copy of this node's pods that follows the API server's while :meth:`pods` is called now and then."""

    name = "apiserver"

    def __init__(
        self,
        url: str,
        *,
        node_name: str,
        token_file: str | None,
        ca_file: str | None,
        timing: WatchTiming = DEFAULT_TIMING,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``url`` as of :func:`in_cluster_url`; ``node_name`` as in ``spec.nodeName``."""
        self._where = f"apiserver {url}"
        self._client = _Client(url, node_name, token_file, ca_file, timing.answer_seconds)
        self._timing = timing
        self._jitter = jitter
        self._task: asyncio.Task[None] | None = None
        self._asked_at = 0.0
        self._store = PodStore()
        self._version = _ANY_VERSION
        self._synced = self._received = False
        """Whether the copy is complete; whether the current watch has brought an event."""
        self._failure: MappingError | None = None
        self._settled = asyncio.Event()
        """Set once it is known whether the server answers."""

    async def pods(self) -> PodList:
        """Return the copy as of now; raises :class:`MappingError` when the server's last answer was a failure."""
        self._asked_at = asyncio.get_running_loop().time()
        if self._task is not None and self._task.done():
            self._task.result()  # a fault of ours: let it be seen
            self._task = None
        if self._task is None:
            await asyncio.to_thread(_import_client)  # takes seconds on a node short of CPU, not the server's fault
            self._task = asyncio.create_task(self._run(), name="apiserver-watch")
        limit = 2 * self._timing.answer_seconds  # a list, then the beginning of a watch
        try:
            async with asyncio.timeout(limit):
                await self._settled.wait()
        except TimeoutError as error:
            raise MappingError(f"{self._where}: no list within {limit:g} s", reason="timeout") from error
        if self._failure is not None:
            raise MappingError(str(self._failure), reason=self._failure.reason) from self._failure
        return self._store.snapshot()

    async def aclose(self) -> None:
        """End the watch."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        """List and watch until cancelled, or until a watch ends and no call has come for ``idle_seconds``."""
        try:
            await self._follow(asyncio.get_running_loop().time)
        finally:
            self._store, self._synced, self._version, self._failure = PodStore(), False, _ANY_VERSION, None
            self._settled.clear()
            await self._client.aclose()

    async def _follow(self, now: Callable[[], float]) -> None:
        failures = empty = 0
        while now() - self._asked_at < self._timing.idle_seconds:
            began = now()
            self._received = False
            try:
                if not self._synced:
                    await self._list()
                await self._watch()
            except _ExpiredError:
                self._synced, self._version = False, _NEWEST
            except MappingError as error:
                self._failure = error
                self._settled.set()
            # A server that hangs up at once is treated as one that fails, whatever it says.
            is_long = now() - began >= _GOOD_WATCH_SECONDS
            if self._received or is_long:
                empty = 0
            elif self._failure is None:
                empty += 1
                # It may not be an API server at all; a list would tell.
                self._synced = self._synced and empty < _MAX_EMPTY_WATCHES
            failures = 0 if is_long and self._failure is None else failures + 1
            if failures:
                first, last = self._timing.first_retry, self._timing.last_retry
                await asyncio.sleep(full_jitter(failures, first, last, self._jitter))

    async def _list(self) -> None:
        fresh = PodStore()
        token = ""
        for _ in range(_MAX_PAGES):
            page = {"_continue": token} if token else {"resource_version": self._version}
            async with (
                self._client.request(limit=_PAGE_PODS, **page) as response,
                asyncio.timeout(self._timing.answer_seconds),
            ):
                body = await read_body(response, _MAX_PAGE_BYTES, self._where)
            fields = await asyncio.to_thread(read_list, body, self._where, fresh.put)
            metadata = fields.get("metadata")
            metadata = metadata if isinstance(metadata, dict) else {}
            token = str(metadata.get("continue") or "")
            if not token:
                self._store.replace(fresh)
                self._version = str(metadata.get("resourceVersion") or _ANY_VERSION)
                self._synced = True
                return
        raise MappingError(f"{self._where}: a list of more than {_MAX_PAGES} pages", reason="too_large")

    async def _watch(self) -> None:
        request = self._client.request(
            watch=True,
            allow_watch_bookmarks=True,
            resource_version=self._version,
            timeout_seconds=self._timing.watch_seconds,
            _request_timeout=float(self._timing.watch_seconds + self._timing.answer_seconds),
        )
        async with request as response:
            self._failure = None
            self._settled.set()
            try:
                async with contextlib.aclosing(self._client.events(response, self._timing.silent_seconds)) as events:
                    async for event in events:
                        self._apply(event)
            except (aiohttp.ClientError, OSError) as error:
                # Ordinary: a load balancer's idle time, an API server that restarts. Whether it is more, the next
                # request tells. TimeoutError is one of these.
                _log.debug("%s: the watch broke off: %s", self._where, type(error).__name__)

    def _apply(self, event: WatchEvent) -> None:
        self._received = True
        match event.kind:
            case "ADDED" | "MODIFIED":
                self._store.put(event.item)
            case "DELETED":
                self._store.remove(event.item)
            case _:
                pass  # BOOKMARK: the version is all it says
        self._version = event.version or self._version


class _ExpiredError(Exception):
    """The version to go on from is no longer kept: 410."""


class _Client:
    """``GET /api/v1/pods`` of this node with the generated client, which a thread sets up at the first request."""

    def __init__(self, url: str, node_name: str, token_file: str | None, ca_file: str | None, seconds: float) -> None:
        self._url = url
        self._where = f"apiserver {url}"
        self._node_name = node_name
        self._token = None if token_file is None else Token(token_file)
        self._ca = None if ca_file is None else CaBundle(ca_file)
        self._seconds = seconds
        self._pem: bytes | None = None
        self._api: Any = None
        self._watch: Any = None

    @contextlib.asynccontextmanager
    async def request(self, **parameters: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give an answer of status 200; ``parameters`` by the names of the Python client."""
        async with mapping_errors(self._where, self._seconds, _CA_ADVICE):
            async with asyncio.timeout(self._seconds):
                response = await self._get(**parameters)
            async with response:
                _check_status(self._where, response.status)
                yield response

    def events(self, response: aiohttp.ClientResponse, silence: float) -> AsyncGenerator[WatchEvent, None]:
        """Return the events of an answer to a watch, see :func:`watch_events`."""
        return watch_events(self._watch, response, silence, self._where)

    async def _get(self, **parameters: Any) -> aiohttp.ClientResponse:
        pem = None if self._ca is None else await self._ca.read()
        if self._api is None or pem != self._pem:
            await self.aclose()
            try:
                self._api, self._watch = await asyncio.to_thread(_generated_client, self._url, pem)
            except (ssl.SSLError, ValueError) as error:
                if self._ca is None:
                    raise
                raise self._ca.unusable() from error
            self._pem = pem
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {await self._token.read()}"
        response: aiohttp.ClientResponse = await self._api.list_pod_for_all_namespaces_without_preload_content(
            field_selector=f"spec.nodeName={self._node_name}", _headers=headers, **parameters
        )
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        api, self._api = self._api, None
        if api is not None:
            await api.api_client.close()


class WatchEvent(NamedTuple):
    """One line of a watch: ``ADDED``, ``MODIFIED``, ``DELETED`` or ``BOOKMARK``, and its pod."""

    kind: str
    item: Mapping[str, Any]
    version: str
    """The version to go on from after this event; empty when none was said yet."""


async def watch_events(
    watch: Any, response: aiohttp.ClientResponse, silence: float, where: str
) -> AsyncGenerator[WatchEvent, None]:
    """Give the events of an answer until its end; ``watch`` is a ``kubernetes.aio.watch.Watch``.

    A line without its end is dropped: the next watch brings it again. Raises :class:`MappingError` for a line that is
    no event and for one of type ERROR, and :class:`TimeoutError` after ``silence`` seconds without a line.
    """

    async def opened(**_parameters: Any) -> aiohttp.ClientResponse:
        """Return the answer. The package looks for a docstring, and without one reads this file for comments."""
        return response

    # With a time limit it ends with the answer; without one it would reconnect by itself, with a token of long ago.
    stream = watch.stream(opened, resource_version="", timeout_seconds=0)
    try:
        while True:
            try:
                async with asyncio.timeout(silence):
                    event = await anext(stream)
            except StopAsyncIteration:
                return
            except (aiohttp.ClientError, OSError):
                raise
            except Exception as error:
                if (status := getattr(error, "status", None)) is not None:  # ApiException, for an event of type ERROR
                    _check_status(where, status)
                # ValueError for a line that is too long; Exception, KeyError, TypeError and more for what is no event.
                raise MappingError(f"{where}: what a watch brought is no event", reason="malformed") from error
            if isinstance(event, str) and not event.strip():
                continue
            if not isinstance(event, dict) or not isinstance(event["raw_object"], dict):
                raise MappingError(f"{where}: what a watch brought is no event", reason="malformed")
            version = watch.resource_version
            yield WatchEvent(event["type"], event["raw_object"], version if isinstance(version, str) else "")
    finally:
        await watch.close()  # gives up this answer; the next call begins with another


def _check_status(where: str, status: object) -> None:
    """Raise for any status but 200; ``status`` is the server's word, of whatever type."""
    if status == HTTPStatus.GONE:
        raise _ExpiredError
    if status != HTTPStatus.OK:
        raise http_error(where, status if isinstance(status, int) else 0, _FORBIDDEN)


def _import_client() -> ModuleType:
    """Import the package: half a second and some 40 MB, only for those who need it."""
    from kubernetes.aio import client  # noqa: PLC0415 - see above
    from kubernetes.aio.client import CoreV1Api  # noqa: F401, PLC0415 - the package alone loads next to nothing

    return client


def _generated_client(url: str, pem: bytes | None) -> tuple[Any, Any]:
    """Return client and watch. Blocks: both read CA certificates."""
    from kubernetes.aio import watch  # noqa: PLC0415 - as above

    untyped: Any = watch
    client = _import_client()
    configuration = client.Configuration(host=url, ca_cert_data=pem and pem.decode("ascii", "ignore"))
    # From Python 3.13 the default is strict about extensions that many clusters' CAs lack.
    configuration.disable_strict_ssl_verification = True
    configuration.client_session_kwargs = {"auto_decompress": False, "trust_env": False}
    return client.CoreV1Api(client.ApiClient(configuration)), untyped.Watch()
