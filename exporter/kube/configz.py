"""``GET /configz`` of the kubelet -> :class:`exporter.identities.KubeletConfig`, and the task that polls it.

Source: ``KubeletConfiguration``, kubelet.config.k8s.io/v1beta1. Read loosely: the answer has changed with almost every
release, and a field of another type than expected is a field that this kubelet does not say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from exporter.errors import MappingError
from exporter.identities import KubeletConfig
from exporter.kube.source import ConfigSource, FailureLog, full_jitter
from exporter.values import parse_duration

_INTERVAL_SECONDS = 600.0
_FIRST_RETRY_SECONDS = 5.0


def parse_configz(body: bytes | memoryview) -> KubeletConfig:
    """Return the kubelet's CPU settings; raises :class:`MappingError`, reason ``malformed``."""
    try:
        answer = json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise MappingError("kubelet: /configz is not JSON", reason="malformed") from error
    config = answer.get("kubeletconfig") if isinstance(answer, dict) else None
    if not isinstance(config, dict):
        raise MappingError("kubelet: /configz has no kubeletconfig", reason="malformed")
    text = {key: value for key, value in config.items() if isinstance(value, str) and value}
    options, cfs_quota = config.get("cpuManagerPolicyOptions"), config.get("cpuCFSQuota")
    return KubeletConfig(
        cpu_manager_policy=text.get("cpuManagerPolicy"),
        cpu_manager_policy_options=_texts(options) if isinstance(options, dict) else None,
        cpu_manager_reconcile_seconds=_seconds(text.get("cpuManagerReconcilePeriod")),
        topology_manager_policy=text.get("topologyManagerPolicy"),
        topology_manager_scope=text.get("topologyManagerScope"),
        cpu_cfs_quota=cfs_quota if isinstance(cfs_quota, bool) else None,
        cpu_cfs_quota_period_seconds=_seconds(text.get("cpuCFSQuotaPeriod")),
        reserved_system_cpus=text.get("reservedSystemCPUs"),
        cgroup_driver=text.get("cgroupDriver"),
        cgroup_root=text.get("cgroupRoot"),
    )


def _texts(options: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in options.items() if isinstance(value, str)}


def _seconds(text: str | None) -> float | None:
    """Return a Go duration in whole units, as kubelets are configured; ``None`` for fractions (``1.5ms``)."""
    try:
        return None if text is None else parse_duration(text)
    except ValueError:
        return None


class ConfigPoller:
    """Polls the settings at the start, after failures and every ten minutes; hands each answer to ``on_config``."""

    def __init__(
        self,
        source: ConfigSource,
        *,
        on_config: Callable[[KubeletConfig], None],
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._source = source
        self._on_config = on_config
        self._jitter = jitter
        self._log = FailureLog("reading the kubelet's settings", clock)
        self._requested = asyncio.Event()
        self.failures: Counter[str] = Counter()
        """By reason, since the start; the same one in a row once: a kubelet may refuse for ever, and all else works."""

    def request_refresh(self) -> None:
        """Poll soon: the kubelet may have restarted with other settings."""
        self._requested.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            self._requested.clear()
            wait = await self._poll()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._requested.wait()

    async def _poll(self) -> float:
        try:
            config = await self._source.config()
        except MappingError as error:
            self.failures[error.reason] += self._log.failed(error, remind=False)
            return full_jitter(self._log.consecutive, _FIRST_RETRY_SECONDS, _INTERVAL_SECONDS, self._jitter)
        self._log.succeeded()
        self._on_config(config)
        return _INTERVAL_SECONDS
