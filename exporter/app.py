"""Composition root: puts all parts together from the settings, the only place that reads them, and serves."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from aiohttp.web import HTTPServiceUnavailable

from exporter import __version__
from exporter.cgroupfs.discover import detect
from exporter.cgroupfs.files import Descriptors
from exporter.cgroupfs.readers import ReaderFactory
from exporter.errors import ConfigError, ExporterError, ReadError
from exporter.kube.apiserver import ApiServerSource, in_cluster_url
from exporter.kube.cache import PodCache
from exporter.kube.kubelet import KubeletSource
from exporter.kube.logdir import LogDirSource
from exporter.kube.source import FileSource, NoneSource, PodSource
from exporter.log import fields
from exporter.metrics.exposition import Format, Renderer, Zipper
from exporter.metrics.own import OwnMetrics
from exporter.model import Snapshot
from exporter.report.history import MinuteHistory
from exporter.sampler import RefreshHint, Sampler, SamplerOptions
from exporter.sampler.loop import SamplingLoop
from exporter.settings import Settings
from exporter.threads import Worker
from exporter.values import ListenAddress
from exporter.web import pages as web
from exporter.web import status
from exporter.web.server import WebServer

if TYPE_CHECKING:
    from exporter.report.documents import Report
    from exporter.report.schema import Exporter as Health

logger = logging.getLogger(__name__)

MAX_MISSED_TICKS: Final = 3  # more make the process unhealthy; never less than five seconds
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 30.0  # before a task is restarted: doubled with each failure in a row
MAX_FAILURES, FAILURE_WINDOW_SECONDS = 5, 300.0  # in so many seconds: the kubelet should restart the process


class Supervisor:
    """Restarts tasks that are meant to run for as long as the process does, whenever they end."""

    def __init__(
        self,
        on_failure: Callable[[str], None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._on_failure, self._clock, self._sleep = on_failure, clock, sleep
        self._failures: dict[str, deque[float]] = {}

    async def run(self, name: str, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``start`` again whenever it ends, until cancelled."""
        failures = self._failures[name] = deque(maxlen=MAX_FAILURES)
        while True:
            # Returns also the CancelledError of a task in which something else than this one was cancelled.
            [error] = await asyncio.gather(asyncio.create_task(start(), name=name), return_exceptions=True)
            if failures and self._clock() - failures[-1] > FAILURE_WINDOW_SECONDS:
                failures.clear()
            failures.append(self._clock())
            self._on_failure(name)
            pause = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (len(failures) - 1))
            message = f"the task {name} failed and is restarted"
            logger.error(message, exc_info=error, extra=fields(pause=pause, failures=len(failures)))
            await self._sleep(pause)

    def crash_looping(self) -> str | None:
        """Return the name of a task that fails again soon after each restart, or ``None``."""
        oldest = self._clock() - FAILURE_WINDOW_SECONDS
        looping = (name for name, at in self._failures.items() if len(at) == MAX_FAILURES and at[0] > oldest)
        return next(looping, None)


