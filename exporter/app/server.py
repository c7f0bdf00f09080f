"""``serve``: listen, run the tasks, stop in order."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web as aiohttp_web

from exporter import __version__, status, web, webapi
from exporter.app.exporter import Exporter
from exporter.errors import ConfigError
from exporter.logs import fields
from exporter.settings import Settings

logger = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 2.0


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
    reports = webapi.Reports(lambda: (exporter.loop.ticks, exporter.healthy().ok), exporter.report)
    webapi.add_routes(application, reports)
    status.add_routes(application, reports.get, telemetry_path=settings.web_telemetry_path)
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
                group.create_task(exporter.supervisor.keep(name, start), name=f"keep-{name}")
                for name, start in (("sampling", exporter.loop.run), ("pods", exporter.directory.run))
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
