"""The page's routes. A page is made in a thread, at most once for each report, whoever asks."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, NamedTuple

from aiohttp import web

from exporter.report import Report, unescaped_segments
from exporter.web.pages import quality
from exporter.web.status.label import PREFIX
from exporter.web.status.wanted import Places, Wanted

MOST_PAGES: Final = 8
"""Kept of one report. With 750 containers in full a page has 0.7 MB."""
GZIP_LEVEL: Final = 1


class Made(NamedTuple):
    """A page that was made."""

    body: bytes
    status: HTTPStatus
    policy: str
    """Its Content-Security-Policy."""


class Pages:
    """The pages of the current report; concurrent requests wait for the one being made."""

    def __init__(self, report: Callable[[], Awaitable[Report]], places: Places) -> None:
        """``report`` gives the same object until the node's state is another."""
        self._report, self._places = report, places
        self._lock = asyncio.Lock()
        self._made_of: Report | None = None
        self._made: dict[tuple[Wanted, bool], Made] = {}

    async def get(self, wanted: Wanted, *, zipped: bool) -> Made:
        """One page."""
        async with self._lock:
            report = await self._report()
            if report is not self._made_of:
                self._made.clear()
                self._made_of = report
            made = self._made.get((wanted, zipped))
            if made is None:
                if len(self._made) >= MOST_PAGES:
                    self._made.clear()
                made = await asyncio.to_thread(_make, report, wanted, self._places, zipped=zipped)
                self._made[wanted, zipped] = made
            return made


def add_routes(app: web.Application, report: Callable[[], Awaitable[Report]], *, telemetry_path: str) -> None:
    """Mount the page at ``/``, or at ``/status`` where the metrics are at ``/``, and one page for each container."""
    home = "/status" if telemetry_path == "/" else "/"
    pages = Pages(report, Places(home, telemetry_path))
    app.router.add_get(home, _page(pages))
    app.router.add_get(PREFIX + "{namespace}/{pod}/{container}", _page(pages))


def _page(pages: Pages) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def page(request: web.Request) -> web.Response:
        match = request.match_info
        name = unescaped_segments(match["namespace"], match["pod"], match["container"]) if match else None
        zipped = quality(request.headers.get("Accept-Encoding", ""), "gzip") > 0
        made = await pages.get(Wanted.of(name, request.query), zipped=zipped)
        headers = {"Content-Security-Policy": made.policy, "Vary": "Accept-Encoding"}
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return web.Response(
            body=made.body, status=made.status, headers=headers, content_type="text/html", charset="utf-8"
        )

    return page


def _make(report: Report, wanted: Wanted, places: Places, *, zipped: bool) -> Made:
    from exporter.web.status import rendering  # noqa: PLC0415 - Jinja2 and the templates, for who looks at the page only

    body, status = rendering.render(report, wanted, places), HTTPStatus.OK
    if body is None:
        body, status = rendering.render_missing(report, wanted, places), HTTPStatus.NOT_FOUND
    return Made(gzip.compress(body, GZIP_LEVEL, mtime=0) if zipped else body, status, rendering.security_policy())
