"""Pods and settings from the kubelet of this node: ``GET /pods`` and ``GET /configz`` on port 10250 (or 10255)."""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus

import aiohttp

from exporter import __version__
from exporter.identities import KubeletConfig, PodList
from exporter.kube.configz import parse_configz
from exporter.kube.http import http_error, mapping_errors, read_body
from exporter.kube.podlist import parse_pod_list
from exporter.kube.tls import TlsContext, Token

_MAX_BYTES = 32 * 1024 * 1024
_MAX_CONFIGZ_BYTES = 1024 * 1024
_TIMEOUT_SECONDS = 8.0
_CONNECT_SECONDS = 3.0

_FORBIDDEN = (
    "the ClusterRole needs verb get on nodes/{path}; a kubelet before 1.33 knows only nodes/proxy, "
    "which the chart grants with rbac.legacyNodesProxy=true"
)
_CA_ADVICE = "--kubelet.ca-file names the CA to trust; stock kubelets sign their own certificate"


class KubeletSource:
    """Asks one kubelet, over a new connection each time: at one a minute, nothing is gained by keeping it."""

    name = "kubelet"

    def __init__(
        self,
        url: str,
        *,
        token_file: str | None = None,
        ca_file: str | None = None,
        insecure_skip_verify: bool = False,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        """``url`` is ``https://NODE_IP:10250``; the token is sent over TLS only."""
        self._url = url
        self._token = None if token_file is None else Token(token_file)
        self._tls = TlsContext(ca_file, insecure_skip_verify=insecure_skip_verify)
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes
        self._session: aiohttp.ClientSession | None = None

    async def pods(self) -> PodList:
        """``GET /pods``; raises :class:`MappingError` with a reason of :data:`exporter.kube.source.REASONS`."""
        where, body = await self._get("pods", self._max_bytes)
        return await asyncio.to_thread(parse_pod_list, body, where)

    async def config(self) -> KubeletConfig:
        """``GET /configz``; raises :class:`MappingError` likewise. Port 10255 has none: ``not_found``."""
        _, body = await self._get("configz", _MAX_CONFIGZ_BYTES)
        return parse_configz(body)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _get(self, path: str, max_bytes: int) -> tuple[str, memoryview]:
        url = f"{self._url}/{path}"
        where = f"kubelet {url}"
        headers: dict[str, str] = {}
        tls: ssl.SSLContext | bool = True
        if url.startswith("https:"):
            tls = await self._tls.context()
            if self._token is not None:
                headers["Authorization"] = f"Bearer {await self._token.read()}"
        async with (
            mapping_errors(where, self._timeout_seconds, _CA_ADVICE),
            self._open().get(url, headers=headers, ssl=tls, allow_redirects=False) as response,
        ):
            if response.status != HTTPStatus.OK:
                raise http_error(where, response.status, _FORBIDDEN.format(path=path))
            return where, await read_body(response, max_bytes, where)

    def _open(self) -> aiohttp.ClientSession:
        # Not in __init__: a session belongs to the loop that runs.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, use_dns_cache=False),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",  # loopback is faster than gzip
                    "User-Agent": f"kube-throttle-exporter/{__version__}",
                },
                timeout=aiohttp.ClientTimeout(
                    total=self._timeout_seconds, connect=min(_CONNECT_SECONDS, self._timeout_seconds)
                ),
                auto_decompress=False,
                trust_env=False,  # a proxy is never between a pod and its own node
            )
        return self._session
