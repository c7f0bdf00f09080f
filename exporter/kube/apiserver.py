"""Pods of this node from the API server: a list, then a watch from its version on; a new list after 410 Gone.

Requests, watch lines and resource versions are the ``kubernetes`` package's, whose informer decodes whole lists. Here
are what it lacks: lists read item by item, rotating credentials, limits, backoff, as in client-go's ``reflector.go``.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import aiohttp

from exporter.errors import ConfigError, MappingError
from exporter.identities import PodList
from exporter.kube.podlist import PodStore, read_list
from exporter.kube.source import MAX_BYTES, Credentials, full_jitter, http_error, mapping_errors, read_body

# Of any version is whatever the server's cache has: its database would scan all pods of the cluster for each node.
_ANY_VERSION, _NEWEST = "0", ""
_WATCH_SECONDS, _GOOD_WATCH_SECONDS = 300, 1.0
_FORBIDDEN = "the ClusterRole needs verbs list and watch on pods, which the chart grants when this source is chosen"
_CA_ADVICE = "the CA file is that of the service account"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchTiming:
    """Time limits and waits, in seconds."""

    answer_seconds: float = 8.0
    silent_seconds: float = 120.0  # a server sends a bookmark about every minute
    first_retry: float = 0.5
    last_retry: float = 30.0
    idle_seconds: float = 300.0  # since the last call of pods: then no watch is begun


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
        timing: WatchTiming | None = None,
    ) -> None:
        self._url, self._where = url, f"apiserver {url}"
        self._node_name, self._timing = node_name, timing or WatchTiming()
        self._credentials = Credentials(token_file, ca_file)
        self._task: asyncio.Task[None] | None = None
        self._asked_at = 0.0
        self.store = PodStore()
        self.version = _ANY_VERSION
        self._synced = self._received = False  # the copy is complete; the current watch has brought an event
        self._failure: MappingError | None = None
        self._settled = asyncio.Event()  # whether it is known if the server answers

    async def pods(self) -> PodList:
        """Return the copy as of now; raises :class:`MappingError` when the server's last answer was a failure."""
        if self._task is not None and self._task.done():
            self._task.result()  # a fault of ours: let it be seen
            self._task = None
        if self._task is None:
            # Takes seconds on a node short of CPU, which is not the server's fault.
            watch = await asyncio.to_thread(_import_watch)
            self._synced, self.version, self._failure = False, _ANY_VERSION, None
            self._settled.clear()
            self._task = asyncio.create_task(self._follow(watch), name="apiserver-watch")
        self._asked_at = asyncio.get_running_loop().time()
        limit = 2 * self._timing.answer_seconds  # a list, then the beginning of a watch
        try:
            async with asyncio.timeout(limit):
                await self._settled.wait()
        except TimeoutError as error:
            raise MappingError(f"{self._where}: no list within {limit:g} s", reason="timeout") from error
        if self._failure is not None:
            raise MappingError(str(self._failure), reason=self._failure.reason)
        return self.store.snapshot()

    async def aclose(self) -> None:
        """End the watch."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _follow(self, watch: Any) -> None:
        """List and watch until cancelled, or until a watch ends and no call has come for ``idle_seconds``."""
        failures, timing, now = 0, self._timing, asyncio.get_running_loop().time
        while now() - self._asked_at < timing.idle_seconds:
            began, self._received = now(), False
            try:
                with mapping_errors(self._where, timing.answer_seconds, _CA_ADVICE):
                    api = await self._credentials.with_ca(partial(_generated_client, self._url))
                    async with api.api_client:
                        if not self._synced:
                            await self._list(api)
                        await self._watch(api, watch)
            except _ExpiredError:
                self._synced, self.version = False, _NEWEST
            except MappingError as error:
                self._failure = error
                self._settled.set()
            # A server that hangs up at once is treated as one that fails, whatever it says.
            is_long = now() - began >= _GOOD_WATCH_SECONDS
            if not (is_long or self._received or self._failure):
                self._synced = False  # it may not be an API server at all; a list tells
            failures = 0 if is_long and self._failure is None else failures + 1
            if failures:
                await asyncio.sleep(full_jitter(failures, timing.first_retry, timing.last_retry, random.random))

    async def _get(self, api: Any, **parameters: Any) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"} | await self._credentials.headers()
        async with asyncio.timeout(self._timing.answer_seconds):
            response: aiohttp.ClientResponse = await api.list_pod_for_all_namespaces_without_preload_content(
                field_selector=f"spec.nodeName={self._node_name}", _headers=headers, **parameters
            )
        if response.status != HTTPStatus.OK:
            response.close()
            raise self._status_error(response.status)
        return response

    def _status_error(self, status: object) -> Exception:
        if status == HTTPStatus.GONE:
            return _ExpiredError()
        return http_error(self._where, status if isinstance(status, int) else 0, _FORBIDDEN)

    async def _list(self, api: Any) -> None:
        fresh = PodStore()
        # Not in pages: a node has some hundreds of pods, and each page would make the server look at all others again.
        async with await self._get(api, resource_version=self.version) as response:
            async with asyncio.timeout(self._timing.answer_seconds):
                body = await read_body(response, MAX_BYTES, self._where)
        metadata = (await asyncio.to_thread(read_list, body, self._where, fresh.put)).get("metadata")
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        self.store, self._synced, self.version = fresh, True, str(version or _ANY_VERSION)

    async def _watch(self, api: Any, watch: Any) -> None:
        response = await self._get(
            api,
            watch=True,
            allow_watch_bookmarks=True,
            resource_version=self.version,
            timeout_seconds=_WATCH_SECONDS,
            _request_timeout=_WATCH_SECONDS + self._timing.answer_seconds,
        )
        self._failure = None
        self._settled.set()
        try:
            await self.apply_events(watch, response)
        except (aiohttp.ClientError, OSError) as error:
            # Ordinary: a load balancer's idle time, an API server that restarts, silence. The next request tells more.
            _log.debug("%s: the watch broke off: %s", self._where, type(error).__name__)

    async def apply_events(self, watch: Any, response: aiohttp.ClientResponse) -> None:
        """Change :attr:`store` and :attr:`version` by an answer's events; raises ``MappingError``, ``TimeoutError``."""

        async def opened(**_parameters: Any) -> aiohttp.ClientResponse:
            """Return the answer. The package looks for a docstring, and without one reads this file for comments."""
            return response

        # With a time limit it ends with the answer; without one it would reconnect by itself, with a token of long ago.
        stream = watch.stream(opened, resource_version="", timeout_seconds=0)
        try:
            async with response:
                while (event := await self._next(stream)) is not None:
                    self._received = True
                    match event:
                        case {"type": "ADDED" | "MODIFIED", "raw_object": dict(item)}:
                            self.store.put(item)
                        case {"type": "DELETED", "raw_object": dict(item)}:
                            self.store.remove(item)
                        case {"type": str(), "raw_object": dict()}:  # a BOOKMARK: the version is all it says
                            pass
                        case str() if not event.strip():
                            pass
                        case _:
                            raise self._no_event()
                    if isinstance(watch.resource_version, str):
                        self.version = watch.resource_version or self.version
        finally:
            await watch.close()

    async def _next(self, stream: Any) -> Any:
        try:
            async with asyncio.timeout(self._timing.silent_seconds):
                return await anext(stream, None)
        except (aiohttp.ClientError, OSError):
            raise
        except Exception as error:
            if (status := getattr(error, "status", None)) is not None:  # ApiException, for an event of type ERROR
                raise self._status_error(status) from error
            # ValueError for a line that is too long; Exception, KeyError, TypeError and more for what is no event.
            raise self._no_event() from error

    def _no_event(self) -> MappingError:
        return MappingError(f"{self._where}: what a watch brought is no event", reason="malformed")


class _ExpiredError(Exception):
    """410: the version to go on from is no longer kept."""


def _import_watch() -> Any:
    """Import the package: half a second and some 40 MB, only for those who need it."""
    from kubernetes.aio import watch  # noqa: PLC0415 - see above
    from kubernetes.aio.client import CoreV1Api  # noqa: F401, PLC0415 - the package alone loads next to nothing

    untyped: Any = watch
    return untyped.Watch()


def _generated_client(url: str, pem: str | None) -> Any:
    """Return the client. Blocks: it reads CA certificates."""
    from kubernetes.aio import client  # noqa: PLC0415 - as above

    configuration = client.Configuration(host=url, ca_cert_data=pem)
    # From Python 3.13 the default is strict about extensions that many clusters' CAs lack.
    configuration.disable_strict_ssl_verification = True
    configuration.client_session_kwargs = {"auto_decompress": False, "trust_env": False}
    return client.CoreV1Api(client.ApiClient(configuration))
