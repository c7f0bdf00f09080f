"""The pods of this node, kept fresh: which source is asked, when, and with what result."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from exporter.errors import MappingError
from exporter.identities import KubeletConfig, PodList
from exporter.kube.configz import ConfigPoller
from exporter.kube.source import ConfigSource, FailureLog, PodSource, full_jitter

_DEBOUNCE_SECONDS = 0.5
"""A request this soon after an answer waits: the kubelet often starts several containers in a row."""
_MIN_GAP_SECONDS = 1.0
_MAX_GAP_SECONDS = 10.0
_FIRST_RETRY_SECONDS = 0.5
_LAST_RETRY_SECONDS = 30.0
_MAX_BACKOFF_SECONDS = 900.0
"""Between two attempts of a source that fails while another serves."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """Results of one source so far."""

    name: str
    up: bool | None = None
    """How its last attempt ended; ``None`` before the first."""
    active: bool = False
    """The list in use came from it; it may have failed since."""
    last_success: float | None = None
    """Wall clock, seconds since the epoch."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """By reason, see :data:`exporter.kube.source.REASONS`; the same one in a row once while another source serves."""
    reason: str = ""
    """Of the last failure; empty after a success."""
    last_error: str = ""
    """One line; empty after a success."""


@dataclass(frozen=True, slots=True)
class PodCacheStatus:
    """Results of all sources so far."""

    sources: tuple[SourceStatus, ...]
    """In the order in which they are tried."""
    attempts: int = 0
    """Refreshes ended, with a list or without."""
    config_failures: Mapping[str, int] = field(default_factory=dict)
    """Of ``GET /configz``, by reason."""

    @property
    def settled(self) -> bool:
        """Whether the pods are known, or every source was tried and failed."""
        return self.attempts > 0


class _SourceRecord:
    """One source and its results."""

    def __init__(self, source: PodSource, clock: Callable[[], float]) -> None:
        self.source = source
        self.log = FailureLog(f"pod source {source.name}", clock)
        self.status = SourceStatus(source.name)
        self.backoffs = 0
        """Failures in a row while another source served."""
        self.retry_at = 0.0

    def failed(self, error: MappingError, *, is_replaced: bool) -> None:
        is_new = self.log.failed(error, remind=not is_replaced)
        failures = dict(self.status.failures)
        if is_new or not is_replaced:
            failures[error.reason] = failures.get(error.reason, 0) + 1
        self.status = replace(self.status, up=False, failures=failures, reason=error.reason, last_error=str(error))
        self.backoffs = self.backoffs + 1 if is_replaced else 0
        self.retry_at = 0.0

    def succeeded(self, wall: float) -> None:
        self.status = replace(self.status, up=True, last_success=wall, reason="", last_error="")
        self.backoffs, self.retry_at = 0, 0.0
        self.log.succeeded()


class PodCache:
    """Asks the first source that answers and hands each list to ``on_pods``; the last good list stays in use.

    Sources are tried in their order at the start and every ``interval`` seconds, so an earlier one that works again is
    used again. One that fails while another serves, which may be for ever, is tried less and less often, at least every
    15 minutes and when no other answers. In between, :meth:`request_refresh` asks the one in use first.
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
        self._records = [_SourceRecord(source, clock) for source in sources]
        self._on_pods = on_pods
        self._clock = clock
        self._wall = wall
        self._interval = interval
        self._jitter = jitter
        self._schedule = RefreshSchedule(interval, jitter)
        self._poller = config_source and ConfigPoller(config_source, on_config=on_config, clock=clock, jitter=jitter)
        self._requested = asyncio.Event()
        self._first_result = asyncio.Event()
        self._active: _SourceRecord | None = None
        self.pods = PodList(pods={})
        """The last good list."""
        self.attempts = 0
        """Refreshes ended, with a list or without."""

    @property
    def status(self) -> PodCacheStatus:
        """As of now; never changes once returned."""
        return PodCacheStatus(
            tuple(replace(record.status, active=record is self._active) for record in self._records),
            attempts=self.attempts,
            config_failures=dict(self._poller.failures) if self._poller else {},
        )

    async def first_result(self) -> None:
        """Return when the pods are known or every source was tried and failed."""
        await self._first_result.wait()

    def request_refresh(self, *, new: bool = False) -> None:
        """Ask soon: a container is not in the list; ``new`` when it was seen for the first time."""
        self._schedule.request(self._clock(), new=new)
        self._requested.set()

    async def run(self) -> None:
        """Refresh until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_schedule(), name="pod-list")
            if self._poller:
                tasks.create_task(self._poller.run(), name="kubelet-config")

    async def aclose(self) -> None:
        """Close the sources; after :meth:`run` has ended."""
        for record in self._records:
            await record.source.aclose()

    async def _run_schedule(self) -> None:
        while True:
            self._requested.clear()
            wait = self._schedule.wait(self._clock())
            if wait <= 0:
                await self._refresh()
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._requested.wait()

    async def _refresh(self) -> None:
        scheduled = self._schedule.begin(self._clock())
        result = await self._first_answer(self._records if scheduled else self._active_first())
        news = False
        if result is not None:
            record, pods = result
            news = _has_new_ids(pods, self.pods)
            self._accept(record, pods)
        self.attempts += 1
        self._schedule.end(self._clock(), ok=result is not None, news=news)
        self._first_result.set()

    def _active_first(self) -> Iterable[_SourceRecord]:
        return sorted(self._records, key=lambda record: record is not self._active)

    async def _first_answer(self, records: Iterable[_SourceRecord]) -> tuple[_SourceRecord, PodList] | None:
        failed: list[tuple[_SourceRecord, MappingError]] = []
        answer = None
        now = self._clock()
        for record in sorted(records, key=lambda record: record.retry_at > now):
            try:
                answer = record, await record.source.pods()
                break
            except MappingError as error:
                failed.append((record, error))
        for record, failure in failed:
            record.failed(failure, is_replaced=answer is not None)
            if record.backoffs:
                wait = full_jitter(record.backoffs, self._interval, _MAX_BACKOFF_SECONDS, self._jitter)
                record.retry_at = self._clock() + wait
        if answer is not None:
            record, _ = answer
            if record.status.up is False and self._poller:
                self._poller.request_refresh()
            record.succeeded(self._wall())
        return answer

    def _accept(self, record: _SourceRecord, pods: PodList) -> None:
        if record is not self._active:
            _log.info("pods come from %s now: %d of them", record.source.name, len(pods.pods))
        if pods.problems and pods.problems != self.pods.problems:
            found = ", ".join(f"{count} {reason}" for reason, count in sorted(pods.problems.items()))
            _log.warning("pod list of %s: %s", record.source.name, found)
        self._active = record
        self.pods = pods
        self._on_pods(pods)


def _has_new_ids(now: PodList, before: PodList) -> bool:
    """Return whether a pod or a container id is in ``now`` and not in ``before``."""
    return any(
        uid not in before.pods
        or {container.container_id for container in pod.containers}
        - {container.container_id for container in before.pods[uid].containers}
        for uid, pod in now.pods.items()
    )


class RefreshSchedule:
    """Decides when to ask: every ``interval`` seconds, sooner on request, later after failures. Never reads a clock.

    Requests about the same unknown container double the gap between refreshes up to 10 s: one that can never be mapped
    costs the kubelet no more than that. A request about a container seen for the first time resets the gap to 1 s.
    """

    def __init__(self, interval: float, jitter: Callable[[], float]) -> None:
        self._interval = interval
        self._jitter = jitter
        self._failures = 0
        self._retry_at = 0.0
        self._ended_at: float | None = None
        self._scheduled_at: float | None = None
        self._requested_at: float | None = None
        self._pending = False
        self._was_requested = False
        self._gap = _DEBOUNCE_SECONDS

    def request(self, now: float, *, new: bool) -> None:
        """Ask for a newer list; ``new`` when for a reason that did not exist at the last request."""
        if self._requested_at is None or now - self._requested_at > _MAX_GAP_SECONDS:
            self._gap = _DEBOUNCE_SECONDS
        elif new:
            self._gap = min(self._gap, _MIN_GAP_SECONDS)
        self._requested_at = now
        self._pending = True

    def wait(self, now: float) -> float:
        """Return the seconds until the next refresh; zero or less: now."""
        if self._ended_at is None or self._scheduled_at is None:
            return 0.0
        if self._failures:
            return self._retry_at - now
        if self._pending:
            return min(self._scheduled_at, self._ended_at + self._gap) - now
        return self._scheduled_at - now

    def begin(self, now: float) -> bool:
        """Begin a refresh; return whether it is a scheduled one, which also tries sources that failed before."""
        scheduled = self._scheduled_at is None or self._failures > 0 or now >= self._scheduled_at
        self._was_requested = self._pending
        self._pending = False
        if scheduled:
            self._scheduled_at = None
        return scheduled

    def end(self, now: float, *, ok: bool, news: bool) -> None:
        """End a refresh, with a list (``ok``) that has container ids the last one had not (``news``), or without."""
        self._ended_at = now
        if self._scheduled_at is None:
            self._scheduled_at = now + self._interval
        if not ok:
            self._failures += 1
            self._retry_at = now + full_jitter(self._failures, _FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS, self._jitter)
            return
        self._failures = 0
        if self._was_requested:
            doubled = min(self._gap * 2, _MAX_GAP_SECONDS)
            self._gap = _MIN_GAP_SECONDS if news else max(_MIN_GAP_SECONDS, doubled)
