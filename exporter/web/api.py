"""``/api/v1``: the documents of :mod:`exporter.report` as JSON, made at most once a sample whoever asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Hashable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from exporter.report import SCHEMA, Report, unescaped_segments

PREFIX: Final = f"/api/{SCHEMA}"


class Reports:
    """The report of the current state; concurrent requests wait for the one being made."""

    def __init__(self, state: Callable[[], Hashable], make: Callable[[], Awaitable[Report]]) -> None:
        """A new report is made when ``state`` has changed: another sample, or that none comes any more."""
        self._state, self._make = state, make
        self._lock = asyncio.Lock()
        self._made_in: Hashable = None
        self._report: Report | None = None
        self._containers: dict[bool, bytes] = {}

    async def get(self) -> Report:
        """The report itself."""
        async with self._lock:
            return await self._get()

    async def containers(self, *, with_series: bool) -> bytes:
        """The document of all containers: the only one whose cost grows with the node."""
        async with self._lock:
            report = await self._get()
            body = self._containers.get(with_series)
            if body is None:
                body = await asyncio.to_thread(lambda: encoded(report.containers(with_series=with_series)))
                self._containers[with_series] = body
            return body

    async def _get(self) -> Report:
        state = self._state()
        if self._report is None or self._made_in != state:
            self._containers.clear()
            self._report, self._made_in = await self._make(), state
        return self._report


def add_routes(app: web.Application, reports: Reports) -> None:
    """Mount the API on the application that :func:`exporter.web.pages.create_app` made."""

    async def containers(request: web.Request) -> web.Response:
        return _json(await reports.containers(with_series=request.query.get("series") != "false"))

    async def container(request: web.Request) -> web.Response:
        name = unescaped_segments(*(request.match_info[part] for part in ("namespace", "pod", "container")))
        document = (await reports.get()).container(name)
        if document is None:
            missing = {"schema": SCHEMA, "error": "no such container on this node"}
            return _json(encoded(missing), HTTPStatus.NOT_FOUND)
        return _json(encoded(document))

    async def node(_: web.Request) -> web.Response:
        return _json(encoded((await reports.get()).node()))

    app.router.add_get(f"{PREFIX}/containers", containers)
    app.router.add_get(f"{PREFIX}/containers/{{namespace}}/{{pod}}/{{container}}", container)
    app.router.add_get(f"{PREFIX}/node", node)


def encoded(document: object) -> bytes:
    """JSON in ASCII; a number that JSON cannot say would be a defect, and raises ``ValueError``."""
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def _json(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
