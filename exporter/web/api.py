"""``/api/v1``: the documents of :mod:`exporter.report` as JSON, made at most once a sample whoever asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Hashable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from exporter.report.documents import Report, unescaped_segments
from exporter.report.schema import SCHEMA
from exporter.web.pages import StateCache

PREFIX: Final = f"/api/{SCHEMA}"


def add_routes(app: web.Application, state: Callable[[], Hashable], report: Callable[[], Awaitable[Report]]) -> None:
    """Mount the API; ``report`` gives the report of the node's present ``state``."""

    async def make(with_series: bool) -> bytes:  # noqa: FBT001 - the cache's key
        made = await report()
        return await asyncio.to_thread(lambda: encoded(made.containers(with_series=with_series)))

    all_containers = StateCache(state, make)  # the only document whose cost grows with the node

    async def containers(request: web.Request) -> web.Response:
        return _json(await all_containers.get(request.query.get("series") != "false"))

    async def container(request: web.Request) -> web.Response:
        name = unescaped_segments(*(request.match_info[part] for part in ("namespace", "pod", "container")))
        document = (await report()).container(name)
        if document is None:
            missing = {"schema": SCHEMA, "error": "no such container on this node"}
            return _json(encoded(missing), HTTPStatus.NOT_FOUND)
        return _json(encoded(document))

    async def node(_: web.Request) -> web.Response:
        return _json(encoded((await report()).node()))

    app.router.add_get(f"{PREFIX}/containers", containers)
    app.router.add_get(f"{PREFIX}/containers/{{namespace}}/{{pod}}/{{container}}", container)
    app.router.add_get(f"{PREFIX}/node", node)


def encoded(document: object) -> bytes:
    """JSON in ASCII; a number that JSON cannot say would be a defect, and raises ``ValueError``."""
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def _json(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
