"""All parts, put together from the settings."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from exporter import __version__
from exporter.analysis.findings import find
from exporter.app.sources import pod_sources
from exporter.app.supervision import Supervisor
from exporter.cgroupfs.discover import ReaderFactory, detect
from exporter.cgroupfs.files import Descriptors
from exporter.errors import ConfigError, ExporterError, MappingError, ReadError
from exporter.kube.cache import PodCache
from exporter.kube.kubelet import KubeletSource
from exporter.kube.source import PodSource
from exporter.log import fields
from exporter.metrics.exposition import Format, Renderer
from exporter.metrics.own import OwnMetrics
from exporter.model import PodList, Snapshot
from exporter.report import ErrorCount, Health, Report, SourceHealth
from exporter.sampler import RefreshHint, Sampler, SamplerOptions
from exporter.sampler.loop import SamplingLoop
from exporter.settings import Settings
from exporter.threads import Worker
from exporter.web import pages as web

logger = logging.getLogger(__name__)

LATE_TICKS = 3
"""Ticks that may be missed before the process calls itself unhealthy; never less than five seconds."""


class Exporter:
    """All parts, put together from the settings."""

    def __init__(
        self,
        settings: Settings,
        *,
        sources: Sequence[PodSource] | None = None,
        descriptors: Descriptors | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        process_metrics: bool = True,
    ) -> None:
        """``sources`` in place of those that the settings name, ``descriptors`` of what the process may have."""
        self.settings, self._monotonic = settings, monotonic
        try:
            self.hierarchy = detect(settings.path_cgroup)
        except ReadError as error:
            raise ConfigError(f"--path.cgroup: {error}") from error
        sources = pod_sources(settings) if sources is None else sources
        options = SamplerOptions(
            proc=settings.path_proc,
            sys=settings.path_sys,
            checkpoint=settings.path_cpu_manager_state,
            interval=settings.sample_interval,
            window=settings.sample_window,
            linger=settings.sample_linger,
            collectors=settings.collectors,
            expects_names=bool(settings.pods_sources),
        )
        self.own = OwnMetrics(
            interval=settings.sample_interval,
            window=settings.sample_window,
            directory=lambda: self.directory.status,
            process=process_metrics,
        )
        kubelet = next((source for source in sources if isinstance(source, KubeletSource)), None)
        self.sampler = Sampler(
            ReaderFactory(self.hierarchy, descriptors),
            options,
            monotonic=monotonic,
            wall=wall,
            attempts=lambda: self.directory.attempts,
            on_error=self.survived,
        )
        self.directory = PodCache(
            sources,
            on_pods=self._learned,
            config_source=kubelet,
            on_config=self.sampler.set_kubelet,
            interval=settings.pods_interval,
            wall=wall,
        )
        self.loop = SamplingLoop(
            self.sampler,
            self.own,
            interval=settings.sample_interval,
            scan_interval=settings.scan_interval,
            monotonic=monotonic,
            on_hint=lambda hint: self.directory.request_refresh(new=hint is RefreshHint.NEW),
        )
        self._problems: Mapping[str, int] = {}
        self.supervisor = Supervisor(on_death=lambda name: self.own.count("task", name), clock=monotonic)
        self._rendering = Worker("renderer")
        self._renderer = Renderer(
            settings.collectors, cadvisor_names=settings.web_cadvisor_names, on_error=self.survived
        )

    async def page(self, style: Format) -> bytes:
        """One page; the rendering is in a thread of its own so that neither ticks nor probes wait for it.

        While the kernel does not answer, it has only what the exporter knows of itself: counters that stand still would
        look like those of an idle node.
        """
        start = self._monotonic()
        try:
            snapshot = await self.loop.snapshot()
        except ReadError as error:
            self.survived(error)
            return await self._apart(partial(self.own.render, style))
        self.own.publish(snapshot)
        return await self._apart(partial(self._render, snapshot, style, start))

    async def _apart(self, work: Callable[[], bytes]) -> bytes:
        # One thread for all pages: the renderer keeps what it made, and a request that was given up goes on in it.
        return await asyncio.wrap_future(self._rendering.submit(work))

    def _render(self, snapshot: Snapshot, style: Format, start: float) -> bytes:
        parts = self._renderer.parts(snapshot, style)
        self.own.rendered(self._monotonic() - start)
        return b"".join((*parts, self.own.render(style)))

    @property
    def state(self) -> tuple[int, bool]:
        """Changes with every sample, and when none comes any more: what was made in one state holds no longer."""
        return self.loop.ticks, self.healthy().ok

    async def report(self) -> Report:
        """What the node's state means: everything but the metrics page is made of it.

        Raises ``ReadError``, reason ``timeout``, while the kernel does not answer.
        """
        snapshot = await self.loop.snapshot(detailed=True)
        findings = await asyncio.to_thread(find, snapshot)
        return Report(snapshot, findings, self._health())

    def _health(self) -> Health:
        sources = self.directory.status.sources
        return Health(
            version=__version__,
            node_name=self.settings.node_name,
            healthy=self.healthy().ok,
            age_seconds=self.loop.age if self.loop.ticks else None,
            samples=self.loop.ticks,
            interval_seconds=self.settings.sample_interval,
            window_seconds=self.settings.sample_window,
            sources=tuple(SourceHealth(x.name, x.up, x.active, x.last_success, x.last_error) for x in sources),
            errors=tuple(ErrorCount(*kind, number) for kind, number in sorted(self.own.errors().items())),
        )

    def healthy(self) -> web.Verdict:
        """Whether samples keep their pace, and no task dies again and again."""
        hopeless = self.supervisor.hopeless()
        if hopeless is not None:
            return web.Verdict(ok=False, text=f"the task {hopeless} keeps dying")
        allowed = max(5.0, LATE_TICKS * self.settings.sample_interval)
        age = self.loop.age
        return web.Verdict(age < allowed, f"last sample {age:.1f} s ago, {allowed:.0f} s allowed")

    def ready(self) -> web.Verdict:
        """Whether the page says all it can: one sample, and the pods named or no source left to ask."""
        if self.loop.ticks == 0:
            return web.Verdict(ok=False, text="no sample yet")
        if not self.directory.status.settled:
            return web.Verdict(ok=False, text="no pod source has answered yet")
        return web.Verdict(ok=True, text="ready")

    async def learn_names(self) -> None:
        """One look at tree and pods, for a single page: what is unknown after it stays so."""
        await self.loop.scan()
        asking = asyncio.create_task(self.directory.run(), name="pods")
        answered = asyncio.create_task(self.directory.first_result(), name="first-pods")
        try:
            await asyncio.wait((asking, answered), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answered, asking):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asking  # raises what it died of
        self.sampler.stop_waiting()

    async def close(self) -> None:
        """Give everything back."""
        await self.directory.aclose()
        await asyncio.to_thread(self.loop.close)
        self._rendering.close(0.0)

    def _learned(self, pods: PodList) -> None:
        self.sampler.set_pods(pods)
        # Each list names its problems anew: one bad annotation is one error, not one a minute.
        for reason, number in pods.problems.items():
            added = number - self._problems.get(reason, 0)
            if added > 0:
                self.own.count(MappingError.stage, reason, added)
        self._problems = pods.problems

    def survived(self, error: ExporterError) -> None:
        """Count a failure and log it."""
        self.own.count(error.stage, error.reason, error.number)
        # The kind of failure is part of the message: the same message is written twice a minute at most.
        message = f"survived: {error.stage} {error.reason}"
        logger.warning(message, extra=fields(stage=error.stage, reason=error.reason, error=str(error)))
