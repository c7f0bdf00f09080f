"""Tasks that run for as long as the process does: named, watched, restarted when they die."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from exporter.log import fields

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a restart: doubled with each death in a row."""
MANY, WITHIN = 5, 300.0
"""So many deaths within so many seconds mean that restarting does not help: the kubelet should restart the process."""


class Supervisor:
    """Keeps tasks alive. One that ends at all, ends wrongly: they are meant to run for ever."""

    def __init__(
        self,
        *,
        on_death: Callable[[str], None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``on_death`` is told the task's name, to count it."""
        self._on_death, self._clock, self._sleep = on_death, clock, sleep
        self._deaths: dict[str, deque[float]] = {}

    async def keep(self, name: str, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``start`` again whenever it ends, until cancelled."""
        deaths = self._deaths[name] = deque(maxlen=MANY)
        while True:
            began = self._clock()
            try:
                await asyncio.create_task(start(), name=name)
                error: BaseException | None = None
            except asyncio.CancelledError as stray:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Nobody ended us: something inside of the task was cancelled and not caught.
                error = stray
            except Exception as failure:  # noqa: BLE001 - whatever killed it, the process lives on and says so
                error = failure
            now = self._clock()
            if now - began > WITHIN:
                deaths.clear()
            deaths.append(now)
            self._on_death(name)
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (len(deaths) - 1))
            message = f"the task {name} died and is started again"
            logger.error(message, exc_info=error, extra=fields(pause=pause, deaths=len(deaths)))
            await self._sleep(pause)

    def hopeless(self) -> str | None:
        """The name of a task that dies again and again; ``None`` when there is none."""
        now = self._clock()
        for name, deaths in self._deaths.items():
            if len(deaths) == MANY and now - deaths[0] < WITHIN:
                return name
        return None
