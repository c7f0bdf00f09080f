"""The pods of this node, kept fresh: which source is asked, when, and what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.errors import MappingError
from exporter.kube.configpoll import ConfigPoller
from exporter.kube.failurelog import FailureLog
from exporter.kube.schedule import RefreshSchedule
from exporter.kube.source import ConfigSource, PodSource
from exporter.model import KubeletConfig, PodList

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How one source has done so far."""

    name: str
    up: bool | None = None
    """How its last attempt ended; ``None`` before the first."""
    active: bool = False
    """The list in use came from it; it may have failed since."""
    last_success: float | None = None
    """Wall clock, seconds since the epoch."""
    attempts: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    """By reason, see :data:`exporter.kube.source.REASONS`."""
    last_error: str = ""
    """One line; empty once it works again."""


@dataclass(frozen=True, slots=True)
class DirectoryStatus:
    """How the directory has done so far."""

    sources: tuple[SourceStatus, ...]
    """In the order in which they are tried."""
    attempts: int = 0
    """Refreshes ended, with a list or without."""
    generation: int = 0
    """Lists received."""
    config_failures: Mapping[str, int] = field(default_factory=dict)
    """Of ``GET /configz``, by reason."""

    @property
    def settled(self) -> bool:
        """The pods are known, or every source was tried and failed."""
        return self.attempts > 0


class _Record:
    """What changes about a source."""

    def __init__(self, source: PodSource, clock: Callable[[], float]) -> None:
        self.source = source
        self.log = FailureLog(f"pod source {source.name}", clock)
        self.up: bool | None = None
        self.last_success: float | None = None
        self.attempts = 0
        self.failures: dict[str, int] = {}
        self.last_error = ""

    def failed(self, error: MappingError) -> None:
        self.up = False
        self.attempts += 1
        self.failures[error.reason] = self.failures.get(error.reason, 0) + 1
        self.last_error = str(error)
        self.log.failed(error)

    def worked(self, wall: float) -> None:
        self.up = True
        self.attempts += 1
        self.last_success = wall
        self.last_error = ""
        self.log.worked()

    def status(self, *, active: bool) -> SourceStatus:
        return SourceStatus(
            name=self.source.name,
            up=self.up,
            active=active,
            last_success=self.last_success,
            attempts=self.attempts,
            failures=dict(self.failures),
            last_error=self.last_error,
        )


class PodDirectory:
    """Asks the first source that answers and hands each list to ``on_pods``; the last good list stays in use.

    All sources are tried, in their order, at the start, every ``interval`` seconds and after a failure of all of them;
    so an earlier source that works again is used again. In between, :meth:`poke` asks the one in use first.
    ``clock`` (monotonic) must run with the event loop's time; ``wall`` is for display. Not thread-safe.
    """

    def __init__(
        self,
        sources: Sequence[PodSource],
        *,
        on_pods: Callable[[PodList], None],
        interval: float = 60.0,
        config_source: ConfigSource | None = None,
        on_config: Callable[[KubeletConfig], None] = lambda _config: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._records = [_Record(source, clock) for source in sources]
        self._on_pods = on_pods
        self._clock = clock
        self._wall = wall
        self._schedule = RefreshSchedule(interval, jitter)
        self._poller = config_source and ConfigPoller(config_source, on_config=on_config, clock=clock, jitter=jitter)
        self._wanted = asyncio.Event()
        self._first_result = asyncio.Event()
        self._active: _Record | None = None
        self._pods = PodList(pods={})
        self._attempts = 0
        self._generation = 0

    @property
    def pods(self) -> PodList:
        """The last good list; empty before the first."""
        return self._pods

    @property
    def status(self) -> DirectoryStatus:
        """As of now; never changes once returned."""
        return DirectoryStatus(
            sources=tuple(record.status(active=record is self._active) for record in self._records),
            attempts=self._attempts,
            generation=self._generation,
            config_failures=self._poller.failures if self._poller else {},
        )

    @property
    def attempts(self) -> int:
        """Refreshes ended, with a list or without."""
        return self._attempts

    @property
    def generation(self) -> int:
        """Lists received."""
        return self._generation

    async def first_result(self) -> None:
        """Returns when the pods are known or every source was tried and failed."""
        await self._first_result.wait()

    def poke(self, *, new: bool = False) -> None:
        """Asks for a newer list soon: a container is not in this one; ``new`` when it was seen for the first time."""
        self._schedule.poke(self._clock(), new=new)
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._refresh_for_ever(), name="pod-list")
            if self._poller:
                tasks.create_task(self._poller.run(), name="kubelet-config")

    async def aclose(self) -> None:
        """Closes the sources; after :meth:`run` has ended."""
        for record in self._records:
            await record.source.aclose()

    async def _refresh_for_ever(self) -> None:
        while True:
            self._wanted.clear()
            wait = self._schedule.wait(self._clock())
            if wait <= 0:
                await self._refresh()
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wanted.wait()

    async def _refresh(self) -> None:
        scheduled = self._schedule.begin(self._clock())
        result = await self._first_answer(self._records if scheduled else self._active_first())
        news = False
        if result is not None:
            record, pods = result
            news = _names_more(pods, self._pods)
            self._accept(record, pods)
        self._attempts += 1
        self._schedule.end(self._clock(), ok=result is not None, news=news)
        self._first_result.set()

    def _active_first(self) -> Iterable[_Record]:
        return sorted(self._records, key=lambda record: record is not self._active)

    async def _first_answer(self, records: Iterable[_Record]) -> tuple[_Record, PodList] | None:
        for record in records:
            try:
                pods = await record.source.pods()
            except MappingError as error:
                record.failed(error)
            else:
                if record.up is False and self._poller:
                    self._poller.refresh_soon()
                record.worked(self._wall())
                return record, pods
        return None

    def _accept(self, record: _Record, pods: PodList) -> None:
        if record is not self._active:
            _log.info("pods come from %s now: %d of them", record.source.name, len(pods.pods))
        if pods.problems and pods.problems != self._pods.problems:
            found = ", ".join(f"{count} {reason}" for reason, count in sorted(pods.problems.items()))
            _log.warning("pod list of %s: %s", record.source.name, found)
        self._active = record
        self._pods = pods
        self._generation += 1
        self._on_pods(pods)


def _names_more(now: PodList, before: PodList) -> bool:
    """Whether a container has an id that it had not."""
    return any(
        uid not in before.pods
        or {container.container_id for container in pod.containers}
        - {container.container_id for container in before.pods[uid].containers}
        for uid, pod in now.pods.items()
    )
