"""The metrics page and the probes; API and status page are mounted on the same application."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import NamedTuple

from aiohttp import web

from exporter.metrics.exposition import Format

OLDEST_SECONDS = 1.0
"""How long a page is served again, at most."""
GZIP_LEVEL = 1
"""A page of 3 MB takes 15 ms at level 1 and 60 ms at level 6, for a tenth more bytes."""
CONTENT_TYPES: dict[Format, str] = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}
PROBES = ("/healthz", "/readyz")
"""They ask for no password: the kubelet has none, and they say no more than one line."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class ProbeResult(NamedTuple):
    """An answer to a probe."""

    ok: bool
    text: str
    """One line for the person who asks."""


class Pages:
    """Pages rendered at most once a tick, whoever asks; concurrent requests wait for the one being made."""

    def __init__(
        self,
        state: Callable[[], Hashable],
        render: Callable[[Format], Awaitable[bytes]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A page is rendered anew when ``state`` has changed: another tick, or that none comes any more.

        Ticks may be a minute apart; what a page says must not be: see :data:`OLDEST_SECONDS`.
        """
        self._state, self._render, self._clock = state, render, clock
        self._rendered_at = 0.0
        self._lock = asyncio.Lock()
        self._pages: dict[tuple[Format, bool], bytes] = {}
        self._rendered_in: Hashable = None
        self._forgetting: asyncio.Handle | None = None

    async def get(self, style: Format, *, zipped: bool) -> bytes:
        """Return the page of the current state."""
        async with self._lock:
            if self._rendered_in != self._state() or self._clock() - self._rendered_at >= OLDEST_SECONDS:
                self._pages.clear()
                self._rendered_in, self._rendered_at = self._state(), self._clock()
            plain = self._pages.get((style, False))
            if plain is None:
                plain = self._pages[style, False] = await self._render(style)
            page = self._pages.get((style, True)) if zipped else plain
            if page is None:
                page = self._pages[style, True] = await asyncio.to_thread(gzip.compress, plain, GZIP_LEVEL, mtime=0)
            self._forget_soon()
            return page

    def _forget_soon(self) -> None:
        """Free the pages, the largest thing there is, once they are too old to be served."""
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = asyncio.get_running_loop().call_later(OLDEST_SECONDS, self._pages.clear)


def create_app(
    *,
    telemetry_path: str,
    pages: Pages,
    healthy: Callable[[], ProbeResult],
    ready: Callable[[], ProbeResult],
) -> web.Application:
    """Return the aiohttp application. Handlers only fetch: what takes time happens in threads behind ``pages``."""

    async def metrics(request: web.Request) -> web.Response:
        style = wanted_format(request.headers.get("Accept", ""))
        zipped = quality(request.headers.get("Accept-Encoding", ""), "gzip") > 0
        body = await pages.get(style, zipped=zipped)
        headers = {"Content-Type": CONTENT_TYPES[style], "Vary": "Accept, Accept-Encoding"}
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)

    def probe(result: Callable[[], ProbeResult]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            ok, text = result()
            return web.Response(text=text + "\n", status=200 if ok else 503)

        return answer

    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)

    app = web.Application(client_max_size=1024)
    app.router.add_get(telemetry_path, metrics)
    for path, result in zip(PROBES, (healthy, ready), strict=True):
        app.router.add_get(path, probe(result))
    app.on_response_prepare.append(add_headers)
    return app


def wanted_format(accept: str) -> Format:
    """OpenMetrics for those who prefer it, the text format for everybody else.

    prometheus_client's own choice raises on a version that is no number, and repeats one that it does not write.
    """
    openmetrics = quality(accept, "application/openmetrics-text")
    text = max(quality(accept, kind) for kind in ("text/plain", "text/*", "*/*"))
    return "openmetrics" if openmetrics > 0 and openmetrics >= text else "text"


def quality(header: str, name: str) -> float:
    """Return the highest ``q`` of ``name`` in an Accept or Accept-Encoding header; 0.0 when it is absent or refused."""
    best = 0.0
    for item in header.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        if kind == name:
            q = next((text[2:] for text in parameters if text.startswith("q=")), "1")
            with suppress(ValueError):
                best = max(best, float(q))
    return best
