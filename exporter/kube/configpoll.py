"""Keeps the kubelet's settings: asked for at the start, after failures and every ten minutes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from exporter.errors import MappingError
from exporter.kube.failurelog import FailureLog
from exporter.kube.schedule import full_jitter
from exporter.kube.source import ConfigSource
from exporter.model import KubeletConfig

_INTERVAL_SECONDS = 600.0
_FIRST_RETRY_SECONDS = 5.0


class ConfigPoller:
    """Hands each good answer to ``on_config``; without any, the node row lacks its labels, nothing else."""

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
        self._wanted = asyncio.Event()
        self._in_a_row = 0
        self.failures: dict[str, int] = {}
        """By reason, since the start."""

    def refresh_soon(self) -> None:
        """The kubelet may have started anew, with other settings."""
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wanted.clear()
            wait = await self._ask()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wanted.wait()

    async def _ask(self) -> float:
        try:
            config = await self._source.config()
        except MappingError as error:
            self._in_a_row += 1
            self.failures = {**self.failures, error.reason: self.failures.get(error.reason, 0) + 1}
            self._log.failed(error)
            return full_jitter(self._in_a_row, _FIRST_RETRY_SECONDS, self._interval, self._jitter)
        self._in_a_row = 0
        self._log.worked()
        self._on_config(config)
        return self._interval
