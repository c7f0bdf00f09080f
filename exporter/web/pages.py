"""The HTTP face: the metrics page and the probes; what else there is to see is mounted beside them."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from exporter.metrics.exposition import Format

OLDEST_SECONDS = 1.0
"""For so long at most a page is served again."""
GZIP_LEVEL = 1
"""A page of 3 MB takes 15 ms at level 1 and 60 ms at level 6, for a tenth more bytes."""
CONTENT_TYPES: dict[Format, str] = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}
PROBES = ("/healthz", "/readyz")
"""Open to everybody who reaches the port: the kubelet has no password, and they tell no more than one number."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Verdict:
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
        """The page of the current state."""
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
        """Nobody is served them any more after that, and they are the largest thing there is."""
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = asyncio.get_running_loop().call_later(OLDEST_SECONDS, self._pages.clear)


def create_app(
    *,
    telemetry_path: str,
    pages: Pages,
    healthy: Callable[[], Verdict],
    ready: Callable[[], Verdict],
) -> web.Application:
    """The aiohttp application. Handlers only fetch: all that takes time happens in threads behind ``pages``."""
    app = web.Application(client_max_size=1024)
    app.router.add_get(telemetry_path, _metrics(pages))
    for path, verdict_of in zip(PROBES, (healthy, ready), strict=True):
        app.router.add_get(path, _probe(verdict_of))
    app.on_response_prepare.append(_add_headers)
    return app


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def wanted_format(accept: str) -> Format:
    """OpenMetrics for who prefers it, the text format for everybody else.

    prometheus_client's own choice raises on a version that is no number, and repeats one that it does not write.
    """
    openmetrics = _quality(accept, "application/openmetrics-text")
    text = max(_quality(accept, kind) for kind in ("text/plain", "text/*", "*/*"))
    return "openmetrics" if openmetrics > 0 and openmetrics >= text else "text"


def _quality(header: str, name: str) -> float:
    """The highest ``q`` under which a header's list has ``name``; 0.0 when it has not, or is told not to be sent."""
    best = 0.0
    for item in header.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        if kind == name:
            q = next((text[2:] for text in parameters if text.startswith("q=")), "1")
            with suppress(ValueError):
                best = max(best, float(q))
    return best


def _metrics(pages: Pages) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def metrics(request: web.Request) -> web.Response:
        style = wanted_format(request.headers.get("Accept", ""))
        zipped = _quality(request.headers.get("Accept-Encoding", ""), "gzip") > 0
        body = await pages.get(style, zipped=zipped)
        headers = {"Content-Type": CONTENT_TYPES[style], "Vary": "Accept, Accept-Encoding"}
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)

    return metrics


def _probe(verdict_of: Callable[[], Verdict]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def probe(_: web.Request) -> web.Response:
        verdict = verdict_of()
        return web.Response(text=verdict.text + "\n", status=200 if verdict.ok else 503)

    return probe