class Exporter:
    """Everything between the settings and a page: pod sources, sampler, renderer and the tasks that run them."""

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
        """``sources`` replace those of the settings; ``descriptors`` limit the open files. Raises ``ConfigError``."""
        self.settings, self._monotonic = settings, monotonic
        try:
            self.hierarchy = detect(settings.path_cgroup)
        except ReadError as error:
            raise ConfigError(f"--path.cgroup: {error}") from error
        self._sources = sources = _pod_sources(settings) if sources is None else sources
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
            on_error=self.count_error,
        )
        self.directory = PodCache(
            sources,
            on_pods=self.sampler.set_pods,
            read_config=kubelet.config if kubelet else None,
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
        self.history = MinuteHistory()
        self.supervisor = Supervisor(lambda name: self.own.count("task", name), monotonic)
        self._rendering, self._zipper = Worker("renderer"), Zipper()
        names = settings.web_cadvisor_names
        self._renderer = Renderer(settings.collectors, cadvisor_names=names, on_error=self.count_error)

    async def page(self, wanted: tuple[Format, bool]) -> bytes:
        """Return the metrics page, as gzip or not; while the kernel does not answer, the own metrics only."""
        start, snapshot = self._monotonic(), None
        try:
            self.own.publish(snapshot := await self.loop.snapshot())
        except ReadError as error:  # counters that do not move would look like those of an idle node
            self.count_error(error)
        # One thread for all pages: the renderer caches, and a cancelled request goes on in it.
        return await asyncio.wrap_future(self._rendering.submit(partial(self._render, snapshot, start, *wanted)))

    def _render(self, snapshot: Snapshot | None, start: float, style: Format, zipped: bool) -> bytes:  # noqa: FBT001 - the cache's key
        families = list[list[bytes]]()
        if snapshot is not None:
            families = self._renderer.families(snapshot, style)
            self.own.render_seconds.observe(self._monotonic() - start)
        families.append([self.own.render(style)])
        return self._zipper.zip(families) if zipped else b"".join(chain.from_iterable(families))

    def state(self) -> tuple[int, bool]:
        """Return a key for caches of pages: changes with every sample, and when samples are late."""
        return self.loop.ticks, self.healthy().ok

    async def report(self) -> Report:
        """Return what status page, API and terminal show; raises ``ReadError`` while the kernel does not answer."""
        snapshot = await self.loop.snapshot(detailed=True)
        return await asyncio.to_thread(self._make_report, snapshot, self._health(snapshot.cgroups))

    def _make_report(self, snapshot: Snapshot, health: Health) -> Report:
        from exporter.report.documents import Report  # noqa: PLC0415 - who is only scraped does not need it

        return Report(snapshot, None, health, self.history)

    async def record_history(self) -> None:
        """Record each minute's snapshot until cancelled."""
        while True:
            # While the kernel does not answer, a minute stays unknown.
            with suppress(ReadError):
                self.history.record(await self.loop.snapshot(detailed=True))
            await asyncio.sleep(min(60.0, self.settings.sample_window))

    def _health(self, cgroups: Mapping[str, int]) -> Health:
        errors = sorted(self.own.errors().items())
        return {
            "version": __version__,
            "node": self.settings.node_name,
            "healthy": self.healthy().ok,
            "age_seconds": round(self.loop.age, 3) if self.loop.ticks else None,
            "samples": self.loop.ticks,
            "interval_seconds": self.settings.sample_interval,
            "window_seconds": self.settings.sample_window,
            "cgroups": dict(cgroups),
            "sources": [
                {
                    "name": x.name,
                    "up": x.up,
                    "active": x.active,
                    "last_success": x.last_success,
                    "last_error": x.last_error,
                }
                for x in self.directory.status.sources
            ],
            "errors": [{"stage": stage, "reason": reason, "count": number} for (stage, reason), number in errors],
        }

    def healthy(self) -> web.ProbeResult:
        """Whether samples are on time and no task fails repeatedly."""
        if failing := self.supervisor.crash_looping():
            return web.ProbeResult(ok=False, text=f"the task {failing} fails repeatedly")
        allowed, age = max(5.0, MAX_MISSED_TICKS * self.settings.sample_interval), self.loop.age
        return web.ProbeResult(age < allowed, f"last sample {age:.1f} s ago, {allowed:.0f} s allowed")

    def ready(self) -> web.ProbeResult:
        """Whether there was a sample, and a pod source answered or none is left to ask."""
        missing = "" if self.directory.attempts else "no pod source has answered yet"
        missing = missing if self.loop.ticks else "no sample yet"
        return web.ProbeResult(not missing, missing or "ready")

    async def resolve_pods_once(self) -> None:
        """Ask the pod sources once, then scan the cgroups; containers without a name stay unmapped."""
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self.directory.run(), name="pods")
            await self.directory.first_result.wait()
            asking.cancel()
        await self.loop.scan()  # last: without pod cgroups containers are found by the ids of the pod list
        self.sampler.stop_waiting()

    async def close(self) -> None:
        """Stop the threads and close what is open."""
        for source in self._sources:
            if isinstance(source, ApiServerSource):
                await source.aclose()
        await asyncio.to_thread(self.loop.close)
        self._rendering.close(0.0)

    def count_error(self, error: ExporterError) -> None:
        """Count a failure and log it."""
        self.own.count(error.stage, error.reason, error.number)
        # The kind of error is part of the message, because the log leaves out repeated messages.
        message = f"error: {error.stage} {error.reason}"
        logger.warning(message, extra=fields(stage=error.stage, reason=error.reason, error=str(error)))


