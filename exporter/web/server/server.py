"""The web server, put together: an application behind a gate, behind connections, behind a listener."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from aiohttp import hdrs, web

from exporter.errors import ExporterError
from exporter.web.config import LiveConfig, Passwords
from exporter.web.server.binding import bind
from exporter.web.server.connection import Connection
from exporter.web.server.crowd import Client, Crowd
from exporter.web.server.gate import Gate
from exporter.web.server.limits import Limits
from exporter.web.server.listener import Listener

NAME: Final = "kube-throttle-exporter"
"""What the ``Server`` header says: no version, of nothing."""


class WebServer:
    """Serves ``application`` on one address.

    First :meth:`start`, then :attr:`tasks` run until the caller cancels them, at the end :meth:`close`.
    """

    def __init__(
        self,
        application: web.Application,
        config: LiveConfig,
        *,
        headers: Mapping[str, str],
        open_paths: Collection[str],
        on_error: Callable[[ExporterError], None],
        limits: Limits | None = None,
        shutdown_seconds: float = 2.0,
    ) -> None:
        """``headers`` go with the answers that no handler makes; ``open_paths`` ask for no password."""
        self._limits = limits or Limits()
        self._config, self._on_error = config, on_error
        self._headers = {**headers, hdrs.SERVER: NAME}
        self._passwords = Passwords(lambda: config.current.document.users)
        Gate(config, self._passwords, limits=self._limits, name=NAME, open_paths=open_paths, on_error=on_error).install(
            application
        )
        self._runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=shutdown_seconds)
        self._shutdown_seconds = shutdown_seconds
        self._listener: Listener | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Bind; host and port of the first address. Raises ``OSError``."""
        sockets = await bind(host, port)
        await self._runner.setup()
        crowd = Crowd(self._limits, asyncio.get_running_loop().time)
        self._listener = Listener(
            sockets,
            lambda client: self._connection(client, crowd),
            tls=lambda: self._config.current.context,
            crowd=crowd,
            limits=self._limits,
            on_error=self._on_error,
        )
        bound, number = sockets[0].getsockname()[:2]
        return str(bound), int(number)

    @property
    def tasks(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What has to run for ever, by name: to accept connections, to follow the web config's files."""
        if self._listener is None:
            raise RuntimeError("not started")
        return {"listening": self._listener.run, "web_config": self._config.run}

    async def close(self) -> None:
        """End all connections; those being answered get a little time."""
        if self._listener is not None:
            self._listener.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._runner.cleanup(), self._shutdown_seconds + 1)
        self._passwords.close()

    def _connection(self, client: Client, crowd: Crowd) -> Connection:
        server = self._runner.server
        if server is None:
            raise ConnectionAbortedError("the server is closing")
        return Connection(
            server,
            client,
            crowd=crowd,
            limits=self._limits,
            accepts=self._accepts,
            headers=self._headers,
            on_error=self._on_error,
        )

    def _accepts(self, certificate: Mapping[str, Any]) -> bool:
        tls = self._config.current.document.tls
        if tls is None or not tls.client_sans:
            return True
        names = {_name(kind, value) for kind, value in certificate.get("subjectAltName", ())}
        return not names.isdisjoint(tls.client_sans)


def _name(kind: str, value: str) -> str:
    """An alternative name as Go writes it: OpenSSL writes an IPv6 address in full."""
    if kind == "IP Address":
        with suppress(ValueError):
            return str(ipaddress.ip_address(value.strip()))
    return value
