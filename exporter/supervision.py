"""Restarting the tasks that are meant to run for as long as the process does."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from exporter.log import fields

logger = logging.getLogger(__name__)


FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 30.0
"""Before a task is restarted: doubled with each failure in a row."""
MAX_FAILURES, FAILURE_WINDOW_SECONDS = 5, 300.0
"""So many failures of a task within so many seconds: restarting it does not help, the kubelet should restart the
process."""


class Supervisor:
    """Restarts tasks that are meant to run for ever, whenever they end."""

    def __init__(
        self,
        *,
        on_failure: Callable[[str], None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``on_failure`` is called with the task's name, to count it."""
        self._on_failure, self._clock, self._sleep = on_failure, clock, sleep
        self._failures: dict[str, deque[float]] = {}

    async def run(self, name: str, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``start`` again whenever it ends, until cancelled."""
        failures = self._failures[name] = deque(maxlen=MAX_FAILURES)
        while True:
            began = self._clock()
            try:
                await asyncio.create_task(start(), name=name)
                error: BaseException | None = None
            except asyncio.CancelledError as stray:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # This task was not cancelled: something inside of it was, and the task did not catch it.
                error = stray
            except Exception as failure:  # noqa: BLE001 - any failure of a task is logged and the task restarted
                error = failure
            now = self._clock()
            if now - began > FAILURE_WINDOW_SECONDS:
                failures.clear()
            failures.append(now)
            self._on_failure(name)
            pause = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (len(failures) - 1))
            message = f"the task {name} failed and is restarted"
            logger.error(message, exc_info=error, extra=fields(pause=pause, failures=len(failures)))
            await self._sleep(pause)

    def crash_looping(self) -> str | None:
        """Return the name of a task that fails again soon after each restart, or ``None``."""
        now = self._clock()
        for name, failures in self._failures.items():
            if len(failures) == MAX_FAILURES and now - failures[0] < FAILURE_WINDOW_SECONDS:
                return name
        return None
