"""The composition root: the only reader of ``Settings``, the only place that names concrete classes."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from aiohttp import web as aiohttp_web

from exporter import __version__, web, webapi
from exporter.analysis.findings import find
from exporter.cgroupfs.opener import Opener
from exporter.cgroupfs.tree import detect
from exporter.errors import ConfigError, ExporterError, MappingError, ReadError
from exporter.kube.directory import PodDirectory
from exporter.kube.files import FileSource, NoneSource
from exporter.kube.kubelet import KubeletSource
from exporter.kube.source import PodSource
from exporter.logs import fields
from exporter.metrics.exposition import Format, Renderer
from exporter.metrics.own import OwnMetrics
from exporter.readings import PodList
from exporter.report import ErrorCount, Health, Report, SourceHealth
from exporter.sampler import Sampler, SamplerOptions
from exporter.sampler.loop import SamplingLoop
from exporter.settings import Settings

logger = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 2.0
LATE_TICKS = 3
"""Ticks that may be missed before the process calls itself unhealthy; never less than five seconds."""


class Exporter:
    """All parts, put together from the settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        try:
            self.hierarchy = detect(settings.path_cgroup)
        except ReadError as error:
            raise ConfigError(f"--path.cgroup: {error}") from error
        sources = pod_sources(settings)
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
        kubelet = next((source for source in sources if isinstance(source, KubeletSource)), None)
        self.sampler = Sampler(
            Opener(self.hierarchy),
            options,
            monotonic=time.monotonic,
            wall=time.time,
            attempts=lambda: self.directory.attempts,
            on_error=self._survived,
        )
        self.directory = PodDirectory(
            sources,
            on_pods=self._learned,
            config_source=kubelet,
            on_config=self.sampler.set_kubelet,
            interval=settings.pods_interval,
        )
        self.own = OwnMetrics(
            interval=settings.sample_interval,
            window=settings.sample_window,
            directory=lambda: self.directory.status,
        )
        self.loop = SamplingLoop(
            self.sampler,
            self.own,
            interval=settings.sample_interval,
            scan_interval=settings.scan_interval,
            monotonic=time.monotonic,
            wants_names=lambda new: self.directory.poke(new=new),
        )
        self._renderer = Renderer(settings.collectors)

    async def page(self, style: Format) -> bytes:
        """One page, whole; the rendering is in a thread of its own so that neither ticks nor probes wait for it."""
        start = time.monotonic()
        snapshot = await self.loop.snapshot()
        self.own.publish(snapshot)
        body = await asyncio.to_thread(self._renderer.render, snapshot, style)
        self.own.rendered(time.monotonic() - start)
        return body + self.own.render(style)

    async def report(self) -> Report:
        """What the node's state means: everything but the metrics page is made of it."""
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
        """Whether samples keep their pace."""
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
        try:
            await self.directory.first_result()
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
        self.sampler.stop_waiting()

    async def close(self) -> None:
        """Give everything back."""
        await self.directory.aclose()
        self.loop.close()

    def _learned(self, pods: PodList) -> None:
        self.sampler.set_pods(pods)
        for reason, number in pods.problems.items():
            self.own.count(MappingError.stage, reason, number)

    def _survived(self, error: ExporterError) -> None:
        self.own.count(error.stage, error.reason)
        logger.warning("a failure was survived", extra=fields(stage=error.stage, error=str(error)))


def pod_sources(settings: Settings) -> Sequence[PodSource]:
    """The sources in the order the user gave."""
    sources: list[PodSource] = []
    for name in settings.pods_sources:
        if name == "kubelet":
            sources.append(
                KubeletSource(
                    settings.kubelet_url,
                    token_file=settings.kubelet_token_file,
                    ca_file=settings.kubelet_ca_file,
                    insecure_skip_verify=settings.kubelet_insecure_skip_verify,
                    timeout_seconds=settings.kubelet_timeout,
                )
            )
        elif name.startswith("file:"):
            sources.append(FileSource(name.removeprefix("file:")))
    return sources or [NoneSource()]


async def run(settings: Settings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; ``on_ready`` is told the base URL once requests are answered."""
    exporter = Exporter(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    application = web.create_app(
        telemetry_path=settings.web_telemetry_path,
        pages=web.Pages(lambda: exporter.loop.ticks, exporter.page),
        healthy=exporter.healthy,
        ready=exporter.ready,
    )
    webapi.add_routes(
        application, webapi.Reports(lambda: (exporter.loop.ticks, exporter.healthy().ok), exporter.report)
    )
    runner = aiohttp_web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        keepalive_timeout=75.0,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    try:
        url = await listen(runner, settings)
        tree = exporter.hierarchy
        logger.info("listening", extra=fields(address=url, version=__version__, cgroup=tree.version, path=tree.cpu))
        if on_ready is not None:
            on_ready(url)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(exporter.loop.run(), name="sampling"),
                group.create_task(exporter.directory.run(), name="pods"),
            ]
            await stop.wait()
            logger.info("stopping")
            for task in tasks:
                task.cancel()
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(runner.cleanup(), SHUTDOWN_SECONDS + 1)
        await exporter.close()


async def listen(runner: aiohttp_web.AppRunner, settings: Settings) -> str:
    """Start to listen; the base URL a client on this machine would use."""
    await runner.setup()
    address = settings.web_listen_address
    site = aiohttp_web.TCPSite(runner, address.host or None, address.port, shutdown_timeout=SHUTDOWN_SECONDS)
    try:
        await site.start()
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on ({error.strerror})"
        raise ConfigError(f"--web.listen-address: {address} {reason}") from error
    host, port = runner.addresses[0][:2]
    shown = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