async def run(settings: Settings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; call ``on_ready`` with the base URL once requests are answered."""
    exporter = Exporter(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    config = None
    if settings.web_config_file is not None:
        from exporter.web.config import ReloadingConfig  # noqa: PLC0415 - with pydantic 10 MB and a fifth of the start

        config = ReloadingConfig(settings.web_config_file, exporter.count_error)

    async def make_report(_: None) -> Report:
        try:
            return await exporter.report()
        except ReadError as error:
            raise HTTPServiceUnavailable(text=f"{error}\n") from error

    report = partial(web.StateCache(exporter.state, make_report).get, None)
    paths = {"telemetry_path": settings.web_telemetry_path}
    application = web.create_app(exporter.state, exporter.page, exporter.healthy, exporter.ready, **paths)
    web.add_api(application, exporter.state, report)
    status.add_routes(application, exporter.state, report, grafana_url=settings.web_grafana_url, **paths)
    server = WebServer(application, config, on_error=exporter.count_error)
    tasks = {"sampling": exporter.loop.run, "pods": exporter.directory.run, "history": exporter.record_history}
    try:
        if config is not None:
            tasks["web_config"] = config.run
            await config.load()
        address = settings.web_listen_address
        try:
            bound = ListenAddress(*await server.start(address.host, address.port))
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on ({error.strerror})"
            raise ConfigError(f"--web.listen-address: {address} {reason}") from error
        scheme = "http" if config is None or config.current.context is None else "https"
        url, hierarchy = f"{scheme}://{bound}", exporter.hierarchy
        facts = fields(address=url, version=__version__, cgroup=hierarchy.version, path=hierarchy.cpu)
        logger.info("listening", extra=facts)
        if on_ready is not None:
            host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(bound.host, bound.host)  # noqa: S104 - compared, not bound
            on_ready(f"{scheme}://{bound._replace(host=host)}")
        async with asyncio.TaskGroup() as group:
            supervised = [group.create_task(exporter.supervisor.run(name, start)) for name, start in tasks.items()]
            await stop.wait()
            logger.info("stopping")
            for task in supervised:
                task.cancel()
    finally:
        await server.close()
        await exporter.close()


def _pod_sources(settings: Settings) -> Sequence[PodSource]:
    """Return the sources of the settings; raises ``ConfigError`` for one that the user named and that cannot work."""
    sources: list[PodSource] = []
    for name in settings.pods_sources:
        try:
            sources.append(_source(name, settings))
        except ConfigError as error:
            if "pods_sources" in settings.given:
                raise
            logger.info("a pod source is left out", extra=fields(source=name, reason=str(error)))
    return sources or [NoneSource()]


def _source(name: str, settings: Settings) -> PodSource:
    match name:
        case "kubelet":
            return KubeletSource(
                settings.kubelet_url,
                token_file=settings.kubelet_token_file,
                ca_file=settings.kubelet_ca_file,
                insecure_skip_verify=settings.kubelet_insecure_skip_verify,
                timeout_seconds=settings.kubelet_timeout,
            )
        case "apiserver":
            url = in_cluster_url(os.environ)
            if not settings.node_name:
                raise ConfigError("--node.name: must be set for the pod source apiserver")
            return ApiServerSource(
                url,
                node_name=settings.node_name,
                token_file=settings.apiserver_token_file,
                ca_file=settings.apiserver_ca_file,
            )
        case "logs":
            return LogDirSource(settings.path_logs)
        case _:
            return FileSource(name.removeprefix("file:"))
