"""Pods and settings from the kubelet of this node: ``GET /pods`` and ``GET /configz`` on port 10250 (or 10255)."""

from __future__ import annotations

import asyncio
import json
import ssl
from http import HTTPStatus

import aiohttp

from exporter import __version__
from exporter.errors import MappingError
from exporter.identities import KubeletConfig, PodList
from exporter.kube.podlist import parse_pod_list
from exporter.kube.source import MAX_BYTES, Credentials, http_error, mapping_errors, read_body, verifying_context
from exporter.values import parse_duration

_MAX_CONFIGZ_BYTES = 1024 * 1024
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
        timeout_seconds: float = 8.0,
    ) -> None:
        """``url`` is ``https://NODE_IP:10250``; the token is sent over TLS only."""
        self._url, self._timeout_seconds = url, timeout_seconds
        self._credentials, self._insecure = Credentials(token_file, ca_file), insecure_skip_verify

    async def pods(self) -> PodList:
        """``GET /pods``; raises :class:`MappingError`."""
        where, body = await self._get("pods", MAX_BYTES)
        return await asyncio.to_thread(parse_pod_list, body, where)

    async def config(self) -> KubeletConfig:
        """``GET /configz``; raises :class:`MappingError` likewise. Port 10255 has none: ``not_found``."""
        _, body = await self._get("configz", _MAX_CONFIGZ_BYTES)
        return parse_configz(body)

    async def _get(self, path: str, max_bytes: int) -> tuple[str, memoryview]:
        url = f"{self._url}/{path}"
        where = f"kubelet {url}"
        headers = {"Accept": "application/json", "User-Agent": f"kube-throttle-exporter/{__version__}"}
        headers["Accept-Encoding"] = "identity"  # loopback is faster than gzip
        tls: ssl.SSLContext | bool = True
        if url.startswith("https:"):
            tls = False if self._insecure else await self._credentials.with_ca(verifying_context)
            headers |= await self._credentials.headers()
        timeout = self._timeout_seconds
        limits = aiohttp.ClientTimeout(total=timeout, connect=min(_CONNECT_SECONDS, timeout))
        with mapping_errors(where, timeout, _CA_ADVICE):
            async with (
                # A proxy is never between a pod and its own node.
                aiohttp.ClientSession(timeout=limits, auto_decompress=False, trust_env=False) as session,
                session.get(url, headers=headers, ssl=tls, allow_redirects=False) as response,
            ):
                if response.status != HTTPStatus.OK:
                    raise http_error(where, response.status, _FORBIDDEN.format(path=path))
                return where, await read_body(response, max_bytes, where)


def parse_configz(body: bytes | memoryview) -> KubeletConfig:
    """Return the CPU settings of a ``KubeletConfiguration`` (v1beta1); raises :class:`MappingError`, ``malformed``."""
    try:
        answer = json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise MappingError("kubelet: /configz is not JSON", reason="malformed") from error
    config = answer.get("kubeletconfig") if isinstance(answer, dict) else None
    if not isinstance(config, dict):
        raise MappingError("kubelet: /configz has no kubeletconfig", reason="malformed")
    text = {key: value for key, value in config.items() if isinstance(value, str) and value}
    options, cfs_quota = config.get("cpuManagerPolicyOptions"), config.get("cpuCFSQuota")
    if isinstance(options, dict):
        options = {name: value for name, value in options.items() if isinstance(value, str)}
    return KubeletConfig(
        cpu_manager_policy=text.get("cpuManagerPolicy"),
        cpu_manager_policy_options=options if isinstance(options, dict) else None,
        cpu_manager_reconcile_seconds=_seconds(text.get("cpuManagerReconcilePeriod")),
        topology_manager_policy=text.get("topologyManagerPolicy"),
        topology_manager_scope=text.get("topologyManagerScope"),
        cpu_cfs_quota=cfs_quota if isinstance(cfs_quota, bool) else None,
        cpu_cfs_quota_period_seconds=_seconds(text.get("cpuCFSQuotaPeriod")),
        reserved_system_cpus=text.get("reservedSystemCPUs"),
    )


def _seconds(text: str | None) -> float | None:
    """Return a Go duration in whole units, as kubelets are configured; ``None`` for fractions (``1.5ms``)."""
    try:
        return None if text is None else parse_duration(text)
    except ValueError:
        return None
