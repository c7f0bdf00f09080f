"""``GET /configz`` of the kubelet -> :class:`exporter.model.KubeletConfig`, and the task that polls it.

Source: ``KubeletConfiguration``, kubelet.config.k8s.io/v1beta1. Read loosely: the answer has changed with almost every
release, and a field of another type than expected is a field that this kubelet does not say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from exporter.errors import MappingError
from exporter.kube.quantity import parse_duration
from exporter.kube.source import ConfigSource, FailureLog, full_jitter
from exporter.model import KubeletConfig

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
    return KubeletConfig(
        cpu_manager_policy=_text(config, "cpuManagerPolicy"),
        cpu_manager_policy_options=_options(config.get("cpuManagerPolicyOptions")),
        cpu_manager_reconcile_seconds=_seconds(config, "cpuManagerReconcilePeriod"),
        topology_manager_policy=_text(config, "topologyManagerPolicy"),
        topology_manager_scope=_text(config, "topologyManagerScope"),
        cpu_cfs_quota=_flag(config, "cpuCFSQuota"),
        cpu_cfs_quota_period_seconds=_seconds(config, "cpuCFSQuotaPeriod"),
        reserved_system_cpus=_text(config, "reservedSystemCPUs"),
        cgroup_driver=_text(config, "cgroupDriver"),
        cgroup_root=_text(config, "cgroupRoot"),
    )


def _text(config: Mapping[str, Any], key: str) -> str | None:
    value = config.get(key)
    return value if isinstance(value, str) and value else None


def _flag(config: Mapping[str, Any], key: str) -> bool | None:
    value = config.get(key)
    return value if isinstance(value, bool) else None


def _seconds(config: Mapping[str, Any], key: str) -> float | None:
    try:
        return parse_duration(_text(config, key) or "")
    except ValueError:
        return None


def _options(value: Any) -> Mapping[str, str] | None:
    if not isinstance(value, dict):
        return None
    return {name: setting for name, setting in value.items() if isinstance(setting, str)}


class ConfigPoller:
    """Polls the settings at the start, after failures and every ten minutes; hands each answer to ``on_config``."""

    def __init__(
        self,
        source: ConfigSource,
        *,
        on_config: Callable[[KubeletConfig], None],
        clock: Callable[[], float],
        jitter: Callable[[], float],
        interval: float = _INTERVAL_SECONDS,
    ) -> None:
        self._source = source
        self._on_config = on_config
        self._interval = interval
        self._jitter = jitter
        self._log = FailureLog("reading the kubelet's settings", clock)
        self._requested = asyncio.Event()
        self._consecutive = 0
        self.failures: dict[str, int] = {}
        """By reason, since the start."""

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
            self._consecutive += 1
            self.failures = {**self.failures, error.reason: self.failures.get(error.reason, 0) + 1}
            self._log.failed(error)
            return full_jitter(self._consecutive, _FIRST_RETRY_SECONDS, self._interval, self._jitter)
        self._consecutive = 0
        self._log.succeeded()
        self._on_config(config)
        return self._interval
