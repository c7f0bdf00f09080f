"""The metrics page, the probes and the API, and the cache behind all pages; the status page joins the application."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from aiohttp import hdrs, web

from exporter.metrics.exposition import Format
from exporter.report import SCHEMA, unescaped_segments

if TYPE_CHECKING:
    from exporter.report.documents import Report

API: Final = f"/api/{SCHEMA}"
OLDEST_SECONDS: Final = 1.0  # a metrics page is served again; ticks may be a minute apart, what it says must not be
CONTENT_TYPES: Final[dict[Format, str]] = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}
PROBES: Final = ("/healthz", "/readyz")  # no password: the kubelet has none, and they say one line
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer, where its handler and the web config say nothing else."""
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class StateCache(Generic[Key, Value]):
    """Values by key, each made once for a state; concurrent requests wait for the one being made."""

    def __init__(
        self,
        state: Callable[[], Hashable],
        make: Callable[[Key], Awaitable[Value]],
        *,
        most: int = 8,
        oldest_seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """At most ``most`` values are kept, while ``state`` is the same and at most for ``oldest_seconds``."""
        self._state, self._make, self._clock = state, make, clock
        self._most, self._oldest_seconds = most, oldest_seconds
        self._lock = asyncio.Lock()
        self._values: dict[Key, Value] = {}
        self._made_in: Hashable = None
        self._made_at = 0.0
        self._clearing: asyncio.TimerHandle | None = None

    async def get(self, key: Key) -> Value:
        """Return the value of the present state."""
        async with self._lock:
            state, now = self._state(), self._clock()
            if self._made_in != state or now - self._made_at >= self._oldest_seconds:
                self._values.clear()
                self._made_in, self._made_at = state, now
            if key not in self._values:
                value = await self._make(key)
                if len(self._values) >= self._most:
                    self._values.clear()
                self._values[key] = value
            if self._oldest_seconds < math.inf:  # free the values, the largest thing there is, when they are too old
                if self._clearing is not None:
                    self._clearing.cancel()
                self._clearing = asyncio.get_running_loop().call_later(self._oldest_seconds, self._values.clear)
            return self._values[key]


class ProbeResult(NamedTuple):
    """An answer to a probe."""

    ok: bool
    text: str


def create_app(
    state: Callable[[], Hashable],
    render: Callable[[tuple[Format, bool]], Awaitable[bytes]],
    healthy: Callable[[], ProbeResult],
    ready: Callable[[], ProbeResult],
    *,
    telemetry_path: str,
) -> web.Application:
    """Return the aiohttp application; ``render`` makes a page of a format, as gzip or not, in another thread."""
    pages = StateCache(state, render, oldest_seconds=OLDEST_SECONDS)

    async def metrics(request: web.Request) -> web.Response:
        style, zipped = wanted_format(request.headers.get("Accept", "")), accepts_gzip(request)
        headers = {hdrs.CONTENT_TYPE: CONTENT_TYPES[style], hdrs.VARY: "Accept, Accept-Encoding"}
        if zipped:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=await pages.get((style, zipped)), headers=headers)

    async def probe(result: Callable[[], ProbeResult], _: web.Request) -> web.Response:
        ok, text = result()
        return web.Response(text=text + "\n", status=200 if ok else 503)

    app = web.Application(client_max_size=1024)
    app.router.add_get(telemetry_path, metrics)
    for path, result in zip(PROBES, (healthy, ready), strict=True):
        app.router.add_get(path, partial(probe, result))
    return app


def add_api(app: web.Application, state: Callable[[], Hashable], report: Callable[[], Awaitable[Report]]) -> None:
    """Mount the API: the documents of ``report``, the node's in its present ``state``, as JSON."""

    async def make(with_series: bool) -> bytes:  # noqa: FBT001 - the cache's key
        made = await report()
        return await asyncio.to_thread(lambda: _encoded(made.containers(with_series=with_series)))

    all_containers = StateCache(state, make)  # the only document whose cost grows with the node

    async def containers(request: web.Request) -> web.Response:
        return _json(await all_containers.get(request.query.get("series") != "false"))

    async def container(request: web.Request) -> web.Response:
        name = unescaped_segments(*(request.match_info[part] for part in ("namespace", "pod", "container")))
        document = (await report()).container(name)
        if document is None:
            missing = {"schema": SCHEMA, "error": "no such container on this node"}
            return _json(_encoded(missing), HTTPStatus.NOT_FOUND)
        return _json(_encoded(document))

    async def node(_: web.Request) -> web.Response:
        return _json(_encoded((await report()).node()))

    app.router.add_get(f"{API}/containers", containers)
    app.router.add_get(f"{API}/containers/{{namespace}}/{{pod}}/{{container}}", container)
    app.router.add_get(f"{API}/node", node)


def _encoded(document: object) -> bytes:
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def _json(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")


def accepts_gzip(request: web.Request) -> bool:
    """Whether the client takes a compressed answer."""
    return quality(request.headers.get(hdrs.ACCEPT_ENCODING, ""), "gzip") > 0


def wanted_format(accept: str) -> Format:
    """OpenMetrics for those who prefer it, the text format for everybody else."""
    # prometheus_client's own choice raises on a version that is no number, and repeats one that it does not write.
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
