"""``serve``: listen, run the tasks, stop in order."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
from collections.abc import Callable

from aiohttp.web import HTTPServiceUnavailable

from exporter import __version__
from exporter.app.exporter import Exporter
from exporter.errors import ConfigError, ReadError
from exporter.log import fields
from exporter.report import Report
from exporter.settings import Settings
from exporter.values import ListenAddress
from exporter.web import api as webapi
from exporter.web import pages as web
from exporter.web import status
from exporter.web.server import WebServer
from exporter.web.tls import ReloadingConfig

logger = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 2.0


async def run(settings: Settings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; ``on_ready`` is told the base URL once requests are answered."""
    exporter = Exporter(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    config = ReloadingConfig(settings.web_config_file, exporter.survived)
    application = web.create_app(
        telemetry_path=settings.web_telemetry_path,
        pages=web.Pages(lambda: exporter.state, exporter.page),
        healthy=exporter.healthy,
        ready=exporter.ready,
    )
    reports = webapi.Reports(lambda: exporter.state, lambda: _report(exporter))
    webapi.add_routes(application, reports)
    status.add_routes(application, reports.get, telemetry_path=settings.web_telemetry_path)
    server = WebServer(
        application,
        config,
        headers=web.HEADERS,
        open_paths=web.PROBES,
        on_error=exporter.survived,
        shutdown_seconds=SHUTDOWN_SECONDS,
    )
    keep = {"sampling": exporter.loop.run, "pods": exporter.directory.run}
    try:
        await config.load()
        url = await listen(server, settings.web_listen_address, "http" if config.current.context is None else "https")
        tree = exporter.hierarchy
        logger.info("listening", extra=fields(address=url, version=__version__, cgroup=tree.version, path=tree.cpu))
        if on_ready is not None:
            on_ready(url)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(exporter.supervisor.keep(name, start), name=f"keep-{name}")
                for name, start in (keep | dict(server.tasks)).items()
            ]
            await stop.wait()
            logger.info("stopping")
            for task in tasks:
                task.cancel()
    finally:
        await server.close()
        await exporter.close()


async def listen(server: WebServer, address: ListenAddress, scheme: str) -> str:
    """Start to listen; the base URL a client on this machine would use."""
    try:
        host, port = await server.start(address.host, address.port)
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on ({error.strerror})"
        raise ConfigError(f"--web.listen-address: {address} {reason}") from error
    shown = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"{scheme}://[{shown}]:{port}" if ":" in shown else f"{scheme}://{shown}:{port}"


async def _report(exporter: Exporter) -> Report:
    try:
        return await exporter.report()
    except ReadError as error:
        raise HTTPServiceUnavailable(text=f"{error}\n") from error
