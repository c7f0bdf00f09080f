"""Pods from the API server, for a node whose kubelet cannot be asked."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from exporter.errors import ConfigError, MappingError
from exporter.kube.credentials import Authorities, Token
from exporter.kube.podlist import PodStore
from exporter.kube.reflector import Pace, Reflector
from exporter.model import PodList

if TYPE_CHECKING:
    import aiohttp
    from kubernetes.aio.client import CoreV1Api

DEFAULT_PACE = Pace()


def in_cluster_url(environ: Mapping[str, str]) -> str:
    """The API server as a pod finds it; raises :class:`ConfigError` outside of a cluster."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise ConfigError("--pods.sources: apiserver: KUBERNETES_SERVICE_HOST and _PORT are not set: not in a cluster")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


class _Client:
    """The generated client, set up in a thread when the first request is made."""

    def __init__(self, url: str, node_name: str, token_file: str | None, ca_file: str | None) -> None:
        self._url = url
        self._node_name = node_name
        self._token = None if token_file is None else Token(token_file)
        self._ca = None if ca_file is None else Authorities(ca_file)
        self._pem: bytes | None = None
        self._api: CoreV1Api | None = None

    async def get(self, **parameters: Any) -> aiohttp.ClientResponse:
        """See :class:`exporter.kube.reflector.PodRequests`."""
        pem = None if self._ca is None else await self._ca.read()
        if self._api is None or pem != self._pem:
            await self.aclose()
            try:
                self._api = await asyncio.to_thread(_connect, self._url, pem)
            except (ssl.SSLError, ValueError) as error:
                where = "" if self._ca is None else f" {self._ca.path}"
                raise MappingError(f"CA file{where}: holds no usable certificate", reason="tls") from error
            self._pem = pem
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {await self._token.read()}"
        response: aiohttp.ClientResponse = await self._api.list_pod_for_all_namespaces_without_preload_content(
            field_selector=f"spec.nodeName={self._node_name}", _headers=headers, **parameters
        )
        return response

    async def aclose(self) -> None:
        api, self._api = self._api, None
        if api is not None:
            await api.api_client.close()


def _package() -> ModuleType:
    """Half a second and some 40 MB, only for those who need it; on a node short of CPU, seconds."""
    from kubernetes.aio import client  # noqa: PLC0415 - see above
    from kubernetes.aio.client import CoreV1Api  # noqa: F401, PLC0415 - the package alone loads next to nothing

    return client


def _connect(url: str, pem: bytes | None) -> CoreV1Api:
    client = _package()
    configuration = client.Configuration(host=url, ca_cert_data=pem and pem.decode("ascii", "ignore"))
    # From Python 3.13 the default is strict about extensions that many clusters' CAs lack.
    configuration.disable_strict_ssl_verification = True
    configuration.client_session_kwargs = {"auto_decompress": False, "trust_env": False}
    api: CoreV1Api = client.CoreV1Api(client.ApiClient(configuration))
    return api


class ApiServerSource:
    """A copy of this node's pods that follows the API server's for as long as somebody asks for it."""

    name = "apiserver"

    def __init__(
        self,
        url: str,
        *,
        node_name: str,
        token_file: str | None,
        ca_file: str | None,
        pace: Pace = DEFAULT_PACE,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``url`` as of :func:`in_cluster_url`; ``node_name`` as in ``spec.nodeName``."""
        self._url = url
        self._node_name = node_name
        self._token_file = token_file
        self._ca_file = ca_file
        self._pace = pace
        self._jitter = jitter
        self._store = PodStore()
        self._reflector: Reflector | None = None
        self._task: asyncio.Task[None] | None = None
        self._asking = 0
        self._idle: asyncio.TimerHandle | None = None
        """Ends the watch a while after the last one asked."""

    async def pods(self) -> PodList:
        """The copy as of now; raises :class:`MappingError` when the server could not be asked last time."""
        self._asking += 1
        if self._idle is not None:
            self._idle.cancel()
        try:
            if self._task is None:
                await asyncio.to_thread(_package)  # not at the expense of the server's time to answer
            return await self._copy(self._follow())
        finally:
            self._asking -= 1
            if not self._asking:
                self._idle = asyncio.get_running_loop().call_later(self._pace.idle_seconds, self._stop)

    async def _copy(self, reflector: Reflector) -> PodList:
        patience = 2 * self._pace.answer_seconds  # a list, then the beginning of a watch
        try:
            async with asyncio.timeout(patience):
                await reflector.settled.wait()
        except TimeoutError as error:
            raise MappingError(f"apiserver {self._url}: no list within {patience:g} s", reason="timeout") from error
        if reflector.failure is not None:
            raise MappingError(str(reflector.failure), reason=reflector.failure.reason) from reflector.failure
        return self._store.snapshot()

    async def aclose(self) -> None:
        """Ends the watch."""
        if self._idle is not None:
            self._idle.cancel()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _follow(self) -> Reflector:
        """Begins to follow, or goes on."""
        if self._task is not None and self._task.done():
            self._task.result()  # a fault of ours: let it be seen
        if self._task is None or self._reflector is None:
            client = _Client(self._url, self._node_name, self._token_file, self._ca_file)
            self._reflector = Reflector(
                client.get,
                self._store,
                where=f"apiserver {self._url}",
                pace=self._pace,
                jitter=self._jitter,
            )
            self._task = asyncio.create_task(_run(self._reflector, client), name="apiserver-watch")
        return self._reflector

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._store.adopt(PodStore())


async def _run(reflector: Reflector, client: _Client) -> None:
    try:
        await reflector.run()
    finally:
        await client.aclose()
