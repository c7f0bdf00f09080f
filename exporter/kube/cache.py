"""The pods of this node, kept fresh: which source is asked, when, and with what result."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from exporter.errors import MappingError
from exporter.identities import KubeletConfig, PodList
from exporter.kube.source import PodSource, full_jitter

_DEBOUNCE_SECONDS = 0.5  # a request so soon after an answer waits: kubelets start several containers in a row
_MIN_GAP_SECONDS, _MAX_GAP_SECONDS = 1.0, 10.0
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 0.5, 30.0
_MAX_BACKOFF_SECONDS = 900.0  # between two attempts of a source that fails while another serves
_REMINDER_SECONDS = 600.0
_CONFIG_SECONDS, _FIRST_CONFIG_RETRY_SECONDS = 600.0, 5.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class SourceStatus:
    """Results of one source so far."""

    name: str
    up: bool | None = None  # how its last attempt ended; None before the first
    active: bool = False  # the list in use came from it; it may have failed since
    last_success: float | None = None  # wall clock, seconds since the epoch
    failures: dict[str, int] = field(default_factory=dict)  # by reason; in a row once while another serves
    reason: str = ""
    last_error: str = ""  # reason and message, one line, of the last failure; empty after a success


class PodCacheStatus(NamedTuple):
    """Results of all sources so far, in the order in which they are tried."""

    sources: tuple[SourceStatus, ...]
    config_failures: Mapping[str, int] = {}  # of GET /configz, by reason
    problems: Mapping[str, int] = {}  # of PodList.problems, each when a list has it and the one before had not


class _Record:
    def __init__(self, name: str, what: str, clock: Callable[[], float]) -> None:
        self._what, self._clock, self._logged_at = what, clock, 0.0
        self.status = SourceStatus(name)
        self.retry_at = -math.inf
        self.consecutive = self.backoffs = 0  # failures since the last success; of them, while another source served
        self._reasons = set[str]()  # of those failures

    def failed(self, error: MappingError, *, expected: bool) -> None:
        """Count and log a failure; an ``expected`` one, which may go on for ever, once for each reason."""
        self.consecutive += 1
        status, is_new = self.status, error.reason not in self._reasons
        self._reasons.add(error.reason)
        status.up, status.reason, status.last_error = False, error.reason, str(error)
        status.failures[error.reason] = status.failures.get(error.reason, 0) + (is_new or not expected)
        # What failed, and why, is part of the template: log lines of one template are written twice a minute at most.
        if is_new:
            template = f"{self._what} failed ({error.reason}): %s"
        elif not expected and self._clock() - self._logged_at >= _REMINDER_SECONDS:
            template = f"{self._what} still fails, {self.consecutive} times in a row ({error.reason}): %s"
        else:
            return
        _log.warning(template, error)
        self._logged_at = self._clock()

    def succeeded(self, wall: float) -> None:
        if self.consecutive:
            _log.info("%s works again after %d failures", self._what, self.consecutive)
        status = self.status
        status.up, status.reason, status.last_error, status.last_success = True, "", "", wall
        self.consecutive, self.backoffs, self.retry_at = 0, 0, -math.inf
        self._reasons.clear()


class PodCache:
    """Asks the first source that answers and hands each list to ``on_pods``; the last good list stays in use.

    Sources are tried in their order every ``interval`` seconds. One that fails while another serves is tried less and
    less often, at least every 15 minutes. ``clock`` must run with the event loop's time; ``wall`` is for display.
    """

    def __init__(
        self,
        sources: Sequence[PodSource],
        *,
        on_pods: Callable[[PodList], None],
        interval: float = 60.0,
        read_config: Callable[[], Awaitable[KubeletConfig]] | None = None,
        on_config: Callable[[KubeletConfig], None] = lambda _config: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._records = [(_Record(source.name, f"pod source {source.name}", clock), source) for source in sources]
        self._on_pods, self._interval = on_pods, interval
        self._read_config, self._on_config = read_config, on_config
        self._config_record = _Record("configz", "reading the kubelet's settings", clock)
        self._clock, self._wall, self._jitter = clock, wall, jitter
        self._requested, self._config_requested = asyncio.Event(), asyncio.Event()
        self.first_result = asyncio.Event()  # set when the pods are known or every source was tried and failed
        self._failures, self._is_requested = 0, False
        self._scheduled_at = self._ended_at = self._requested_at = -math.inf
        self._gap = _DEBOUNCE_SECONDS  # between the end of a refresh and the next one that is requested
        self._active: _Record | None = None
        self._problems = Counter[str]()
        self.pods = PodList(pods={})  # the last good list
        self.attempts = 0  # refreshes ended, with a list or without

    @property
    def status(self) -> PodCacheStatus:
        """As of now; never changes once returned."""
        sources = tuple(
            replace(record.status, active=record is self._active, failures=dict(record.status.failures))
            for record, _ in self._records
        )
        return PodCacheStatus(sources, dict(self._config_record.status.failures), dict(self._problems))

    def request_refresh(self, *, new: bool = False) -> None:
        """Ask soon, the source in use first: a container is not in the list; ``new`` when it was not seen before.

        Requests about the same one, which may never be mapped, double the gap between refreshes up to 10 s.
        """
        now = self._clock()
        if now - self._requested_at > _MAX_GAP_SECONDS:
            self._gap = _DEBOUNCE_SECONDS
        elif new:
            self._gap = min(self._gap, _MIN_GAP_SECONDS)
        self._requested_at, self._is_requested = now, True
        self._requested.set()

    async def run(self) -> None:
        """Refresh until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_pods(), name="pod-list")
            if self._read_config is not None:
                tasks.create_task(self._run_config(self._read_config), name="kubelet-config")

    async def _run_pods(self) -> None:
        while True:
            self._requested.clear()
            due = self._scheduled_at
            if self._is_requested and not self._failures:
                due = min(due, self._ended_at + self._gap)
            wait = due - self._clock()
            if wait > 0:
                await _event_within(self._requested, wait)
            else:
                await self._refresh()

    async def _run_config(self, read_config: Callable[[], Awaitable[KubeletConfig]]) -> None:
        record = self._config_record
        while True:
            self._config_requested.clear()
            wait = _CONFIG_SECONDS
            try:
                config = await read_config()
            except MappingError as error:
                record.failed(error, expected=True)
                wait = full_jitter(record.consecutive, _FIRST_CONFIG_RETRY_SECONDS, _CONFIG_SECONDS, self._jitter)
            else:
                record.succeeded(self._wall())
                self._on_config(config)
            await _event_within(self._config_requested, wait)

    async def _refresh(self) -> None:
        # A scheduled one tries all sources in their order, one that was requested the source in use first.
        is_scheduled = self._clock() >= self._scheduled_at
        was_requested, self._is_requested = self._is_requested, False
        has_news = await self._ask(None if is_scheduled else self._active)
        self.attempts += 1
        self._ended_at = self._clock()
        self._failures = self._failures + 1 if has_news is None else 0
        if has_news is None:
            wait = full_jitter(self._failures, _FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS, self._jitter)
            self._scheduled_at = self._ended_at + wait
        else:
            if is_scheduled:
                self._scheduled_at = self._ended_at + self._interval
            if was_requested:
                self._gap = (
                    _MIN_GAP_SECONDS if has_news else min(max(_MIN_GAP_SECONDS, self._gap * 2), _MAX_GAP_SECONDS)
                )
        self.first_result.set()

    async def _ask(self, first: _Record | None) -> bool | None:
        """Accept the list of the first source that answers; return whether it is news, ``None`` when all fail."""
        failed: list[tuple[_Record, MappingError]] = []
        answer, now = None, self._clock()
        for record, source in sorted(self._records, key=lambda pair: (pair[0].retry_at > now, pair[0] is not first)):
            try:
                answer = record, await source.pods()
                break
            except MappingError as error:
                failed.append((record, error))
        for record, failure in failed:
            record.failed(failure, expected=answer is not None)
            record.backoffs = 0 if answer is None else record.backoffs + 1
            wait = full_jitter(record.backoffs, self._interval, _MAX_BACKOFF_SECONDS, self._jitter)
            record.retry_at = self._clock() + wait if record.backoffs else -math.inf
        return None if answer is None else self._accept(*answer)

    def _accept(self, record: _Record, pods: PodList) -> bool:
        if record.consecutive:
            self._config_requested.set()  # the kubelet may have restarted with other settings
        record.succeeded(self._wall())
        if record is not self._active:
            _log.info("pods come from %s now: %d of them", record.status.name, len(pods.pods))
        # Each list repeats its problems: one bad annotation is one error, not one a minute.
        self._problems += Counter(pods.problems) - Counter(self.pods.problems)
        if pods.problems and pods.problems != self.pods.problems:
            found = ", ".join(f"{count} {reason}" for reason, count in sorted(pods.problems.items()))
            _log.warning("pod list of %s: %s", record.status.name, found)
        has_news = pods.pods != self.pods.pods
        self._active, self.pods = record, pods
        self._on_pods(pods)
        return has_news


async def _event_within(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
